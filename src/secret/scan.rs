//! Many secrets in one invocation: lists the fleet, processes each of its secrets, and limits the size of the response.
//!
//! `status`, `retire` and the preflight of many secrets share this.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use tracing::Instrument;

use super::{Client, Error, SecretMetadata};
use crate::http::Deadline;

/// The number of secrets that are processed concurrently. Confluent limits the rate of requests per user and per organization, so
/// more would be rate limited.
const CONCURRENCY: usize = 8;

/// The maximum time for one secret: enough for a verification and for retries.
const MAX_TIME_PER_SECRET: Duration = Duration::from_mins(1);

impl Client {
    /// Returns the fleet: all secrets of the account and Region whose rotation function is `function_arn`, sorted by ARN. The list
    /// might not reflect changes from the last five minutes, so no key is deleted on its evidence alone.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
    pub async fn list_fleet(&self, function_arn: &str) -> Result<Vec<SecretMetadata>, Error> {
        let mut fleet = BTreeMap::new();
        let mut next_token = None;
        loop {
            let (page, next) = self.list_page(next_token).await?;
            let of_function = |secret: &SecretMetadata| secret.names_function(function_arn);
            let secrets = page.into_iter().filter(of_function);
            fleet.extend(secrets.map(|secret| (secret.arn.clone(), secret)));
            // A page may be empty although another one follows.
            match next {
                Some(next) => next_token = Some(next),
                None => return Ok(fleet.into_values().collect()),
            }
        }
    }
}

impl SecretMetadata {
    /// Returns whether the secret names `function_arn` as its rotation function. Either may have a qualifier.
    pub fn names_function(&self, function_arn: &str) -> bool {
        let named = self.rotation_function.as_deref().map(without_qualifier);
        named.is_some_and(|named| named == without_qualifier(function_arn))
    }
}

/// Returns the ARN of a function without a version or an alias.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html>
fn without_qualifier(arn: &str) -> &str {
    const PARTS: usize = 7;
    let end = arn.match_indices(':').nth(PARTS - 1);
    end.map_or(arn, |(end, _)| &arn[..end])
}

/// Calls `process` for each secret, for several concurrently, each with a deadline of its own. Returns the results in any order,
/// and `None` for a secret for which too little time was left.
pub async fn process_each<T>(
    ids: Vec<String>,
    deadline: Deadline,
    process: impl AsyncFn(&str, Deadline) -> T,
) -> Vec<(String, Option<T>)> {
    let reserve = MAX_TIME_PER_SECRET.min(deadline.remaining() / 2);
    let process = &process;
    let processed = stream::iter(ids).map(async |id| {
        if deadline.remaining() <= reserve {
            return (id, None);
        }
        let deadline = deadline.within(MAX_TIME_PER_SECRET);
        let span = tracing::error_span!("secret", secret_id = id);
        // Boxed, because several of these large futures exist concurrently.
        let processed = Box::pin(process(&id, deadline)).instrument(span).await;
        (id, Some(processed))
    });
    processed.buffer_unordered(CONCURRENCY).collect().await
}

/// Drops lines until they fit into `max_bytes` of a response: first those that are OK, from the end. Returns the other lines in
/// order and the number of lines that were dropped.
pub fn truncate_lines<L: Serialize>(
    lines: Vec<L>,
    max_bytes: usize,
    is_ok: impl Fn(&L) -> bool,
) -> (Vec<L>, usize) {
    let total = lines.len();
    let lines = lines.into_iter().enumerate();
    let (ok, mut lines): (Vec<_>, Vec<_>) = lines.partition(|(_, line)| is_ok(line));
    lines.extend(ok);
    let mut remaining = max_bytes;
    lines.retain(|(_, line)| {
        let size = serde_json::to_string(line).map_or(0, |line| line.len() + 1);
        let fits = size <= remaining;
        remaining -= if fits { size } else { 0 };
        fits
    });
    lines.sort_by_key(|(index, _)| *index);
    let lines: Vec<L> = lines.into_iter().map(|(_, line)| line).collect();
    let dropped = total - lines.len();
    (lines, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_matter_least_are_dropped_first() {
        let (size, count) = (1_000_000, 8);
        let lines: Vec<String> = (0..count)
            .map(|line| format!("{line}{}", "x".repeat(size)))
            .collect();
        let is_even = |line: &String| line.starts_with(['0', '2', '4', '6']);

        let (kept, dropped) = truncate_lines(lines, 5_000_000, is_even);

        let first: String = kept.iter().map(|line| &line[..1]).collect();
        assert_eq!((first.as_str(), dropped), ("1357", 4));
        let (kept, dropped) = truncate_lines(vec!["short"; 3], 100, |_| true);
        assert_eq!((kept.len(), dropped), (3, 0));
    }

    #[test]
    fn an_arn_without_its_qualifier_names_the_function() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:rotation";

        for qualified in [arn, &format!("{arn}:live"), &format!("{arn}:$LATEST")] {
            assert_eq!(without_qualifier(qualified), arn);
        }
        assert_eq!(without_qualifier("rotation"), "rotation");
    }
}
