//! Logs and metrics.

pub mod logging;
mod metrics;

pub use logging::LogLevel;
pub use metrics::{Counts, FleetCounts, METRICS_TARGET, Metrics, NAMESPACE};
