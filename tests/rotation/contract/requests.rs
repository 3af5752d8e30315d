//! One request: what is sent again, for how long it is waited, and how much of an answer is read.

use std::time::Instant;

use confluent_key_rotation::http::{Error, Request};
use reqwest::{Method, StatusCode};

use super::*;

const KEYS: &str = "/iam/v2/api-keys";

/// A request that a Cloud key gets through.
pub(super) fn get<'k>(world: &World, key: &'k ApiKey) -> Request<'k> {
    Request {
        method: Method::GET,
        url: world.control_plane().join("/org/v2/environments").unwrap(),
        key,
        media_type: "application/json",
        body: None,
    }
}

/// A request that makes a key.
fn post<'k>(world: &World, key: &'k ApiKey) -> Request<'k> {
    let body = json!({"spec": {"owner": {"id": OWNER}, "resource": {"id": "lkc-orders"}}});
    Request {
        method: Method::POST,
        url: world.control_plane().join(KEYS).unwrap(),
        body: Some(body.to_string()),
        ..get(world, key)
    }
}

fn get_from(url: Url, key: &ApiKey) -> Request<'_> {
    Request {
        method: Method::GET,
        url,
        key,
        media_type: "application/json",
        body: None,
    }
}

impl World {
    async fn send(&self, request: &Request<'_>) -> Result<http::Answer, Error> {
        self.http().send(request, Deadline::after(AMPLE)).await
    }

    async fn send_once(&self, request: &Request<'_>) -> Result<http::Answer, Error> {
        self.http().send_once(request, Deadline::after(AMPLE)).await
    }
}

async fn world_with_key() -> (World, ApiKey) {
    let world = World::new(Setting::default()).await;
    let key = world.admin_key();
    (world, key)
}

/// A client that waits for an answer as long as the deadline lets it.
fn patient(world: &World) -> Http {
    let mut limits = world.function.http_limits;
    limits.request = AMPLE;
    let allowed = AllowedHosts::new(world.control_plane(), Vec::new());
    Http::new(world.function.http.clone(), allowed, limits)
}

fn in_five_seconds() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn refused_with(outcome: &Result<http::Answer, Error>) -> Option<u16> {
    match outcome {
        Err(Error::Refused(answer)) => Some(answer.status.as_u16()),
        _ => None,
    }
}

#[tokio::test]
async fn a_request_is_signed_with_the_given_key() {
    let (world, key) = world_with_key().await;

    let answer = world
        .http()
        .send(&get(&world, &key), in_five_seconds())
        .await;

    assert_eq!(answer.unwrap().status, StatusCode::OK);
    let requests = world.simulator.state().requests.clone();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].key_id.as_deref(), Some(key.id.as_str()));
}

