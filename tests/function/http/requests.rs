//! One request: its retries, its delays, its deadline, and the size limit of its response.

use std::time::Instant;

use confluent_key_rotation::http::{self, Destination, Error, Request};
use reqwest::{Method, StatusCode};
use simulator::Fault;

use super::*;

const KEYS: &str = "/iam/v2/api-keys";

/// Returns a request that the control plane accepts with a Cloud API key.
pub(super) fn get<'k>(world: &World, key: &'k ApiKey) -> Request<'k> {
    Request {
        method: Method::GET,
        destination: at(world, "/org/v2/environments", key),
        accept: "application/json",
        body: None,
    }
}

/// Returns a request that creates a key.
fn post<'k>(world: &World, key: &'k ApiKey) -> Request<'k> {
    let body = json!({"spec": {"owner": {"id": OWNER}, "resource": {"id": "lkc-orders"}}});
    Request {
        method: Method::POST,
        destination: at(world, KEYS, key),
        body: Some(("application/json", Redacted::new(body.to_string()))),
        ..get(world, key)
    }
}

fn at<'k>(world: &World, path: &str, key: &'k ApiKey) -> Destination<'k> {
    Destination::WithKey(world.control_plane().join(path).unwrap(), key.basic_auth())
}

fn get_from(url: Url, key: &ApiKey) -> Request<'_> {
    Request {
        method: Method::GET,
        destination: Destination::WithKey(url, key.basic_auth()),
        accept: "application/json",
        body: None,
    }
}

impl World {
    async fn send(&self, request: &Request<'_>) -> Result<http::Response, Error> {
        self.http().send(request, Deadline::after(AMPLE)).await
    }

    async fn send_once(&self, request: &Request<'_>) -> Result<http::Response, Error> {
        self.http().send_once(request, Deadline::after(AMPLE)).await
    }
}

async fn world_with_key() -> (World, ApiKey) {
    let world = World::new(Setting::default()).await;
    let key = world.admin_key();
    (world, key)
}

/// Returns a client whose only time limit is the deadline.
fn http_without_request_limit(world: &World) -> Http {
    let mut limits = world.function.http_limits;
    limits.request = AMPLE;
    let allowed = AllowedHosts::new(world.control_plane(), Vec::new());
    Http::new(world.function.http.clone(), allowed, limits)
}

fn in_five_seconds() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

/// Returns the status of a rejection.
fn rejected_with(outcome: &Result<http::Response, Error>) -> Option<u16> {
    match outcome {
        Err(Error::Rejected(response)) => Some(response.status.as_u16()),
        _ => None,
    }
}

#[tokio::test]
async fn a_request_is_authenticated_with_the_given_key() {
    let (world, key) = world_with_key().await;

    let response = world
        .http()
        .send(&get(&world, &key), in_five_seconds())
        .await;

    assert_eq!(response.unwrap().status, StatusCode::OK);
    let requests = world.simulator.state().requests.clone();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].key_id.as_deref(), Some(key.id.as_str()));
}

