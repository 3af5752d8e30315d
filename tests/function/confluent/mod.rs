//! The client for Confluent Cloud, probes, key types and untrusted responses.

mod api_keys;
mod broker_frames;
mod generated;
pub(crate) mod key_types;
mod probes;
mod untrusted_responses;

use super::*;
