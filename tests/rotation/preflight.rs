//! A preflight: what it says of everything that a rotation needs, and that it changes nothing.

use confluent_key_rotation::preflight::{CHECKS, Outcome as Checked};
use simulator::{Answer, Endpoints, Plane, Quota, QuotaAnswer, Request, SecretValue, Watch};

use super::*;

use Checked::{Failed, Ok as Fine, Unknown, Warning};

/// Something about a secret, and what one check says of it.
struct Case {
    check: &'static str,
    outcome: Checked,
    says: &'static str,
    setting: Setting,
    arrange: fn(&mut World),
}

/// A case of a Kafka key that an admin secret signs for.
fn case(
    check: &'static str,
    outcome: Checked,
    says: &'static str,
    arrange: fn(&mut World),
) -> Case {
    Case {
        check,
        outcome,
        says,
        setting: Setting::default(),
        arrange,
    }
}

/// The same, of a secret that holds no key yet.
fn first_key(
    check: &'static str,
    outcome: Checked,
    says: &'static str,
    arrange: fn(&mut World),
) -> Case {
    let mode = Mode::FirstKey;
    let setting = Setting {
        mode,
        ..Setting::default()
    };
    Case {
        setting,
        ..case(check, outcome, says, arrange)
    }
}

/// Every answer to one kind of request is this, from now on.
fn answers(world: &World, to: fn(&Request) -> bool, answer: Answer) {
    world.simulator.answer(usize::MAX, to, answer);
}

fn asks_for(request: &Request, part: &str) -> bool {
    request.plane == Plane::ControlPlane && request.label().contains(part)
}

fn is_probe(request: &Request) -> bool {
    request.plane == Plane::KafkaRest
}

fn nothing(_: &mut World) {}

fn of_the_secret() -> Vec<Case> {
    vec![
        case("secret", Fine, "described", nothing),
        case("secret", Failed, "ResourceNotFoundException", |world| {
            world.arn = world.arn.replace("us-east-1", "eu-west-1");
        }),
        case("rotation", Fine, "enabled", nothing),
        case("rotation", Warning, "not enabled", |world| {
            world.simulator.cancel_rotation(&world.arn);
        }),
        case("labels", Fine, "AWSCURRENT is on version", nothing),
        case("labels", Warning, "AWSPENDING is on version", |world| {
            world.simulator.begin_rotation(&world.arn);
        }),
        case("labels", Failed, "no version", |world| {
            world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
            world.simulator.move_label(&world.arn, "AWSCURRENT", None);
        }),
        case("value", Fine, "well formed", nothing),
        case("value", Warning, "white space", |world| {
            world.edit(|value| value["resourceId"] = json!(" lkc-orders"));
        }),
        case("value", Failed, "not a JSON object", |world| {
            world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
            world.simulator.put_by_hand(&world.arn, "KEY:SECRET");
        }),
        case("aliases", Fine, "none", nothing),
        case("aliases", Fine, "follow the key: username", |world| {
            world.edit(|value| value["username"] = value["apiKey"].clone());
        }),
        case("aliases", Warning, "stay as they are: username", |world| {
            world.edit(|value| value["username"] = json!("somebody"));
        }),
        case("kind", Fine, "kafka, lkc-orders", nothing),
        case("kind", Failed, "`resourceId`", |world| {
            world.edit(|value| value["resourceId"] = json!("lkx-orders"));
        }),
    ]
}

