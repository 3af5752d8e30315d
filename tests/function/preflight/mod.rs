//! Preflight: every outcome of every check, and that a preflight changes nothing.

mod data_plane;
mod keys;
mod secret;
mod tokens;

use confluent_key_rotation::preflight::{CHECKS, Outcome as Checked, Report};
use simulator::{CurrentKeyGuarantee, Request, Response, SecretValue};

use super::*;

use Checked::{Failed, NotVerifiable, Ok as Fine, Unknown, Warning};

/// A condition, and what one check finds.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    check: &'static str,
    outcome: Checked,
    /// A part of what the check observes.
    observed: &'static str,
    setting: Setting,
    arrange: fn(&mut World),
}

/// The defaults of a case.
const CASE: Case = Case {
    name: "",
    check: "",
    outcome: Fine,
    observed: "",
    setting: KAFKA_WITH_ADMIN_SECRET,
    arrange: |_| {},
};

const KAFKA_WITH_ADMIN_SECRET: Setting = Setting {
    key_type: KeyType::Kafka,
    mode: Mode::Admin,
    policy: OldKeyPolicy::Delete,
    further: &[],
};

const SELF_ROTATION: Setting = Setting {
    mode: Mode::SelfRotation,
    ..KAFKA_WITH_ADMIN_SECRET
};

const INITIAL_KEY: Setting = Setting {
    mode: Mode::InitialKey,
    ..KAFKA_WITH_ADMIN_SECRET
};

fn cases() -> impl Iterator<Item = &'static Case> {
    [secret::CASES, keys::CASES, data_plane::CASES]
        .into_iter()
        .flatten()
}

/// Sends `response` to all requests that match.
fn respond(world: &World, matches: fn(&Request) -> bool, response: Response) {
    world.simulator.respond_with(usize::MAX, matches, response);
}

/// Returns whether a request to the control plane has `part` in its path.
fn requests(request: &Request, part: &str) -> bool {
    request.service == Service::ControlPlane && request.name().contains(part)
}

#[tokio::test]
async fn every_check_reports_what_it_observed_and_what_to_do() {
    for case in cases() {
        let name = case.name;
        let mut world = World::new(case.setting).await;
        (case.arrange)(&mut world);

        let report = world.preflight().await;

        assert_eq!(names(&report), CHECKS, "{name}");
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.name == case.check).unwrap();
        let finding = &check.finding;
        assert_eq!(finding.outcome, case.outcome, "{name}: {report:#?}");
        let observed = &finding.observed;
        assert!(observed.contains(case.observed), "{name}: {report:#?}");
        let requires_action = matches!(case.outcome, Warning | Failed);
        let has_remedy = finding.remedy.is_some();
        assert!(has_remedy || !requires_action, "{name}: {report:#?}");
        let may_be_unknown = ["create-permission", "quota", "brokers"].contains(&case.check);
        if requires_action || !may_be_unknown {
            assert!(report.verdict >= case.outcome, "{name}: {report:#?}");
        }
        let is_green = report.verdict < Unknown;
        let output = json!(report).to_string();
        assert!(
            !is_green || !output.contains("HTTP 403"),
            "{name}: {output}"
        );
    }
}

/// Returns the names of the checks that were run, and then of the others.
fn names(report: &Report) -> Vec<&str> {
    let run = report.checks.iter().map(|check| check.name);
    let not_run = report.not_run.iter().flat_map(|rest| &rest.checks);
    run.chain(not_run.map(String::as_str)).collect()
}

