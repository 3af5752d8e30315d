//! The rules for keys that all jobs share.

mod broker_faults;
mod brokers;
mod copied_secrets;
mod creation_time;
mod deletion;
mod keyless;
mod keyless_faults;
mod management_credentials;
mod minimum_age;
mod ownership;
mod target;
mod verification;
mod wrong_secret;

use super::*;
