//! The simulator's own rules, over the wire, with a client that does no more than it is told.

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulator::{
    Answer, Endpoints, Fault, GoneAnswer, LastPage, Outcome, Quota, QuotaAnswer, Role, RuntimeApi,
    Simulator, Verdict, Watch,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const OWNER: &str = "sa-app";
const CLUSTER: &str = "lkc-orders";
const ENVIRONMENT: &str = "env-prod";

/// One request on a connection of its own: status, head and body, or the connection's error.
async fn send(url: &str, head: &str, body: &str) -> std::io::Result<(u16, String, String)> {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await?;
    let length = body.len();
    let request = format!(
        "{head}\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, head.to_ascii_lowercase(), body.to_owned()))
}

/// A secret of a Kafka key, and an admin key that may rotate it.
struct World {
    simulator: Simulator,
    admin: (String, String),
    key: (String, String),
    arn: String,
}

impl World {
    async fn new() -> Self {
        let simulator = Simulator::start().await;
        simulator.add_owner(OWNER, &[]);
        simulator.add_owner(
            "sa-admin",
            &[Role::ResourceOwnerOf(OWNER.into()), Role::Operator],
        );
        simulator.add_kafka_cluster(CLUSTER, ENVIRONMENT);
        let admin = simulator.add_key("sa-admin", None, None);
        let key = simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
        let arn = simulator.add_secret("app/kafka", &document(&key));
        Self {
            simulator,
            admin,
            key,
            arn,
        }
    }

    async fn control(&self, request: &str, body: &Value) -> (u16, Value) {
        let url = self.simulator.confluent_url();
        let (status, _, body) = confluent(&url, request, &self.admin, &body.to_string())
            .await
            .unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    async fn create(&self) -> (String, String) {
        let spec = json!({ "owner": { "id": OWNER }, "resource": { "id": CLUSTER }, "description": "made" });
        let (status, body) = self
            .control("POST /iam/v2/api-keys", &json!({ "spec": spec }))
            .await;
        assert_eq!(status, 202, "{body}");
        (
            body["id"].as_str().unwrap().to_owned(),
            body["spec"]["secret"].as_str().unwrap().to_owned(),
        )
    }

    async fn probe(&self, key: &(String, String)) -> (u16, String) {
        let url = self.simulator.state().resources[CLUSTER].url.clone();
        let request = format!("GET /kafka/v3/clusters/{CLUSTER}/topics");
        let (status, _, body) = confluent(&url, &request, key, "").await.unwrap();
        (status, body)
    }

    async fn aws(&self, operation: &str, body: Value) -> (u16, Value) {
        let head = format!(
            "POST / HTTP/1.1\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-date: 20260101T000000Z\r\n\
             x-amz-target: secretsmanager.{operation}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=AKID/20260101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=00"
        );
        let mut body = body;
        body["SecretId"] = json!(self.arn);
        let url = self.simulator.secrets_manager_url();
        let (status, _, body) = send(&url, &head, &body.to_string()).await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// A rotation function without any care.
    async fn step(&self, event: Value) -> Result<(), String> {
        let token = event["ClientRequestToken"].clone();
        let (status, body) = match event["Step"].as_str().unwrap() {
            "createSecret" => {
                let key = self.create().await;
                let put = json!({
                    "ClientRequestToken": token,
                    "SecretString": document(&key),
                    "VersionStages": ["AWSPENDING"],
                    "RotationToken": event["RotationToken"],
                });
                self.aws("PutSecretValue", put).await
            }
            "finishSecret" => {
                let current = self.simulator.state().secret(&self.arn).labels["AWSCURRENT"].clone();
                let update = json!({
                    "VersionStage": "AWSCURRENT", "MoveToVersionId": token, "RemoveFromVersionId": current,
                });
                self.aws("UpdateSecretVersionStage", update).await
            }
            _ => self.aws("DescribeSecret", json!({})).await,
        };
        if status == 200 {
            Ok(())
        } else {
            Err(body.to_string())
        }
    }

    /// The violations so far, which the simulator then does not panic with.
    fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.simulator.state().violations)
    }

    #[track_caller]
    fn assert_violated(&self, text: &str) {
        let violations = self.violations();
        assert!(
            violations.iter().any(|violation| violation.contains(text)),
            "{violations:?}"
        );
    }
}

async fn confluent(
    url: &str,
    request: &str,
    (id, secret): &(String, String),
    body: &str,
) -> std::io::Result<(u16, String, String)> {
    let basic = STANDARD.encode(format!("{id}:{secret}"));
    let head = format!(
        "{request} HTTP/1.1\r\nauthorization: Basic {basic}\r\ncontent-type: application/json"
    );
    send(url, &head, body).await
}

fn document((id, secret): &(String, String)) -> String {
    json!({ "apiKey": id, "apiSecret": secret, "serviceAccountId": OWNER, "resourceId": CLUSTER })
        .to_string()
}

#[tokio::test]
async fn a_rotation_moves_the_labels_and_cleans_up_the_pending_one() {
    let world = World::new().await;

    let outcome = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    assert_eq!(outcome, Outcome::Succeeded);
    let state = world.simulator.state();
    let secret = state.secret(&world.arn);
    assert_eq!(
        secret.key_named_by("AWSPREVIOUS"),
        Some(world.key.0.as_str())
    );
    assert_ne!(
        secret.key_named_by("AWSCURRENT"),
        Some(world.key.0.as_str())
    );
    assert_eq!(secret.pending(), None);
    assert!(!secret.labels.contains_key("AWSPENDING"));
    let labels = [
        "POST /iam/v2/api-keys",
        "PutSecretValue",
        "DescribeSecret",
        "DescribeSecret",
    ];
    assert_eq!(state.labels()[..4], labels);
    assert_eq!(state.requests[0].key_id.as_ref(), Some(&world.admin.0));
}

#[tokio::test]
async fn an_incomplete_rotation_is_attempted_again_with_the_same_token() {
    let world = World::new().await;
    let tokens = RefCell::new(Vec::new());
    let refuse = async |event: Value| {
        tokens
            .borrow_mut()
            .push(event["ClientRequestToken"].clone());
        Err("no".to_owned())
    };

    let failed = world.simulator.rotate(&world.arn, &refuse).await;
    world.simulator.rotate(&world.arn, &refuse).await;
    world.simulator.abandon(&world.arn);
    world.simulator.rotate(&world.arn, &refuse).await;

    assert_eq!(
        failed,
        Outcome::Failed {
            step: "createSecret",
            error: "no".into()
        }
    );
    let tokens = tokens.borrow();
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[1], tokens[2]);
}

#[tokio::test]
async fn a_new_version_has_no_value_until_it_is_put_once_and_for_all() {
    let world = World::new().await;
    let token = world.simulator.begin_rotation(&world.arn);
    let event = world.simulator.event(&world.arn, &token, "createSecret");
    let pending = json!({ "VersionId": token, "VersionStage": "AWSPENDING" });
    let put = |value: &str| {
        json!({
            "ClientRequestToken": token, "SecretString": value, "VersionStages": ["AWSPENDING"],
            "RotationToken": event["RotationToken"],
        })
    };

    let (status, empty) = world.aws("GetSecretValue", pending.clone()).await;
    let (_, description) = world.aws("DescribeSecret", json!({})).await;
    let stored = [put("one"), put("one"), put("two"), put(&"x".repeat(65_537))]
        .map(|put| world.aws("PutSecretValue", put));
    let mut statuses = Vec::new();
    for stored in stored {
        statuses.push(stored.await);
    }
    let (_, value) = world.aws("GetSecretValue", pending).await;
    let current = json!({ "VersionId": token, "VersionStage": "AWSCURRENT" });
    let (_, mismatch) = world.aws("GetSecretValue", current).await;

    assert_eq!(
        (status, &empty["__type"]),
        (400, &json!("ResourceNotFoundException"))
    );
    assert!(
        empty["message"]
            .as_str()
            .unwrap()
            .ends_with("for staging label: AWSPENDING"),
        "{empty}"
    );
    assert_eq!(
        description["VersionIdsToStages"][&token],
        json!(["AWSPENDING"])
    );
    assert_eq!(statuses[0].0, 200);
    assert_eq!(statuses[1].0, 200);
    assert_eq!(statuses[2].1["__type"], "ResourceExistsException");
    assert_eq!(statuses[3].1["__type"], "ValidationException");
    assert_eq!(value["SecretString"], "one");
    assert_eq!(mismatch["__type"], "InvalidRequestException");
}

#[tokio::test]
async fn awscurrent_moves_only_from_where_it_is() {
    let world = World::new().await;
    let old = world.simulator.state().secret(&world.arn).labels["AWSCURRENT"].clone();
    let new = world.simulator.begin_test(&world.arn);
    let other = world.simulator.state().secret(&world.arn).labels["AWSPENDING"].clone();
    let update = |from: Option<&str>| {
        let mut body = json!({ "VersionStage": "AWSCURRENT", "MoveToVersionId": new });
        if let Some(from) = from {
            body["RemoveFromVersionId"] = json!(from);
        }
        body
    };

    let (_, without) = world.aws("UpdateSecretVersionStage", update(None)).await;
    let (_, wrong) = world
        .aws("UpdateSecretVersionStage", update(Some(&other)))
        .await;
    let (moved, _) = world
        .aws("UpdateSecretVersionStage", update(Some(&old)))
        .await;

    assert!(
        without["message"].as_str().unwrap().contains(&old),
        "{without}"
    );
    assert_eq!(wrong["__type"], "InvalidParameterException");
    assert_eq!(moved, 200);
    let state = world.simulator.state();
    let labels = &state.secret(&world.arn).labels;
    assert_eq!(
        (
            &labels["AWSCURRENT"],
            &labels["AWSPREVIOUS"],
            &labels["AWSPENDING"]
        ),
        (&new, &old, &new)
    );
}

#[tokio::test]
async fn a_put_without_the_rotation_token_of_the_event_is_a_violation() {
    let world = World::new().await;
    let token = world.simulator.begin_rotation(&world.arn);

    let put = json!({ "ClientRequestToken": token, "SecretString": "{}", "VersionStages": ["AWSPENDING"] });
    world.aws("PutSecretValue", put).await;

    world.assert_violated("RotationToken");
}

#[tokio::test]
async fn a_person_s_put_abandons_the_rotation() {
    let world = World::new().await;
    world.simulator.begin_rotation(&world.arn);

    world
        .simulator
        .put_by_hand(&world.arn, &document(&world.key));

    assert_eq!(world.simulator.state().secret(&world.arn).pending(), None);
}

#[tokio::test]
async fn a_rotation_that_only_tests_leaves_nothing_behind() {
    let world = World::new().await;
    let seen = RefCell::new(Vec::new());

    let outcome = world
        .simulator
        .test_only(&world.arn, &async |event| {
            let state = world.simulator.state();
            let secret = state.secret(&world.arn);
            assert_eq!(secret.value("AWSPENDING"), secret.value("AWSCURRENT"));
            seen.borrow_mut().push(event["Step"].clone());
            Ok(())
        })
        .await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(*seen.borrow(), ["testSecret"]);
    assert_eq!(world.simulator.state().secret(&world.arn).pending(), None);
}

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
async fn a_misspelt_field_is_a_violation() {
    let world = World::new().await;
    for (spec, field) in [
        (
            json!({ "owner": { "id": OWNER }, "display-name": "x" }),
            "display-name",
        ),
        (
            json!({ "owner": { "id": OWNER, "kind": "ServiceAccount" } }),
            "kind",
        ),
        (
            json!({ "owner": { "id": OWNER }, "resource": { "id": CLUSTER, "kind": "Cluster" } }),
            "kind",
        ),
    ] {
        world
            .control("POST /iam/v2/api-keys", &json!({ "spec": spec }))
            .await;
        world.assert_violated(field);
    }
    world
        .control("GET /iam/v2/api-keys?owner=sa-app", &Value::Null)
        .await;
    world.assert_violated("unknown query parameter owner");
    world.control("PUT /iam/v2/api-keys", &Value::Null).await;
    world.assert_violated("no such path");
}

#[tokio::test]
async fn a_key_at_a_wrong_resource_is_a_violation() {
    let world = World::new().await;
    let (status, body) = world.probe(&world.admin).await;

    assert_eq!(status, 401);
    assert!(body.contains("HTTP ERROR 401"), "{body}");
    world.assert_violated("promise 6");
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
async fn a_key_that_is_in_use_or_foreign_must_not_be_deleted() {
    let world = World::new().await;
    world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
    let (foreign, _) = world
        .simulator
        .add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));

    world
        .control(&format!("DELETE /iam/v2/api-keys/{foreign}"), &Value::Null)
        .await;
    world.assert_violated("promise 4");
    world
        .control(
            &format!("DELETE /iam/v2/api-keys/{}", world.key.0),
            &Value::Null,
        )
        .await;
    world.assert_violated("promise 2");
}

