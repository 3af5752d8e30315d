//! A secret in AWS Secrets Manager: the client, staging labels and the secret value.

mod client;
mod copies;
mod fields;
mod replication;
mod staging_labels;
mod strings;
pub mod value;

pub(crate) use client::is_about_kms_key;
pub use client::{Client, Error, Limits, SecretVersion, sdk_client};
pub use fields::api_key;
pub use staging_labels::{CURRENT, PENDING, PREVIOUS, StagingLabels, Versions};
pub use value::SecretValue;
