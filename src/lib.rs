//! Rotates Confluent Cloud API keys held in AWS Secrets Manager.
//!
//! Secrets Manager calls the function four times to rotate one secret. The function makes a new key for the same
//! owner and the same resource, stores it, proves that it opens the resource, makes it current, and retires the
//! old one. Confluent shows a key's secret once and nothing makes a repeated create harmless; a new key takes time
//! to be accepted; and a function can end between any two requests. The code is about those three facts.
//!
//! # The path of one event
//!
//! `main` → [`handler`] (deadline, log span, outcome) → [`rotation`] (the guard, then one of the four steps) →
//! [`signer`] and [`proof`] (who signs; whether a key is accepted) → [`confluent`] and [`store`] (the two
//! services) → [`http`] and [`transport`] → the wire. And back, once.
//!
//! # The map
//!
//! | module | its job |
//! | --- | --- |
//! | [`config`] | the environment, read once; all that is wrong with it at once |
//! | [`logging`] | one flat line of JSON for each event |
//! | [`handler`] | one invocation |
//! | [`metrics`] | what an invocation counts, in one line for CloudWatch |
//! | [`event`] | what Secrets Manager sends |
//! | [`rotation`] | the guard and the four steps; the only place that knows their order |
//! | [`preflight`] | everything that a rotation needs, checked without changing anything |
//! | [`sweep`] | which keys belong to this secret, and which of them may go |
//! | [`proof`] | where a key is tried, and when it counts as accepted |
//! | [`signer`] | who signs: the secret's own key or an admin secret's |
//! | [`error`] | why a step failed: what is wrong, then what to do |
//! | [`store`] | one secret, seen through its staging labels |
//! | [`document`] | the secret value: find the key in it, put another in its place, touch nothing else |
//! | [`confluent`] | the API Keys API, endpoints, and one try of a key |
//! | [`refusal`] | what Confluent Cloud says when it says no |
//! | [`resource`] | the table of kinds |
//! | [`http`] | one request: where it may go, what may be sent again, how much is read |
//! | [`transport`] | the one HTTP client of both services |
//! | [`deadline`] | time left, and the one wait |
//! | [`credential`] | keys, and text that cannot be printed |
//!
//! Dependencies point down this table, but for ids, joined causes, metrics and what is configured, which all use. There is
//! no trait of our own: the seam for tests is a URL, and what stands behind it is a simulator of both services that
//! checks the promises at every request.
//!
//! # Four rules that explain most of the code
//!
//! * **Nothing is destroyed before its successor is in place**, and a key is deleted only if it is named by a
//!   version of this secret or bears this secret's [mark](sweep::Mark), and belongs to the secret's owner.
//! * **A key that an abandoned rotation made goes when another one is current**, because Secrets Manager then refuses
//!   to make it current, however late its invocation is; or when it is too old for any invocation to know of.
//! * **A list is compared with labels that are read after it.** If this rotation still stands then, no key in the
//!   list can be a later rotation's, however late this invocation is.
//! * **A request that may have been carried out is told from one that was not.** A create is never sent again
//!   before the keys it may have made were looked for.

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
pub mod metrics;
pub mod preflight;
pub mod proof;
pub mod refusal;
pub mod resource;
pub mod rotation;
pub mod signer;
pub mod store;
pub mod sweep;
pub mod transport;
