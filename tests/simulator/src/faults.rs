//! What goes wrong on the way: a fault at the n-th request, an answer put in a request's place, and
//! requests or answers that are held until a test lets them go.
//!
//! A fault is a value, so that a test can try each one at each request. Whether the request was
//! carried out is part of the value: it is what a client cannot tell.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::Simulator;
use crate::answer::Answer;
use crate::call::{Plane, Request};

/// What can happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before the request is carried out: no answer, and
    /// [`Simulator::stopped`] resolves.
    StopBefore,
    /// The process is killed after the request was carried out.
    StopAfter,
    /// 429, with `Retry-After` and the rate limit's headers.
    TooManyRequests,
    /// 429 and nothing else.
    TooManyRequestsBare,
    /// 500, not carried out.
    InternalError,
    /// 500, and carried out all the same.
    InternalErrorAfter,
    /// 503 with a page of HTML, from something in between.
    Unavailable,
    /// The connection is reset before the request is carried out.
    ResetBefore,
    /// The connection is reset after the request was carried out.
    ResetAfter,
    /// There is never an answer, and the request is not carried out.
    StallBefore,
    /// There is never an answer, and the request was carried out.
    StallAfter,
}

/// What the client meets.
pub(crate) enum Effect {
    Answer(Answer),
    Stop,
    Reset,
    Stall,
}

impl Fault {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::StopBefore,
        Self::StopAfter,
        Self::TooManyRequests,
        Self::TooManyRequestsBare,
        Self::InternalError,
        Self::InternalErrorAfter,
        Self::Unavailable,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::StallBefore,
        Self::StallAfter,
    ];

    /// Whether the request takes effect.
    #[must_use]
    pub fn is_carried_out(self) -> bool {
        matches!(
            self,
            Self::StopAfter | Self::InternalErrorAfter | Self::ResetAfter | Self::StallAfter
        )
    }

    pub(crate) fn effect(self, plane: Plane) -> Effect {
        match self {
            Self::StopBefore | Self::StopAfter => Effect::Stop,
            Self::ResetBefore | Self::ResetAfter => Effect::Reset,
            Self::StallBefore | Self::StallAfter => Effect::Stall,
            Self::TooManyRequests => Effect::Answer(
                too_many_requests(plane)
                    // `Reset` is in seconds from now.
                    // https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting
                    .with_header("retry-after", "0")
                    .with_header("x-ratelimit-limit", "10")
                    .with_header("x-ratelimit-remaining", "0")
                    .with_header("x-ratelimit-reset", "0"),
            ),
            Self::TooManyRequestsBare => Effect::Answer(too_many_requests(plane)),
            Self::InternalError | Self::InternalErrorAfter => Effect::Answer(internal_error(plane)),
            Self::Unavailable => {
                let page = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>";
                Effect::Answer(Answer::new(503, "text/html", page))
            }
        }
    }
}

fn too_many_requests(plane: Plane) -> Answer {
    match plane {
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html
        Plane::SecretsManager => Answer::aws_error(400, "ThrottlingException", "Rate exceeded"),
        // https://docs.confluent.io/cloud/current/api.html#tag/Topic-(v3)
        Plane::KafkaRest => Answer::new(
            429,
            "text/html",
            "<html><body>429 Too Many Requests</body></html>",
        ),
        _ => Answer::empty(429),
    }
}

fn internal_error(plane: Plane) -> Answer {
    match plane {
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors
        Plane::SecretsManager => Answer::aws_error(
            500,
            "InternalServiceError",
            "An error occurred on the server side.",
        ),
        _ => Answer::confluent_error(
            500,
            Some("internal_server_error"),
            "Internal Server Error",
            "Something broke",
        ),
    }
}

/// The faults to come, by the number of the request.
pub(crate) type Faults = BTreeMap<usize, Fault>;

/// Which requests something is meant for.
type Matches = Box<dyn Fn(&Request) -> bool + Send>;

