//! One invocation: its deadline, the span its lines are written in, its step, and one line for the outcome.

use lambda_runtime::LambdaEvent;
use serde_json::Value;
use tracing::Instrument;
use tracing::field::Empty;

use crate::config::Config;
use crate::confluent::Confluent;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::event::{PREFLIGHT, Request};
use crate::http::{self, AllowedHosts, Http};
use crate::preflight::{Preflight, Report};
use crate::rotation::Rotation;
use crate::store::{self, Store};

/// What outlives an invocation: configuration and connections, and nothing of any secret.
#[derive(Clone, Debug)]
pub struct Function {
    /// The configuration.
    pub config: Config,
    /// The client for Confluent Cloud.
    pub http: reqwest::Client,
    /// The client for Secrets Manager.
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    /// What a request to Confluent Cloud may cost.
    pub http_limits: http::Limits,
    /// What a call of Secrets Manager may cost.
    pub store_limits: store::Limits,
}

impl Function {
    /// Handles one invocation. Secrets Manager looks at nothing but whether it succeeds; a preflight's report is for
    /// whoever invoked it.
    ///
    /// # Errors
    /// The step's [`Error`], which has been logged.
    pub async fn handle(&self, invocation: LambdaEvent<Value>) -> Result<Option<Report>, Error> {
        // At the level of errors, so that it is there whatever level is configured.
        let span = tracing::error_span!(
            "invocation",
            request_id = invocation.context.request_id,
            step = Empty,
            secret_id = Empty,
            version_id = Empty,
            kind = Empty,
            mode = Empty,
            old_key_id = Empty,
            new_key_id = Empty,
        );
        let outcome = async {
            let outcome = self.answer(&invocation).await;
            if let Err(error) = &outcome {
                let error_type = error.name();
                tracing::error!(outcome = "failed", error_type, "{}", error.message());
            }
            outcome
        };
        outcome.instrument(span).await
    }

    async fn answer(&self, invocation: &LambdaEvent<Value>) -> Result<Option<Report>, Error> {
        let deadline = Deadline::of_invocation(invocation.context.deadline);
        let control_plane = self.config.confluent_url.clone();
        let allowed = AllowedHosts::new(control_plane.clone(), self.config.allowed_domains.clone());
        let http = Http::new(self.http.clone(), allowed, self.http_limits);
        let store = Store::new(self.secrets_manager.clone(), deadline, self.store_limits);
        let confluent = Confluent::new(http, control_plane, deadline);
        let config = &self.config;
        let span = tracing::Span::current();
        match Request::parse(&invocation.payload)? {
            Request::Preflight { secret_id } => {
                span.record("step", PREFLIGHT);
                span.record("secret_id", &secret_id);
                let preflight = Preflight {
                    config,
                    store: &store,
                    confluent: &confluent,
                    deadline,
                };
                let report = preflight.run(&secret_id, None).await;
                report.log();
                Ok(Some(report))
            }
            Request::Step(event) => {
                span.record("step", tracing::field::display(event.step));
                span.record("secret_id", &event.secret_id);
                span.record("version_id", &event.token);
                let rotation = Rotation {
                    event: &event,
                    config,
                    store: &store,
                    confluent: &confluent,
                    deadline,
                    invocation: &invocation.context.request_id,
                };
                let done = rotation.run().await?;
                tracing::info!(outcome = "succeeded", "{done}");
                Ok(None)
            }
        }
    }
}
