//! Rotates Confluent Cloud API keys held in AWS Secrets Manager.

pub mod credential;
pub mod deadline;
pub mod http;
pub mod resource;
