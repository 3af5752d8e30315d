//! The rules for keys that all jobs share: management credentials, verification, ownership,
//! policy and deletion.

pub mod access_tokens;
mod broker_verification;
pub mod credentials;
pub mod deletion;
pub mod evidence;
mod labeled_values;
pub mod ownership;
pub mod policy;
mod quota;
pub mod target;
pub mod verification;
