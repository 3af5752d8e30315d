//! The description of any error response is one line of limited length and does not contain the key's secret.
//!
//! Run it with `cargo +nightly fuzz run --fuzz-dir tests/fuzz error_response`.

#![no_main]

use confluent_key_rotation::confluent::ErrorResponse;
use confluent_key_rotation::http::Response;
use libfuzzer_sys::fuzz_target;
use reqwest::StatusCode;

/// Short, so that the fuzzer finds it.
const SECRET: &str = "c+S";

fuzz_target!(|input: (u16, &[u8])| {
    let (status, body) = input;
    let status = StatusCode::from_u16(300 + status % 300).expect("a valid status");
    let response = Response::new(status, None, body.to_vec());

    let response = ErrorResponse::parse(&response, |text| text.contains(SECRET));

    let description = response.to_string();
    assert!(description.chars().count() < 1_200);
    assert!(!description.contains(char::is_control));
    assert!(!description.contains(SECRET));
});
