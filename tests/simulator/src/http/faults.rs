//! Faults: a failure of the `n`th request, a replaced response, and requests or responses that wait for the test.
//!
//! A fault is a value, so that a test can enumerate faults and requests. Each fault states whether the request takes
//! effect. A client cannot determine this.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::request::{Request, Service};
use super::response::Response;
use crate::Simulator;

/// A fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before the request takes effect. No response is sent, and
    /// [`Simulator::interrupted`] resolves.
    InterruptBefore,
    /// The process is killed after the request took effect.
    InterruptAfter,
    /// 429 with `Retry-After` and the headers of the rate limit.
    TooManyRequests,
    /// 429 without headers.
    TooManyRequestsWithoutHeaders,
    /// 500 before the request takes effect.
    InternalError,
    /// 500 after the request took effect.
    InternalErrorAfter,
    /// 503 with an HTML page, from a proxy.
    Unavailable,
    /// The connection is reset before the request takes effect.
    ResetBefore,
    /// The connection is reset after the request took effect.
    ResetAfter,
    /// No response is sent, and the request does not take effect.
    StallBefore,
    /// No response is sent, and the request took effect.
    StallAfter,
}

/// The effect of a fault on the client.
pub(crate) enum Effect {
    Respond(Response),
    Interrupt,
    Reset,
    Stall,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 11] = [
        Self::InterruptBefore,
        Self::InterruptAfter,
        Self::TooManyRequests,
        Self::TooManyRequestsWithoutHeaders,
        Self::InternalError,
        Self::InternalErrorAfter,
        Self::Unavailable,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::StallBefore,
        Self::StallAfter,
    ];

    /// Returns whether the request takes effect.
    #[must_use]
    pub fn takes_effect(self) -> bool {
        matches!(
            self,
            Self::InterruptAfter | Self::InternalErrorAfter | Self::ResetAfter | Self::StallAfter
        )
    }

    /// Returns whether the client waits until its time limit.
    #[must_use]
    pub fn stalls(self) -> bool {
        matches!(self, Self::StallBefore | Self::StallAfter)
    }

    pub(crate) fn effect(self, service: Service) -> Effect {
        match self {
            Self::InterruptBefore | Self::InterruptAfter => Effect::Interrupt,
            Self::ResetBefore | Self::ResetAfter => Effect::Reset,
            Self::StallBefore | Self::StallAfter => Effect::Stall,
            Self::TooManyRequests => Effect::Respond(
                too_many_requests(service)
                    // `x-ratelimit-reset` is in seconds from now.
                    // https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting
                    .with_header("retry-after", "0")
                    .with_header("x-ratelimit-limit", "10")
                    .with_header("x-ratelimit-remaining", "0")
                    .with_header("x-ratelimit-reset", "0"),
            ),
            Self::TooManyRequestsWithoutHeaders => Effect::Respond(too_many_requests(service)),
            Self::InternalError | Self::InternalErrorAfter => {
                Effect::Respond(internal_error(service))
            }
            Self::Unavailable => {
                let page = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>";
                Effect::Respond(Response::new(503, "text/html", page))
            }
        }
    }
}

fn too_many_requests(service: Service) -> Response {
    match service {
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html
        Service::SecretsManager => Response::aws_error(400, "ThrottlingException", "Rate exceeded"),
        // https://repost.aws/knowledge-center/iam-sts-throttling-error
        Service::Sts => Response::aws_sts_error(400, "Throttling", "Rate exceeded"),
        // https://docs.confluent.io/cloud/current/api.html#tag/Topic-(v3)
        Service::KafkaRest => Response::new(
            429,
            "text/html",
            "<html><body>429 Too Many Requests</body></html>",
        ),
        _ => Response::empty(429),
    }
}

fn internal_error(service: Service) -> Response {
    match service {
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors
        Service::SecretsManager => Response::aws_error(
            500,
            "InternalServiceError",
            "An error occurred on the server side.",
        ),
        // https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
        Service::Sts => Response::aws_sts_error(
            500,
            "InternalFailure",
            "The request processing has failed because of an unknown error, exception or failure.",
        ),
        _ => Response::confluent_error(
            500,
            Some("internal_server_error"),
            "Internal Server Error",
            "Something broke",
        ),
    }
}