/// A condition, the verdict, the number of checks that are run, and why the others are not.
type Stopped = (fn(&mut World), Checked, usize, &'static str);

const STOPPED: [Stopped; 5] = [
    (
        |world| "orders/missing".clone_into(&mut world.arn),
        Failed,
        1,
        "they require `secret`",
    ),
    (
        |world| world.change_value(|value| value["resourceId"] = json!("lkx-orders")),
        Failed,
        7,
        "they require `key-type`",
    ),
    (
        keys::delete_current_key,
        Failed,
        13,
        "they require `current-key`",
    ),
    (
        |world| world.set_advertised_url(&world.simulator.unreachable_url()),
        Failed,
        15,
        "they require `endpoint`",
    ),
    (
        |world| world.set_variable("KEY_VERIFICATION", "control-plane"),
        Fine,
        13,
        "KEY_VERIFICATION=control-plane skips them",
    ),
];

#[tokio::test]
async fn one_reason_is_reported_for_all_checks_that_are_not_run() {
    for (arrange, verdict, run, reason) in STOPPED {
        let mut world = World::new(KAFKA_WITH_ADMIN_SECRET).await;
        arrange(&mut world);

        let (report, lines) = telemetry::logs::logged(async {
            let report = world.preflight().await;
            report.log();
            report
        })
        .await;

        assert_eq!(report.verdict, verdict, "{report:#?}");
        assert_eq!(names(&report), CHECKS, "{report:#?}");
        assert_eq!(report.checks.len(), run, "{report:#?}");
        let not_run = json!({"checks": CHECKS[run..], "reason": reason});
        assert_eq!(json!(report)["notRun"], not_run);
        let line = lines.iter().rfind(|line| is_report(line)).unwrap();
        let not_run = format!("{}: {reason}", CHECKS[run..].join(", "));
        assert_eq!(line["not_run"], not_run);
    }
}

#[tokio::test]
async fn a_preflight_of_a_resource_scoped_key_without_an_admin_secret_sends_no_request_to_confluent()
 {
    let world = World::new(SELF_ROTATION).await;

    let report = world.preflight().await;

    assert_eq!(report.verdict, Failed, "{report:#?}");
    assert_eq!(world.count(is_to_confluent), 0);
}

#[test]
fn every_check_has_a_case_for_each_of_its_outcomes() {
    let has = |check, outcome| cases().any(|case| case.check == check && case.outcome == outcome);
    for check in CHECKS {
        let outcomes = match check {
            "key-type" | "management-credentials" => &[Fine, Failed][..],
            "current-key" => &[Fine, Warning, Failed, Unknown],
            "orphaned-keys" => &[Fine, Warning],
            "rotation" | "old-key-policy" | "labels" | "value" | "key-copies" => {
                &[Fine, Warning, Failed]
            }
            "secret" | "control-plane-access" => &[Fine, Failed, Unknown],
            "create-permission" => &[NotVerifiable],
            "brokers" => &[Fine, NotVerifiable, Warning, Failed],
            _ => &[Fine, NotVerifiable, Unknown, Warning, Failed],
        };
        for outcome in outcomes {
            assert!(has(check, *outcome), "{check} {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_preflight_names_the_orphaned_keys_of_an_abandoned_rotation() {
    let world = World::new(Setting::default()).await;
    world.step("createSecret").await.unwrap();
    let orphan = world.key("AWSPENDING").unwrap();
    let in_progress = world.preflight().await;
    world.simulator.abandon_rotation(&world.arn);

    let abandoned = world.preflight().await;

    let found = |report: &Report| {
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.name == "orphaned-keys").unwrap();
        (check.finding.outcome, check.finding.observed.clone())
    };
    assert_eq!(
        found(&abandoned),
        (Warning, format!("{orphan} is orphaned"))
    );
    assert_eq!(found(&in_progress), (Fine, "no orphaned keys".to_owned()));
}

#[tokio::test]
async fn a_preflight_changes_nothing_and_prints_no_secret() {
    for case in cases() {
        let name = case.name;
        let mut world = World::new(case.setting).await;
        (case.arrange)(&mut world);
        world.requests();
        let before = keys_and_labels(&world);

        let (report, lines) = telemetry::logs::logged(world.preflight()).await;

        let output = format!("{report:?} {} {lines:?}", json!(report));
        assert!(!output.contains(simulator::CANARY), "{name}: {output}");
        assert_eq!(keys_and_labels(&world), before, "{name}");
        let changes = [
            "PutSecretValue",
            "UpdateSecretVersionStage",
            "POST /iam",
            "DELETE",
        ];
        let requests = world.requests();
        let is_change = |request: &&String| changes.iter().any(|change| request.contains(change));
        assert_eq!(requests.iter().find(is_change), None, "{name}");
    }
}

/// Returns all keys, and the staging labels of all secrets.
fn keys_and_labels(world: &World) -> impl PartialEq + Debug {
    let state = world.simulator.state();
    let keys: Vec<String> = state.keys.keys().cloned().collect();
    let labels = |secret: &simulator::Secret| format!("{:?}", secret.labels);
    let secrets: Vec<String> = state.secrets.values().map(labels).collect();
    (keys, secrets)
}

#[tokio::test]
async fn a_preflight_of_every_key_type_agrees_with_the_rotation() {
    for setting in key_types::possible_settings() {
        let world = faults::world(setting).await;

        let report = world.preflight().await;

        // No resource accepts an initial key before the key exists.
        let best = match setting.mode {
            Mode::InitialKey => NotVerifiable,
            Mode::Admin | Mode::SelfRotation | Mode::Keyless => Fine,
        };
        assert_eq!(report.verdict, best, "{setting:?}: {report:#?}");
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{setting:?}");
    }
}

#[tokio::test]
async fn a_preflight_requires_no_token_and_a_failed_check_is_not_an_error() {
    let mut world = World::new(Setting::default()).await;
    world.arn = "orders/missing".to_owned();

    let report = world.preflight().await;

    assert_eq!(report.verdict, Failed);
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!(report["secret"], "orders/missing");
    assert_eq!(report["verdict"], "failed");
    assert_eq!(report["checks"][0]["name"], "secret");
    assert_eq!(report["checks"][0]["outcome"], "failed");
    let observed = report["checks"][0]["observed"].as_str().unwrap();
    assert!(observed.contains("ResourceNotFoundException"), "{observed}");
    assert_eq!(report["checks"].as_array().unwrap().len(), 1);
    assert_eq!(report["notRun"]["checks"][0], "rotation");
}

#[tokio::test]
async fn a_test_of_the_configuration_logs_the_preflight_report() {
    for mode in [Mode::Admin, Mode::InitialKey] {
        let world = World::new(Setting {
            mode,
            ..Setting::default()
        })
        .await;
        world.change_value(|value| value["resourceId"] = json!("lkc-orders "));
        let invoke = async |event| {
            let outcome = world.invoke(event).await;
            outcome.map_err(|error| format!("{error:?}"))
        };

        let tested = world.simulator.test_configuration(&world.arn, &invoke);
        let (outcome, lines) = telemetry::logs::logged(tested).await;

        assert_eq!(outcome, Outcome::Succeeded, "{mode:?}");
        let mut reports = lines.iter().filter(|line| is_report(line));
        let report = reports.next().unwrap_or_else(|| panic!("{lines:#?}"));
        assert!(
            report["verdict"] == "warning" || mode == Mode::InitialKey,
            "{report}"
        );
        let mut warnings = lines.iter().filter(|line| line["check"] == "value");
        let warning = warnings.next().unwrap_or_else(|| panic!("{lines:#?}"));
        assert_eq!(warning["check_outcome"], "warning", "{mode:?}");
        let observed = warning["observed"].as_str().unwrap();
        assert!(observed.contains("resourceId"), "{mode:?}: {observed}");
        assert_eq!(warnings.count(), 0, "{mode:?}: {lines:#?}");
    }
}

fn is_report(line: &Value) -> bool {
    line["message"] == "preflight report"
}

#[tokio::test]
async fn a_rotation_logs_no_preflight_report() {
    let world = World::new(Setting::default()).await;

    let (_, lines) = telemetry::logs::logged(world.rotate()).await;

    assert!(!lines.iter().any(is_report));
}
