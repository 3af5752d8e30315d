//! Tests of `src/telemetry`: logs, metrics, and that neither contains a secret.

pub(crate) mod leaks;
pub(crate) mod logs;
mod metrics;

use super::*;
