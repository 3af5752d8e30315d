//! Property-based tests: generated input, checked against a second, simpler rule.
//!
//! The seed is fixed, so that a failure can be reproduced. The smallest input that fails is printed.

use std::fmt::Debug;

use confluent_key_rotation::confluent::{ApiKey, ApiKeyId};
use confluent_key_rotation::http::Redacted;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use simulator::CANARY;

/// The number of inputs of each test.
const CASES: u32 = 10_000;

/// Runs `check` on inputs that `strategy` generates.
pub(crate) fn for_each<S: Strategy>(strategy: S, check: impl Fn(S::Value)) {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0),
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(&strategy, |input| {
        check(input);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

pub(crate) fn key(id: impl Into<String>, secret: impl Into<String>) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(id.into()),
        secret: Redacted::new(secret.into()),
    }
}

/// Checks that `output` does not contain a secret.
pub(crate) fn assert_no_canary(output: &str, input: &dyn Debug) {
    assert!(!output.contains(CANARY), "{output}\nof {input:?}");
}
