//! Whatever a refusal's body is, what is told of it is one line of bounded length without the signer's secret.
//!
//! Run it with `cargo +nightly fuzz run --fuzz-dir tests/fuzz error_body`.

#![no_main]

use confluent_key_rotation::credential::{ApiKey, ApiKeyId, Redacted};
use confluent_key_rotation::http::Answer;
use confluent_key_rotation::refusal::Refusal;
use libfuzzer_sys::fuzz_target;
use reqwest::StatusCode;

/// Short, so that the fuzzer finds it.
const SECRET: &str = "c+S";

fuzz_target!(|input: (u16, &[u8])| {
    let (status, body) = input;
    let status = StatusCode::from_u16(300 + status % 300).expect("a status");
    let signer = ApiKey {
        id: ApiKeyId::new("KEY".to_owned()),
        secret: Redacted::new(SECRET.to_owned()),
    };

    let refusal = Refusal::of(&Answer::new(status, None, body.to_vec()), &signer);

    let shown = refusal.to_string();
    assert!(shown.chars().count() < 1_200);
    assert!(!shown.contains(char::is_control));
    assert!(!shown.contains(SECRET));
});
