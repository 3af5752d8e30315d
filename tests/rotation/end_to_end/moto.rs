//! A second opinion: the binary that ships, against a Secrets Manager that nobody here wrote.
//!
//! moto is kinder than the service, and wrong in places, so the simulator is the judge of what must not be done.
//! What moto adds is that requests and answers are not only what we take them to be. Confluent stays the simulator.
//!
//! <https://docs.getmoto.org/en/latest/docs/services/secretsmanager.html>

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use simulator::rotation::STEPS;

use super::*;

/// What pip is to install, to the last dependency.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// How long moto may take to listen: it imports a lot.
const START: Duration = Duration::from_mins(1);

/// The moto server in a virtual environment under the target folder, or why there is none.
fn moto_server() -> Result<&'static Path, &'static str> {
    static SERVER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = target.parent().expect("the target folder").join("moto");
        let (server, stamp) = (folder.join("bin/moto_server"), folder.join("requirements"));
        // Written last, so that an installation that was cut short is made anew.
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
            return Ok(server);
        }
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/rotation/end_to_end/requirements.txt");
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder))?;
        run(Command::new(folder.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--no-input", "--retries", "1", "--no-deps", "--requirement"])
            .arg(requirements))?;
        fs::write(stamp, REQUIREMENTS).unwrap();
        Ok(server)
    });
    server.as_deref().map_err(String::as_str)
}

/// Runs a command, or says what it was and how it failed.
fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            let last = printed.lines().rfind(|line| !line.trim().is_empty());
            Err(format!("{command:?}: {}", last.unwrap_or("it failed")))
        }
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// A running moto server. It has been killed when this is dropped.
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
    /// Starts moto with a Lambda function that a secret can name. None, with the reason printed, where moto cannot
    /// be installed.
    async fn start() -> Option<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let server = match moto_server() {
            Ok(server) => server,
            Err(reason) => {
                // Not println!, of which nothing is seen when a test passes, and a skipped one does.
                let line = format!(
                    "SKIPPED, no second opinion from moto: it needs Python 3, venv, pip and PyPI: {reason}\n"
                );
                let _ = std::io::stderr().write_all(line.as_bytes());
                return None;
            }
        };
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let log = format!("moto-{}-{serial}.log", std::process::id());
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(log);
        let output = File::create(&log).unwrap();
        // Port 0 is a free one, which the server prints once it listens.
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
            client: transport::client(&Network::default()).unwrap(),
        };
        moto.url = moto.announced();
        moto.add_function().await;
        Some(moto)
    }

    /// The address that the server prints.
    fn announced(&self) -> String {
        let since = Instant::now();
        loop {
            let printed = fs::read_to_string(&self.log).unwrap();
            let address = printed.split_once("Running on ").map(|(_, rest)| rest);
            if let Some((address, _)) = address.and_then(|rest| rest.split_once('\n')) {
                return address.trim().to_owned();
            }
            assert!(since.elapsed() < START, "moto does not start: {printed}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// moto's `RotateSecret` calls the secret's function itself: in order, whatever comes of it, and with the
    /// secret's name instead of its ARN. So it gets a function that does nothing, and the test sends the events.
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
            // An archive without files.
            "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
        });
        self.post("/2015-03-31/functions", "lambda", &[], function.to_string())
            .await;
    }

    /// Sends a request that is signed as far as moto looks: it tells the service by the credential's scope.
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
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path} {service}: {status} {text}");
        text
    }

    /// Asks Secrets Manager for something, without the SDK and without the code under test.
    async fn call(&self, operation: &str, body: Value) -> Value {
        let target = format!("secretsmanager.{operation}");
        let headers = [
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
        ];
        let answer = self.post("/", "secretsmanager", &headers, body.to_string());
        serde_json::from_str(&answer.await).unwrap()
    }

    /// Stores a new secret, and returns its ARN.
    async fn add(&self, name: &str, value: &str) -> String {
        let body = json!({"Name": name, "SecretString": value, "ClientRequestToken": uuid()});
        let answer = self.call("CreateSecret", body).await;
        answer["ARN"].as_str().unwrap().to_owned()
    }

    /// The text of the version that a label is on. Never without a label: moto's default is not `AWSCURRENT`.
    async fn value(&self, arn: &str, label: &str) -> String {
        let body = json!({"SecretId": arn, "VersionStage": label});
        let answer = self.call("GetSecretValue", body).await;
        answer["SecretString"].as_str().unwrap().to_owned()
    }

    /// Which labels each version bears. moto also lists versions without any.
    async fn labels(&self, arn: &str) -> BTreeSet<(String, String)> {
        let answer = self.call("DescribeSecret", json!({"SecretId": arn})).await;
        let versions = answer["VersionIdsToStages"].as_object().unwrap().iter();
        let labelled = versions.flat_map(|(version, labels)| {
            let labels = labels.as_array().unwrap().iter();
            labels.map(|label| (label.as_str().unwrap().to_owned(), version.clone()))
        });
        labelled.collect()
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

/// A secret in moto, whose key the simulator knows.
struct Secret<'a> {
    moto: &'a Moto,
    lambda: &'a Lambda,
    world: &'a World,
    arn: &'a str,
}