#[tokio::test]
async fn a_previous_key_is_kept_until_the_next_rotation_begins() {
    let world = World::new().await;
    world.simulator.state().knobs.keep_previous = true;
    let delete = format!("DELETE /iam/v2/api-keys/{}", world.key.0);
    world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    world
        .simulator
        .fail(world.simulator.state().requests.len(), Fault::InternalError);
    world.control(&delete, &Value::Null).await;
    assert!(
        world.violations().is_empty(),
        "a request that is not carried out deletes nothing"
    );
    world.simulator.begin_rotation(&world.arn);
    world.control(&delete, &Value::Null).await;

    assert!(world.violations().is_empty());
    assert!(
        world
            .simulator
            .state()
            .deleted_keys
            .contains_key(&world.key.0)
    );
}

#[tokio::test]
async fn a_current_key_that_is_not_accepted_yet_is_reported_once() {
    let world = World::new().await;
    world.simulator.state().knobs.settling = vec![401];

    world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;
    world.aws("DescribeSecret", json!({})).await;

    let violations = world.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(
        violations[0].contains("UpdateSecretVersionStage: promise 1"),
        "{violations:?}"
    );
}

#[tokio::test]
async fn a_secret_in_a_url_is_a_violation_and_is_not_repeated() {
    let world = World::new().await;
    let request = format!(
        "GET /iam/v2/api-keys?spec.owner={}",
        world.key.1.replace('+', "%2B")
    );

    world.control(&request, &Value::Null).await;

    let violations = world.violations();
    assert!(violations[0].contains("promise 5"), "{violations:?}");
    assert!(
        world
            .simulator
            .canaries()
            .iter()
            .all(|canary| !violations.concat().contains(canary))
    );
}

