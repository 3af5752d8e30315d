//! Rotates Confluent Cloud API keys stored in AWS Secrets Manager.
//!
//! Secrets Manager invokes the function four times to rotate a secret. The function creates a replacement key for the same
//! service account and resource, verifies that the resource accepts it, promotes it to `AWSCURRENT`, and deletes the previous
//! key when the policy allows: by default, an event that a schedule sends every hour deletes it 24 hours later.
//!
//! Three facts shape the code: Confluent returns a key's secret only once and has no idempotency token; a key takes minutes to
//! propagate; and a Lambda function can be interrupted between any two requests.
//!
//! # The path of an event
//!
//! `main` reads the configuration and creates the clients. [`handler`] sets the deadline and parses the event. [`rotation`] runs
//! one of the four steps: it describes the secret, checks that the event's version is pending or current, and applies the rules of
//! [`keys`]. These use [`secret`] and [`confluent`], which send their requests with [`http`]. An error gets its message and remedy
//! in [`error`]. The handler logs the outcome and writes the metrics with [`telemetry`]. Three other jobs follow the same path:
//! [`preflight`] reports what a rotation requires, and the two of [`fleet`] report the status of all secrets and delete previous
//! keys on schedule.
//!
//! # Modules
//!
//! Imports point only down this table. A test enforces it.
//!
//! | module | subject |
//! | --- | --- |
//! | [`handler`] | the Lambda handler: deadline, log span, metrics |
//! | [`rotation`] | the four steps |
//! | [`preflight`] | the read-only report of everything that a rotation requires |
//! | [`fleet`] | the status of all secrets, and the scheduled deletion of previous keys |
//! | [`event`] | parses the event |
//! | [`invocation`] | what a job uses: configuration, clients, deadline |
//! | [`keys`] | the rules for keys that all jobs share: management credentials, verification, ownership, policy and deletion |
//! | [`error`] | error names, messages and remedies |
//! | [`secret`] | a secret in Secrets Manager: staging labels, versions, the value; the list of all secrets |
//! | [`web_identity`] | the web identity token of the function's role, from AWS STS |
//! | [`confluent`] | API keys, key types, endpoints, probes, brokers, access tokens, error responses |
//! | [`config`] | environment variables, read once and validated |
//! | [`http`] | requests, retries, allowed hosts, the client, the deadline |
//! | [`telemetry`] | logs, metrics |
//!
//! Where does a change belong? A new key type is a row of [`confluent::KEY_TYPES`]. A new setting is a field of
//! [`config::Config`]. A new error is a variant of [`error::Error`] with a name and a remedy. When a key is verified or deleted is
//! decided in [`keys`], and in which order things happen is decided in [`rotation`].
//!
//! Clients are concrete types without traits. Tests substitute a server by its URL: a simulator of both services that checks the
//! guarantees at every request.
//!
//! # Rules that explain most of the code
//!
//! * **A secret value has a [slot](secret::Slot) for each key.** Most values have one. Rotation, preflight and the scheduled
//!   deletion iterate over the slots, all new keys are stored in one version, and one move of `AWSCURRENT` promotes them.
//! * **A key is deleted on evidence from Confluent Cloud**, never because the secret names it: its
//!   [ownership tag](keys::ownership::OwnershipTag), owner, resource and creation time. [`keys::deletion`] decides, except about a key
//!   that createSecret has just created and could not store.
//! * **Keys are deleted after the promotion**, because Secrets Manager then rejects the promotion of an abandoned version. Only keys
//!   that were created before the current one are deleted, so no key can belong to a later rotation. Before the promotion,
//!   createSecret deletes keys in two cases: those that it created and could not store, and, if a quota is exceeded, at most one
//!   key, of any age, for each key that it creates.
//! * **The staging labels are read immediately before the promotion and before each `DELETE` by [`keys::deletion`].** If a label has
//!   moved, nothing more is deleted.
//! * **A version that can never become current is healed**: `AWSPENDING` is removed, and the next attempt starts over.
//! * **Between invocations, a process keeps connections, endpoints and the rate limit**, but no secret value and no Confluent
//!   credentials.
//! * **A request whose outcome is unknown is not treated as failed.** A `POST` is retried only if it cannot
//!   have created a key. A key that it created and that is not stored is an orphan, which a later step deletes.

pub mod config;
pub mod confluent;
pub mod error;
pub mod event;
pub mod fleet;
pub mod handler;
pub mod http;
pub mod invocation;
pub mod keys;
pub mod preflight;
pub mod rotation;
pub mod secret;
pub mod telemetry;
pub mod web_identity;
