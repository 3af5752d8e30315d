//! Tests of the function against the simulator, over real HTTP. The simulator checks the guarantees at every request.
//!
//! The folders are those of `src/`. The other files test properties of complete rotations: faults, interruptions, concurrency,
//! the program, and the documentation.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails where it cannot continue, and prints counts"
)]

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod caching_client;
mod clients;
mod concurrency;
mod confluent;
mod demo;
mod documentation;
mod end_to_end;
mod error;
mod event;
mod faults;
mod fleet;
mod generated;
mod http;
mod kafka_clients;
mod keys;
mod preflight;
mod process_kill;
mod python;
mod rotation;
mod round_trips;
mod secret;
mod several_keys;
mod source_layout;
mod telemetry;
mod world;

use std::fmt::Debug;
use std::time::Duration;

use confluent_key_rotation::config::{Config, OldKeyPolicy};
use serde_json::{Value, json};
use simulator::rotation::STEPS;
use simulator::{
    CurrentKeyGuarantee, KeyType, Outcome, Request, Response, Role, SecretValue, Service, Simulator,
};

use clients::*;
use confluent::key_types::{self, KEY_TYPES};
use world::*;

pub(crate) const POLICIES: [OldKeyPolicy; 3] = [
    OldKeyPolicy::DeleteAfter,
    OldKeyPolicy::Delete,
    OldKeyPolicy::KeepUntilNextRotation,
];
