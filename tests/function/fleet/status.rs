//! `status`, and the candidates of retire: what the function concludes from `ListSecrets`.

use super::*;

/// Changes of a secret that a list of secrets shows, and the findings.
struct Case {
    name: &'static str,
    arrange: fn(&World),
    findings: &'static [&'static str],
    /// Whether retire of the fleet processes the secret.
    is_candidate: bool,
}

/// Sets the rules of the rotation and the age of `NextRotationDate`.
fn set_next(world: &World, rules: Value, age: f64) {
    set_dates(world, age, &[NEXT]);
    let mut state = world.simulator.state();
    state.secret_mut(&world.arn).attributes.rotation_rules = Some(rules);
}

fn start_rotation(world: &World) {
    world.simulator.start_rotation(&world.arn);
}

const CASES: &[Case] = &[
    Case {
        name: "rotated recently",
        arrange: |_| {},
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "in the window",
        arrange: |world| set_next(world, json!({"AutomaticallyAfterDays": 30}), DAY),
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "an hour after the window of a day",
        arrange: |world| {
            set_next(
                world,
                json!({"AutomaticallyAfterDays": 30}),
                DAY + HOUR + 1.0,
            );
        },
        findings: &["overdue"],
        is_candidate: false,
    },
    Case {
        name: "less than an hour after a window of three hours",
        arrange: |world| {
            let rules = json!({"ScheduleExpression": "rate(10 days)", "Duration": "3h"});
            set_next(world, rules, 4.0 * HOUR - MINUTE);
        },
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "an hour after a window of three hours",
        arrange: |world| {
            let rules = json!({"ScheduleExpression": "rate(10 days)", "Duration": "3h"});
            set_next(world, rules, 4.0 * HOUR + 1.0);
        },
        findings: &["overdue"],
        is_candidate: false,
    },
    Case {
        name: "an hour after a window of a schedule in hours",
        arrange: |world| {
            let rules = json!({"ScheduleExpression": "rate(4 hours)"});
            set_next(world, rules, 2.0 * HOUR + 1.0);
        },
        findings: &["overdue"],
        is_candidate: false,
    },
    Case {
        name: "created yesterday and never rotated",
        arrange: |world| {
            set_dates(world, DAY + 1.0, &[CREATED, CHANGED]);
            world.simulator.state().secret_mut(&world.arn).last_rotated = None;
        },
        findings: &["never-rotated"],
        is_candidate: false,
    },
    Case {
        name: "created today and never rotated",
        arrange: |world| {
            set_dates(world, DAY - MINUTE, &[CREATED, CHANGED]);
            world.simulator.state().secret_mut(&world.arn).last_rotated = None;
        },
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "canceled",
        arrange: |world| world.simulator.cancel_rotation(&world.arn),
        findings: &["rotation-disabled"],
        is_candidate: false,
    },
    Case {
        name: "canceled and due",
        arrange: |world| {
            world.simulator.cancel_rotation(&world.arn);
            set_dates(world, DAY + 1.0, &[CHANGED, ROTATED]);
        },
        findings: &["rotation-disabled"],
        is_candidate: false,
    },
    Case {
        name: "canceled, never rotated, and after its window",
        arrange: |world| {
            set_dates(world, 3.0 * DAY, &[CREATED, CHANGED, NEXT]);
            let mut state = world.simulator.state();
            let secret = state.secret_mut(&world.arn);
            secret.last_rotated = None;
            secret.rotation_enabled = Some(false);
        },
        findings: &["rotation-disabled"],
        is_candidate: false,
    },
    Case {
        name: "pending for a day",
        arrange: |world| {
            start_rotation(world);
            set_dates(world, DAY + 1.0, &[CHANGED, ROTATED]);
        },
        findings: &["stuck"],
        is_candidate: false,
    },
    Case {
        name: "pending for less than a day",
        arrange: |world| {
            start_rotation(world);
            set_dates(world, DAY - MINUTE, &[CHANGED]);
        },
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "AWSPENDING on the current version",
        arrange: |world| {
            let current = world.version("AWSCURRENT");
            world
                .simulator
                .move_label(&world.arn, "AWSPENDING", current.as_deref());
            set_dates(world, 2.0 * DAY, &[CHANGED, ROTATED]);
        },
        findings: &[],
        is_candidate: true,
    },
    Case {
        name: "not due yet",
        arrange: |world| set_dates(world, DAY - MINUTE, &[CHANGED, ROTATED]),
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "due by one date",
        arrange: |world| set_dates(world, DAY + 1.0, &[CHANGED]),
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "due",
        arrange: |world| set_dates(world, DAY + 1.0, &[CHANGED, ROTATED]),
        findings: &[],
        is_candidate: true,
    },
    Case {
        name: "due for almost 48 hours",
        arrange: |world| set_dates(world, 3.0 * DAY - MINUTE, &[CHANGED, ROTATED]),
        findings: &[],
        is_candidate: true,
    },
    Case {
        name: "due for 48 hours",
        arrange: |world| set_dates(world, 3.0 * DAY + 1.0, &[CHANGED, ROTATED]),
        findings: &["previous-key-overdue"],
        is_candidate: false,
    },
    Case {
        name: "due without AWSPREVIOUS",
        arrange: |world| {
            world.simulator.move_label(&world.arn, "AWSPREVIOUS", None);
            set_dates(world, DAY + 1.0, &[CHANGED, ROTATED]);
        },
        findings: &[],
        is_candidate: true,
    },
    Case {
        name: "due for 48 hours without AWSPREVIOUS",
        arrange: |world| {
            world.simulator.move_label(&world.arn, "AWSPREVIOUS", None);
            set_dates(world, 3.0 * DAY + 1.0, &[CHANGED, ROTATED]);
        },
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "due under another policy",
        arrange: |world| {
            world.set_tag("confluent-key-rotation:old-key-policy", "delete");
            set_dates(world, 3.0 * DAY + 1.0, &[CHANGED, ROTATED]);
        },
        findings: &[],
        is_candidate: false,
    },
    Case {
        name: "due after more hours",
        arrange: |world| {
            world.set_tag("confluent-key-rotation:old-key-hours", "48");
            set_dates(world, 2.0 * DAY + 1.0, &[CHANGED, ROTATED]);
        },
        findings: &[],
        is_candidate: true,
    },
    Case {
        name: "an invalid resource tag",
        arrange: |world| {
            world.set_tag("confluent-key-rotation:old-key-policy", "keep");
            set_dates(world, 3.0 * DAY + 1.0, &[CHANGED, ROTATED]);
        },
        findings: &["invalid-policy-tag"],
        is_candidate: false,
    },
    Case {
        name: "several findings",
        arrange: |world| {
            start_rotation(world);
            set_dates(world, 4.0 * DAY, &[CHANGED, ROTATED, NEXT]);
        },
        findings: &["overdue", "stuck", "previous-key-overdue"],
        is_candidate: false,
    },
];

