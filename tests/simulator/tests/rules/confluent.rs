//! Confluent Cloud: who may do what, and the ways in which the same thing is answered.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Endpoints, GoneAnswer, LastPage, Quota, QuotaAnswer, RateLimit, Role, Verdict};

use crate::{CLUSTER, ENVIRONMENT, OWNER, World, confluent, send};

#[tokio::test]
async fn a_new_key_settles_flaps_and_hides_as_the_knobs_say() {
    let world = World::new().await;
    {
        let mut state = world.simulator.state();
        state.knobs.settling = vec![401, 200, 401];
        state.knobs.list_lag = 1;
    }
    let key = world.create().await;
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");

    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.probe(&key).await.0);
    }
    let (_, first) = world.control(&list, &Value::Null).await;
    let (_, second) = world.control(&list, &Value::Null).await;

    assert_eq!(statuses, [401, 200, 401, 200]);
    assert_eq!(first["metadata"]["total_size"], 1);
    assert_eq!(second["metadata"]["total_size"], 2);
}

#[tokio::test]
async fn lists_are_paged_and_say_in_three_ways_that_they_end() {
    let world = World::new().await;
    for _ in 0..4 {
        world.simulator.add_key(OWNER, None, None);
    }
    world.simulator.add_internal_key();
    world.simulator.state().knobs.page_size_cap = Some(4);

    for (last_page, next) in [
        (LastPage::Empty, Some(json!(""))),
        (LastPage::Null, Some(Value::Null)),
        (LastPage::Absent, None),
    ] {
        world.simulator.state().knobs.last_page = last_page;
        let first = format!("GET /iam/v2/api-keys?spec.owner={OWNER}&page_size=100");
        let (_, first) = world.control(&first, &Value::Null).await;
        let url = first["metadata"]["next"].as_str().unwrap().to_owned();
        let second = format!(
            "GET {}",
            url.strip_prefix("https://api.confluent.cloud").unwrap()
        );
        let (_, second) = world.control(&second, &Value::Null).await;

        assert_eq!(first["data"].as_array().unwrap().len(), 4);
        assert_eq!(second["data"].as_array().unwrap().len(), 2);
        assert_eq!(second["metadata"].get("next"), next.as_ref());
    }
}

#[tokio::test]
async fn a_key_is_managed_by_those_whose_role_says_so() {
    let world = World::new().await;
    let (confluent_url, other) = (
        world.simulator.confluent_url(),
        world.simulator.add_key(OWNER, None, None),
    );
    let spec =
        json!({ "spec": { "owner": { "id": OWNER }, "resource": { "id": CLUSTER } } }).to_string();
    let post = "POST /iam/v2/api-keys";

    let (by_itself, ..) = confluent(&confluent_url, post, &other, &spec)
        .await
        .unwrap();
    let (_, _, by_cluster_key) = confluent(&confluent_url, post, &world.key, &spec)
        .await
        .unwrap();
    let discovery = format!("GET /cmk/v2/clusters/{CLUSTER}?environment={ENVIRONMENT}");
    let (unseen, ..) = confluent(&confluent_url, &discovery, &other, "")
        .await
        .unwrap();
    let (seen, cluster) = world.control(&discovery, &Value::Null).await;

    assert_eq!(by_itself, 403);
    assert!(
        by_cluster_key.contains("make sure you're using a Cloud API Key"),
        "{by_cluster_key}"
    );
    assert_eq!((unseen, seen), (403, 200));
    let url = &world.simulator.state().resources[CLUSTER].url;
    assert_eq!(
        cluster["spec"]["endpoints"]["PUBLIC"]["http_endpoint"],
        json!(url)
    );
}

