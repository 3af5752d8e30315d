//! Access tokens at the control plane, and API keys in a keyless simulator.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Authentication, ExpiresIn, Role};

use super::{FORM, Keyless, SIGNED, list};
use crate::{CLUSTER, ENVIRONMENT, OWNER, World, confluent, send};

#[tokio::test]
async fn the_permissions_of_an_access_token_are_those_of_its_pool() {
    let keyless = Keyless::new().await;
    let token = keyless.access_token().await;
    let cluster = format!("GET /cmk/v2/clusters/{CLUSTER}?environment={ENVIRONMENT}");
    let owner = format!("GET /iam/v2/service-accounts/{OWNER}");
    let status = async |request: &str| keyless.bearer(request, &token).await.0;

    let (listed, keys) = keyless.bearer(&list(), &token).await;
    assert_eq!((listed, &keys["metadata"]["total_size"]), (200, &json!(1)));
    assert_eq!(status(&cluster).await, 200);
    assert_eq!(status(&owner).await, 403);
    assert_eq!(status("GET /fcpm/v2/regions").await, 200);
    assert_eq!(status("GET /org/v2/environments").await, 200);
    assert_eq!(status("GET /org/v2/organizations").await, 200);
    // https://github.com/confluentinc/terraform-provider-confluent docs/index.md
    assert_eq!(status("GET /tableflow/v1/regions?cloud=AWS").await, 401);

    let roles = [Role::OrganizationAdmin];
    keyless.world.simulator.add_owner(&keyless.pool, &roles);
    assert_eq!(status(&owner).await, 200);
    let quotas = "GET /service-quota/v1/applied-quotas?scope=SERVICE_ACCOUNT";
    assert_eq!(status(quotas).await, 200);

    keyless.world.simulator.add_owner(&keyless.pool, &[]);
    let delete = format!("DELETE /iam/v2/api-keys/{}", keyless.world.key.0);
    assert_eq!(status(&cluster).await, 403);
    assert_eq!(status(&delete).await, 403);
    let state = keyless.world.simulator.state();
    let request = state.requests.last().unwrap();
    assert_eq!(request.authentication, Authentication::Bearer);
    assert_eq!(request.key_id, None);
    drop(state);
    // The key is in use.
    keyless.world.violations();
}

#[tokio::test]
async fn a_pool_creates_keys_but_owns_none() {
    let keyless = Keyless::new().await;
    let token = keyless.access_token().await;
    let create = async |owner: &str| {
        let head = format!(
            "POST /iam/v2/api-keys HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: application/json"
        );
        let spec = json!({ "owner": { "id": owner }, "resource": { "id": CLUSTER } });
        let url = keyless.world.simulator.confluent_url();
        let body = json!({ "spec": spec }).to_string();
        send(&url, &head, &body).await.unwrap().0
    };

    assert_eq!(create(OWNER).await, 202);
    let roles = [Role::OrganizationAdmin];
    keyless.world.simulator.add_owner(&keyless.pool, &roles);
    assert_eq!(create(&keyless.pool).await, 403);
    let account = format!("GET /iam/v2/service-accounts/{}", keyless.pool);
    assert_eq!(keyless.bearer(&account, &token).await.0, 404);
}

#[tokio::test]
async fn an_access_token_expires_when_the_response_says() {
    let keyless = Keyless::new().await;
    let token = keyless.access_token().await;

    keyless.world.simulator.pass(Duration::from_secs(890));
    assert_eq!(keyless.bearer(&list(), &token).await.0, 200);
    keyless.world.simulator.pass(Duration::from_secs(10));
    assert_eq!(keyless.bearer(&list(), &token).await.0, 401);

    let value = ExpiresIn::Value(json!(60));
    keyless.world.simulator.state().controls.expires_in = value;
    let token = keyless.access_token().await;
    keyless.world.simulator.pass(Duration::from_mins(1));
    assert_eq!(keyless.bearer(&list(), &token).await.0, 401);
}

#[tokio::test]
async fn an_access_token_may_expire_earlier_than_the_response_says() {
    let keyless = Keyless::new().await;
    let lifetime = Some(Duration::ZERO);
    keyless
        .world
        .simulator
        .state()
        .controls
        .access_token_lifetime = lifetime;

    let token = keyless.access_token().await;

    assert_eq!(keyless.bearer(&list(), &token).await.0, 401);
}

#[tokio::test]
async fn an_unknown_access_token_is_rejected() {
    let keyless = Keyless::new().await;
    let token = keyless.access_token().await;
    assert_eq!(keyless.bearer(&list(), "unknown").await.0, 401);
    assert_eq!(keyless.bearer(&list(), &format!("{token}A")).await.0, 401);

    // A pool that was deleted.
    keyless.world.simulator.state().identity_pools.clear();
    assert_eq!(keyless.bearer(&list(), &token).await.0, 401);
}