#[tokio::test]
async fn a_get_is_retried_after_every_fault() {
    let (world, key) = world_with_key().await;
    for fault in survivable() {
        world.simulator.clear_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send(&get(&world, &key)).await;

        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        assert_eq!(world.requests().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_delete_is_retried_after_every_fault() {
    let (world, key) = world_with_key().await;
    world.always_answer(Response::empty(204));
    let delete = Request {
        method: Method::DELETE,
        destination: at(&world, "/iam/v2/api-keys/KEY", &key),
        ..get(&world, &key)
    };
    for fault in survivable() {
        world.simulator.clear_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send(&delete).await;

        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        assert_eq!(world.requests().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_post_is_retried_only_after_429() {
    let (world, key) = world_with_key().await;
    for fault in survivable() {
        let is_rate_limited = matches!(
            fault,
            Fault::TooManyRequests | Fault::TooManyRequestsWithoutHeaders
        );
        // Opens the connection, because a client may retry by itself if an open connection is reset.
        world.send(&get(&world, &key)).await.unwrap();
        world.simulator.clear_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send(&post(&world, &key)).await;

        assert_eq!(outcome.is_ok(), is_rate_limited, "{fault:?}: {outcome:?}");
        let attempts = if is_rate_limited { 2 } else { 1 };
        let requests = world.requests();
        assert_eq!(
            requests,
            vec!["POST /iam/v2/api-keys"; attempts],
            "{fault:?}: {requests:?}"
        );
    }
}

#[tokio::test]
async fn the_error_of_a_post_says_whether_it_may_have_taken_effect() {
    let (world, key) = world_with_key().await;
    for (fault, may_have_taken_effect) in [
        (Fault::InternalError, true),
        (Fault::InternalErrorAfter, true),
        (Fault::Unavailable, true),
        (Fault::ResetBefore, true),
        (Fault::ResetAfter, true),
        (Fault::StallAfter, true),
        (Fault::TooManyRequests, false),
    ] {
        world.simulator.clear_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send_once(&post(&world, &key)).await;

        let error = outcome.expect_err("a fault");
        assert_eq!(
            error.may_have_taken_effect(),
            may_have_taken_effect,
            "{fault:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn the_number_of_retries_is_limited() {
    let (world, key) = world_with_key().await;
    let attempts = 1 + world.function.http_limits.retries.retries as usize;
    for status in [500, 503] {
        let failure = Response::empty(status);
        world.simulator.respond_with(attempts, |_| true, failure);

        let outcome = world.send(&get(&world, &key)).await;

        assert_eq!(rejected_with(&outcome), Some(status), "{outcome:?}");
        assert_eq!(world.requests().len(), attempts, "{status}");
    }
}

/// If the step failed, all its requests would be sent again. Waiting costs fewer requests.
#[tokio::test]
async fn a_rate_limited_request_is_retried_until_the_deadline_is_near() {
    let (world, key) = world_with_key().await;
    let rejections = 3 * (1 + world.function.http_limits.retries.retries as usize);
    let request = get(&world, &key);
    world
        .simulator
        .respond_with(rejections, |_| true, Response::empty(429));

    let in_time = world.http().send(&request, Deadline::after(AMPLE)).await;
    assert!(in_time.is_ok(), "{in_time:?}");
    assert_eq!(world.requests().len(), rejections + 1);
    world.always_answer(Response::empty(429));
    let started = Instant::now();
    let deadline = Deadline::after(Duration::from_secs(3));
    let too_late = world.http().send(&request, deadline).await;

    assert_eq!(rejected_with(&too_late), Some(429), "{too_late:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_request_is_not_retried_after_any_other_status() {
    let (world, key) = world_with_key().await;
    for status in [301, 400, 401, 402, 403, 404, 409, 418, 422] {
        world
            .simulator
            .respond_with(1, |_| true, Response::empty(status));

        let outcome = world.send(&get(&world, &key)).await;

        assert_eq!(rejected_with(&outcome), Some(status), "{outcome:?}");
        assert_eq!(world.requests().len(), 1, "{status}");
    }
}

/// Returns a 429 with `headers`.
fn rate_limited(headers: &[(&str, &str)]) -> Response {
    let response = Response::empty(429);
    headers.iter().fold(response, |response, (name, value)| {
        response.with_header(name, *value)
    })
}

#[tokio::test]
async fn a_requested_wait_that_would_reach_the_deadline_is_not_started() {
    let (world, key) = world_with_key().await;
    for headers in [
        &[("retry-after", "30")][..],
        &[("retry-after", " 30 ")],
        &[("x-ratelimit-reset", "30")],
        &[("retry-after", "30"), ("x-ratelimit-reset", "0")],
        // An implausible value counts as the longest wait.
        &[("retry-after", "99999999")],
        &[("retry-after", "18446744073709551615")],
        &[("x-ratelimit-reset", "1760000000")],
    ] {
        world
            .simulator
            .respond_with(1, |_| true, rate_limited(headers));

        let outcome = world
            .http()
            .send(&get(&world, &key), in_five_seconds())
            .await;

        assert_eq!(
            rejected_with(&outcome),
            Some(429),
            "{headers:?}: {outcome:?}"
        );
        assert_eq!(world.requests().len(), 1, "{headers:?}");
    }
}

#[tokio::test]
async fn a_header_that_is_not_a_positive_number_of_seconds_requests_no_wait() {
    let (world, key) = world_with_key().await;
    for headers in [
        &[("retry-after", "0")][..],
        &[("retry-after", "0"), ("x-ratelimit-reset", "30")],
        &[("x-ratelimit-reset", "0")],
        &[("retry-after", "")],
        &[("retry-after", "-5")],
        &[("retry-after", "1.5")],
        &[("retry-after", "soon")],
        &[("retry-after", "\u{e9}")],
        &[("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT")],
        &[("retry-after", "999999999999999999999999999999")],
    ] {
        world
            .simulator
            .respond_with(1, |_| true, rate_limited(headers));

        let outcome = world
            .http()
            .send(&get(&world, &key), in_five_seconds())
            .await;

        assert!(outcome.is_ok(), "{headers:?}: {outcome:?}");
        assert_eq!(world.requests().len(), 2, "{headers:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_rejection_and_is_not_followed() {
    let (world, key) = world_with_key().await;
    let other_host = Simulator::start().await;
    for status in [301, 302, 303, 307, 308] {
        for request in [get(&world, &key), post(&world, &key)] {
            let location = format!("{}/iam/v2/api-keys", other_host.confluent_url());
            let redirect = Response::empty(status).with_header("location", location);
            world.simulator.respond_with(1, |_| true, redirect);

            let outcome = world.http().send(&request, in_five_seconds()).await;

            let case = format!("{status} to a {}", request.method);
            assert_eq!(rejected_with(&outcome), Some(status), "{case}");
            assert_eq!(world.requests().len(), 1, "{case}");
            assert_eq!(other_host.state().request_names(), [""; 0], "{case}");
        }
    }
}

#[tokio::test]
async fn a_body_of_at_most_one_mebibyte_is_returned_unchanged() {
    let (world, key) = world_with_key().await;
    for body in [
        Vec::new(),
        b"{".to_vec(),
        vec![0xff, 0xfe, 0x00],
        vec![b' '; 1 << 20],
    ] {
        let response = Response::new(200, "application/json", body.clone());
        world.simulator.respond_with(1, |_| true, response);

        let response = world.send(&get(&world, &key)).await;

        assert!(response.unwrap().body == body, "{} bytes", body.len());
    }
}

#[tokio::test]
async fn a_longer_body_is_an_error_and_the_request_is_not_retried() {
    let (world, key) = world_with_key().await;
    let body = vec![b' '; (1 << 20) + 1];
    world.always_answer(Response::new(200, "application/json", body));

    let outcome = world.send(&get(&world, &key)).await;

    let error = outcome.expect_err("too long");
    assert!(matches!(error, Error::ResponseTooLong { .. }), "{error:?}");
    assert!(error.may_have_taken_effect());
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn an_endless_body_is_read_only_up_to_the_limit() {
    let (world, key) = world_with_key().await;
    let url = raw_server("HTTP/1.1 200 OK\r\n\r\n", Then::GoOn);
    let http = http_without_request_limit(&world);

    let outcome = http
        .send_once(&get_from(url, &key), Deadline::after(AMPLE))
        .await;

    assert!(
        matches!(outcome, Err(Error::ResponseTooLong { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_rejection_keeps_its_status_if_its_body_cannot_be_read() {
    let (world, key) = world_with_key().await;
    for (head, then) in [
        ("HTTP/1.1 403 Forbidden\r\n\r\n", Then::GoOn),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 100\r\n\r\n{",
            Then::Close,
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 100\r\n\r\n{",
            Then::Stall,
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\ninvalid\r\n",
            Then::Close,
        ),
    ] {
        let request = get_from(raw_server(head, then), &key);

        let outcome = world.send_once(&request).await;

        assert_eq!(rejected_with(&outcome), Some(403), "{head:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn after_an_incomplete_success_the_outcome_is_unknown() {
    let (world, key) = world_with_key().await;
    for (head, then) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
            Then::Close,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
            Then::Stall,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
            Then::Close,
        ),
        ("HTTP/1.1 200", Then::Close),
        ("invalid\r\n\r\n", Then::Close),
        ("", Then::Close),
        ("", Then::Stall),
    ] {
        let request = get_from(raw_server(head, then), &key);

        let outcome = world.send_once(&request).await;

        let error = outcome.expect_err(head);
        assert!(
            matches!(error, Error::OutcomeUnknown { .. }),
            "{head:?}: {error:?}"
        );
        assert!(error.may_have_taken_effect(), "{head:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_connection_was_not_sent() {
    let (world, key) = world_with_key().await;
    let url = Url::parse(&world.simulator.unreachable_url()).unwrap();
    let host = format!("127.0.0.1:{}", url.port().unwrap());
    let request = Request {
        destination: Destination::WithKey(url, key.basic_auth()),
        ..post(&world, &key)
    };

    let outcome = world.http().send(&request, in_five_seconds()).await;

    let error = outcome.expect_err("no listener");
    assert!(matches!(error, Error::NotSent { .. }), "{error:?}");
    assert!(!error.may_have_taken_effect());
    assert!(error.to_string().contains(&host), "{error}");
}

#[tokio::test]
async fn a_request_ends_at_the_deadline() {
    let (world, key) = world_with_key().await;
    let http = http_without_request_limit(&world);
    world.simulator.fail(0, Fault::StallBefore);
    let started = Instant::now();

    let outcome = http
        .send(
            &get(&world, &key),
            Deadline::after(Duration::from_millis(300)),
        )
        .await;

    assert!(
        matches!(outcome, Err(Error::OutcomeUnknown { .. })),
        "{outcome:?}"
    );
    assert!(started.elapsed() < AMPLE / 2);
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_after_the_deadline() {
    let (world, key) = world_with_key().await;

    let outcome = world
        .http()
        .send(&post(&world, &key), Deadline::after(Duration::ZERO))
        .await;

    let error = outcome.expect_err("the deadline has passed");
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error:?}");
    assert!(!error.may_have_taken_effect());
    assert_eq!(world.requests(), [""; 0]);
}

/// Returns a successful response with the headers of the rate limit.
fn with_rate_limit(remaining: &str, reset: &str) -> Response {
    Response::json(200, &json!({}))
        .with_header("x-ratelimit-remaining", remaining)
        .with_header("x-ratelimit-reset", reset)
}

#[tokio::test]
async fn a_request_waits_for_the_reset_only_if_no_request_remains() {
    let (world, key) = world_with_key().await;
    for (remaining, reset, waits) in [
        ("0", "1", true),
        ("0", "0", false),
        ("0", "soon", false),
        ("1", "1", false),
        ("", "1", false),
    ] {
        let http = world.http();
        world
            .simulator
            .respond_with(1, |_| true, with_rate_limit(remaining, reset));
        let send = async || http.send(&get(&world, &key), Deadline::after(AMPLE)).await;
        send().await.unwrap();
        let started = Instant::now();

        send().await.unwrap();

        let case = format!("{remaining}, {reset}");
        let elapsed = started.elapsed();
        assert_eq!(
            elapsed >= Duration::from_secs(1),
            waits,
            "{case}: {elapsed:?}"
        );
        let started = Instant::now();
        // The response to the second request says that requests remain.
        send().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(1), "{case}");
    }
}

#[tokio::test]
async fn a_wait_for_the_reset_that_would_reach_the_deadline_is_not_started() {
    let (world, key) = world_with_key().await;
    let http = world.http();
    world
        .simulator
        .respond_with(1, |_| true, with_rate_limit("0", "30"));
    http.send(&get(&world, &key), in_five_seconds())
        .await
        .unwrap();

    let outcome = http.send(&get(&world, &key), in_five_seconds()).await;

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// A deletion may no longer be allowed after the wait.
#[tokio::test]
async fn a_request_that_is_not_wanted_after_the_wait_for_the_reset_is_not_sent() {
    let (world, key) = world_with_key().await;
    let http = world.http();
    world
        .simulator
        .respond_with(1, |_| true, with_rate_limit("0", "1"));
    http.send(&get(&world, &key), Deadline::after(AMPLE))
        .await
        .unwrap();
    world.requests();

    let delete = Request {
        method: Method::DELETE,
        ..get(&world, &key)
    };
    let sent = http.send_while(&delete, Deadline::after(AMPLE), async || false);

    let outcome = sent.await;
    assert!(
        matches!(outcome, Err(Error::NoLongerWanted { .. })),
        "{outcome:?}"
    );
    assert_eq!(world.requests(), [""; 0]);
}
