//! Events: a step of a rotation from Secrets Manager, or another job from an operator or a schedule.
//!
//! The payload contains the `RotationToken`, so no error quotes it.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::error::Error;
use crate::http::Redacted;

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Creates a key and stores it as `AWSPENDING`.
    Create,
    /// Does nothing: creating a Confluent Cloud API key also activates it.
    Set,
    /// Verifies the pending key.
    Test,
    /// Promotes the pending version and deletes the previous key if the policy allows.
    Finish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "createSecret",
            Self::Set => "setSecret",
            Self::Test => "testSecret",
            Self::Finish => "finishSecret",
        })
    }
}

/// A parsed payload.
#[derive(Clone, Debug)]
pub enum Request {
    /// A step of a rotation.
    Step(Event),
    /// A report of everything that a rotation of the secret requires. It changes nothing.
    Preflight {
        /// The secret's ARN or name.
        secret_id: String,
    },
    /// A preflight of many secrets.
    PreflightMany(SecretSelection),
    /// A report of the fleet. It changes nothing.
    Status,
    /// The deletion of the previous and orphaned keys of secrets whose previous key is due under the policy `delete-after`.
    Retire(SecretSelection),
}

/// The secrets that an event selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSelection {
    /// The fleet: all secrets that name the function as their rotation function.
    All,
    /// The secrets with these ARNs or names, without duplicates.
    Ids(Vec<String>),
}

/// The values of `Step` that request a job other than a step of a rotation.
const PREFLIGHT: &str = "preflight";
const STATUS: &str = "status";
const RETIRE: &str = "retire";

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(event) => event.step.fmt(f),
            Self::Preflight { .. } | Self::PreflightMany(_) => f.write_str(PREFLIGHT),
            Self::Status => f.write_str(STATUS),
            Self::Retire(_) => f.write_str(RETIRE),
        }
    }
}

impl Request {
    /// Parses a payload. The error names the field and never quotes its value.
    pub fn parse(payload: &Value) -> Result<Self, Error> {
        match payload.get("Step").and_then(Value::as_str) {
            Some(PREFLIGHT) => preflight(payload),
            Some(STATUS) => check_fields(payload, STATUS, &[]).map(|()| Self::Status),
            Some(RETIRE) => {
                check_fields(payload, RETIRE, &["SecretIds"])?;
                let ids = payload.get("SecretIds");
                let ids = ids.map(|ids| secret_ids(ids, RETIRE)).transpose()?;
                Ok(Self::Retire(
                    ids.map_or(SecretSelection::All, SecretSelection::Ids),
                ))
            }
            _ => Event::parse(payload).map(Self::Step),
        }
    }
}

/// Parses a preflight, which names its secrets in exactly one way.
fn preflight(payload: &Value) -> Result<Request, Error> {
    let invalid = |problem: &str| Err(Error::invalid_event(PREFLIGHT, problem));
    match ["SecretId", "SecretIds", "All"].map(|field| payload.get(field)) {
        [None, None, Some(Value::Bool(true))] => Ok(Request::PreflightMany(SecretSelection::All)),
        [None, None, Some(_)] => invalid("has an invalid All: it must be true"),
        [None, Some(ids), None] => {
            let ids = secret_ids(ids, PREFLIGHT)?;
            Ok(Request::PreflightMany(SecretSelection::Ids(ids)))
        }
        [_, None, None] => match optional(payload, "SecretId") {
            Ok(Some(secret_id)) => Ok(Request::Preflight { secret_id }),
            _ => invalid("has no valid SecretId"),
        },
        _ => invalid("has more than one of SecretId, SecretIds and All"),
    }
}

/// Checks that an event has only known fields. Any other, such as a number of hours, would have no effect.
fn check_fields(payload: &Value, event: &'static str, known: &[&str]) -> Result<(), Error> {
    let fields = payload.as_object().into_iter().flatten();
    let mut names = fields.map(|(name, _)| name.as_str());
    if names.all(|name| name == "Step" || known.contains(&name)) {
        return Ok(());
    }
    let known = [&["Step"], known].concat().join(" and ");
    let problem = format!("has a field other than {known}");
    Err(Error::invalid_event(event, problem))
}