#[tokio::test]
async fn every_fault_is_carried_out_or_not_as_it_says() {
    for fault in Fault::ALL {
        let world = World::new().await;
        world.simulator.fail(0, fault);
        let (url, body) = (
            world.simulator.confluent_url(),
            json!({ "spec": { "owner": { "id": OWNER } } }).to_string(),
        );
        let request = confluent(&url, "POST /iam/v2/api-keys", &world.admin, &body);

        let seen = tokio::select! {
            () = world.simulator.stopped() => "stopped".to_owned(),
            answer = tokio::time::timeout(Duration::from_millis(100), request) => match answer {
                Ok(Ok((status, ..))) => status.to_string(),
                Ok(Err(error)) => error.kind().to_string(),
                Err(_) => "stalled".to_owned(),
            },
        };

        let expected = match fault {
            Fault::StopBefore | Fault::StopAfter => "stopped",
            Fault::TooManyRequests | Fault::TooManyRequestsBare => "429",
            Fault::InternalError | Fault::InternalErrorAfter => "500",
            Fault::Unavailable => "503",
            Fault::ResetBefore | Fault::ResetAfter => "connection reset",
            Fault::StallBefore | Fault::StallAfter => "stalled",
        };
        assert_eq!(seen, expected, "{fault:?}");
        let keys = world.simulator.state().keys_of(OWNER).len();
        assert_eq!(keys, 1 + usize::from(fault.is_carried_out()), "{fault:?}");
    }
}

