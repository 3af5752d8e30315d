//! What the function is asked for: a step of a rotation, by Secrets Manager, or a preflight, by a person.
//!
//! The payload holds the `RotationToken`, so no error here quotes any of it.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

use std::fmt;

use serde_json::Value;

use crate::credential::Redacted;
use crate::error::Error;

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a key and stages it.
    Create,
    /// Checks what was staged.
    Set,
    /// Proves that the staged key opens its resource.
    Test,
    /// Makes the staged key current and retires the old one.
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

/// What the function is asked for.
#[derive(Clone, Debug)]
pub enum Request {
    /// A step of a rotation.
    Step(Event),
    /// A report on all that a rotation of a secret needs, which changes nothing.
    Preflight {
        /// The secret: its ARN, or its name.
        secret_id: String,
    },
}

/// The name of a preflight, where the name of a step stands.
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
    /// Reads what a payload asks for.
    ///
    /// # Errors
    /// [`Error::InvalidEvent`], naming the field, never quoting it.
    pub fn parse(payload: &Value) -> Result<Self, Error> {
        if payload.get("Step").and_then(Value::as_str) != Some(PREFLIGHT) {
            return Event::parse(payload).map(Self::Step);
        }
        let secret_id = required(payload, "SecretId")?;
        Ok(Self::Preflight { secret_id })
    }
}

/// What Secrets Manager sends.
#[derive(Clone, Debug)]
pub struct Event {
    /// The step to take.
    pub step: Step,
    /// The secret: its ARN, or its name in an event made by hand.
    pub secret_id: String,
    /// The id of the version to rotate in.
    pub token: String,
    /// What proves to Secrets Manager that we write on its behalf; older events have none.
    pub rotation_token: Option<Redacted>,
}

impl Event {
    /// Reads an event. Steps are sent in camel case; a page of the documentation spells them in snake case.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda.html>
    ///
    /// # Errors
    /// [`Error::InvalidEvent`], naming the field, never quoting it.
    pub fn parse(payload: &Value) -> Result<Self, Error> {
        if !payload.is_object() {
            return Err(invalid("is not a JSON object".to_owned()));
        }
        let token = required(payload, "ClientRequestToken")?;
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
        if !(32..=64).contains(&token.len()) || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(invalid(
                "has a ClientRequestToken that is not 32 to 64 printable ASCII characters"
                    .to_owned(),
            ));
        }
        Ok(Self {
            step: step(&required(payload, "Step")?)?,
            secret_id: required(payload, "SecretId")?,
            token,
            rotation_token: text(payload, "RotationToken")?.map(Redacted::new),
        })
    }
}

fn text(payload: &Value, field: &'static str) -> Result<Option<String>, Error> {
    match payload.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        None | Some(Value::Null | Value::String(_)) => Ok(None),
        Some(_) => Err(invalid(format!("has a {field} that is not a text"))),
    }
}

fn required(payload: &Value, field: &'static str) -> Result<String, Error> {
    text(payload, field)?.ok_or_else(|| invalid(format!("has no {field}")))
}

fn step(name: &str) -> Result<Step, Error> {
    match name {
        "createSecret" | "create_secret" => Ok(Step::Create),
        "setSecret" | "set_secret" => Ok(Step::Set),
        "testSecret" | "test_secret" => Ok(Step::Test),
        "finishSecret" | "finish_secret" => Ok(Step::Finish),
        _ => Err(invalid(
            "has a Step that is none of createSecret, setSecret, testSecret, finishSecret and preflight"
                .to_owned(),
        )),
    }
}

fn invalid(problem: String) -> Error {
    Error::InvalidEvent { problem }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";

    #[test]
    fn steps_are_read_in_camel_case_and_in_snake_case() {
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
    fn a_preflight_needs_a_secret_and_no_token() {
        let parsed = Request::parse(&json!({"Step": "preflight", "SecretId": "s"})).unwrap();
        let refused = Request::parse(&json!({"Step": "preflight"})).unwrap_err();

        assert!(matches!(parsed, Request::Preflight { secret_id } if secret_id == "s"));
        assert!(refused.to_string().contains("SecretId"), "{refused}");
    }

    #[test]
    fn an_event_without_a_rotation_token_is_an_older_one() {
        let event = json!({"Step": "setSecret", "SecretId": "s", "ClientRequestToken": TOKEN});

        assert!(Event::parse(&event).unwrap().rotation_token.is_none());
    }

    #[test]
    fn anything_else_is_refused_without_being_quoted() {
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

            let shown = format!("{error} {error:?}");
            assert!(shown.contains(names), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
