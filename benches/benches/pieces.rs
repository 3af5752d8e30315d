//! Measures code that uses no network: the secret value and the selection of orphaned keys.
//!
//! `cargo bench --package benches --bench pieces`. All of it is faster than a request. The benchmarks detect growth.

#![expect(clippy::expect_used, reason = "a failed measurement stops the run")]

use confluent_key_rotation::confluent::ApiKeyMetadata;
use confluent_key_rotation::confluent::{ApiKey, ApiKeyId};
use confluent_key_rotation::http::Redacted;
use confluent_key_rotation::keys::ownership::{Ownership, OwnershipTag};
use confluent_key_rotation::secret::SecretValue;
use divan::{Bencher, black_box};

/// The numbers of an owner's keys: a few, a page, five pages.
const KEYS: [usize; 3] = [10, 100, 500];

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders/kafka-AbCdEf";
const VERSION: &str = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";

fn main() {
    divan::main();
}

/// Returns a value with the usual fields, copies of the key, and another field.
fn value() -> Redacted {
    let value = r#"{"apiKey": "ABCDEFGH12345678", "apiSecret": "cfltexampleexampleexampleexampleexample",
        "serviceAccountId": "sa-orders", "resourceId": "lkc-orders", "environmentId": "env-prod",
        "username": "ABCDEFGH12345678", "password": "cfltexampleexampleexampleexampleexample",
        "bootstrap.servers": "pkc-00000.eu-west-1.aws.confluent.cloud:9092"}"#;
    Redacted::new(value.to_owned())
}

#[divan::bench]
fn parse_value(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(value)
        .bench_values(|value| SecretValue::parse(value).expect("a value"));
}

#[divan::bench]
fn replace_key_in_value(bencher: Bencher<'_, '_>) {
    let value = SecretValue::parse(value()).expect("a value");
    let key = ApiKey {
        id: ApiKeyId::new("K".repeat(16)),
        secret: Redacted::new("S".repeat(64)),
    };
    bencher.bench_local(|| black_box(&value).with_api_key(&key).expect("a value"));
}

#[divan::bench]
fn create_ownership_tag() -> String {
    OwnershipTag::new(black_box(ARN), VERSION, "request").description()
}

/// Returns the metadata of keys, of which every second one has the ownership tag of one of ten secrets.
fn listed(keys: usize) -> Vec<ApiKeyMetadata> {
    let key = |index: usize| {
        let arn = format!("{ARN}{}", index % 20);
        let tag = OwnershipTag::new(&arn, VERSION, "request").description();
        ApiKeyMetadata {
            id: format!("KEY{index:013}"),
            owner: Some("sa-orders".to_owned()),
            description: if index.is_multiple_of(2) {
                tag
            } else {
                "created manually".to_owned()
            },
            created_at: Some(0),
            ..ApiKeyMetadata::default()
        }
    };
    (0..keys).map(key).collect()
}

#[divan::bench(args = KEYS)]
fn find_tagged_keys(bencher: Bencher<'_, '_>, keys: usize) {
    let (keys, arn) = (listed(keys), format!("{ARN}0"));
    let is_tagged =
        |key: &&ApiKeyMetadata| matches!(Ownership::of(key, &arn), Ownership::ThisSecret(_));
    bencher.bench_local(|| black_box(&keys).iter().filter(is_tagged).count());
}
