//! Rotates Confluent Cloud API keys held in AWS Secrets Manager.

pub mod config;
pub mod confluent;
pub mod credential;
pub mod deadline;
pub mod document;
pub mod error;
pub mod event;
pub mod handler;
pub mod http;
pub mod logging;
pub mod proof;
pub mod refusal;
pub mod resource;
pub mod rotation;
pub mod signer;
pub mod store;
pub mod sweep;
pub mod transport;
