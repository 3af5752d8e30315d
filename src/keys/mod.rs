//! The rules for keys that rotation, preflight and fleet share: management credentials, verification, ownership and deletion.

pub mod credentials;
pub mod deletion;
pub mod ownership;
pub mod verification;
