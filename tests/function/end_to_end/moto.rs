//! The program against moto, an independent implementation of Secrets Manager.
//!
//! moto checks requests that the simulator's authors may have misunderstood. It accepts more than the service does and deviates in
//! places, so the simulator still checks the guarantees, and simulates Confluent Cloud.
//!
//! <https://docs.getmoto.org/en/latest/docs/services/secretsmanager.html>

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// The time in which moto starts to listen. It imports many modules.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Installs moto in a virtual environment under the target folder. Returns the path of its server, or the reason of a failure.
fn moto_server() -> Result<&'static Path, &'static str> {
    static SERVER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let programs = python::install("moto", "end_to_end/requirements.txt")?;
        Ok(programs.join("moto_server"))
    });
    server.as_deref().map_err(String::as_str)
}

/// A running moto server. Dropping it kills the process.
struct Moto {
    child: Child,
    log: PathBuf,
    url: String,
    client: reqwest::Client,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

impl Moto {
    /// Starts moto with a Lambda function that a secret can name. If moto cannot be installed, prints the reason and returns
    /// `None`.
    async fn start() -> Option<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let server = match moto_server() {
            Ok(server) => server,
            Err(reason) => {
                let test = "the test against moto, which requires Python 3, venv, pip and PyPI";
                python::skip(test, reason);
                return None;
            }
        };
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let log = format!("moto-{}-{serial}.log", std::process::id());
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(log);
        let output = File::create(&log).unwrap();
        // Port 0 selects a free port, which the server prints when it listens.
        let child = Command::new(server)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut moto = Self {
            child,
            log,
            url: String::new(),
            client: http_client(),
        };
        moto.url = moto.printed_url();
        moto.add_function().await;
        Some(moto)
    }