#[tokio::test]
async fn a_get_is_sent_again_after_every_fault() {
    let (world, key) = world_with_key().await;
    for fault in survivable() {
        world.simulator.forget_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send(&get(&world, &key)).await;

        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        assert_eq!(world.requests().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_delete_is_sent_again_after_every_fault() {
    let (world, key) = world_with_key().await;
    world.always_answer(Answer::empty(204));
    let delete = Request {
        method: Method::DELETE,
        url: world.control_plane().join("/iam/v2/api-keys/KEY").unwrap(),
        ..get(&world, &key)
    };
    for fault in survivable() {
        world.simulator.forget_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send(&delete).await;

        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        assert_eq!(world.requests().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_post_is_sent_again_after_429_and_after_nothing_else() {
    let (world, key) = world_with_key().await;
    for fault in survivable() {
        let was_too_many = matches!(fault, Fault::TooManyRequests | Fault::TooManyRequestsBare);
        // On a connection that is open already, as a client that hides a reset would have it.
        world.send(&get(&world, &key)).await.unwrap();
        world.simulator.forget_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send(&post(&world, &key)).await;

        assert_eq!(outcome.is_ok(), was_too_many, "{fault:?}: {outcome:?}");
        let sent = if was_too_many { 2 } else { 1 };
        let requests = world.requests();
        assert_eq!(
            requests,
            vec!["POST /iam/v2/api-keys"; sent],
            "{fault:?}: {requests:?}"
        );
    }
}

#[tokio::test]
async fn a_post_that_failed_says_whether_it_may_have_been_carried_out() {
    let (world, key) = world_with_key().await;
    for (fault, may_have) in [
        (Fault::InternalError, true),
        (Fault::InternalErrorAfter, true),
        (Fault::Unavailable, true),
        (Fault::ResetBefore, true),
        (Fault::ResetAfter, true),
        (Fault::StallAfter, true),
        (Fault::TooManyRequests, false),
    ] {
        world.simulator.forget_requests();
        world.simulator.fail(0, fault);

        let outcome = world.send_once(&post(&world, &key)).await;

        let error = outcome.expect_err("a fault");
        assert_eq!(
            error.may_have_been_carried_out(),
            may_have,
            "{fault:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn repeats_come_to_an_end() {
    let (world, key) = world_with_key().await;
    let most = 1 + world.function.http_limits.repeats.times as usize;
    for status in [500, 503] {
        let refusal = Answer::empty(status);
        world.simulator.answer(most, |_| true, refusal);

        let outcome = world.send(&get(&world, &key)).await;

        assert_eq!(refused_with(&outcome), Some(status), "{outcome:?}");
        assert_eq!(world.requests().len(), most, "{status}");
    }
}

/// To give up would waste what the step has asked so far; what a crowd is refused is worth waiting for.
#[tokio::test]
async fn a_request_that_is_one_too_many_is_sent_again_until_the_deadline_is_near() {
    let (world, key) = world_with_key().await;
    let most = 1 + world.function.http_limits.repeats.times as usize;
    let request = get(&world, &key);
    world
        .simulator
        .answer(3 * most, |_| true, Answer::empty(429));

    let patient = world.http().send(&request, Deadline::after(AMPLE)).await;
    assert!(patient.is_ok(), "{patient:?}");
    assert_eq!(world.requests().len(), 3 * most + 1);
    world
        .simulator
        .answer(usize::MAX, |_| true, Answer::empty(429));
    let asked = Instant::now();
    let deadline = Deadline::after(Duration::from_secs(3));
    let hasty = world.http().send(&request, deadline).await;

    assert_eq!(refused_with(&hasty), Some(429), "{hasty:?}");
    assert!(asked.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn another_refusal_is_not_sent_again() {
    let (world, key) = world_with_key().await;
    for status in [301, 400, 401, 402, 403, 404, 409, 418, 422] {
        world.simulator.answer(1, |_| true, Answer::empty(status));

        let outcome = world.send(&get(&world, &key)).await;

        assert_eq!(refused_with(&outcome), Some(status), "{outcome:?}");
        assert_eq!(world.requests().len(), 1, "{status}");
    }
}

/// 429 with these headers.
fn too_many(headers: &[(&str, &str)]) -> Answer {
    let bare = Answer::empty(429);
    headers.iter().fold(bare, |answer, (name, value)| {
        answer.with_header(name, *value)
    })
}

#[tokio::test]
async fn a_wait_that_the_server_asks_for_is_kept_and_not_begun_past_the_deadline() {
    let (world, key) = world_with_key().await;
    for headers in [
        &[("retry-after", "30")][..],
        &[("retry-after", " 30 ")],
        &[("x-ratelimit-reset", "30")],
        &[("retry-after", "30"), ("x-ratelimit-reset", "0")],
        // Absurd ones count as the longest.
        &[("retry-after", "99999999")],
        &[("retry-after", "18446744073709551615")],
        &[("x-ratelimit-reset", "1760000000")],
    ] {
        world.simulator.answer(1, |_| true, too_many(headers));

        let outcome = world
            .http()
            .send(&get(&world, &key), in_five_seconds())
            .await;

        assert_eq!(
            refused_with(&outcome),
            Some(429),
            "{headers:?}: {outcome:?}"
        );
        assert_eq!(world.requests().len(), 1, "{headers:?}");
    }
}

#[tokio::test]
async fn a_wait_that_is_no_number_of_seconds_is_not_asked_for() {
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
        world.simulator.answer(1, |_| true, too_many(headers));

        let outcome = world
            .http()
            .send(&get(&world, &key), in_five_seconds())
            .await;

        assert!(outcome.is_ok(), "{headers:?}: {outcome:?}");
        assert_eq!(world.requests().len(), 2, "{headers:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_refusal_and_is_not_followed() {
    let (world, key) = world_with_key().await;
    let elsewhere = Simulator::start().await;
    for status in [301, 302, 303, 307, 308] {
        for request in [get(&world, &key), post(&world, &key)] {
            let location = format!("{}/iam/v2/api-keys", elsewhere.confluent_url());
            let redirect = Answer::empty(status).with_header("location", location);
            world.simulator.answer(1, |_| true, redirect);

            let outcome = world.http().send(&request, in_five_seconds()).await;

            let case = format!("{status} to a {}", request.method);
            assert_eq!(refused_with(&outcome), Some(status), "{case}");
            assert_eq!(world.requests().len(), 1, "{case}");
            assert_eq!(elsewhere.state().labels(), [""; 0], "{case}");
        }
    }
}

#[tokio::test]
async fn a_body_is_handed_on_as_it_is_up_to_one_mebibyte() {
    let (world, key) = world_with_key().await;
    for body in [
        Vec::new(),
        b"{".to_vec(),
        vec![0xff, 0xfe, 0x00],
        vec![b' '; 1 << 20],
    ] {
        let answer = Answer::new(200, "application/json", body.clone());
        world.simulator.answer(1, |_| true, answer);

        let answer = world.send(&get(&world, &key)).await;

        assert!(answer.unwrap().body == body, "{} bytes", body.len());
    }
}

#[tokio::test]
async fn a_longer_body_is_no_answer_and_is_not_asked_for_again() {
    let (world, key) = world_with_key().await;
    let body = vec![b' '; (1 << 20) + 1];
    world.always_answer(Answer::new(200, "application/json", body));

    let outcome = world.send(&get(&world, &key)).await;

    let error = outcome.expect_err("too long");
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    assert!(error.may_have_been_carried_out());
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let (world, key) = world_with_key().await;
    let url = raw_server("HTTP/1.1 200 OK\r\n\r\n", Then::GoOn);
    let http = patient(&world);

    let outcome = http
        .send_once(&get_from(url, &key), Deadline::after(AMPLE))
        .await;

    assert!(matches!(outcome, Err(Error::TooLong { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_refusal_stands_whatever_becomes_of_its_body() {
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
            "HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
            Then::Close,
        ),
    ] {
        let request = get_from(raw_server(head, then), &key);

        let outcome = world.send_once(&request).await;

        assert_eq!(refused_with(&outcome), Some(403), "{head:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_success_that_breaks_off_leaves_its_outcome_unknown() {
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
        ("nonsense\r\n\r\n", Then::Close),
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
        assert!(error.may_have_been_carried_out(), "{head:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_was_never_sent_anything() {
    let (world, key) = world_with_key().await;
    let url = Url::parse(&world.simulator.unreachable_url()).unwrap();
    let host = format!("127.0.0.1:{}", url.port().unwrap());
    let request = Request {
        url,
        ..post(&world, &key)
    };

    let outcome = world.http().send(&request, in_five_seconds()).await;

    let error = outcome.expect_err("nobody listens");
    assert!(matches!(error, Error::NotSent { .. }), "{error:?}");
    assert!(!error.may_have_been_carried_out());
    assert!(error.to_string().contains(&host), "{error}");
}

#[tokio::test]
async fn a_request_ends_with_the_deadline() {
    let (world, key) = world_with_key().await;
    let http = patient(&world);
    world.simulator.fail(0, Fault::StallBefore);
    let asked = Instant::now();

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
    assert!(asked.elapsed() < AMPLE / 2);
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_when_the_deadline_has_passed() {
    let (world, key) = world_with_key().await;

    let outcome = world
        .http()
        .send(&post(&world, &key), Deadline::after(Duration::ZERO))
        .await;

    let error = outcome.expect_err("no time");
    assert!(matches!(error, Error::TimeUp { .. }), "{error:?}");
    assert!(!error.may_have_been_carried_out());
    assert_eq!(world.requests(), [""; 0]);
}
