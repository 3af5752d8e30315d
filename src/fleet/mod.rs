//! The fleet: all secrets that name the function as their rotation function.
//!
//! [`status`] reports their state and changes nothing. [`retire`] deletes the previous keys that are due.

pub mod findings;
pub mod retire;
pub mod status;