impl World {
    /// Requests the status of the fleet.
    pub(super) async fn status(&self) -> Value {
        let response = self
            .handle(json!({"Step": "status"}), self.time_limit)
            .await;
        json!(response.unwrap())
    }
}

async fn rotated() -> World {
    let world = World::new(DELETE_AFTER).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    // Not due by any date.
    set_dates(&world, -30.0 * DAY, &[NEXT]);
    set_dates(&world, DAY, &[CREATED]);
    world.requests();
    world
}

#[tokio::test]
async fn a_secret_is_reported_with_its_findings() {
    for case in CASES {
        let world = rotated().await;
        (case.arrange)(&world);

        let status = world.status().await;

        let secrets = status["secrets"].as_array().unwrap();
        assert_eq!(secrets.len(), 1, "{}: {status}", case.name);
        let expected = if case.findings.is_empty() {
            Value::Null
        } else {
            json!(case.findings)
        };
        assert_eq!(secrets[0]["findings"], expected, "{}: {status}", case.name);
        for (finding, count) in status["findings"].as_object().unwrap() {
            let is_found = case.findings.contains(&finding.as_str());
            assert_eq!(
                *count,
                json!(u8::from(is_found)),
                "{}: {finding}",
                case.name
            );
        }
        assert_eq!(world.requests(), ["ListSecrets"], "{}", case.name);
    }
}

