//! The rules for keys that rotation and preflight share: management credentials, verification, ownership and deletion.

pub mod credentials;
pub mod deletion;
pub mod ownership;
pub mod verification;
