//! CloudWatch Logs: `FilterLogEvents` of the lines that the function has written.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{error, parse, string, success};
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::secret::epoch_seconds;
use crate::state::State;

/// The function's log, to which a `tracing` subscriber writes one line at a time.
#[derive(Clone, Default)]
pub struct FunctionLog(Arc<Mutex<Vec<LogEvent>>>);

impl FunctionLog {
    fn events(&self) -> MutexGuard<'_, Vec<LogEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for FunctionLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = String::from_utf8_lossy(bytes);
        self.events().extend(lines.lines().map(LogEvent::new));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line of the function's log.
struct LogEvent {
    /// Milliseconds since 1970.
    timestamp: u64,
    message: String,
}

impl LogEvent {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the current time is positive and fits"
    )]
    fn new(message: &str) -> Self {
        Self {
            timestamp: (epoch_seconds() * 1000.0) as u64,
            message: message.to_owned(),
        }
    }
}

/// Returns the lines that match the pattern.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>
pub(super) fn respond(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    if request.header("x-amz-target") != Some("Logs_20140328.FilterLogEvents") {
        return Err(state.violation_response("only FilterLogEvents is supported"));
    }
    let fields = [
        "logGroupName",
        "filterPattern",
        "startTime",
        "endTime",
        "limit",
        "interleaved",
    ];
    let body = parse(state, request, &fields)?;
    let groups = state
        .account
        .stack
        .iter()
        .filter_map(|stack| stack.outputs.get("LogGroupName"));
    if !groups
        .into_iter()
        .any(|group| Some(group.as_str()) == string(&body, "logGroupName"))
    {
        let message = "The specified log group does not exist.";
        return Err(error("ResourceNotFoundException", message));
    }
    let pattern = string(&body, "filterPattern").unwrap_or_default();
    let Some(conditions) = conditions(pattern) else {
        let message = format!("the filter pattern {pattern} is not supported");
        return Err(state.violation_response(&message));
    };
    let number = |field: &str| body.get(field).and_then(Value::as_u64);
    let start = number("startTime").unwrap_or(0);
    let end = number("endTime").unwrap_or(u64::MAX);
    let is_included = |event: &&LogEvent| {
        (start..end).contains(&event.timestamp)
            && conditions
                .iter()
                .all(|condition| condition.matches(&event.message))
    };
    let limit = number("limit").map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(0));
    let log = state.account.log.events();
    let events = log.iter().filter(is_included).take(limit);
    let events: Vec<Value> = events.enumerate().map(describe).collect();
    Ok(success(
        &json!({ "events": events, "searchedLogStreams": [] }),
    ))
}

fn describe((index, event): (usize, &LogEvent)) -> Value {
    json!({
        "logStreamName": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        "timestamp": event.timestamp,
        "message": event.message,
        "ingestionTime": event.timestamp,
        "eventId": index.to_string(),
    })
}

/// A condition of a filter pattern.
enum Condition {
    /// The line contains the string.
    Contains(String),
    /// The field of a JSON line equals the string, or doesn't. The string may begin or end with `*`.
    Field {
        path: Vec<String>,
        value: String,
        is_equal: bool,
    },
}

/// Parses `{ ($.field = "value") && … }`, or strings that a line must contain.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>
fn conditions(pattern: &str) -> Option<Vec<Condition>> {
    let pattern = pattern.trim();
    let Some(json) = pattern.strip_prefix('{') else {
        let words = pattern.split_whitespace();
        let words = words.map(|word| word.trim_matches('"').to_owned());
        let is_plain = |word: &str| word.starts_with(['?', '-', '%', '[']);
        return words
            .map(|word| (!is_plain(&word)).then_some(Condition::Contains(word)))
            .collect();
    };
    let parse = |part: &str| {
        let part = part.trim().trim_start_matches('(').trim_end_matches(')');
        let (path, value) = part.split_once('=')?;
        let (path, is_equal) = match path.strip_suffix('!') {
            Some(path) => (path, false),
            None => (path, true),
        };
        let path = path.trim().strip_prefix("$.")?.split('.');
        Some(Condition::Field {
            path: path.map(ToOwned::to_owned).collect(),
            value: value.trim().trim_matches('"').to_owned(),
            is_equal,
        })
    };
    let json = json.strip_suffix('}')?;
    (!json.contains("||")).then_some(())?;
    json.split("&&").map(parse).collect()
}

impl Condition {
    fn matches(&self, message: &str) -> bool {
        match self {
            Self::Contains(word) => message.contains(word),
            Self::Field {
                path,
                value,
                is_equal,
            } => {
                let line: Value = serde_json::from_str(message).unwrap_or_default();
                let field = path.iter().try_fold(&line, |line, name| line.get(name));
                let Some(field) = field else { return false };
                let field = field
                    .as_str()
                    .map_or_else(|| field.to_string(), ToOwned::to_owned);
                matches_wildcard(&field, value) == *is_equal
            }
        }
    }
}

fn matches_wildcard(string: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), Some(_)) => string.contains(end.trim_end_matches('*')),
        (Some(end), None) => string.ends_with(end),
        (None, Some(start)) => string.starts_with(start),
        (None, None) => string == pattern,
    }
}
