//! One line of JSON for each event, flat, so that every field can be searched and filtered by its name.
//!
//! Lambda reads `level` and `timestamp` to filter; without a valid timestamp it takes a line for INFO and
//! may drop an error. The fields of the spans around an event stand beside its own.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::{Layer, fmt as subscriber_fmt, registry};

use crate::config::Logging;
use crate::metrics;

/// The subscriber that writes lines to `writer` as `logging` says.
pub fn subscriber<W>(logging: Logging, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    let lines = subscriber_fmt::layer().with_writer(writer.clone());
    let lines = if logging.json {
        let json = lines.fmt_fields(JsonFields::new()).event_format(FlatJson);
        json.boxed()
    } else {
        lines.with_ansi(false).boxed()
    };
    let wanted = filter_fn(move |metadata| is_wanted(metadata, logging.level));
    let metrics = subscriber_fmt::layer()
        .with_writer(writer)
        .event_format(Bare);
    let are_metrics = filter_fn(|metadata| metadata.target() == metrics::TARGET);
    registry()
        .with(lines.with_filter(wanted))
        .with(metrics.with_filter(are_metrics))
}

/// Our own lines as configured, and the Lambda runtime's warnings and errors, whatever is configured: at TRACE
/// it prints the event with its `RotationToken`. No other library may log: the SDK's warnings print answers.
fn is_wanted(metadata: &Metadata<'_>, level: LevelFilter) -> bool {
    let target = metadata.target();
    if target == metrics::TARGET {
        return false;
    }
    if target.starts_with(env!("CARGO_CRATE_NAME")) {
        return *metadata.level() <= level;
    }
    target.starts_with("lambda_runtime")
        && *metadata.level() <= level.min(LevelFilter::WARN)
        && !repeats_our_error(metadata)
}

/// `lambda_runtime` logs the error a handler returns, of which the handler has written its own line with
/// all fields. Its line for a panic, which has a field, is kept.
fn repeats_our_error(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "lambda_runtime::layers::panic"
        && metadata.fields().field("error").is_none()
}

/// Formats an event as one flat JSON object.
struct FlatJson;

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
        let mut line = Map::new();
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                // What `JsonFields` wrote is an object; were it not, a line without it is better than none.
                line.extend(serde_json::from_str::<Map<_, _>>(fields).unwrap_or_default());
            }
        }
        event.record(&mut Recorded(&mut line));
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// Prints an event's message, and nothing around it: CloudWatch reads metrics from a line that is one JSON object.
struct Bare;

impl<S> FormatEvent<S, DefaultFields> for Bare
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        event.record(&mut Recorded(&mut fields));
        let message = fields.get("message").and_then(Value::as_str);
        writeln!(writer, "{}", message.unwrap_or_default())
    }
}

/// Writes an event's fields into the line.
struct Recorded<'a>(&'a mut Map<String, Value>);

impl Recorded<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Recorded<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
}
