//! Slow responses, and servers that request a long wait.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use confluent_key_rotation::http::SdkLimits;

use super::*;

/// The interval between two bytes of a response.
const INTERVAL: Duration = Duration::from_millis(20);

/// The length of a body that takes longer than the time limit of a request, in bytes.
const BODY_BYTES: usize = 1_000;

/// Returns a response that starts immediately and does not end in time.
fn slow_response(status: u16) -> Response {
    let body = format!(r#"{{"id":"K","data":[{}"#, " ".repeat(BODY_BYTES));
    json_response(status, body).byte_by_byte(INTERVAL)
}

/// A slow success and a slow rejection.
pub(super) fn slow_responses() -> [NamedResponse; 2] {
    [200, 403].map(|status| (format!("{status} with a slow body"), slow_response(status)))
}

/// Matches requests to the simulator.
type Matches = fn(&Request) -> bool;

impl World {
    /// Responds to all matching requests, which take effect, with `response`. The returned flag ends this.
    fn respond_to_all(&self, matches: Matches, response: Response) -> Arc<AtomicBool> {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let matches = move |request: &Request| matches(request) && !is_over.load(Relaxed);
        (self.simulator).replace_response(usize::MAX, matches, response);
        over
    }
}

/// The time limit of a request includes reading the complete response. The next attempt finds a key whose response was not
/// read.
#[tokio::test]
async fn a_slow_body_ends_with_the_time_limit_of_the_request_and_no_key_is_orphaned() {
    let is_probe: Matches = |request| request.service == Service::KafkaRest;
    let cases: [(&str, Matches, &str); 6] = [
        ("a list", lists_keys, "no complete response"),
        ("a create", creates_a_key, "no complete response"),
        ("a probe", is_probe, "no complete response"),
        (
            "a description",
            |r| r.name() == "DescribeSecret",
            "the request timed out",
        ),
        (
            "a value",
            |r| r.name() == "GetSecretValue",
            "the request timed out",
        ),
        (
            "a write",
            |r| r.name() == "PutSecretValue",
            "the request timed out",
        ),
    ];
    for (name, matches, cause) in cases {
        for recovery in [Recovery::SameToken, Recovery::NewToken] {
            let setting = Setting::default();
            let mut world = world(setting).await;
            // Longer than any other request takes, because the error must name this one.
            world.set_request_limit(Duration::from_millis(500));
            let case = format!("{name}, {recovery:?}");
            let over = world.respond_to_all(matches, slow_response(200));
            let started = Instant::now();

            let outcome = world.attempt(&case).await;

            let elapsed = started.elapsed();
            assert!(elapsed < STEP, "{case}: {elapsed:?}");
            let outcome = format!("{outcome:?}");
            assert!(outcome.contains(cause), "{case}: {outcome}");
            over.store(true, Relaxed);
            world.rotate_until_it_succeeds(recovery, &case).await;
            world.assert_rotated(setting, &case);
        }
    }
}

/// Secrets Manager may request a wait of any length. The SDK waits no longer than its own limit, and then retries.
#[tokio::test]
async fn a_wait_of_a_day_that_secrets_manager_requests_is_shortened() {
    const DAY_IN_MILLISECONDS: &str = "86400000";
    for operation in [
        "DescribeSecret",
        "GetSecretValue",
        "PutSecretValue",
        "UpdateSecretVersionStage",
    ] {
        let setting = Setting::default();
        let mut world = world(setting).await;
        world.time_limit = AMPLE;
        let throttled = Response::aws_error(400, "ThrottlingException", "Rate exceeded")
            .with_header("x-amz-retry-after", DAY_IN_MILLISECONDS)
            .with_header("retry-after", "86400");
        let matches = move |request: &Request| request.name() == operation;
        world.simulator.respond_with(2, matches, throttled);
        let started = Instant::now();

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{operation}");
        let elapsed = started.elapsed();
        assert!(elapsed < STEP, "{operation}: {elapsed:?}");
        world.assert_rotated(setting, operation);
    }
}

/// The limits outside of tests.
#[test]
fn a_request_to_aws_takes_less_than_a_minute_whatever_wait_it_requests() {
    let SdkLimits {
        attempt,
        max_backoff,
        max_attempts,
        ..
    } = SdkLimits::default();

    assert!(attempt * max_attempts + max_backoff * (max_attempts - 1) < Duration::from_mins(1));
}