/// Parses `SecretIds`. Returns the IDs without duplicates.
fn secret_ids(ids: &Value, event: &'static str) -> Result<Vec<String>, Error> {
    let id = |id: &Value| Some(id.as_str().filter(|id| !id.is_empty())?.to_owned());
    let named = ids.as_array().filter(|ids| !ids.is_empty());
    let named = named.and_then(|ids| ids.iter().map(id).collect::<Option<Vec<_>>>());
    let Some(named) = named else {
        let problem = "has an invalid SecretIds: it must be a non-empty list of ARNs or names";
        return Err(Error::invalid_event(event, problem));
    };
    let mut known = BTreeSet::new();
    let is_new = |id: &String| known.insert(id.clone());
    Ok(named.into_iter().filter(is_new).collect())
}

/// An event of a rotation.
#[derive(Clone, Debug)]
pub struct Event {
    /// The step.
    pub step: Step,
    /// The secret's ARN, or its name in a test event.
    pub secret_id: String,
    /// `ClientRequestToken`: the ID of the version that the rotation creates.
    pub token: String,
    /// `RotationToken`, which Secrets Manager uses to validate the identity of the function's role. Test events have none.
    pub rotation_token: Option<Redacted>,
}

impl Event {
    /// Parses an event. Secrets Manager sends step names in camel case. One page of its documentation has them in snake case.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda.html>
    pub fn parse(payload: &Value) -> Result<Self, Error> {
        if !payload.is_object() {
            return invalid("is not a JSON object");
        }
        let step = step(&required(payload, "Step")?)?;
        let token = required(payload, "ClientRequestToken")?;
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
        if !(32..=64).contains(&token.len()) || !token.chars().all(|c| c.is_ascii_graphic()) {
            return invalid(
                "has an invalid ClientRequestToken: it must have 32 to 64 printable ASCII characters",
            );
        }
        Ok(Self {
            step,
            secret_id: required(payload, "SecretId")?,
            token,
            rotation_token: optional(payload, "RotationToken")?.map(Redacted::new),
        })
    }
}

fn invalid<T>(problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::invalid_event("", problem))
}

fn optional(payload: &Value, field: &'static str) -> Result<Option<String>, Error> {
    match payload.get(field) {
        Some(Value::String(value)) if !value.is_empty() => Ok(Some(value.clone())),
        None | Some(Value::Null | Value::String(_)) => Ok(None),
        Some(_) => invalid(format!("has an invalid {field}: it must be a string")),
    }
}

fn required(payload: &Value, field: &'static str) -> Result<String, Error> {
    optional(payload, field)?.map_or_else(|| invalid(format!("has no {field}")), Ok)
}