impl Secret<'_> {
    /// Begins a rotation and sends each of its events twice, as after an answer that was lost. Returns the token.
    async fn rotate(&self) -> String {
        let Self { moto, arn, .. } = self;
        // The simulator begins one too, so that it knows which of its promises are due.
        let simulator = &self.world.simulator;
        let token = simulator.begin_rotation(&self.world.arn);
        let rotation = json!({
            "SecretId": arn,
            "ClientRequestToken": token,
            "RotationLambdaARN": "arn:aws:lambda:us-east-1:123456789012:function:rotation",
            // moto enables rotation for a number of days only, and not for a schedule expression.
            "RotationRules": {"AutomaticallyAfterDays": 30},
        });
        moto.call("RotateSecret", rotation).await;
        let mut staged = None;
        for step in STEPS {
            let mut event = simulator.event(&self.world.arn, &token, step);
            event["SecretId"] = json!(arn);
            for again in [false, true] {
                let answer = self.lambda.invoke(event.clone()).await;
                assert!(answer.is_ok(), "{step} again {again}: {answer:?}");
                // The service refuses a second value for a version; moto takes it without a word.
                let value = moto.value(arn, "AWSPENDING").await;
                let staged = staged.get_or_insert_with(|| value.clone());
                assert!(*staged == value, "{step} again {again}: another value");
            }
        }
        self.tell_simulator().await;
        // The service takes AWSPENDING off, or takes no offence. moto refuses to rotate while it is on the current
        // version, and rotates while it is on another: the wrong way round.
        let body =
            json!({"SecretId": arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
        moto.call("UpdateSecretVersionStage", body).await;
        token
    }

    /// Gives the simulator the current value that moto has, so that a deletion is judged by it.
    async fn tell_simulator(&self) {
        let current = self.moto.value(self.arn, "AWSCURRENT").await;
        if current != current_text(self.world) {
            self.world.simulator.put_by_hand(&self.world.arn, &current);
        }
    }

    /// The same before every deletion, which waits for it.
    async fn tell_simulator_before_every_deletion(&self) -> ! {
        let next = || {
            self.world
                .simulator
                .hold_requests(|request| request.method == "DELETE")
        };
        let mut hold = next();
        loop {
            hold.arrived(1).await;
            self.tell_simulator().await;
            // The next one before this one is let go, so that none slips between.
            let following = next();
            hold.release();
            hold = following;
        }
    }
}

#[tokio::test]
async fn the_binary_that_ships_rotates_a_secret_that_moto_keeps() {
    let Some(moto) = Moto::start().await else {
        return;
    };
    let policies = [OldKeyPolicy::Delete, OldKeyPolicy::KeepUntilNextRotation];
    let kinds = [(Kind::Kafka, Mode::Admin), (Kind::Cloud, Mode::Own)];
    for ((kind, mode), policy) in kinds
        .into_iter()
        .flat_map(|kind| policies.map(|policy| (kind, policy)))
    {
        let setting = Setting { kind, mode, policy };
        let case = format!("{setting:?}");
        let world = World::new(setting).await;
        world.simulator.state().knobs.settling = vec![401, 200, 401];
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
            value["adminSecretArn"] = json!(moto.add(&format!("admin-{name}"), &admin).await);
        }
        let mut text = value.to_string();
        let arn = moto.add(&name, &text).await;
        world.simulator.put_by_hand(&world.arn, &text);
        let variables = [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto.url.as_str()),
            ("OLD_KEY_POLICY", policy_name(policy)),
        ];
        let lambda = Lambda::start(&world.simulator, &variables).await;
        let secret = Secret {
            moto: &moto,
            lambda: &lambda,
            world: &world,
            arn: &arn,
        };
        let mut previous: (String, String) = (String::new(), world.first_key.clone());
        previous.0 = moto.labels(&arn).await.into_iter().next().unwrap().1;

        for rotation in 1..=3 {
            let case = format!("{case}, rotation {rotation}");
            let token = tokio::select! {
                token = secret.rotate() => token,
                never = secret.tell_simulator_before_every_deletion() => never,
            };

            let labels = moto.labels(&arn).await;
            let expected = [("AWSCURRENT", &token), ("AWSPREVIOUS", &previous.0)];
            let expected = expected.map(|(label, version)| (label.to_owned(), version.clone()));
            assert_eq!(labels, BTreeSet::from(expected), "{case}");
            let before: Value = serde_json::from_str(&text).unwrap();
            let current = moto.value(&arn, "AWSCURRENT").await;
            let after: Value = serde_json::from_str(&current).unwrap();
            for field in ["apiKey", "apiSecret"] {
                assert_ne!(before[field], after[field], "{case}");
                text = text.replace(&before[field].to_string(), &after[field].to_string());
            }
            assert_eq!(current, text, "no other byte changes: {case}");
            let previous_value = moto.value(&arn, "AWSPREVIOUS").await;
            assert_eq!(previous_value, before.to_string(), "{case}");
            let key = after["apiKey"].as_str().unwrap().to_owned();
            assert_eq!(
                world.simulator.state().keys[&key].secret,
                after["apiSecret"].as_str().unwrap(),
                "{case}"
            );
            let mut left = vec![key.clone()];
            if policy == OldKeyPolicy::KeepUntilNextRotation {
                left.push(previous.1);
            }
            world.assert_keys(&left, &case);
            previous = (token, key);
        }
        lambda.process.assert_nothing_secret_was_printed();
    }
}
