//! The client for Secrets Manager and the secret value.

mod client;
mod copies;
mod generated;
mod layouts;

use super::*;