#[tokio::test]
async fn endpoints_come_in_every_shape_that_is_known() {
    let world = World::new().await;
    let discovery = format!("GET /cmk/v2/clusters/{CLUSTER}?environment={ENVIRONMENT}");
    let nobody = world.simulator.unreachable_url();
    let with = |endpoints: Endpoints, advertised: Option<&str>| {
        let mut state = world.simulator.state();
        let resource = state.resources.get_mut(CLUSTER).unwrap();
        (resource.endpoints, resource.advertised) = (endpoints, advertised.map(Into::into));
    };

    with(Endpoints::Deprecated, Some("http://evil.example"));
    let (_, deprecated) = world.control(&discovery, &Value::Null).await;
    let private = Endpoints::PrivateAndPublic {
        connection_type: "PRIVATELINK".into(),
        private_url: nobody.clone(),
    };
    with(private, None);
    let (_, mixed) = world.control(&discovery, &Value::Null).await;

    assert_eq!(deprecated["spec"]["http_endpoint"], "http://evil.example");
    assert_eq!(deprecated["spec"].get("endpoints"), None);
    let points = mixed["spec"]["endpoints"].as_object().unwrap();
    assert_eq!(
        points.values().next().unwrap()["http_endpoint"],
        json!(nobody)
    );
    assert!(send(&nobody, "GET / HTTP/1.1", "").await.is_err());
}

