//! One invocation: its deadline, the span its lines are written in, its step, and one line for the outcome.

use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use tracing::Instrument;
use tracing::field::Empty;

use crate::config::Config;
use crate::confluent::Confluent;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::event::Request;
use crate::http::{self, AllowedHosts, Crowd, Http};
use crate::metrics::Metrics;
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
    /// How many others ask Confluent Cloud.
    pub crowd: Crowd,
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
        let metrics = Arc::new(Metrics::default());
        let outcome = async {
            let request = Request::parse(&invocation.payload);
            let step = match &request {
                Ok(request) => request.to_string(),
                Err(_) => "unknown".to_owned(),
            };
            let outcome = match request {
                Ok(request) => self.answer(request, &invocation.context, &metrics).await,
                Err(error) => Err(error),
            };
            let error = outcome.as_ref().err();
            if let Some(error) = error {
                let error_type = error.name();
                tracing::error!(outcome = "failed", error_type, "{}", error.message());
            }
            let function = &invocation.context.env_config.function_name;
            metrics.print(function, &step, error.map(Error::name));
            outcome
        };
        outcome.instrument(span).await
    }

    async fn answer(
        &self,
        request: Request,
        context: &Context,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Report>, Error> {
        let deadline = Deadline::of_invocation(context.deadline);
        let control_plane = self.config.confluent_url.clone();
        let allowed = AllowedHosts::new(control_plane.clone(), self.config.allowed_domains.clone());
        let http = Http::new(self.http.clone(), allowed, self.http_limits);
        let http = http
            .counted_in(Arc::clone(metrics))
            .among(self.crowd.clone());
        let store = Store::new(self.secrets_manager.clone(), deadline, self.store_limits);
        let confluent = Confluent::new(http, control_plane, deadline);
        let config = &self.config;
        let span = tracing::Span::current();
        span.record("step", tracing::field::display(&request));
        match request {
            Request::Preflight { secret_id } => {
                span.record("secret_id", &secret_id);
                let preflight = Preflight {
                    config,
                    store: &store,
                    confluent: &confluent,
                    deadline,
                };
                let report = preflight.run(&secret_id, None).await;
                report.log();
                tracing::info!(outcome = "succeeded", "reported what a rotation needs");
                Ok(Some(report))
            }
            Request::Step(event) => {
                span.record("secret_id", &event.secret_id);
                span.record("version_id", &event.token);
                let rotation = Rotation {
                    event: &event,
                    config,
                    store: &store,
                    confluent: &confluent,
                    deadline,
                    invocation: &context.request_id,
                };
                let done = rotation.run().await?;
                tracing::info!(outcome = "succeeded", "{done}");
                Ok(None)
            }
        }
    }
}