fn of_who_signs() -> Vec<Case> {
    vec![
        case("signer", Fine, "adminSecretArn in the secret", nothing),
        Case {
            setting: Setting {
                kind: Kind::Cloud,
                mode: Mode::Own,
                ..Setting::default()
            },
            ..case("signer", Fine, "the secret's own key", nothing)
        },
        case("signer", Failed, "different admin secrets", |world| {
            let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf";
            world.set("ADMIN_SECRET_ARN", arn);
        }),
        first_key("signer", Failed, "no admin secret", |world| {
            world.edit(|value| value["adminSecretArn"] = Value::Null);
        }),
        case("credential", Fine, "accepted", nothing),
        Case {
            setting: Setting {
                mode: Mode::Own,
                ..Setting::default()
            },
            ..case("credential", Failed, "Cluster API Key", nothing)
        },
        case("credential", Unknown, "503", |world| {
            answers(world, |r| asks_for(r, "api-keys"), Answer::empty(503));
        }),
        case("owner", Fine, "has keys", nothing),
        first_key("owner", Fine, "exists", |world| {
            for id in world.keys_of_owner() {
                world.simulator.delete_key_by_hand(&id);
            }
        }),
        first_key("owner", Failed, "sa-nobody does not exist", |world| {
            world.edit(|value| value["serviceAccountId"] = json!("sa-nobody"));
        }),
        case("owner", Unknown, "403", |world| {
            world.simulator.add_owner(ADMIN, &[]);
        }),
        case("creation", Unknown, "not known before it does", nothing),
        case("quota", Fine, "2 of 100 keys", nothing),
        case("quota", Warning, "9 of 10 keys", |world| {
            allow(world, 10);
            for _ in 0..7 {
                world
                    .simulator
                    .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
            }
        }),
        case("quota", Failed, "2 of 2 keys", |world| allow(world, 2)),
        case("quota", Unknown, "403", |world| {
            world
                .simulator
                .add_owner(ADMIN, &[Role::ResourceOwnerOf(OWNER.to_owned())]);
        }),
        case("quota", Unknown, "does not tell", |world| {
            let none = Answer::json(200, &json!({"data": []}));
            answers(world, |r| asks_for(r, "applied-quotas"), none);
        }),
        Case {
            setting: Setting {
                kind: Kind::Global,
                ..Setting::default()
            },
            ..case("quota", Unknown, "not documented", nothing)
        },
    ]
}

fn allow(world: &World, per_owner: usize) {
    let answer = QuotaAnswer::PaymentRequired;
    world.simulator.state().knobs.quota = Some(Quota { per_owner, answer });
}

fn of_keys_and_endpoints() -> Vec<Case> {
    vec![
        case("current-key", Fine, "is the owner's", nothing),
        case("current-key", Failed, "not among sa-orders's", |world| {
            world.simulator.delete_key_by_hand(&world.first_key);
            world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
        }),
        case("current-key", Failed, "another resource", |world| {
            world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
            world.edit(|value| value["resourceId"] = json!("lkc-other"));
        }),
        case("current-key", Warning, "not among sa-orders's", |world| {
            world.set("CURRENT_KEY_CHECK", "off");
            world.simulator.delete_key_by_hand(&world.first_key);
            world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
        }),
        case("current-key", Unknown, "503", |world| {
            let empty = json!({"data": [], "metadata": {}});
            world
                .simulator
                .answer(1, |r| asks_for(r, "api-keys"), Answer::json(200, &empty));
            answers(world, |r| asks_for(r, "api-keys"), Answer::empty(503));
        }),
        first_key("current-key", Fine, "the first rotation makes it", nothing),
        first_key("current-key", Failed, "holds no key", |world| {
            world.set("FIRST_KEY", "off");
        }),
        case("left-over-keys", Fine, "none", nothing),
        case("left-over-keys", Unknown, "not a JSON object", |world| {
            let token = world.simulator.begin_rotation(&world.arn);
            let mut state = world.simulator.state();
            let versions = &mut state.secret_mut(&world.arn).versions;
            versions.get_mut(&token).unwrap().value = Some(SecretValue::Text("no JSON".to_owned()));
        }),
        case("endpoint", Fine, "http://127.0.0.1", nothing),
        case("endpoint", Fine, "control-plane", |world| {
            world.set("KEY_VERIFICATION", "control-plane");
        }),
        case("endpoint", Failed, "evil.example", |world| {
            world.edit(|value| value["endpoint"] = json!("https://evil.example"));
        }),
        case("endpoint", Failed, "not found", |world| {
            world.simulator.state().resources.clear();
        }),
        case("endpoint", Failed, "cannot be reached", |world| {
            advertise_nobody(world);
        }),
        case("endpoint", Warning, "cannot be reached", |world| {
            world.set("KEY_VERIFICATION", "best-effort");
            advertise_nobody(world);
        }),
        case("endpoint", Unknown, "503", |world| {
            answers(world, |r| asks_for(r, "cmk"), Answer::empty(503));
        }),
        case("acceptance", Fine, "opens the resource", nothing),
        case("acceptance", Warning, "lets pass", |world| {
            world.set("KEY_VERIFICATION", "best-effort");
            advertise_nobody(world);
        }),
        case("acceptance", Warning, "401", |world| {
            world.set("CURRENT_KEY_CHECK", "off");
            answers(world, is_probe, Answer::empty(401));
        }),
        case("acceptance", Failed, "401", |world| {
            answers(world, is_probe, Answer::empty(401));
        }),
        case("acceptance", Unknown, "cannot be tried", advertise_nobody),
        first_key("acceptance", Unknown, "no key to try", nothing),
    ]
}