#[tokio::test]
async fn retire_processes_the_secrets_that_are_due() {
    for case in CASES {
        let world = rotated().await;
        (case.arrange)(&world);

        let (outcome, lines) =
            telemetry::logs::logged(world.invoke(json!({"Step": "retire"}))).await;

        outcome.unwrap();
        let described = world.count(is_operation("DescribeSecret")) > 0;
        assert_eq!(described, case.is_candidate, "{}", case.name);
        let with_findings: Vec<&str> = lines
            .iter()
            .filter(|line| line["message"] == "secret with findings")
            .filter_map(|line| line["findings"].as_str())
            .collect();
        let expected = match case.findings {
            [] => vec![],
            findings => vec![findings.join(", ")],
        };
        assert_eq!(with_findings, expected, "{}", case.name);
        let metrics = lines.iter().find(|line| line["_aws"].is_object()).unwrap();
        let is_found = |finding| u8::from(case.findings.contains(&finding));
        assert_eq!(metrics["SecretsManaged"], 1, "{}", case.name);
        assert_eq!(
            metrics["RotationsOverdue"],
            is_found("overdue"),
            "{}",
            case.name
        );
        assert_eq!(
            metrics["RotationsStuck"],
            is_found("stuck"),
            "{}",
            case.name
        );
        let overdue = is_found("previous-key-overdue");
        assert_eq!(metrics["PreviousKeysOverdue"], overdue, "{}", case.name);
    }
}

#[tokio::test]
async fn a_line_contains_dates_policy_and_labels() {
    let world = rotated().await;
    world.set_tag("confluent-key-rotation:old-key-hours", "36");
    let version = world.version("AWSPREVIOUS");
    world
        .simulator
        .move_label(&world.arn, "BLUE", version.as_deref());
    {
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&world.arn);
        secret.last_rotated = Some(1_767_225_600.0);
        secret.next_rotation = Some(4_102_444_799.0);
    }

    let status = world.status().await;

    let line = json!({
        "secret": "orders/kafka",
        "lastRotated": "2026-01-01T00:00:00Z",
        "nextRotation": "2099-12-31T23:59:59Z",
        "policy": "delete-after",
        "hours": 36,
        "labels": [["AWSCURRENT"], ["AWSPREVIOUS", "BLUE"]],
    });
    assert_eq!(status["secrets"], json!([line]));
    assert_eq!(status["total"], 1);
    assert_eq!(status["truncated"], 0);
}

#[tokio::test]
async fn a_line_without_findings_has_at_most_250_bytes() {
    let world = rotated().await;
    let name = "n".repeat(512);
    let version = world.version("AWSCURRENT").unwrap();
    {
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&world.arn);
        secret.name.clone_from(&name);
        for label in 0..10 {
            let label = format!("{label}{}", "l".repeat(200));
            secret.labels.insert(label, version.clone());
        }
    }

    let status = world.status().await;

    let line = &status["secrets"][0];
    assert!(line.to_string().len() <= 250, "{line}");
    assert_eq!(line["labels"], json!([["AWSCURRENT"], ["AWSPREVIOUS"]]));
    let shortened = line["secret"]
        .as_str()
        .unwrap()
        .strip_suffix("...")
        .unwrap();
    assert!(
        name.starts_with(shortened) && shortened.len() > 50,
        "{line}"
    );
}

#[tokio::test]
async fn only_secrets_that_name_the_function_are_reported() {
    let world = rotated().await;
    let value = world.value("AWSCURRENT").to_string();
    let add = |name: &str, function: Option<&str>| {
        let arn = world.simulator.add_secret(name, &value);
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&arn);
        secret.current_key_guarantee = CurrentKeyGuarantee::Off;
        secret.attributes.rotation_lambda_arn = function.map(str::to_owned);
    };
    add("a/qualified", Some(&format!("{FUNCTION_ARN}:live")));
    add("b/other", Some(&format!("{FUNCTION_ARN}2")));
    add(
        "c/other-region",
        Some(&FUNCTION_ARN.replace("us-east-1", "eu-west-1")),
    );

    let status = world.status().await;

    let secrets = status["secrets"].as_array().unwrap();
    let names: Vec<&Value> = secrets.iter().map(|line| &line["secret"]).collect();
    assert_eq!(names, ["a/qualified", "orders/kafka"]);
}

#[tokio::test]
async fn without_permission_to_list_secrets_the_error_names_the_parameter() {
    for event in [
        json!({"Step": "status"}),
        json!({"Step": "retire"}),
        json!({"Step": "preflight", "All": true}),
    ] {
        let world = rotated().await;
        let denied = Response::aws_access_denied("ListSecrets");
        world
            .simulator
            .respond_with(usize::MAX, is_operation("ListSecrets"), denied);

        let error = world.invoke(event).await.unwrap_err();

        let message = error.error_message;
        assert!(message.contains("RetireSchedule"), "{message}");
        assert!(!message.contains("SecretPrefixes"), "{message}");
    }
}
