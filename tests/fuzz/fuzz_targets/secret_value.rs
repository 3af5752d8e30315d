//! A secret value is parsed or rejected without a panic, and the key of a valid value can be replaced.
//!
//! Run it with `cargo +nightly fuzz run --fuzz-dir tests/fuzz secret_value`.

#![no_main]

use confluent_key_rotation::confluent::{ApiKey, ApiKeyId};
use confluent_key_rotation::http::Redacted;
use confluent_key_rotation::secret::value::Error;
use confluent_key_rotation::secret::{self, SecretValue};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|json: &str| -> Corpus {
    let json = Redacted::new(json.to_owned());
    let _ = secret::api_key(&json);
    let Ok(value) = SecretValue::parse(json) else {
        return Corpus::Keep;
    };
    let _ = (value.whitespace_warnings(), value.copy_warnings());
    if value.has_several_slots() {
        return Corpus::Keep;
    }
    let pending = ApiKey {
        id: ApiKeyId::new("PENDINGKEY".to_owned()),
        secret: Redacted::new("pending\\/\"'secret".to_owned()),
    };
    match value.with_keys(std::slice::from_ref(&pending)) {
        Ok(rotated) => {
            let rotated = SecretValue::parse(rotated).expect("a rotated value is valid");
            assert_eq!(rotated.key(""), Some(&pending));
            assert_eq!(rotated.ensure_same_scope(&value), Ok(()));
            assert!(rotated.differs_only_in_keys_from(&value));
        }
        Err(error) => assert!(matches!(error, Error::TooLarge { .. } | Error::NotReplaceable(_))),
    }
    Corpus::Keep
});
