//! Cases of the checks of the secret, its value and the management credentials.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

const PARTIAL_ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a secret that exists",
        check: "secret",
        observed: "DescribeSecret succeeded",
        ..CASE
    },
    Case {
        name: "a secret in another Region",
        check: "secret",
        outcome: Failed,
        observed: "ResourceNotFoundException",
        arrange: |world| world.arn = world.arn.replace("us-east-1", "eu-west-1"),
        ..CASE
    },
    Case {
        name: "a secret that cannot be described at the moment",
        check: "secret",
        outcome: Unknown,
        observed: "Secrets Manager throttled DescribeSecret",
        arrange: |world| {
            let throttled = Response::aws_error(400, "ThrottlingException", "Rate exceeded");
            let describes = |request: &Request| request.name() == "DescribeSecret";
            respond(world, describes, throttled);
        },
        ..CASE
    },
    Case {
        name: "an enabled rotation",
        check: "rotation",
        observed: "rotation is enabled",
        ..CASE
    },
    Case {
        name: "a canceled rotation",
        check: "rotation",
        outcome: Warning,
        observed: "not enabled",
        arrange: |world| world.simulator.cancel_rotation(&world.arn),
        ..CASE
    },
    Case {
        name: "a replica",
        check: "rotation",
        outcome: Failed,
        observed: "is a replica (primary: eu-central-1)",
        arrange: |world| {
            let mut state = world.simulator.state();
            let secret = state.secret_mut(&world.arn);
            secret.primary_region = Some("eu-central-1".to_owned());
        },
        ..CASE
    },
    Case {
        name: "the policy delete",
        check: "old-key-policy",
        observed: "delete",
        ..CASE
    },
    Case {
        name: "an overlap that is shorter than the rotation interval",
        check: "old-key-policy",
        observed: "delete-after, 24 hours",
        arrange: |world| {
            world.set_variable("OLD_KEY_POLICY", "delete-after");
            set_interval(world, Duration::from_hours(25));
        },
        ..CASE
    },
    Case {
        name: "an overlap that is as long as the rotation interval",
        check: "old-key-policy",
        outcome: Warning,
        observed: "delete-after, 1 hour, which is not shorter than the rotation interval",
        arrange: |world| {
            world.set_variable("OLD_KEY_POLICY", "delete-after");
            world.set_tag("confluent-key-rotation:old-key-hours", "1");
            set_interval(world, Duration::from_hours(1));
        },
        ..CASE
    },
    Case {
        name: "an invalid resource tag",
        check: "old-key-policy",
        outcome: Failed,
        observed: "the resource tag confluent-key-rotation:old-key-policy of the secret must be one of: delete-after, delete, ",
        arrange: |world| world.set_tag("confluent-key-rotation:old-key-policy", "keep"),
        ..CASE
    },
    Case {
        name: "a current version",
        check: "labels",
        observed: "is labeled AWSCURRENT",
        ..CASE
    },
    Case {
        name: "a pending version",
        check: "labels",
        outcome: Warning,
        observed: "is labeled AWSPENDING",
        arrange: |world| {
            world.simulator.start_rotation(&world.arn);
        },
        ..CASE
    },
    Case {
        name: "no current version",
        check: "labels",
        outcome: Failed,
        observed: "no version",
        arrange: |world| {
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world.simulator.move_label(&world.arn, "AWSCURRENT", None);
        },
        ..CASE
    },
    Case {
        name: "a valid value",
        check: "value",
        observed: "valid",
        ..CASE
    },
    Case {
        name: "whitespace in a value",
        check: "value",
        outcome: Warning,
        observed: "`resourceId`",
        arrange: |world| world.change_value(|value| value["resourceId"] = json!(" lkc-orders")),
        ..CASE
    },
    Case {
        name: "a value that is not JSON",
        check: "value",
        outcome: Failed,
        observed: "not a JSON object",
        arrange: |world| {
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world.simulator.store_manually(&world.arn, "KEY:SECRET");
        },
        ..CASE
    },
    Case {
        name: "no copies of the key",
        check: "key-copies",
        observed: "stores the key in apiKey, apiSecret",
        ..CASE
    },
    Case {
        name: "a copy of the key",
        check: "key-copies",
        observed: "stores the key in apiKey, apiSecret, `username`",
        arrange: |world| {
            world.change_value(|value| value["username"] = value["apiKey"].clone());
        },
        ..CASE
    },
    Case {
        name: "the ID in a setting",
        check: "key-copies",
        outcome: Warning,
        observed: "is not replaced in `endpoint`",
        arrange: |world| {
            world.change_value(|value| {
                let endpoint = format!("https://{}.example", value["apiKey"].as_str().unwrap());
                value["endpoint"] = json!(endpoint);
            });
        },
        ..CASE
    },
    Case {
        name: "JAAS without quotation marks",
        check: "key-copies",
        outcome: Warning,
        observed: "in `jaas`, the API secret has no quotation marks",
        arrange: |world| {
            world.change_value(|value| {
                let (id, secret) = (
                    value["apiKey"].as_str().unwrap(),
                    value["apiSecret"].as_str().unwrap(),
                );
                value["jaas"] = json!(format!(
                    "PlainLoginModule required username={id} password={secret};"
                ));
            });
        },
        ..CASE
    },
    Case {
        name: "a placeholder in a value with a key",
        check: "key-copies",
        observed: "placeholders, which only an initial key replaces, in `jaas`",
        arrange: |world| {
            world.change_value(|value| value["jaas"] = json!("username=\"${apiKey}\""));
        },
        ..CASE
    },
    Case {
        name: "more copies than are listed",
        check: "key-copies",
        observed: "`copies/19`, and 5 more",
        arrange: |world| {
            world.change_value(|value| value["copies"] = vec![value["apiKey"].clone(); 25].into());
        },
        ..CASE
    },
    Case {
        name: "a copy in an encoding in which it cannot be replaced",
        check: "key-copies",
        outcome: Failed,
        observed: "cannot replace a current key in `html`",
        arrange: |world| {
            world.change_value(|value| {
                let secret = value["apiSecret"].as_str().unwrap().replace('/', "&#47;");
                value["html"] = json!(secret);
            });
        },
        ..CASE
    },
    Case {
        name: "a known key type",
        check: "key-type",
        observed: "key type kafka, resource lkc-orders",
        ..CASE
    },
    Case {
        name: "an unknown key type",
        check: "key-type",
        outcome: Failed,
        observed: "`resourceId`",
        arrange: |world| world.change_value(|value| value["resourceId"] = json!("lkx-orders")),
        ..CASE
    },
    Case {
        name: "an admin secret",
        check: "management-credentials",
        observed: "adminSecretArn or masterarn in the secret",
        ..CASE
    },
    Case {
        name: "self-rotation of a Cloud API key",
        check: "management-credentials",
        observed: "the secret's own key",
        setting: Setting {
            key_type: KeyType::Cloud,
            ..SELF_ROTATION
        },
        ..CASE
    },
    Case {
        name: "an admin secret with the key of the secret",
        check: "management-credentials",
        outcome: Failed,
        observed: "is also the key of the admin secret",
        setting: Setting {
            key_type: KeyType::Cloud,
            ..SELF_ROTATION
        },
        arrange: |world| {
            let key = world.simulator.state().secret(&world.arn).key("AWSCURRENT");
            let admin = world.simulator.add_admin_secret("same", &key.unwrap());
            world.change_value(|value| value["adminSecretArn"] = json!(admin));
        },
    },
    Case {
        name: "two admin secrets",
        check: "management-credentials",
        outcome: Failed,
        observed: "different admin secrets",
        arrange: |world| {
            let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf";
            world.set_variable("ADMIN_SECRET_ARN", arn);
        },
        ..CASE
    },
    Case {
        name: "an initial key without an admin secret",
        check: "management-credentials",
        outcome: Failed,
        observed: "neither another admin secret nor an identity pool",
        setting: INITIAL_KEY,
        arrange: |world| world.change_value(|value| value["adminSecretArn"] = Value::Null),
    },
    Case {
        name: "a Cloud API key as admin key",
        check: "control-plane-access",
        observed: "lists the keys of sa-orders",
        ..CASE
    },
    Case {
        name: "a resource-scoped API key as admin key",
        check: "control-plane-access",
        outcome: Failed,
        observed: "Cluster API Key",
        arrange: |world| {
            let resource = Some("lkc-orders");
            let key = world.simulator.add_key(ADMIN, resource, Some(ENVIRONMENT));
            let admin = world.simulator.add_admin_secret("scoped", &key);
            world.change_value(|value| value["adminSecretArn"] = json!(admin));
        },
        ..CASE
    },
    Case {
        name: "self-rotation of a resource-scoped API key",
        check: "management-credentials",
        outcome: Failed,
        observed: "is a resource-scoped API key (kafka)",
        setting: SELF_ROTATION,
        ..CASE
    },
    Case {
        name: "self-rotation of a Global API key",
        check: "management-credentials",
        observed: "Confluent does not document whether a Global API key can manage keys",
        setting: Setting {
            key_type: KeyType::Global,
            ..SELF_ROTATION
        },
        ..CASE
    },
    Case {
        name: "a partial ARN of an admin secret in the secret value",
        check: "value",
        outcome: Failed,
        observed: "the six random characters",
        arrange: |world| {
            world.change_value(|value| value["adminSecretArn"] = json!(PARTIAL_ARN));
        },
        ..CASE
    },
    Case {
        name: "a partial ARN of an admin secret in the rotation metadata",
        check: "management-credentials",
        outcome: Failed,
        observed: "the six random characters",
        arrange: |world| {
            let mut state = world.simulator.state();
            state.secret_mut(&world.arn).admin_secret_arn = Some(PARTIAL_ARN.to_owned());
        },
        ..CASE
    },
    Case {
        name: "a list that is denied because the key has another owner",
        check: "control-plane-access",
        outcome: Failed,
        observed: "it is a key of sa-orders",
        arrange: |world| {
            world.change_value(|value| value["serviceAccountId"] = json!("sa-order"));
            respond(world, lists_keys, Response::confluent_forbidden());
        },
        ..CASE
    },
    Case {
        name: "a control plane that fails",
        check: "control-plane-access",
        outcome: Unknown,
        observed: "503",
        arrange: |world| respond(world, lists_keys, Response::empty(503)),
        ..CASE
    },
    Case {
        name: "any credentials that can list keys",
        check: "create-permission",
        outcome: NotVerifiable,
        observed: "only a rotation shows it",
        ..CASE
    },
];

/// Sets the dates of the last and the next rotation.
fn set_interval(world: &World, interval: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut state = world.simulator.state();
    let secret = state.secret_mut(&world.arn);
    secret.last_rotated = Some(now.as_secs_f64());
    secret.next_rotation = Some((now + interval).as_secs_f64());
}
