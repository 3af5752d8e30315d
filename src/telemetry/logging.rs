//! Logs: one flat JSON object per line, so that every field can be searched and filtered by name.
//!
//! Lambda filters by `level` and `timestamp`. Without a valid timestamp it treats a line as INFO. The fields of the enclosing
//! spans are members of the same object.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::{Layer, fmt as subscriber_fmt, registry};

use super::METRICS_TARGET;

/// A log level of Lambda.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel {
    /// The name, as in the `level` field of a log message.
    pub name: &'static str,
    /// The filter for messages of this level and above.
    pub filter: LevelFilter,
}

impl LogLevel {
    /// Lambda's default.
    pub const INFO: Self = Self {
        name: "INFO",
        filter: LevelFilter::INFO,
    };

    /// Returns the level with `name`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].into_iter();
        let name = names.find(|known| known.eq_ignore_ascii_case(name))?;
        // `tracing` has no level above ERROR.
        let filter = name.parse().unwrap_or(LevelFilter::ERROR);
        Some(Self { name, filter })
    }
}

/// Returns a subscriber that writes log messages of `level` and above, and all metrics, to `writer`.
pub fn subscriber<W>(level: LogLevel, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let messages = subscriber_fmt::layer()
        .with_writer(writer)
        .fmt_fields(JsonFields::new())
        .event_format(FlatJson { level })
        .with_filter(filter_fn(move |metadata| {
            is_enabled(metadata, level.filter)
        }));
    registry().with(messages)
}

/// Enables this crate's messages at `level`, and warnings and errors of the Lambda runtime: at TRACE, it logs the event with its
/// `RotationToken`. Other libraries are never enabled, because the SDK's warnings contain responses.
fn is_enabled(metadata: &Metadata<'_>, level: LevelFilter) -> bool {
    match metadata.target() {
        METRICS_TARGET => true,
        target if target.starts_with(env!("CARGO_CRATE_NAME")) => *metadata.level() <= level,
        // Repeats the error that the handler returned and has logged. A message about a panic has a field `error`.
        "lambda_runtime::layers::panic" if metadata.fields().field("error").is_none() => false,
        target if target.starts_with("lambda_runtime") => {
            *metadata.level() <= level.min(LevelFilter::WARN)
        }
        _ => false,
    }
}

/// Formats an event as a flat JSON object. Metrics have the configured level, so that Lambda does not filter them.
struct FlatJson {
    level: LogLevel,
}

impl<S> FormatEvent<S, JsonFields> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let (mut line, mut fields) = (Map::new(), Map::new());
        event.record(&mut Fields(&mut fields));
        let level = if event.metadata().target() == METRICS_TARGET {
            let metrics = fields.get("message").and_then(Value::as_str);
            line.extend(parse(metrics.unwrap_or_default()));
            self.level.name
        } else {
            for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
                if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                    line.extend(parse(fields));
                }
            }
            line.extend(fields);
            event.metadata().level().as_str()
        };
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), level.into());
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// Parses a JSON object. A line without its members is better than none.
fn parse(object: &str) -> Map<String, Value> {
    serde_json::from_str(object).unwrap_or_default()
}

/// Adds the fields of an event to a JSON object.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
}