/// Faults by the index of the request.
pub(crate) type Faults = BTreeMap<usize, Fault>;

/// A predicate for requests.
type Matches = Box<dyn Fn(&Request) -> bool + Send>;

/// A response that replaces the service's own.
pub(crate) struct Replacement {
    matches: Matches,
    times: usize,
    response: Response,
    takes_effect: bool,
}

/// The point at which a request waits: before it takes effect, or before its response is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldPoint {
    Request,
    Response,
}

/// The simulator's side of a [`Hold`].
pub(crate) struct HeldRequests {
    matches: Matches,
    point: HoldPoint,
    arrivals: watch::Sender<usize>,
    released: watch::Receiver<bool>,
}

/// Holds matching requests or their responses until it is released or dropped.
pub struct Hold {
    arrived: watch::Receiver<usize>,
    release: watch::Sender<bool>,
}

impl Hold {
    /// Resolves when `count` requests have arrived.
    ///
    /// # Panics
    /// If the simulator was dropped.
    pub async fn arrived(&self, count: usize) {
        self.arrived
            .clone()
            .wait_for(|arrived| *arrived >= count)
            .await
            .expect("the simulator is running");
    }

    /// Releases all requests, including later ones.
    pub fn release(&self) {
        self.release.send_replace(true);
    }
}

impl Simulator {
    /// Injects `fault` into the request with index `nth` in [`State::requests`](crate::State::requests).
    pub fn fail(&self, nth: usize, fault: Fault) {
        self.state().faults.insert(nth, fault);
    }

    /// Returns whether there are faults that have not fired.
    pub fn has_faults(&self) -> bool {
        !self.state().faults.is_empty()
    }

    /// Clears the log and the faults that have not fired. The next request has index 0.
    pub fn clear_requests(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.faults.clear();
    }

    /// Responds to the next `times` matching requests with `response`. The requests do not take effect.
    pub fn respond_with(
        &self,
        times: usize,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        response: Response,
    ) {
        self.add_replacement(times, matches, response, false);
    }

    /// Replaces the response to the next `times` matching requests with `response`. The requests take effect.
    pub fn replace_response(
        &self,
        times: usize,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        response: Response,
    ) {
        self.add_replacement(times, matches, response, true);
    }

    fn add_replacement(
        &self,
        times: usize,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        response: Response,
        takes_effect: bool,
    ) {
        self.state().replacements.push(Replacement {
            matches: Box::new(matches),
            times,
            response,
            takes_effect,
        });
    }

    /// Holds matching requests before they take effect.
    #[must_use]
    pub fn hold_requests(&self, matches: impl Fn(&Request) -> bool + Send + 'static) -> Hold {
        self.hold(HoldPoint::Request, Box::new(matches))
    }

    /// Holds the responses to matching requests, which take effect.
    #[must_use]
    pub fn hold_responses(&self, matches: impl Fn(&Request) -> bool + Send + 'static) -> Hold {
        self.hold(HoldPoint::Response, Box::new(matches))
    }

    fn hold(&self, point: HoldPoint, matches: Matches) -> Hold {
        let (release, released) = watch::channel(false);
        let (arrivals, arrived) = watch::channel(0);
        self.state().holds.push(HeldRequests {
            matches,
            point,
            arrivals,
            released,
        });
        Hold { arrived, release }
    }
}

impl crate::State {
    /// Returns the response that replaces the service's own, and whether the request takes effect.
    pub(super) fn replacement(&mut self, request: &Request) -> Option<(Response, bool)> {
        let found = self
            .replacements
            .iter_mut()
            .find(|replacement| replacement.times > 0 && (replacement.matches)(request))?;
        found.times -= 1;
        Some((found.response.clone(), found.takes_effect))
    }

    /// Counts the arrival of a held request, and returns the channel that reports its release.
    pub(super) fn enter_hold(
        &mut self,
        point: HoldPoint,
        index: usize,
    ) -> Option<watch::Receiver<bool>> {
        let request = self.requests.get(index)?;
        self.holds
            .retain(|hold| hold.released.has_changed().is_ok() && !*hold.released.borrow());
        let hold = self
            .holds
            .iter()
            .find(|hold| hold.point == point && (hold.matches)(request))?;
        hold.arrivals.send_modify(|arrived| *arrived += 1);
        Some(hold.released.clone())
    }
}
