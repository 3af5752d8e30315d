//! A secret in AWS Secrets Manager: the client, staging labels and the secret value.

mod client;
mod copies;
mod dates;
mod error;
mod fields;
mod metadata;
mod replication;
mod scan;
mod slot;
mod strings;
pub mod value;

pub use client::{Client, READ_AFTER_WRITE, SecretVersion, sdk_client};
pub use dates::{Dates, now};
pub use error::Error;
pub(crate) use error::is_about_kms_key;
pub use fields::api_key;
pub use metadata::{CURRENT, PENDING, PREVIOUS, SecretMetadata, Versions};
pub use scan::{process_each, truncate_lines};
pub use slot::{Slot, field_name};
pub use value::SecretValue;
