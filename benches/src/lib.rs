//! Shared code of the measurements: functions under an emulated Lambda, a secret to rotate, and TLS on loopback.
//!
//! No assertion depends on a time. Each table names the machine and the command that measured it.

#![expect(clippy::expect_used, reason = "a failed measurement stops the run")]
#![expect(
    clippy::missing_panics_doc,
    reason = "a failed measurement stops the run"
)]

pub mod machine;
pub mod process;
pub mod report;
pub mod subject;
pub mod tls;
pub mod world;
