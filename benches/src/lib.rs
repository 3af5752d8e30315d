//! What the measurements share: functions under an emulated Lambda, a secret to rotate, TLS on loopback.
//!
//! Nothing here asserts a time. A figure belongs to the machine and the command that are printed beside it.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be made should stop the run"
)]
#![expect(clippy::missing_panics_doc, reason = "the same")]

pub mod machine;
pub mod process;
pub mod report;
pub mod subject;
pub mod tls;
pub mod world;