#[tokio::test]
async fn a_stop_drops_the_step_that_it_hits() {
    let world = World::new().await;
    world.simulator.fail(1, Fault::StopBefore);

    let stopped = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;
    let again = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    assert_eq!(
        stopped,
        Outcome::Stopped {
            step: "createSecret"
        }
    );
    assert_eq!(again, Outcome::Succeeded);
    let state = world.simulator.state();
    let leftover: Vec<_> = state
        .leftover_keys(&world.arn)
        .iter()
        .map(|key| &key.description)
        .collect();
    assert_eq!(
        leftover,
        ["made"],
        "the key of the first attempt, which nothing names"
    );
}

#[tokio::test]
async fn an_answer_may_be_replaced_held_or_redirected() {
    let world = World::new().await;
    let denied = Answer::aws_access_denied("DescribeSecret");
    world
        .simulator
        .answer(1, |request| request.label() == "DescribeSecret", denied);
    let hold = world
        .simulator
        .hold_requests(|request| request.label() == "GetSecretValue");
    let read = world.aws("GetSecretValue", json!({ "VersionStage": "AWSCURRENT" }));

    let (_, refused) = world.aws("DescribeSecret", json!({})).await;
    let (described, _) = world.aws("DescribeSecret", json!({})).await;
    let release = async {
        hold.arrived(1).await;
        world
            .simulator
            .put_by_hand(&world.arn, &document(&world.admin));
        world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
        hold.release();
    };
    let ((read, value), ()) = tokio::join!(read, release);

    assert_eq!(refused["__type"], "AccessDeniedException");
    assert_eq!((described, read), (200, 200));
    assert!(
        value["SecretString"]
            .as_str()
            .unwrap()
            .contains(&world.admin.0)
    );
}

