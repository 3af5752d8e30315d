//! Logs and metrics.

mod level;
pub mod logging;
mod metrics;

pub use level::LogLevel;
pub use metrics::{Counts, METRICS_TARGET, Metrics, NAMESPACE};
