//! The preflight report of a secret with several keys has a line per key.

use confluent_key_rotation::preflight::{Outcome as Checked, Report};

use super::*;

const CHECKS_OF_KEYS: [&str; 7] = [
    "key-type",
    "current-key",
    "quota",
    "orphaned-keys",
    "endpoint",
    "brokers",
    "data-plane",
];

fn keys_of<'r>(report: &'r Report, name: &str) -> Vec<(Option<&'r str>, Checked)> {
    let checks = report.checks.iter().filter(|check| check.name == name);
    checks
        .map(|check| (check.key.as_deref(), check.finding.outcome))
        .collect()
}

#[tokio::test]
async fn each_check_of_a_key_has_a_line_per_key() {
    let world = World::new(TWO_KEYS).await;

    let report = world.preflight().await;

    assert_eq!(report.verdict, Checked::Ok, "{report:#?}");
    for check in &report.checks {
        let keys = keys_of(&report, check.name);
        let expected = if CHECKS_OF_KEYS.contains(&check.name) {
            vec![Some("apiKey"), Some(REGISTRY_KEY)]
        } else {
            vec![None]
        };
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected, "{}", check.name);
    }
    assert!(report.not_run.is_none(), "{report:#?}");
    let types = report
        .checks
        .iter()
        .filter(|check| check.name == "key-type");
    let types: Vec<&str> = types.map(|check| check.finding.observed.as_str()).collect();
    assert_eq!(
        types,
        [
            "key type kafka, resource lkc-orders",
            "key type schema-registry, resource lsrc-further"
        ]
    );
}

#[tokio::test]
async fn the_report_of_one_key_does_not_name_it() {
    let world = World::new(Setting::default()).await;

    let report = serde_json::to_value(world.preflight().await).unwrap();

    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check.get("key").is_none()));
}

#[tokio::test]
async fn a_key_that_was_deleted_does_not_stop_the_checks_of_the_other_one() {
    for (nth, field) in ["apiKey", REGISTRY_KEY].into_iter().enumerate() {
        let world = World::new(TWO_KEYS).await;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world
            .simulator
            .delete_key_manually(&world.initial_keys[nth]);

        let report = world.preflight().await;

        assert_eq!(report.verdict, Checked::Failed, "{report:#?}");
        let other = ["apiKey", REGISTRY_KEY][1 - nth];
        let found = keys_of(&report, "current-key");
        assert!(found.contains(&(Some(field), Checked::Failed)), "{found:?}");
        assert!(found.contains(&(Some(other), Checked::Ok)), "{found:?}");
        assert_eq!(keys_of(&report, "data-plane"), [(Some(other), Checked::Ok)]);
        let mut failed = report.checks.iter();
        let failed = failed.find(|check| check.finding.outcome == Checked::Failed);
        let remedy = failed.unwrap().finding.remedy.as_deref().unwrap();
        assert!(
            remedy.starts_with(&format!("Correct {field} and ")),
            "{remedy}"
        );
        let not_run = report.not_run.expect("the checks of the deleted key");
        let expected = ["endpoint", "brokers", "data-plane"];
        let expected = expected.map(|name| format!("{name} ({field})"));
        assert_eq!(not_run.checks, expected);
        assert_eq!(not_run.reason, "they require `current-key`");
    }
}

#[tokio::test]
async fn the_copies_of_each_key_are_listed() {
    let world = World::new(TWO_KEYS).await;
    let registry = world.registry_key("AWSCURRENT");
    let id = world.initial_key.clone();
    world.change_value(|value| {
        value["user"] = json!(id);
        value["registry"] = json!({"user": registry});
    });

    let report = world.preflight().await;

    let mut checks = report.checks.iter();
    let copies = checks.find(|check| check.name == "key-copies").unwrap();
    let observed = &copies.finding.observed;
    for expected in [
        "in apiKey, apiSecret, `user`",
        "in schemaRegistryApiKey, schemaRegistryApiSecret, `registry/user`",
    ] {
        assert!(observed.contains(expected), "{observed}");
    }
}

#[tokio::test]
async fn an_unknown_resource_id_is_named() {
    let world = World::new(TWO_KEYS).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|value| value[REGISTRY_ID] = json!("pkc-1"));

    let report = world.preflight().await;
    let error = world.step_error("createSecret", "unknown").await;

    let found = keys_of(&report, "key-type");
    let expected = [
        (Some("apiKey"), Checked::Ok),
        (Some(REGISTRY_KEY), Checked::Failed),
    ];
    assert_eq!(found, expected);
    assert_eq!(error.error_type, "UnknownResource");
    assert!(
        error.error_message.contains("`schemaRegistryResourceId`"),
        "{error:?}"
    );
    assert_eq!(world.count(creates_a_key), 0);
}
