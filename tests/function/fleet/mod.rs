//! The fleet: scheduled deletion and status.

mod changes;
mod faults;
mod large;
mod preflight;
mod retire;
mod status;

use std::time::{SystemTime, UNIX_EPOCH};

use confluent_key_rotation::config::KeyVerification;
use lambda_runtime::Diagnostic;
use simulator::{FUNCTION_ARN, Secret};

use super::*;

/// The policy under which retire deletes previous keys.
const DELETE_AFTER: Setting = Setting {
    key_type: KeyType::Kafka,
    mode: Mode::Admin,
    policy: OldKeyPolicy::DeleteAfter,
    further: &[],
};

/// Slightly more than the default of `OLD_KEY_HOURS`: the function rounds times to seconds.
const OVERLAP: Duration = Duration::from_mins(24 * 60 + 1);

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// A date of a secret.
type Date = fn(&mut Secret) -> &mut Option<f64>;

const CREATED: Date = |secret| &mut secret.attributes.created;
const CHANGED: Date = |secret| &mut secret.last_changed;
const ROTATED: Date = |secret| &mut secret.last_rotated;
const NEXT: Date = |secret| &mut secret.next_rotation;

/// Sets dates of the secret to `age` seconds ago, or removes them if `age` is `None`.
fn set_dates(world: &World, age: impl Into<Option<f64>>, dates: &[Date]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let time = age.into().map(|age| now.as_secs_f64() - age);
    let mut state = world.simulator.state();
    for date in dates {
        *date(state.secret_mut(&world.arn)) = time;
    }
}

impl World {
    /// Invokes retire for the secret alone, and returns its error.
    pub(crate) async fn retire(&self) -> Result<(), Diagnostic> {
        let event = json!({"Step": "retire", "SecretIds": [self.arn]});
        self.invoke(event).await
    }
}