#[tokio::test]
#[should_panic(expected = "no such path")]
async fn the_last_handle_panics_with_what_was_wrong() {
    let simulator = Simulator::start().await;
    let clone = simulator.clone();
    send(&simulator.confluent_url(), "GET /nowhere HTTP/1.1", "")
        .await
        .unwrap();
    drop(simulator);
    drop(clone);
}

#[tokio::test]
async fn the_runtime_api_hands_out_events_and_takes_answers() {
    let api = RuntimeApi::start().await;
    let url = format!("http://{}", api.address());
    let limit = Duration::from_secs(3);
    let function = async {
        for (path, body) in [
            ("response", "null"),
            ("error", r#"{"errorType":"Refused","errorMessage":"no"}"#),
        ] {
            let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
            let (_, head, event) = send(&url, next, "").await.unwrap();
            let id = head
                .lines()
                .find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "))
                .unwrap();
            assert_eq!(event, r#"{"Step":"createSecret"}"#);
            let post = format!("POST /2018-06-01/runtime/invocation/{id}/{path} HTTP/1.1");
            assert_eq!(send(&url, &post, body).await.unwrap().0, 202);
        }
    };
    let given_up = api.invoke(json!({}), limit);
    assert!(
        tokio::time::timeout(Duration::from_millis(10), given_up)
            .await
            .is_err()
    );
    let event = json!({ "Step": "createSecret" });
    let invocations = async {
        (
            api.invoke(event.clone(), limit).await,
            api.invoke(event.clone(), limit).await,
        )
    };

    let ((answered, refused), ()) = tokio::join!(invocations, function);

    assert_eq!(answered, Ok(Value::Null));
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.error_type.as_str(), refused.message.as_str()),
        ("Refused", "no")
    );
}