fn advertise_nobody(world: &mut World) {
    let nobody = world.simulator.unreachable_url();
    let mut state = world.simulator.state();
    let cluster = state.resources.get_mut("lkc-orders").unwrap();
    cluster.endpoints = Endpoints::Public;
    cluster.advertised = Some(nobody);
}

impl World {
    /// Every key of the owner, whoever uses it.
    fn keys_of_owner(&self) -> Vec<String> {
        let state = self.simulator.state();
        let keys = state.keys_of(OWNER).into_iter();
        keys.map(|key| key.id.clone()).collect()
    }
}

fn all_cases() -> Vec<Case> {
    [of_the_secret(), of_who_signs(), of_keys_and_endpoints()]
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test]
async fn every_check_says_what_it_sees_and_what_to_do() {
    for case in all_cases() {
        let name = format!("{} {:?} {}", case.check, case.outcome, case.says);
        let mut world = World::new(case.setting).await;
        (case.arrange)(&mut world);

        let report = world.preflight().await;

        let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
        assert_eq!(names, CHECKS, "{name}");
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.name == case.check).unwrap();
        assert_eq!(check.outcome, case.outcome, "{name}: {report:#?}");
        assert!(check.seen.contains(case.says), "{name}: {report:#?}");
        let calls_for_action = matches!(case.outcome, Warning | Failed);
        let is_explained = check.remedy.is_some();
        assert!(!calls_for_action || is_explained, "{name}: {report:#?}");
        let may_be_unknown = ["creation", "quota", "owner"].contains(&case.check);
        if calls_for_action || (case.outcome == Unknown && !may_be_unknown) {
            assert!(report.verdict >= case.outcome, "{name}: {report:#?}");
        }
    }
}

