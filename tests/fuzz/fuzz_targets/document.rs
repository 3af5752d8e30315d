//! A secret value is read or refused without a panic, and one that is read takes another key.
//!
//! Run it with `cargo +nightly fuzz run --fuzz-dir tests/fuzz document`.

#![no_main]

use confluent_key_rotation::credential::{ApiKey, ApiKeyId, Redacted};
use confluent_key_rotation::document::{self, Document, Error};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|text: &str| -> Corpus {
    let text = Redacted::new(text.to_owned());
    let _ = document::api_key(&text);
    let Ok(document) = Document::parse(text) else {
        return Corpus::Keep;
    };
    let _ = document.warnings();
    let new = ApiKey {
        id: ApiKeyId::new("NEWKEY".to_owned()),
        secret: Redacted::new("new\\/\"'secret".to_owned()),
    };
    match document.with_api_key(&new) {
        Ok(rotated) => {
            let rotated = Document::parse(rotated).expect("a rotated value can be read");
            assert_eq!(rotated.api_key(), &new);
            assert_eq!(rotated.agrees_with(&document), Ok(()));
            assert!(rotated.renews(&document));
        }
        Err(error) => assert!(matches!(error, Error::TooLarge { .. })),
    }
    Corpus::Keep
});