    /// Waits for the URL that the server prints, and returns it.
    fn printed_url(&self) -> String {
        let started = Instant::now();
        loop {
            let printed = fs::read_to_string(&self.log).unwrap();
            let address = printed.split_once("Running on ").map(|(_, rest)| rest);
            if let Some((address, _)) = address.and_then(|rest| rest.split_once('\n')) {
                return address.trim().to_owned();
            }
            assert!(
                started.elapsed() < START_TIMEOUT,
                "moto does not start: {printed}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Adds a function that does nothing, and the test sends the events: moto's `RotateSecret` invokes all four steps even if one
    /// fails, and with the secret's name instead of its ARN.
    async fn add_function(&self) {
        let config = json!({"lambda": {"use_docker": false}});
        self.post("/moto-api/config", "", &[], config.to_string())
            .await;
        let role = "Action=CreateRole&Version=2010-05-08&RoleName=rotation&AssumeRolePolicyDocument=%7B%7D";
        let form = ("content-type", "application/x-www-form-urlencoded");
        self.post("/", "iam", &[form], role.to_owned()).await;
        let function = json!({
            "FunctionName": "rotation",
            "Runtime": "provided.al2023",
            "Role": "arn:aws:iam::123456789012:role/rotation",
            "Handler": "bootstrap",
            // An empty archive.
            "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
        });
        self.post("/2015-03-31/functions", "lambda", &[], function.to_string())
            .await;
    }

    /// Sends a request. moto determines the service from the credential scope and does not verify the signature.
    async fn post(
        &self,
        path: &str,
        service: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> String {
        let scope = format!("AKIAEXAMPLE/20260101/us-east-1/{service}/aws4_request");
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let request = self.client.post(format!("{}{path}", self.url));
        let request = request.header("authorization", signature).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let response = request.send().await.unwrap();
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path} {service}: {status} {body}");
        body
    }

    /// Calls an operation of Secrets Manager without the SDK and the code under test.
    async fn call(&self, operation: &str, body: Value) -> Value {
        let target = format!("secretsmanager.{operation}");
        let headers = [
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
        ];
        let response = self.post("/", "secretsmanager", &headers, body.to_string());
        serde_json::from_str(&response.await).unwrap()
    }

    /// Creates a secret and returns its ARN.
    async fn create_secret(&self, name: &str, value: &str) -> String {
        let body = json!({"Name": name, "SecretString": value, "ClientRequestToken": uuid()});
        let response = self.call("CreateSecret", body).await;
        response["ARN"].as_str().unwrap().to_owned()
    }

    /// Returns the value with `label`, which is always sent: moto's default is not `AWSCURRENT`.
    async fn value(&self, arn: &str, label: &str) -> String {
        let body = json!({"SecretId": arn, "VersionStage": label});
        let response = self.call("GetSecretValue", body).await;
        response["SecretString"].as_str().unwrap().to_owned()
    }

    /// Returns the labels and their versions. moto also returns versions without a label.
    async fn labels(&self, arn: &str) -> BTreeSet<(String, String)> {
        let response = self.call("DescribeSecret", json!({"SecretId": arn})).await;
        let versions = response["VersionIdsToStages"].as_object().unwrap().iter();
        let labels = versions.flat_map(|(version, labels)| {
            let labels = labels.as_array().unwrap().iter();
            labels.map(|label| (label.as_str().unwrap().to_owned(), version.clone()))
        });
        labels.collect()
    }
}

fn uuid() -> String {
    let digits = |count| format!("{:0count$x}", fastrand::u64(..) >> (64 - 4 * count));
    format!(
        "{}-{}-4{}-8{}-{}",
        digits(8),
        digits(4),
        digits(3),
        digits(3),
        digits(12)
    )
}

/// A secret in moto whose key exists in the simulator.
struct Secret<'a> {
    moto: &'a Moto,
    lambda: &'a Lambda,
    world: &'a World,
    arn: &'a str,
}

impl Secret<'_> {
    /// Rotates the secret and sends each event twice, as if the first response was lost. Returns the token.
    async fn rotate(&self) -> String {
        let Self { moto, arn, .. } = self;
        // The simulator starts a rotation, too, so that it checks the guarantees.
        let simulator = &self.world.simulator;
        let token = simulator.start_rotation(&self.world.arn);
        let rotation = json!({
            "SecretId": arn,
            "ClientRequestToken": token,
            "RotationLambdaARN": "arn:aws:lambda:us-east-1:123456789012:function:rotation",
            // moto accepts only a number of days, and no schedule expression.
            "RotationRules": {"AutomaticallyAfterDays": 30},
        });
        moto.call("RotateSecret", rotation).await;
        let mut pending = None;
        for step in STEPS {
            let mut event = simulator.event(&self.world.arn, &token, step);
            event["SecretId"] = json!(arn);
            for is_repeated in [false, true] {
                let response = self.lambda.invoke(event.clone()).await;
                assert!(response.is_ok(), "{step} again {is_repeated}: {response:?}");
                // The service rejects a second value of a version. moto accepts it.
                let value = moto.value(arn, "AWSPENDING").await;
                let pending = pending.get_or_insert_with(|| value.clone());
                assert!(
                    *pending == value,
                    "{step} again {is_repeated}: another value"
                );
            }
        }
        self.copy_current_value().await;
        // The service removes AWSPENDING. moto does not, and rejects the next rotation while the current version has it.
        let body =
            json!({"SecretId": arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
        moto.call("UpdateSecretVersionStage", body).await;
        token
    }

    /// Copies the current value from moto to the simulator, so that the simulator knows which keys are in use.
    async fn copy_current_value(&self) {
        let current = self.moto.value(self.arn, "AWSCURRENT").await;
        if current != current_string(self.world) {
            self.world
                .simulator
                .store_manually(&self.world.arn, &current);
        }
        let labels = self.moto.labels(self.arn).await;
        if !labels.iter().any(|(label, _)| label == "AWSPREVIOUS") {
            let simulator = &self.world.simulator;
            simulator.move_label(&self.world.arn, "AWSPREVIOUS", None);
        }
    }

    /// Copies the current value before every `DELETE`, which is held in the meantime.
    async fn copy_current_value_before_every_deletion(&self) -> ! {
        let next = || {
            self.world
                .simulator
                .hold_requests(|request| request.method == "DELETE")
        };
        let mut hold = next();
        loop {
            hold.arrived(1).await;
            self.copy_current_value().await;
            // Before this request is released, so that the next one is held, too.
            let following = next();
            hold.release();
            hold = following;
        }
    }
}

#[tokio::test]
async fn the_program_rotates_a_secret_in_moto() {
    let Some(moto) = Moto::start().await else {
        return;
    };
    let policies = [OldKeyPolicy::Delete, OldKeyPolicy::KeepUntilNextRotation];
    let key_types = [
        (KeyType::Kafka, Mode::Admin),
        (KeyType::Cloud, Mode::SelfRotation),
    ];
    for ((key_type, mode), policy) in key_types
        .into_iter()
        .flat_map(|key_type| policies.map(|policy| (key_type, policy)))
    {
        let setting = Setting {
            key_type,
            mode,
            policy,
            further: &[],
        };
        let case = format!("{setting:?}");
        let mut world = World::new(setting).await;
        world.simulator.state().controls.secrets_are_elsewhere = true;
        world.simulator.state().controls.propagation_statuses = vec![401, 200, 401];
        let name = case.replace(|letter: char| !letter.is_alphanumeric(), "-");
        let mut value = world.value("AWSCURRENT");
        if mode == Mode::Admin {
            let admin = {
                let state = world.simulator.state();
                state
                    .secret("admin")
                    .value("AWSCURRENT")
                    .unwrap()
                    .to_owned()
            };
            value["adminSecretArn"] =
                json!(moto.create_secret(&format!("admin-{name}"), &admin).await);
        }
        let mut expected = value.to_string();
        let arn = moto.create_secret(&name, &expected).await;
        world.simulator.store_manually(&world.arn, &expected);
        // The ownership tags contain the ARN.
        {
            let mut state = world.simulator.state();
            let mut secret = state.secrets.remove(&world.arn).unwrap();
            secret.arn.clone_from(&arn);
            state.secrets.insert(arn.clone(), secret);
        }
        world.arn.clone_from(&arn);
        let variables = [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto.url.as_str()),
            ("OLD_KEY_POLICY", policy_setting(policy)),
        ];
        let lambda = Lambda::start(&world.simulator, &variables).await;
        let secret = Secret {
            moto: &moto,
            lambda: &lambda,
            world: &world,
            arn: &arn,
        };
        let mut previous: (String, String) = (String::new(), world.initial_key.clone());
        previous.0 = moto.labels(&arn).await.into_iter().next().unwrap().1;

        for rotation in 1..=3 {
            let case = format!("{case}, rotation {rotation}");
            let token = tokio::select! {
                token = secret.rotate() => token,
                never = secret.copy_current_value_before_every_deletion() => never,
            };

            let labels = moto.labels(&arn).await;
            let is_kept = policy != OldKeyPolicy::Delete;
            let mut moved = BTreeSet::from([("AWSCURRENT".to_owned(), token.clone())]);
            if is_kept {
                moved.insert(("AWSPREVIOUS".to_owned(), previous.0.clone()));
            }
            assert_eq!(labels, moved, "{case}");
            let before: Value = serde_json::from_str(&expected).unwrap();
            let current = moto.value(&arn, "AWSCURRENT").await;
            let after: Value = serde_json::from_str(&current).unwrap();
            for field in ["apiKey", "apiSecret"] {
                assert_ne!(before[field], after[field], "{case}");
                expected = expected.replace(&before[field].to_string(), &after[field].to_string());
            }
            assert_eq!(current, expected, "no other byte changes: {case}");
            if is_kept {
                let previous_value = moto.value(&arn, "AWSPREVIOUS").await;
                assert_eq!(previous_value, before.to_string(), "{case}");
            }
            let key = after["apiKey"].as_str().unwrap().to_owned();
            assert_eq!(
                world.simulator.state().keys[&key].secret,
                after["apiSecret"].as_str().unwrap(),
                "{case}"
            );
            let mut kept = vec![key.clone()];
            if is_kept {
                kept.push(previous.1);
            }
            world.assert_keys(&kept, &case);
            previous = (token, key);
        }
        lambda.process.assert_nothing_secret_was_printed();
    }
}
