//! The preflight of many secrets: one line per secret, and an overall verdict.

use std::collections::BTreeMap;

use super::retire::{add_rotated_secrets, previous_key};
use super::*;
use crate::telemetry::leaks::{CapturedLog, assert_no_secret};

/// Requests the preflight of many secrets.
async fn preflight(world: &World, fields: Value, time_limit: Duration) -> Value {
    let mut event = fields;
    event["Step"] = json!("preflight");
    json!(world.handle(event, time_limit).await.unwrap())
}

#[tokio::test]
async fn each_secret_has_a_line_and_the_worst_verdict_is_reported() {
    let world = World::new(DELETE_AFTER).await;
    let arns = add_rotated_secrets(&world, 3).await;
    world.simulator.cancel_rotation(&arns[1]);
    let fleet = json!({"All": true});
    let named = json!({"SecretIds": [arns[0], arns[1], "missing"]});

    let all = preflight(&world, fleet, AMPLE).await;
    let named = preflight(&world, named, AMPLE).await;

    let verdicts = |report: &Value| {
        let lines = report["secrets"].as_array().unwrap().iter();
        let verdict = |line: &Value| (line["secret"].clone(), line["verdict"].clone());
        lines.map(verdict).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = [
        (&arns[0], "ok"),
        (&arns[1], "warning"),
        (&arns[2], "ok"),
        (&world.arn, "ok"),
    ]
    .map(|(arn, verdict)| (json!(arn), json!(verdict)))
    .to_vec();
    expected.sort_by_key(|(arn, _)| arn.to_string());
    assert_eq!(verdicts(&all), expected, "{all:#}");
    assert_eq!(all["verdict"], "warning");
    assert_eq!(
        (&all["notChecked"], &all["truncated"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(named["verdict"], "failed");
    assert_eq!(verdicts(&named).len(), 3, "{named:#}");
    let lines = named["secrets"].as_array().unwrap();
    let missing = lines
        .iter()
        .find(|line| line["secret"] == "missing")
        .unwrap();
    assert_eq!(missing["checks"][0]["name"], "secret");
    assert_eq!(missing["checks"][0]["outcome"], "failed");
    let ok = lines
        .iter()
        .find(|line| line["secret"] == json!(arns[0]))
        .unwrap();
    assert!(ok["checks"].is_null(), "{ok}");
}

#[tokio::test]
async fn the_verdict_is_incomplete_if_no_time_is_left_for_a_secret() {
    let world = World::new(DELETE_AFTER).await;
    let named = json!({"SecretIds": [world.arn, "missing"]});

    // A second of every invocation is reserved.
    let report = preflight(&world, named, Duration::from_secs(1)).await;

    assert_eq!(report["verdict"], "incomplete", "{report:#}");
    assert_eq!(report["secrets"], json!([]));
    assert_eq!(report["notChecked"], json!([world.arn, "missing"]));
}

/// The names of secrets that were not checked use the response, too.
#[test]
fn the_report_on_many_long_names_fits_into_a_response() {
    large::alone(async || {
        let mut world = World::new(DELETE_AFTER).await;
        // The simulator needs time for a page of so many secrets.
        world.function.sdk_limits.attempt = AMPLE;
        for nth in 0..13_000 {
            let arn = world.simulator.add_secret(&format!("{nth:0>500}"), "{}");
            let mut state = world.simulator.state();
            state.secret_mut(&arn).current_key_guarantee = CurrentKeyGuarantee::Off;
        }
        let event = json!({"Step": "preflight", "All": true});
        // Enough for the list, and little for the secrets.
        let report = json!(world.handle(event, Duration::from_secs(20)).await.unwrap());

        let size = report.to_string().len();
        assert!(report["truncated"].as_u64().unwrap() > 0, "{size}");
        assert!(size < 6 << 20, "{size}");
    });
}

/// No secret value is logged or returned, and each line about a key names the key's secret.
#[tokio::test]
async fn concurrent_secrets_log_no_secret_and_each_line_names_its_secret() {
    let world = World::new(DELETE_AFTER).await;
    let arns = add_rotated_secrets(&world, 16).await;
    world.simulator.pass(OVERLAP);
    // Some fail, some are kept, some cannot be read.
    let previous = |nth: usize| previous_key(&world, &arns[nth]);
    let owner_of: BTreeMap<String, String> = (0..arns.len())
        .map(|nth| (previous(nth), arns[nth].clone()))
        .collect();
    world.simulator.make_undeletable(&previous(2), 500);
    world.simulator.make_undeletable(&previous(5), 403);
    world.simulator.deny_decryption(&arns[7], "AWSPREVIOUS");
    world.simulator.deny_decryption(&arns[9], "AWSCURRENT");
    let log = CapturedLog::start();
    let mut responses = Vec::new();
    for event in [
        json!({"Step": "preflight", "All": true}),
        json!({"Step": "status"}),
        json!({"Step": "retire"}),
    ] {
        let response = Box::pin(world.handle(event, AMPLE)).await;
        responses
            .push(response.map_or_else(|error| format!("{error:?}"), |r| json!(r).to_string()));
    }

    let output = log.output();
    assert_no_secret(&world.simulator, &output, "log");
    assert_no_secret(&world.simulator, &responses.join(" "), "responses");
    let mut about = 0;
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["step"] != "retire" && line["step"] != "preflight" {
            continue;
        }
        for (key, arn) in &owner_of {
            if line.to_string().contains(key.as_str()) {
                about += 1;
                assert_eq!(line["secret_id"], json!(arn), "{line:#}");
            }
        }
    }
    assert!(about > 10, "{about}: {responses:#?}\n{output}");
}