#[test]
fn every_check_has_a_case_for_each_of_its_outcomes() {
    let cases = all_cases();
    let has = |check, outcome| {
        cases
            .iter()
            .any(|case| case.check == check && case.outcome == outcome)
    };
    for check in CHECKS {
        let reaches = match check {
            "secret" | "kind" | "signer" => &[Fine, Failed][..],
            "rotation" | "aliases" => &[Fine, Warning],
            "labels" | "value" => &[Fine, Warning, Failed],
            "credential" | "owner" => &[Fine, Failed, Unknown],
            "creation" => &[Unknown],
            // What is left over has a test of its own.
            "left-over-keys" => &[Fine, Unknown],
            _ => &[Fine, Warning, Failed, Unknown],
        };
        for outcome in reaches {
            assert!(has(check, *outcome), "{check} {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_preflight_names_the_keys_that_an_abandoned_rotation_left() {
    let world = World::new(Setting::default()).await;
    world.step("createSecret").await.unwrap();
    let left_over = world.key("AWSPENDING").unwrap();
    let under_way = world.preflight().await;
    world.simulator.abandon(&world.arn);

    let report = world.preflight().await;

    let seen = |report: &Report| {
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.name == "left-over-keys").unwrap();
        (check.outcome, check.seen.clone())
    };
    assert_eq!(seen(&report), (Warning, left_over));
    assert_eq!(seen(&under_way), (Fine, "none".to_owned()));
}

#[tokio::test]
async fn a_preflight_changes_nothing_and_prints_no_secret_whatever_it_finds() {
    for case in all_cases() {
        let mut world = World::new(case.setting).await;
        (case.arrange)(&mut world);
        world.requests();
        let before = state_of(&world);

        let (report, lines) = steps::logs::logged(world.preflight()).await;

        let printed = format!("{report:?} {} {lines:?}", json!(report));
        assert!(!printed.contains(simulator::CANARY), "{printed}");
        assert_eq!(state_of(&world), before, "{}", case.check);
        let changes = [
            "PutSecretValue",
            "UpdateSecretVersionStage",
            "POST /iam",
            "DELETE",
        ];
        let requests = world.requests();
        let is_change = |request: &&String| changes.iter().any(|change| request.contains(change));
        assert_eq!(requests.iter().find(is_change), None, "{}", case.check);
    }
}

/// All keys, and the secret's labels.
fn state_of(world: &World) -> impl PartialEq + Debug {
    let state = world.simulator.state();
    let keys: Vec<String> = state.keys.keys().cloned().collect();
    let labels = |secret: &simulator::Secret| format!("{:?}", secret.labels);
    let secrets: Vec<String> = state.secrets.values().map(labels).collect();
    (keys, secrets)
}

#[tokio::test]
async fn a_preflight_of_every_kind_finds_a_rotation_ready() {
    for setting in kinds::possible_settings() {
        let world = faults::world(setting).await;

        let report = world.preflight().await;

        // How a key is taken that is still to be made cannot be known.
        let best = match setting.mode {
            Mode::FirstKey => Unknown,
            Mode::Admin | Mode::Own => Fine,
        };
        assert_eq!(report.verdict, best, "{setting:?}: {report:#?}");
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{setting:?}");
    }
}

#[tokio::test]
async fn a_preflight_needs_no_token_and_a_failed_check_is_no_error() {
    let mut world = World::new(Setting::default()).await;
    world.arn = "orders/nowhere".to_owned();

    let report = world.preflight().await;

    assert_eq!(report.verdict, Failed);
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!(report["secret"], "orders/nowhere");
    assert_eq!(report["verdict"], "failed");
    assert_eq!(report["checks"][0]["name"], "secret");
    assert_eq!(report["checks"][0]["outcome"], "failed");
    assert_eq!(report["checks"][1]["outcome"], "unknown");
    assert_eq!(report["checks"][1].get("remedy"), None);
}

#[tokio::test]
async fn a_test_without_a_rotation_logs_what_a_rotation_would_find() {
    for mode in [Mode::Admin, Mode::FirstKey] {
        let world = World::new(Setting {
            mode,
            ..Setting::default()
        })
        .await;
        world.edit(|value| value["username"] = json!("somebody"));
        let invoke = async |event| {
            let outcome = world.invoke(event).await;
            outcome.map_err(|error| format!("{error:?}"))
        };

        let tested = world.simulator.test_only(&world.arn, &invoke);
        let (outcome, lines) = steps::logs::logged(tested).await;

        assert_eq!(outcome, Outcome::Succeeded, "{mode:?}");
        let line = |message: &str| lines.iter().find(|line| line["message"] == message);
        let verdict = line("preflight").unwrap_or_else(|| panic!("{lines:#?}"));
        assert!(
            verdict["verdict"] == "warning" || mode == Mode::FirstKey,
            "{verdict}"
        );
        let warnings = lines.iter().filter(|line| line["check"] == "aliases");
        assert_eq!(warnings.count(), 1, "{mode:?}: {lines:#?}");
    }
}

#[tokio::test]
async fn a_rotation_logs_no_preflight() {
    let world = World::new(Setting::default()).await;

    let (_, lines) = steps::logs::logged(world.rotate()).await;

    assert!(lines.iter().all(|line| line["message"] != "preflight"));
}