/// An answer given in place of carrying a request out.
pub(crate) struct Override {
    matches: Matches,
    times: usize,
    answer: Answer,
    is_carried_out: bool,
}

/// Whether a gate stands before a request is carried out, or before its answer leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Request,
    Answer,
}

/// Where matching requests wait.
pub(crate) struct Gate {
    matches: Matches,
    when: When,
    arrivals: watch::Sender<usize>,
    released: watch::Receiver<bool>,
}

/// Holds matching requests, or their answers, until it is released or dropped.
pub struct Hold {
    arrived: watch::Receiver<usize>,
    release: watch::Sender<bool>,
}

impl Hold {
    /// Resolves when so many have arrived at the gate.
    ///
    /// # Panics
    /// If the simulator is gone.
    pub async fn arrived(&self, count: usize) {
        self.arrived
            .clone()
            .wait_for(|arrived| *arrived >= count)
            .await
            .expect("the simulator is running");
    }

    /// Lets them all go, and holds no more.
    pub fn release(&self) {
        self.release.send_replace(true);
    }
}

impl Simulator {
    /// Lets `fault` happen to the `nth` request, counted as in [`State::requests`](crate::State::requests).
    pub fn fail(&self, nth: usize, fault: Fault) {
        self.state().faults.insert(nth, fault);
    }

    /// Forgets the requests so far and the faults that have not happened: the next request is the 0th.
    pub fn forget_requests(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.faults.clear();
    }

    /// Answers the next `times` matching requests with `answer`, and carries none of them out.
    pub fn answer(
        &self,
        times: usize,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        answer: Answer,
    ) {
        self.put_answer(times, matches, answer, false);
    }

    /// Answers the next `times` matching requests with `answer`, and carries them out all the same.
    pub fn answer_after(
        &self,
        times: usize,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        answer: Answer,
    ) {
        self.put_answer(times, matches, answer, true);
    }

    fn put_answer(
        &self,
        times: usize,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        answer: Answer,
        is_carried_out: bool,
    ) {
        self.state().overrides.push(Override {
            matches: Box::new(matches),
            times,
            answer,
            is_carried_out,
        });
    }

    /// Holds matching requests before they are carried out.
    #[must_use]
    pub fn hold_requests(&self, matches: impl Fn(&Request) -> bool + Send + 'static) -> Hold {
        self.hold(When::Request, Box::new(matches))
    }

    /// Holds the answers of matching requests, which are carried out.
    #[must_use]
    pub fn hold_answers(&self, matches: impl Fn(&Request) -> bool + Send + 'static) -> Hold {
        self.hold(When::Answer, Box::new(matches))
    }

    fn hold(&self, when: When, matches: Matches) -> Hold {
        let (release, released) = watch::channel(false);
        let (arrivals, arrived) = watch::channel(0);
        self.state().gates.push(Gate {
            matches,
            when,
            arrivals,
            released,
        });
        Hold { arrived, release }
    }
}

impl crate::State {
    /// The answer that a test has put in this request's place, and whether the request is carried out.
    pub(crate) fn overridden(&mut self, request: &Request) -> Option<(Answer, bool)> {
        let found = self
            .overrides
            .iter_mut()
            .find(|one| one.times > 0 && (one.matches)(request))?;
        found.times -= 1;
        Some((found.answer.clone(), found.is_carried_out))
    }

    /// The gate that this request, or its answer, has now arrived at.
    pub(crate) fn gate(&mut self, when: When, request: &Request) -> Option<watch::Receiver<bool>> {
        self.gates
            .retain(|gate| gate.released.has_changed().is_ok() && !*gate.released.borrow());
        let gate = self
            .gates
            .iter()
            .find(|gate| gate.when == when && (gate.matches)(request))?;
        gate.arrivals.send_modify(|arrived| *arrived += 1);
        Some(gate.released.clone())
    }
}
