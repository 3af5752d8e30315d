//! The simulator's rules, tested over HTTP, and for brokers over TCP, with minimal clients.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a missing value fails the test"
)]

mod account;
mod arrange;
mod brokers;
mod confluent;
mod deletion;
mod further_keys;
mod guarantees;
mod http;
mod keyless;
mod list_secrets;
mod rate_limit;
mod runtime_api;
mod secret;
mod time;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulator::{Outcome, Role, Simulator, ownership_tag};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const OWNER: &str = "sa-app";
const CLUSTER: &str = "lkc-orders";
const ENVIRONMENT: &str = "env-prod";

/// Sends a request on its own connection. Returns the status, head and body.
async fn send(url: &str, head: &str, body: &str) -> std::io::Result<(u16, String, String)> {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await?;
    let length = body.len();
    let request = format!(
        "{head}\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response
        .split_once("\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, head.to_ascii_lowercase(), body.to_owned()))
}

/// A secret with a Kafka key, and an admin key that may rotate it.
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
        let arn = simulator.add_secret("app/kafka", &secret_value(&key));
        Self {
            simulator,
            admin,
            key,
            arn,
        }
    }

    async fn control_plane(&self, request: &str, body: &Value) -> (u16, Value) {
        let url = self.simulator.confluent_url();
        let (status, _, body) = confluent(&url, request, &self.admin, &body.to_string())
            .await
            .unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    async fn create(&self) -> (String, String) {
        self.create_described("created").await
    }

    async fn create_described(&self, description: &str) -> (String, String) {
        let (status, body) = self.post(description).await;
        assert_eq!(status, 202, "{body}");
        (
            body["id"].as_str().unwrap().to_owned(),
            body["spec"]["secret"].as_str().unwrap().to_owned(),
        )
    }

    async fn post(&self, description: &str) -> (u16, Value) {
        let (owner, resource) = (json!({ "id": OWNER }), json!({ "id": CLUSTER }));
        let spec = json!({ "owner": owner, "resource": resource, "description": description });
        self.control_plane("POST /iam/v2/api-keys", &json!({ "spec": spec }))
            .await
    }

    async fn probe(&self, key: &(String, String)) -> (u16, String) {
        let url = self.simulator.state().resources[CLUSTER].url.clone();
        let request = format!("GET /kafka/v3/clusters/{CLUSTER}/topics");
        let (status, _, body) = confluent(&url, &request, key, "").await.unwrap();
        (status, body)
    }

    /// Sends a request with the ARN of the secret to Secrets Manager.
    async fn aws(&self, operation: &str, mut body: Value) -> (u16, Value) {
        body["SecretId"] = json!(self.arn);
        self.secrets_manager(operation, &body).await
    }

    async fn describe(&self) -> Value {
        self.aws("DescribeSecret", json!({})).await.1
    }

    async fn secrets_manager(&self, operation: &str, body: &Value) -> (u16, Value) {
        let head = format!(
            "POST / HTTP/1.1\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-date: 20260101T000000Z\r\n\
             x-amz-target: secretsmanager.{operation}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=AKID/20260101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=00"
        );
        let url = self.simulator.secrets_manager_url();
        let (status, _, body) = send(&url, &head, &body.to_string()).await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Runs a step of a minimal rotation function.
    async fn step(&self, event: Value) -> Result<(), String> {
        let token = event["ClientRequestToken"].clone();
        let (status, body) = match event["Step"].as_str().unwrap() {
            "createSecret" => {
                let current = self.current_key();
                let version = token.as_str().unwrap();
                let extra = format!("previous={current} replaces={current}");
                let tag = ownership_tag(&self.arn, version, "0a1b2c3d", &extra);
                let key = self.create_described(&tag).await;
                self.put(version, &secret_value(&key)).await
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

    /// Stores the value of a rotation.
    async fn put(&self, token: &str, value: &str) -> (u16, Value) {
        let event = self.simulator.event(&self.arn, token, "createSecret");
        let put = json!({
            "ClientRequestToken": token,
            "SecretString": value,
            "VersionStages": ["AWSPENDING"],
            "RotationToken": event["RotationToken"],
        });
        self.aws("PutSecretValue", put).await
    }

    fn set_secret(&self, change: impl FnOnce(&mut simulator::Secret)) {
        change(self.simulator.state().secret_mut(&self.arn));
    }

    fn current_key(&self) -> String {
        let state = self.simulator.state();
        let id = state.secret(&self.arn).key_id("AWSCURRENT");
        id.unwrap().to_owned()
    }

    async fn rotate(&self) {
        let outcome = self
            .simulator
            .rotate(&self.arn, &async |event| self.step(event).await)
            .await;
        assert_eq!(outcome, Outcome::Succeeded);
    }

    /// Returns the violations and clears them, so that the simulator does not panic.
    fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.simulator.state().violations)
    }

    #[track_caller]
    fn assert_violation(&self, message: &str) {
        let violations = self.violations();
        assert!(
            violations
                .iter()
                .any(|violation| violation.contains(message)),
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

/// Returns the current time, in seconds since 1970.
fn now() -> f64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.unwrap().as_secs_f64()
}

fn secret_value((id, secret): &(String, String)) -> String {
    json!({ "apiKey": id, "apiSecret": secret, "serviceAccountId": OWNER, "resourceId": CLUSTER })
        .to_string()
}
