//! Lambda's log levels.

use tracing::level_filters::LevelFilter;

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

/// `tracing` has no level above ERROR.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("TRACE", LevelFilter::TRACE),
    ("DEBUG", LevelFilter::DEBUG),
    ("INFO", LevelFilter::INFO),
    ("WARN", LevelFilter::WARN),
    ("ERROR", LevelFilter::ERROR),
    ("FATAL", LevelFilter::ERROR),
];

impl LogLevel {
    /// Lambda's default.
    pub const INFO: Self = Self {
        name: "INFO",
        filter: LevelFilter::INFO,
    };

    /// Returns the level with `name`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut levels = LEVELS.into_iter();
        let (name, filter) = levels.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(Self { name, filter })
    }
}