#[tokio::test]
async fn api_keys_are_accepted_in_probes_only() {
    let keyless = Keyless::new().await;
    let world = &keyless.world;
    let tableflow = world.simulator.add_key(OWNER, Some("tableflow"), None);
    let status = async |request: &str| world.control_plane(request, &Value::Null).await.0;
    let cluster = format!("GET /cmk/v2/clusters/{CLUSTER}?environment={ENVIRONMENT}");
    let registry = "GET /srcm/v3/clusters/lsrc-1?environment=env-prod";
    let ksqldb = "GET /ksqldbcm/v2/clusters/lksqlc-1?environment=env-prod";
    let quotas = "GET /service-quota/v1/applied-quotas?scope=SERVICE_ACCOUNT";
    let account = format!("GET /iam/v2/service-accounts/{OWNER}");
    let rejected = [
        &list(),
        &account,
        &cluster,
        registry,
        ksqldb,
        "GET /fcpm/v2/regions",
        quotas,
    ];

    for request in rejected {
        assert_eq!(status(request).await, 401, "{request}");
    }
    assert_eq!(status("GET /org/v2/environments").await, 200);
    assert_eq!(world.probe(&world.key).await.0, 200);
    let url = world.simulator.confluent_url();
    let regions = "GET /tableflow/v1/regions?cloud=AWS";
    let (probe, ..) = confluent(&url, regions, &tableflow, "").await.unwrap();
    assert_eq!(probe, 200);

    world.simulator.state().controls.accept_api_keys = true;
    for request in rejected {
        assert_ne!(status(request).await, 401, "{request}");
    }
    let state = world.simulator.state();
    let request = state.requests.last().unwrap();
    let basic = Authentication::Basic(world.admin.0.clone());
    assert_eq!(request.authentication, basic);
}

#[tokio::test]
async fn a_bearer_token_is_rejected_without_an_identity_pool() {
    let world = World::new().await;
    let head = format!("{} HTTP/1.1\r\nauthorization: Bearer token", list());

    let (status, ..) = send(&world.simulator.confluent_url(), &head, "")
        .await
        .unwrap();

    assert_eq!(status, 401);
    assert_eq!(world.control_plane(&list(), &Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_bearer_token_at_another_service_is_a_violation() {
    let keyless = Keyless::new().await;
    let token = keyless.access_token().await;
    let bearer = format!("authorization: Bearer {token}");
    let simulator = &keyless.world.simulator;
    let cluster = simulator.state().resources[CLUSTER].url.clone();
    let topics = format!("GET /kafka/v3/clusters/{CLUSTER}/topics");
    for (url, request) in [
        (cluster, topics.as_str()),
        (simulator.secrets_manager_url(), "POST /"),
        (simulator.sts_url(), "POST /"),
    ] {
        let head = format!("{request} HTTP/1.1\r\n{bearer}");
        send(&url, &head, "").await.unwrap();

        keyless
            .world
            .assert_violation("a bearer token is sent to another service");
    }
}

#[tokio::test]
async fn a_token_outside_its_own_place_is_a_violation() {
    let keyless = Keyless::new().await;
    let access_token = keyless.access_token().await;
    let jwt = keyless.web_identity_token().await;
    let signature = jwt.split('.').nth(2).unwrap();
    let url = keyless.world.simulator.confluent_url();
    for token in [access_token.as_str(), jwt.as_str(), signature] {
        let target = format!("GET /org/v2/environments?page_token={token} HTTP/1.1");
        send(&url, &target, "").await.unwrap();
        keyless.world.assert_violation("the URL contains a secret");

        let head = format!("GET /org/v2/environments HTTP/1.1\r\nx-token: {token}");
        send(&url, &head, "").await.unwrap();
        keyless
            .world
            .assert_violation("the header x-token contains a secret");

        send(&url, "GET /org/v2/environments HTTP/1.1", token)
            .await
            .unwrap();
        keyless.world.assert_violation("the body contains a secret");

        let body = format!("Action=GetWebIdentityToken&Audience.member.1={token}");
        keyless.sts(&[FORM, SIGNED], &body).await;
        keyless.world.assert_violation("the body contains a secret");

        let body = json!({ "SecretString": token });
        keyless.world.aws("PutSecretValue", body).await;
        keyless.world.assert_violation("the body contains a secret");

        let basic = (token.to_owned(), String::new());
        confluent(&url, "GET /org/v2/environments", &basic, "")
            .await
            .unwrap();
        keyless.world.assert_violation("a token of another kind");
    }
    keyless.bearer(&list(), &jwt).await;
    keyless.world.assert_violation("a token of another kind");
    assert_eq!(keyless.bearer(&list(), &access_token).await.0, 200);
    assert!(keyless.world.violations().is_empty());
}