#[tokio::test]
async fn quotas_and_missing_keys_are_answered_in_both_ways() {
    let world = World::new().await;
    let body = json!({ "spec": { "owner": { "id": OWNER }, "resource": { "id": CLUSTER } } });
    let quota = |answer| {
        Some(Quota {
            per_owner: 1,
            answer,
        })
    };

    world.simulator.state().knobs.quota = quota(QuotaAnswer::PaymentRequired);
    let (payment, _) = world.control("POST /iam/v2/api-keys", &body).await;
    world.simulator.state().knobs.quota = quota(QuotaAnswer::BadRequest);
    let (bad, error) = world.control("POST /iam/v2/api-keys", &body).await;
    let (forbidden, _) = world
        .control("DELETE /iam/v2/api-keys/NONE", &Value::Null)
        .await;
    world.simulator.state().knobs.gone_answer = GoneAnswer::NotFound;
    let (missing, _) = world
        .control("DELETE /iam/v2/api-keys/NONE", &Value::Null)
        .await;

    assert_eq!((payment, bad, forbidden, missing), (402, 400, 403, 404));
    assert!(
        error["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("is currently limited to")
    );
}

#[tokio::test]
async fn owners_and_quotas_are_shown_to_an_admin() {
    let world = World::new().await;
    let owner = format!("GET /iam/v2/service-accounts/{OWNER}");
    let quota = "GET /service-quota/v1/applied-quotas?scope=SERVICE_ACCOUNT&id=iam.max_cluster_api_keys.per_service_account";

    let refused = (
        world.control(&owner, &Value::Null).await.0,
        world.control(quota, &Value::Null).await.0,
    );
    world
        .simulator
        .add_owner("sa-admin", &[Role::OrganizationAdmin]);

    assert_eq!(refused, (403, 403));
    let (_, shown) = world.control(&owner, &Value::Null).await;
    assert_eq!(shown["id"], OWNER);
    let nobody = "GET /iam/v2/service-accounts/sa-nobody";
    assert_eq!(world.control(nobody, &Value::Null).await.0, 404);
    let (_, quotas) = world.control(quota, &Value::Null).await;
    assert_eq!(quotas["data"].as_array().unwrap().len(), 1, "{quotas}");
    assert_eq!(quotas["data"][0]["applied_limit"], 100);
}

#[tokio::test]
async fn an_accepted_key_may_be_forbidden_everything() {
    let world = World::new().await;
    world
        .simulator
        .state()
        .knobs
        .verdicts
        .insert(CLUSTER.into(), Verdict::Forbidden);

    let (status, body) = world.probe(&world.key).await;

    assert_eq!(status, 403);
    assert!(body.contains("40301"), "{body}");
}

#[tokio::test]
async fn every_kind_has_a_probe_that_waits_for_the_key_and_then_opens() {
    let World { simulator, .. } = World::new().await;
    simulator.add_schema_registry("lsrc-1", ENVIRONMENT);
    simulator.add_ksqldb("lksqlc-1", ENVIRONMENT);
    simulator.add_flink_region("aws.us-west-2", ENVIRONMENT);
    simulator.add_owner("sa-all", &[Role::OrganizationAdmin]);
    let admin = simulator.add_key("sa-all", None, None);
    let (control, organization) = (
        simulator.confluent_url(),
        simulator.state().organization.clone(),
    );
    simulator.state().knobs.settling = vec![401];
    simulator.state().knobs.control_plane_settling = vec![401];
    let statements = format!(
        "GET /sql/v1/organizations/{organization}/environments/{ENVIRONMENT}/statements?page_size=1"
    );

    for (resource, request) in [
        (json!({ "id": "lsrc-1" }), "GET /subjects?limit=1"),
        (json!({ "id": "lksqlc-1" }), "POST /ksql"),
        (
            json!({ "id": "aws.us-west-2", "environment": ENVIRONMENT }),
            statements.as_str(),
        ),
        (json!({ "id": "tableflow" }), "GET /tableflow/v1/regions"),
        (
            json!({ "id": "GLOBAL" }),
            "GET /org/v2/environments?page_size=1",
        ),
        (Value::Null, "GET /org/v2/environments?page_size=1"),
    ] {
        let spec =
            json!({ "spec": { "owner": { "id": OWNER }, "resource": resource } }).to_string();
        let (_, _, made) = confluent(&control, "POST /iam/v2/api-keys", &admin, &spec)
            .await
            .unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        let key = (
            made["id"].as_str().unwrap().to_owned(),
            made["spec"]["secret"].as_str().unwrap().to_owned(),
        );
        let own = resource["id"]
            .as_str()
            .and_then(|id| simulator.state().resources.get(id).cloned());
        let url = own.map_or_else(|| control.clone(), |resource| resource.url);
        let statement = r#"{"ksql":"LIST STREAMS;","streamsProperties":{}}"#;

        let (early, ..) = confluent(&url, request, &key, statement).await.unwrap();
        let (later, ..) = confluent(&url, request, &key, statement).await.unwrap();

        assert_eq!((early, later), (401, 200), "{resource}");
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>
#[tokio::test]
async fn what_is_asked_too_often_is_refused_and_told_when_to_come_back() {
    let world = World::new().await;
    let url = world.simulator.confluent_url();
    let limit = RateLimit {
        requests: 2,
        window: Duration::from_hours(1),
        at_once: 2,
    };
    world.simulator.state().knobs.rate_limit = Some(limit);
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");
    let header = |head: &str, name: &str| -> u64 {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap()
            .trim_start_matches(':')
            .trim()
            .parse()
            .unwrap()
    };

    let mut left = Vec::new();
    for _ in 0..2 {
        let (status, head, _) = confluent(&url, &list, &world.admin, "").await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(header(&head, "x-ratelimit-limit"), 2);
        left.push(header(&head, "x-ratelimit-remaining"));
    }
    let create = confluent(&url, "POST /iam/v2/api-keys", &world.admin, "{}").await;
    let (status, head, body) = create.unwrap();

    assert_eq!(left, [1, 0]);
    assert_eq!((status, body.as_str()), (429, ""));
    assert_eq!(header(&head, "x-ratelimit-remaining"), 0);
    // Both count seconds from now, and no clock is set by them.
    for name in ["retry-after", "x-ratelimit-reset"] {
        assert!((1..=3600).contains(&header(&head, name)), "{head}");
    }
    // Data planes are other hosts, with limits of their own.
    assert_eq!(world.probe(&world.key).await.0, 200);
}

#[tokio::test]
async fn another_window_lets_as_much_in_again() {
    let world = World::new().await;
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");
    let limit = |requests, window| RateLimit {
        requests,
        window,
        at_once: 1,
    };
    world.simulator.state().knobs.rate_limit = Some(limit(1, Duration::from_millis(1)));
    world.control(&list, &Value::Null).await;
    tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>())
        .await
        .unwrap_err();

    let (status, _) = world.control(&list, &Value::Null).await;

    assert_eq!(status, 200);
}

#[tokio::test]
async fn what_is_asked_all_at_once_is_refused_until_an_answer_has_left() {
    let world = World::new().await;
    let limit = RateLimit {
        requests: 100,
        window: Duration::from_hours(1),
        at_once: 1,
    };
    world.simulator.state().knobs.rate_limit = Some(limit);
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");
    let hold = world.simulator.hold_answers(|_| true);

    let beside = async {
        hold.arrived(1).await;
        let refused = world.control(&list, &Value::Null).await.0;
        hold.release();
        refused
    };
    let ((first, _), beside) = tokio::join!(world.control(&list, &Value::Null), beside);
    let (after, _) = world.control(&list, &Value::Null).await;

    assert_eq!((first, beside, after), (200, 429, 200));
}
