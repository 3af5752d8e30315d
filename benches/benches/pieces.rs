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

/// The worst cases of the replacement, each of about the 64 KiB that Secrets Manager stores.
const WORST_CASES: [&str; 6] = [
    "nested arrays",
    "nested objects",
    "one word of secrets",
    "a repetitive secret",
    "backslashes",
    "copies",
];

/// Returns a current key and the JSON of a field.
fn worst_case(name: &str) -> (ApiKey, String) {
    let secret = "cflt+/exampleexampleexampleexampleexampleexampleexampleexample01";
    let mut key = ApiKey {
        id: ApiKeyId::new("ABCDEFGH12345678".to_owned()),
        secret: Redacted::new(secret.to_owned()),
    };
    let json = match name {
        "nested arrays" => format!("{}{}", "[".repeat(32_000), "]".repeat(32_000)),
        "nested objects" => format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)),
        "one word of secrets" => format!(r#""https://{}""#, secret.repeat(1_000)),
        "a repetitive secret" => {
            key.secret = Redacted::new(format!("{}b", "a".repeat(254)));
            format!(r#""{}""#, "a".repeat(64_000))
        }
        "backslashes" => format!(r#""{}""#, "\\".repeat(64_000)),
        _ => format!("[{}]", vec![r#""ABCDEFGH12345678""#; 3_300].join(",")),
    };
    (key, json)
}

#[divan::bench(args = WORST_CASES)]
fn check_and_replace_key(bencher: Bencher<'_, '_>, name: &str) {
    let (key, json) = worst_case(name);
    let (id, secret) = (&key.id, key.secret.expose());
    let json = format!(
        r#"{{"apiKey":"{id}","apiSecret":"{secret}","serviceAccountId":"sa-orders","x":{json}}}"#
    );
    let pending = ApiKey {
        id: ApiKeyId::new("K".repeat(16)),
        secret: Redacted::new("S".repeat(64)),
    };
    bencher.bench_local(|| {
        let value = SecretValue::parse(Redacted::new(json.clone())).expect("a value");
        let copies = value.copies();
        (
            value.check_replaceable(),
            value.with_api_key(&pending),
            copies,
        )
    });
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
