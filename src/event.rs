//! Events: a step of a rotation from Secrets Manager, or a preflight from an operator.
//!
//! The payload contains the `RotationToken`, so no error quotes it.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

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
}

/// The value of `Step` that requests a preflight.
const PREFLIGHT: &str = "preflight";

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(event) => event.step.fmt(f),
            Self::Preflight { .. } => f.write_str(PREFLIGHT),
        }
    }
}

impl Request {
    /// Parses a payload. The error names the field and never quotes its value.
    pub fn parse(payload: &Value) -> Result<Self, Error> {
        if payload.get("Step").and_then(Value::as_str) != Some(PREFLIGHT) {
            return Event::parse(payload).map(Self::Step);
        }
        let Ok(Some(secret_id)) = optional(payload, "SecretId") else {
            let (problem, is_preflight) = ("has no valid SecretId".to_owned(), true);
            return Err(Error::InvalidEvent {
                problem,
                is_preflight,
            });
        };
        Ok(Self::Preflight { secret_id })
    }
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
    let (problem, is_preflight) = (problem.into(), false);
    Err(Error::InvalidEvent {
        problem,
        is_preflight,
    })
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
                           finishSecret or preflight";
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
            assert_eq!(rejected, message);
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
