//! Logs and metrics.

pub mod logging;
mod metrics;

pub use logging::LogLevel;
pub use metrics::{Counts, METRICS_TARGET, Metrics, NAMESPACE};
