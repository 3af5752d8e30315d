//! Time that passes between two requests.
//!
//! The function reads the real clock, so the simulator cannot set it. Instead, everything that exists becomes older.

use std::time::{Duration, Instant};

use crate::Simulator;
use crate::confluent::api_key::ApiKey;
use crate::confluent::created_at::earlier;
use crate::secret::Secret;

/// The longest time limit of an invocation.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
const MAX_INVOCATION: Duration = Duration::from_mins(15);

impl Simulator {
    /// Makes all keys, tokens, secrets and versions older by `duration`, rounded down to seconds, as if that time had passed since
    /// the last request. No rotation starts. After 15 minutes, no earlier invocation runs any more, so a deletion requires that
    /// the labels are read again.
    ///
    /// A creation time that is absent or that no service would return does not change.
    pub fn pass(&self, duration: Duration) {
        let duration = Duration::from_secs(duration.as_secs());
        let mut state = self.state();
        let state = &mut *state;
        if duration >= MAX_INVOCATION {
            state.deletion_evidence.described.clear();
        }
        state.last_created_at -= duration.as_secs().cast_signed();
        let keys = state.keys.values_mut();
        for key in keys.chain(state.deleted_keys.values_mut()) {
            key.age(duration);
        }
        let jwts = state.web_identity_tokens.values_mut();
        let access_tokens = state.access_tokens.values_mut();
        for expires_at in jwts
            .map(|token| &mut token.expires_at)
            .chain(access_tokens.map(|token| &mut token.expires_at))
        {
            *expires_at -= duration;
        }
        let listed = state.frozen_list.iter_mut().flatten();
        let listed = listed.map(|(_, secret)| secret);
        for secret in state.secrets.values_mut().chain(listed) {
            secret.age(duration);
        }
    }
}

impl ApiKey {
    fn age(&mut self, duration: Duration) {
        let seconds = duration.as_secs().cast_signed();
        let created_at = self.created_at.as_deref();
        if let Some(earlier) = created_at.and_then(|created_at| earlier(created_at, seconds)) {
            self.created_at = Some(earlier);
        }
        // Before the start of the machine, there is no instant.
        let accepted_from = self.accepted_from.checked_sub(duration);
        self.accepted_from = accepted_from.unwrap_or_else(Instant::now);
    }
}

impl Secret {
    /// Makes all dates earlier.
    fn age(&mut self, duration: Duration) {
        for date in self.dates() {
            *date -= duration.as_secs_f64();
        }
    }

    /// Returns all dates of the secret and its versions.
    pub(crate) fn dates(&mut self) -> impl Iterator<Item = &mut f64> {
        let attributes = &mut self.attributes;
        let dates = [
            &mut self.last_rotated,
            &mut self.last_changed,
            &mut self.next_rotation,
            &mut attributes.created,
            &mut attributes.deleted,
        ];
        let versions = self.versions.values_mut();
        dates
            .into_iter()
            .chain(versions.flat_map(|version| [&mut version.created, &mut version.replaced]))
            .flatten()
    }
}
