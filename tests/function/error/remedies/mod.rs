//! The messages that an operator reads when a step fails: what happened, then what to do.
//!
//! Each case is a mistake or a fault. The complete message is compared, so that a change to a part of it is reviewed in context.

mod confluent;
mod credentials;
mod endpoint;
mod keyless;
mod keys;
mod permissions;
mod rotation;
mod secret_value;
mod secrets_manager;

use simulator::{CurrentKeyGuarantee, Request, Response, Service};

use super::*;

/// A mistake or a fault, and the error of the step.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    mode: Mode,
    arrange: fn(&mut World),
    step: &'static str,
    /// The error's name.
    error: &'static str,
    /// The error's message. `CURRENT`, `PENDING` and `MANAGEMENT` are key IDs, `SECRET` and `ADMIN` are ARNs, `POOL` is
    /// an identity pool, `ID` is a request ID, and one `[..]` matches what the operating system, a library or the simulator says.
    message: &'static str,
}

/// The defaults of a case: most faults are found in the first step.
const CASE: Case = Case {
    name: "",
    mode: Mode::Admin,
    arrange: |_| {},
    step: "createSecret",
    error: "",
    message: "",
};

/// Asserts that each case fails with its error and its message.
async fn assert_messages(cases: &[Case]) {
    let mut differences = Vec::new();
    for case in cases {
        let mode = case.mode;
        let mut world = World::new(Setting {
            mode,
            ..Setting::default()
        })
        .await;
        run_steps_before(&world, case.step).await;
        (case.arrange)(&mut world);

        let error = world.step_error(case.step, case.name).await;

        let message = with_placeholders(&world, &error.error_message);
        if error.error_type != case.error || !matches(&message, case.message) {
            let (name, expected) = (case.name, case.message);
            let actual = format!("{}: {message}", error.error_type);
            differences.push(format!(
                "{name}\n  actual: {actual}\nexpected: {}: {expected}",
                case.error
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

async fn run_steps_before(world: &World, step: &str) {
    let before = STEPS.iter().position(|known| *known == step).unwrap();
    world.run_steps(&STEPS[..before]).await;
}

/// Returns whether `message` is `pattern`, in which `[..]` matches any string.
fn matches(message: &str, pattern: &str) -> bool {
    match pattern.split_once("[..]") {
        None => message == pattern,
        Some((start, end)) => message
            .strip_prefix(start)
            .is_some_and(|rest| rest.ends_with(end)),
    }
}

/// Replaces IDs and ARNs with placeholders.
fn with_placeholders(world: &World, message: &str) -> String {
    let admin_secret = admin_secret(world).unwrap_or_default();
    let admin_key = {
        let state = world.simulator.state();
        let secret = state.secrets.get(&admin_secret);
        let id = secret.and_then(|secret| secret.key_id("AWSCURRENT"));
        id.unwrap_or_default().to_owned()
    };
    let pending = world.key("AWSPENDING").unwrap_or_default();
    let mut replaced = message.to_owned();
    for (id, placeholder) in [
        (world.initial_key.as_str(), "CURRENT"),
        (&pending, "PENDING"),
        (&admin_key, "MANAGEMENT"),
        (&world.arn, "SECRET"),
        (&admin_secret, "ADMIN"),
        (&world.identity_pool(), "POOL"),
    ] {
        if !id.is_empty() {
            replaced = replaced.replace(id, placeholder);
        }
    }
    replace_request_id(&replaced)
}

fn replace_request_id(message: &str) -> String {
    const START: &str = "(request ID ";
    let Some((before, rest)) = message.split_once(START) else {
        return message.to_owned();
    };
    let (id, after) = rest.split_once(')').unwrap();
    assert!(!id.is_empty(), "{message}");
    format!("{before}{START}ID){after}")
}

/// Returns the ARN of the admin secret that the secret value names.
fn admin_secret(world: &World) -> Option<String> {
    let state = world.simulator.state();
    let value: Value = serde_json::from_str(state.secret(&world.arn).value("AWSCURRENT")?).ok()?;
    value["adminSecretArn"].as_str().map(str::to_owned)
}

/// Sets a field of the secret value.
fn set_field(world: &World, field: &str, value: &str) {
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|secret_value| secret_value[field] = json!(value));
}

/// Stores a value manually, which may be invalid.
fn store(world: &World, arn: &str, value: &str) {
    let mut state = world.simulator.state();
    state.secret_mut(arn).current_key_guarantee = CurrentKeyGuarantee::Off;
    drop(state);
    world.simulator.store_manually(arn, value);
}

/// Sends `response` to all requests that match.
fn respond(world: &World, matches: impl Fn(&Request) -> bool + Send + 'static, response: Response) {
    world.simulator.respond_with(usize::MAX, matches, response);
}

/// Rejects an operation of Secrets Manager with `code` and `message`.
fn reject(world: &World, operation: &'static str, code: &str, message: &str) {
    let rejection = Response::aws_error(400, code, message);
    respond(world, is_operation(operation), rejection);
}
