//! Generated events: parsed or rejected, and never quoted.

use confluent_key_rotation::event::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use simulator::CANARY;

use super::*;
use crate::generated::{assert_no_canary, for_each};

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        Just(json!(CANARY)),
        Just(json!("")),
        Just(json!([CANARY])),
        Just(json!({"Step": CANARY})),
        "\\PC{0,70}".prop_map(|string| json!(format!("{CANARY}{string}"))),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    let mostly = |valid: BoxedStrategy<Value>| prop_oneof![4 => valid, 1 => any_value()];
    let steps = [
        "createSecret",
        "set_secret",
        "testSecret",
        "finish_secret",
        "CreateSecret",
    ];
    let step = select(steps.to_vec()).prop_map(Value::from);
    let token = "[!-~]{31,65}".prop_map(Value::from);
    let fields = vec![
        ("Step", mostly(step.boxed())),
        ("SecretId", mostly(Just(json!("arn:secret")).boxed())),
        ("ClientRequestToken", mostly(token.boxed())),
        ("RotationToken", mostly(Just(json!(CANARY)).boxed())),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| (Just(name), value))
        .collect();
    let object = (fields, vec(any::<bool>(), 4), any_value()).prop_map(|(fields, absent, more)| {
        let fields = absent.iter().zip(fields);
        let present = fields.filter(|(absent, (name, _))| !**absent || *name == "Step");
        let mut event: serde_json::Map<_, _> = present
            .map(|(_, (name, value))| (name.to_owned(), value))
            .collect();
        event.insert("More".to_owned(), more);
        Value::Object(event)
    });
    let valid = (select(steps[..4].to_vec()), "[!-~]{32,64}");
    let valid = valid.prop_map(|(step, token)| {
        json!({"Step": step, "SecretId": "arn:secret", "ClientRequestToken": token, "RotationToken": CANARY})
    });
    prop_oneof![6 => object, 3 => valid, 1 => any_value()]
}

/// Returns whether a payload is a valid event, by a second implementation of the rule.
fn is_event(payload: &Value) -> bool {
    let string = |name: &str| {
        payload
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let steps = ["create", "set", "test", "finish"];
    let is_step = steps.iter().any(|step| {
        let name = string("Step");
        name == format!("{step}Secret") || name == format!("{step}_secret")
    });
    let token = string("ClientRequestToken").as_bytes();
    let rotation_token = &payload["RotationToken"];
    is_step
        && !string("SecretId").is_empty()
        && token.len() >= 32
        && token.len() <= 64
        && token.iter().all(|byte| (b'!'..=b'~').contains(byte))
        && (rotation_token.is_null() || rotation_token.is_string())
}

#[test]
fn an_event_is_parsed_or_rejected_and_never_quoted() {
    for_each(event(), |payload| {
        let parsed = Event::parse(&payload);

        assert_eq!(parsed.is_ok(), is_event(&payload), "{payload}");
        match parsed {
            Ok(event) => {
                let (secret, token) = (event.secret_id.as_str(), event.token.as_str());
                assert_eq!(payload["SecretId"], secret);
                assert_eq!(payload["ClientRequestToken"], token);
                let output = format!("{event:?}").replace(&format!("{secret:?}"), "");
                assert_no_canary(&output.replace(&format!("{token:?}"), ""), &payload);
            }
            Err(error) => assert_no_canary(&format!("{error} {error:?}"), &payload),
        }
    });
}
