//! Confluent Cloud: permissions, and the alternative responses of its services.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulator::{DeletedKeyResponse, Endpoints, LastPage, Permission, Quota, QuotaResponse, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{CLUSTER, ENVIRONMENT, OWNER, World, confluent, send};

#[tokio::test]
async fn a_new_key_flaps_and_is_omitted_from_lists_as_the_controls_specify() {
    let world = World::new().await;
    {
        let mut state = world.simulator.state();
        state.controls.propagation_statuses = vec![401, 200, 401];
        state.controls.list_lag = 1;
    }
    let key = world.create().await;
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");

    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.probe(&key).await.0);
    }
    let (_, first) = world.control_plane(&list, &Value::Null).await;
    let (_, second) = world.control_plane(&list, &Value::Null).await;

    assert_eq!(statuses, [401, 200, 401, 200]);
    assert_eq!(first["metadata"]["total_size"], 1);
    assert_eq!(second["metadata"]["total_size"], 2);
}

/// Each request of this test uses a new connection.
#[tokio::test]
async fn new_connections_reach_the_nodes_in_turn_and_each_node_has_its_own_statuses() {
    let world = World::new().await;
    {
        let mut state = world.simulator.state();
        state.controls.propagation_statuses = vec![200, 401];
        state.controls.other_nodes = vec![vec![401], vec![]];
    }
    let key = world.create().await;
    let before = world.simulator.state().requests.len();

    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(world.probe(&key).await.0);
    }
    let wrong = (key.0.clone(), "wrong".to_owned());
    world.probe(&wrong).await;

    assert_eq!(statuses, [200, 401, 200, 401, 200, 200]);
    let state = world.simulator.state();
    let connections = state.requests[before..].iter().map(|r| r.connection);
    assert_eq!(connections.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert!(state.keys[&key.0].is_accepted());
    assert_eq!(state.wrong_secrets, [wrong]);
}