fn step(name: &str) -> Result<Step, Error> {
    const PROBLEM: &str = "has an invalid Step: it must be createSecret, setSecret, testSecret, \
                           finishSecret, preflight, status or retire";
    let mut steps = [Step::Create, Step::Set, Step::Test, Step::Finish].into_iter();
    let camel_case = name.replace("_secret", "Secret");
    let step = steps.find(|step| step.to_string() == camel_case);
    step.map_or_else(|| invalid(PROBLEM), Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";

    #[test]
    fn a_step_is_parsed_in_camel_case_and_in_snake_case() {
        for (name, step) in [
            ("createSecret", Step::Create),
            ("create_secret", Step::Create),
            ("setSecret", Step::Set),
            ("set_secret", Step::Set),
            ("testSecret", Step::Test),
            ("test_secret", Step::Test),
            ("finishSecret", Step::Finish),
            ("finish_secret", Step::Finish),
        ] {
            let event = json!({"Step": name, "SecretId": "s", "ClientRequestToken": TOKEN});

            assert_eq!(Event::parse(&event).unwrap().step, step, "{name}");
        }
    }

    #[test]
    fn a_preflight_requires_a_secret_but_no_token() {
        let parsed = Request::parse(&json!({"Step": "preflight", "SecretId": "s"})).unwrap();
        assert!(matches!(parsed, Request::Preflight { secret_id } if secret_id == "s"));
        for secret_id in [json!(null), json!(""), json!(["hunter2"])] {
            let event = json!({"Step": "preflight", "SecretId": secret_id});
            let rejected = Request::parse(&event).unwrap_err().message();

            let message = r#"the preflight event has no valid SecretId. Send {"Step": "preflight", "SecretId": "ARN or name"}"#;
            assert!(rejected.starts_with(message), "{rejected}");
        }
    }

    #[test]
    fn a_preflight_names_its_secrets_in_one_way() {
        let parse = |fields: Value| {
            let mut event = fields;
            event["Step"] = json!("preflight");
            Request::parse(&event)
        };
        let named =
            |ids: &[&str]| SecretSelection::Ids(ids.iter().map(ToString::to_string).collect());
        for (fields, selection) in [
            (json!({"All": true}), SecretSelection::All),
            (json!({"SecretIds": ["a"]}), named(&["a"])),
            (json!({"SecretIds": ["b", "a", "b"]}), named(&["b", "a"])),
        ] {
            let parsed = parse(fields).unwrap();
            assert!(matches!(parsed, Request::PreflightMany(parsed) if parsed == selection));
        }
        for fields in [
            json!({"All": false}),
            json!({"All": "true"}),
            json!({"All": null}),
            json!({"All": true, "SecretId": "a"}),
            json!({"All": true, "SecretIds": ["a"]}),
            json!({"SecretId": "a", "SecretIds": ["a"]}),
            json!({"SecretIds": []}),
            json!({"SecretIds": null}),
            json!({"SecretIds": "a"}),
            json!({"SecretIds": [""]}),
            json!({"SecretIds": ["a", 1]}),
        ] {
            let rejected = parse(fields.clone()).unwrap_err().message();
            assert!(
                rejected.starts_with("the preflight event has "),
                "{fields} {rejected}"
            );
        }
    }

    #[test]
    fn an_event_cannot_change_what_retire_and_status_do() {
        let retire = |event: Value| Request::parse(&event);
        let all = retire(json!({"Step": "retire"})).unwrap();
        assert!(matches!(all, Request::Retire(SecretSelection::All)));
        let named = retire(json!({"Step": "retire", "SecretIds": ["a"]})).unwrap();
        assert!(matches!(named, Request::Retire(SecretSelection::Ids(ids)) if ids == ["a"]));
        let status = retire(json!({"Step": "status"})).unwrap();
        assert!(matches!(status, Request::Status));
        for event in [
            json!({"Step": "retire", "OldKeyHours": 1}),
            json!({"Step": "retire", "SecretId": "a"}),
            json!({"Step": "retire", "SecretIds": []}),
            json!({"Step": "retire", "SecretIds": null}),
            json!({"Step": "retire", "SecretIds": {"a": "b"}}),
            json!({"Step": "retire", "All": true}),
            json!({"Step": "status", "SecretIds": ["a"]}),
            json!({"Step": "status", "All": true}),
        ] {
            let rejected = retire(event.clone()).unwrap_err().message();
            let step = event["Step"].as_str().unwrap();
            assert!(
                rejected.starts_with(&format!("the {step} event has ")),
                "{rejected}"
            );
            assert!(
                rejected.contains(&format!(r#"Send {{"Step": "{step}""#)),
                "{rejected}"
            );
        }
    }

    #[test]
    fn the_rotation_token_is_optional() {
        let event = json!({"Step": "setSecret", "SecretId": "s", "ClientRequestToken": TOKEN});

        assert!(Event::parse(&event).unwrap().rotation_token.is_none());
    }

    #[test]
    fn an_event_with_an_invalid_step_is_rejected_for_its_step() {
        for event in [
            json!({"Step": "Preflight", "SecretId": "s"}),
            json!({"step": "preflight", "SecretId": "s"}),
            json!({"key1": "value1"}),
        ] {
            let rejected = Request::parse(&event).unwrap_err().message();

            assert!(rejected.contains(" Step"), "{rejected}");
            assert!(rejected.contains(r#"{"Step": "preflight""#), "{rejected}");
        }
    }

    #[test]
    fn an_invalid_event_is_rejected_without_being_quoted() {
        for (payload, names) in [
            (json!("hunter2"), "JSON object"),
            (json!(["hunter2"]), "JSON object"),
            (
                json!({"SecretId": "s", "ClientRequestToken": TOKEN}),
                "Step",
            ),
            (
                json!({"Step": "hunter2", "SecretId": "s", "ClientRequestToken": TOKEN}),
                "Step",
            ),
            (
                json!({"Step": 1, "SecretId": "s", "ClientRequestToken": TOKEN}),
                "Step",
            ),
            (
                json!({"Step": "setSecret", "ClientRequestToken": TOKEN}),
                "SecretId",
            ),
            (
                json!({"Step": "setSecret", "SecretId": "s"}),
                "ClientRequestToken",
            ),
            (
                json!({"Step": "setSecret", "SecretId": "s", "ClientRequestToken": "hunter2"}),
                "ClientRequestToken",
            ),
            (
                json!({"Step": "setSecret", "SecretId": "s", "ClientRequestToken": TOKEN, "RotationToken": ["hunter2"]}),
                "RotationToken",
            ),
        ] {
            let error = Event::parse(&payload).unwrap_err();

            let output = format!("{error} {error:?}");
            assert!(output.contains(names), "{output}");
            assert!(!output.contains("hunter2"), "{output}");
        }
    }
}
