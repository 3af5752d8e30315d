//! The pieces that work without a network, in one process: the value of a secret, and the choice of keys to delete.
//!
//! `cargo bench --package benches --bench pieces`. All of it is small beside one request; what is looked for is growth.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be made should stop the run"
)]

use confluent_key_rotation::confluent::Listed;
use confluent_key_rotation::credential::{ApiKey, ApiKeyId, Redacted};
use confluent_key_rotation::document::Document;
use confluent_key_rotation::sweep::{self, Mark};
use divan::{Bencher, black_box};

/// Keys of one owner: a few, a page, five pages.
const KEYS: [usize; 3] = [10, 100, 500];

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders/kafka-AbCdEf";
const VERSION: &str = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";

fn main() {
    divan::main();
}

/// A value with the fields of most secrets, and one that is not ours.
fn value() -> Redacted {
    let value = r#"{"apiKey": "ABCDEFGH12345678", "apiSecret": "cfltexampleexampleexampleexampleexample",
        "serviceAccountId": "sa-orders", "resourceId": "lkc-orders", "environmentId": "env-prod",
        "username": "ABCDEFGH12345678", "password": "cfltexampleexampleexampleexampleexample",
        "bootstrap.servers": "pkc-00000.eu-west-1.aws.confluent.cloud:9092"}"#;
    Redacted::new(value.to_owned())
}

#[divan::bench]
fn read_a_value(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(value)
        .bench_values(|value| Document::parse(value).expect("a value"));
}

#[divan::bench]
fn put_a_key_into_a_value(bencher: Bencher<'_, '_>) {
    let document = Document::parse(value()).expect("a value");
    let key = ApiKey {
        id: ApiKeyId::new("K".repeat(16)),
        secret: Redacted::new("S".repeat(64)),
    };
    bencher.bench_local(|| black_box(&document).with_api_key(&key).expect("a value"));
}

#[divan::bench]
fn mark_a_key() -> String {
    Mark::new(black_box(ARN), VERSION, "request").description()
}

/// Every second key bears a mark, of ten secrets in turn.
fn listed(keys: usize) -> Vec<Listed> {
    let key = |serial: usize| {
        let arn = format!("{ARN}{}", serial % 20);
        let mark = Mark::new(&arn, VERSION, "request").description();
        Listed {
            id: format!("KEY{serial:013}"),
            owner: Some("sa-orders".to_owned()),
            description: if serial.is_multiple_of(2) {
                mark
            } else {
                "by hand".to_owned()
            },
            created_at: Some(0),
            ..Listed::default()
        }
    };
    (0..keys).map(key).collect()
}

#[divan::bench(args = KEYS)]
fn choose_what_to_sweep(bencher: Bencher<'_, '_>, keys: usize) {
    let (keys, mark) = (
        listed(keys),
        Mark::new(&format!("{ARN}0"), VERSION, "request"),
    );
    bencher.bench_local(|| {
        sweep::before_creation(black_box(&keys), &mark, &["KEY0"], None, 1 << 40).len()
    });
}