#[tokio::test]
async fn a_connection_stays_on_its_node() {
    let world = World::new().await;
    world.simulator.state().controls.other_nodes = vec![vec![401; 10]];
    let key = world.create().await;
    let url = world.simulator.state().resources[CLUSTER].url.clone();

    let host = url.strip_prefix("http://").unwrap();
    let basic = STANDARD.encode(format!("{}:{}", key.0, key.1));
    let head = format!(
        "GET /kafka/v3/clusters/{CLUSTER}/topics HTTP/1.1\r\nhost: {host}\r\nauthorization: Basic {basic}"
    );
    // The client sends two requests on the same connection.
    let requests = format!("{head}\r\n\r\n{head}\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let mut responses = String::new();

    stream.write_all(requests.as_bytes()).await.unwrap();
    stream.read_to_string(&mut responses).await.unwrap();

    assert_eq!(responses.matches("HTTP/1.1 200").count(), 2, "{responses}");
    assert!(!world.simulator.state().keys[&key.0].is_accepted());
}

#[tokio::test]
async fn lists_have_pages_and_end_in_one_of_three_ways() {
    let world = World::new().await;
    for _ in 0..4 {
        world.simulator.add_key(OWNER, None, None);
    }
    world.simulator.add_internal_key();
    world.simulator.state().controls.max_page_size = Some(4);

    for (last_page, next) in [
        (LastPage::Empty, Some(json!(""))),
        (LastPage::Null, Some(Value::Null)),
        (LastPage::Absent, None),
    ] {
        world.simulator.state().controls.last_page = last_page;
        let first = format!("GET /iam/v2/api-keys?spec.owner={OWNER}&page_size=100");
        let (_, first) = world.control_plane(&first, &Value::Null).await;
        let url = first["metadata"]["next"].as_str().unwrap().to_owned();
        let second = format!(
            "GET {}",
            url.strip_prefix("https://api.confluent.cloud").unwrap()
        );
        let (_, second) = world.control_plane(&second, &Value::Null).await;

        assert_eq!(first["data"].as_array().unwrap().len(), 4);
        assert_eq!(second["data"].as_array().unwrap().len(), 2);
        assert_eq!(second["metadata"].get("next"), next.as_ref());
    }
}

#[tokio::test]
async fn only_a_principal_with_a_suitable_role_manages_a_key() {
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
    let (denied, ..) = confluent(&confluent_url, &discovery, &other, "")
        .await
        .unwrap();
    let (found, cluster) = world.control_plane(&discovery, &Value::Null).await;

    assert_eq!(by_itself, 403);
    assert!(
        by_cluster_key.contains("make sure you're using a Cloud API Key"),
        "{by_cluster_key}"
    );
    assert_eq!((denied, found), (403, 200));
    let url = &world.simulator.state().resources[CLUSTER].url;
    assert_eq!(
        cluster["spec"]["endpoints"]["PUBLIC"]["http_endpoint"],
        json!(url)
    );
}

#[tokio::test]
async fn a_cluster_has_an_endpoint_in_each_known_field() {
    let world = World::new().await;
    let discovery = format!("GET /cmk/v2/clusters/{CLUSTER}?environment={ENVIRONMENT}");
    let unreachable = world.simulator.unreachable_url();
    let with = |endpoints: Endpoints, advertised_url: Option<&str>| {
        let mut state = world.simulator.state();
        let resource = state.resources.get_mut(CLUSTER).unwrap();
        (resource.endpoints, resource.advertised_url) = (endpoints, advertised_url.map(Into::into));
    };

    with(Endpoints::Deprecated, Some("http://evil.example"));
    let (_, deprecated) = world.control_plane(&discovery, &Value::Null).await;
    let private = Endpoints::PrivateAndPublic {
        connection_type: "PRIVATELINK".into(),
        private_url: unreachable.clone(),
    };
    with(private, None);
    let (_, mixed) = world.control_plane(&discovery, &Value::Null).await;

    assert_eq!(deprecated["spec"]["http_endpoint"], "http://evil.example");
    assert_eq!(deprecated["spec"].get("endpoints"), None);
    let points = mixed["spec"]["endpoints"].as_object().unwrap();
    assert_eq!(
        points.values().next().unwrap()["http_endpoint"],
        json!(unreachable)
    );
    assert!(send(&unreachable, "GET / HTTP/1.1", "").await.is_err());
}

#[tokio::test]
async fn an_exceeded_quota_and_a_deleted_key_have_two_responses_each() {
    let world = World::new().await;
    let body = json!({ "spec": { "owner": { "id": OWNER }, "resource": { "id": CLUSTER } } });
    let quota = |response| {
        Some(Quota {
            per_owner: 1,
            response,
        })
    };

    world.simulator.state().controls.quota = quota(QuotaResponse::PaymentRequired);
    let (payment, _) = world.control_plane("POST /iam/v2/api-keys", &body).await;
    world.simulator.state().controls.quota = quota(QuotaResponse::BadRequest);
    let (bad, error) = world.control_plane("POST /iam/v2/api-keys", &body).await;
    let (forbidden, _) = world
        .control_plane("DELETE /iam/v2/api-keys/NONE", &Value::Null)
        .await;
    world.simulator.state().controls.deleted_key_response = DeletedKeyResponse::NotFound;
    let (missing, _) = world
        .control_plane("DELETE /iam/v2/api-keys/NONE", &Value::Null)
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
async fn an_admin_reads_owners_and_quotas() {
    let world = World::new().await;
    let owner = format!("GET /iam/v2/service-accounts/{OWNER}");
    let quota = "GET /service-quota/v1/applied-quotas?scope=SERVICE_ACCOUNT&id=iam.max_cluster_api_keys.per_service_account";

    let denied = (
        world.control_plane(&owner, &Value::Null).await.0,
        world.control_plane(quota, &Value::Null).await.0,
    );
    world
        .simulator
        .add_owner("sa-admin", &[Role::OrganizationAdmin]);

    assert_eq!(denied, (403, 403));
    let (_, found) = world.control_plane(&owner, &Value::Null).await;
    assert_eq!(found["id"], OWNER);
    let missing = "GET /iam/v2/service-accounts/sa-missing";
    assert_eq!(world.control_plane(missing, &Value::Null).await.0, 404);
    let (_, quotas) = world.control_plane(quota, &Value::Null).await;
    assert_eq!(quotas["data"].as_array().unwrap().len(), 1, "{quotas}");
    assert_eq!(quotas["data"][0]["applied_limit"], 100);
}

#[tokio::test]
async fn an_accepted_key_may_be_denied_permission() {
    let world = World::new().await;
    world
        .simulator
        .state()
        .controls
        .permissions
        .insert(CLUSTER.into(), Permission::Denied);

    let (status, body) = world.probe(&world.key).await;

    assert_eq!(status, 403);
    assert!(body.contains("40301"), "{body}");
}

#[tokio::test]
async fn each_key_type_has_a_probe_that_rejects_a_key_until_it_has_propagated() {
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
    simulator.state().controls.propagation_statuses = vec![401];
    simulator
        .state()
        .controls
        .control_plane_propagation_statuses = vec![401];
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
        let (_, _, created) = confluent(&control, "POST /iam/v2/api-keys", &admin, &spec)
            .await
            .unwrap();
        let created: Value = serde_json::from_str(&created).unwrap();
        let key = (
            created["id"].as_str().unwrap().to_owned(),
            created["spec"]["secret"].as_str().unwrap().to_owned(),
        );
        let data_plane = resource["id"]
            .as_str()
            .and_then(|id| simulator.state().resources.get(id).cloned());
        let url = data_plane.map_or_else(|| control.clone(), |resource| resource.url);
        let statement = r#"{"ksql":"LIST STREAMS;","streamsProperties":{}}"#;

        let (early, ..) = confluent(&url, request, &key, statement).await.unwrap();
        let (later, ..) = confluent(&url, request, &key, statement).await.unwrap();

        assert_eq!((early, later), (401, 200), "{resource}");
    }
}
