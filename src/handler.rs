//! One invocation: its deadline, its log span, its job, and one message about the outcome.

use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument;
use tracing::field::Empty;

use crate::config::Config;
use crate::confluent::EndpointCache;
use crate::error::Error;
use crate::event::Request;
use crate::fleet::retire::{Retire, RetireReport};
use crate::fleet::status::Status;
use crate::http::{self, AllowedHosts, Backoff, Deadline, Http, RateLimit, SdkLimits};
use crate::invocation::Invocation;
use crate::keys::access_tokens::AccessTokens;
use crate::preflight::{Preflight, Report, Summary};
use crate::rotation::Rotation;
use crate::telemetry::Metrics;
use crate::{confluent, secret};

/// The response to an operator. Secrets Manager receives none.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// The report on one secret.
    Preflight(Report),
    /// The verdict on many secrets.
    PreflightMany(Summary),
    /// The state of the fleet.
    Status(Status),
    /// The result of the scheduled deletion.
    Retire(RetireReport),
}

/// The state that outlives an invocation: configuration, connections, endpoints and the rate limit, but no secret value.
#[derive(Clone, Debug)]
pub struct Function {
    /// The configuration.
    pub config: Config,
    /// The HTTP client for Confluent Cloud.
    pub http: reqwest::Client,
    /// The HTTP client for probes, which does not reuse connections.
    pub probe_http: reqwest::Client,
    /// The TLS settings of connections to brokers.
    pub broker_tls: Arc<rustls::ClientConfig>,
    /// The AWS SDK's client for Secrets Manager.
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    /// The AWS SDK's client for AWS STS, which only keyless mode uses.
    pub sts: aws_sdk_sts::Client,
    /// The timeout and the retries of requests to Confluent Cloud.
    pub http_limits: http::Limits,
    /// The rate limit that all invocations share.
    pub rate_limit: RateLimit,
    /// The endpoints that all invocations share.
    pub endpoints: EndpointCache,
    /// The timeout and the retries of requests to AWS.
    pub sdk_limits: SdkLimits,
    /// The delays between reads of what was just written.
    pub read_after_write: Backoff,
}

impl Function {
    /// Handles one invocation. Secrets Manager uses only whether it succeeds. An operator receives a report.
    ///
    /// # Errors
    /// Returns the [`Error`], which has been logged.
    pub async fn handle(&self, invocation: LambdaEvent<Value>) -> Result<Option<Response>, Error> {
        // At the level ERROR, so that the span is enabled at any log level.
        let span = tracing::error_span!(
            "invocation",
            request_id = invocation.context.request_id,
            step = Empty,
            secret_id = Empty,
            version_id = Empty,
            resource_id = Empty,
            key_type = Empty,
            mode = Empty,
            previous_key_id = Empty,
            pending_key_id = Empty,
        );
        let metrics = Arc::new(Metrics::default());
        let outcome = async {
            let request = Request::parse(&invocation.payload);
            let step = match &request {
                Ok(request) => request.to_string(),
                Err(_) => "unknown".to_owned(),
            };
            tracing::Span::current().record("step", &step);
            let outcome = match request {
                // Boxed, because the future is large.
                Ok(request) => Box::pin(self.run(request, &invocation.context, &metrics)).await,
                Err(error) => Err(error),
            };
            let error = outcome.as_ref().err();
            if let Some(error) = error {
                let error_type = error.name();
                let message = error.message();
                tracing::error!(outcome = "failed", error_type, "{message}");
            }
            let function = &invocation.context.env_config.function_name;
            metrics.write(function, &step, error.map(Error::name));
            outcome
        };
        outcome.instrument(span).await
    }

    /// Creates the client for Confluent Cloud during one invocation.
    fn confluent(&self, deadline: Deadline, metrics: &Arc<Metrics>) -> confluent::Client {
        let url = self.config.confluent_url.clone();
        let allowed = AllowedHosts::new(url, self.config.allowed_domains.clone());
        let http = Http {
            rate_limit: self.rate_limit.clone(),
            metrics: Arc::clone(metrics),
            ..Http::new(self.http.clone(), allowed, self.http_limits)
        };
        let probe_http = Http {
            client: self.probe_http.clone(),
            ..http.clone()
        };
        let (tls, endpoints) = (Arc::clone(&self.broker_tls), self.endpoints.clone());
        confluent::Client::new(http, probe_http, tls, endpoints, deadline)
    }

    async fn run(
        &self,
        request: Request,
        context: &Context,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Response>, Error> {
        let deadline = Deadline::of_invocation(context.deadline);
        let (sdk, limits) = (self.secrets_manager.clone(), self.sdk_limits);
        let secrets = secret::Client::new(sdk, deadline, limits, self.read_after_write);
        let confluent = self.confluent(deadline, metrics);
        let keyless = self.config.keyless.as_ref();
        let access_tokens = keyless.map(|k| AccessTokens::new(k, &self.sts, limits, &confluent));
        let invocation = &Invocation {
            config: &self.config,
            secrets,
            confluent: confluent.clone(),
            access_tokens: access_tokens.as_ref(),
            deadline,
            function_arn: &context.invoked_function_arn,
            request_id: &context.request_id,
        };
        let (preflight, retire) = (Preflight { invocation }, Retire { invocation });
        let span = tracing::Span::current();
        let response = match request {
            Request::Step(event) => {
                span.record("secret_id", &event.secret_id);
                span.record("version_id", &event.token);
                let event = &event;
                let message = Rotation { invocation, event }.run().await?;
                tracing::info!(outcome = "succeeded", "{message}");
                return Ok(None);
            }
            Request::Preflight { secret_id } => {
                span.record("secret_id", &secret_id);
                let report = preflight.run(&secret_id, None).await;
                report.log();
                Response::Preflight(report)
            }
            Request::PreflightMany(selection) => {
                Response::PreflightMany(preflight.run_many(&selection).await?)
            }
            Request::Status => Response::Status(Status::load(invocation).await?),
            Request::Retire(selection) => Response::Retire(retire.run(&selection).await?),
        };
        tracing::info!(outcome = "succeeded", "completed the job");
        Ok(Some(response))
    }
}
