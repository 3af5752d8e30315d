//! Answers that take their time, and servers that ask for a long one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

/// One byte of an answer, and then nothing for so long.
const PACE: Duration = Duration::from_millis(20);

/// A body of so many bytes takes longer than any request may.
const LONG: usize = 1_000;

/// An answer that begins at once and comes to no end in time, whatever it was asked for.
fn drip(status: u16) -> Answer {
    let body = format!(r#"{{"id":"K","data":[{}"#, " ".repeat(LONG));
    json_answer(status, body).dripping(PACE)
}

/// A success that drips, and a refusal whose explanation does.
pub(super) fn drips() -> [Named; 2] {
    [200, 403].map(|status| (format!("{status} that drips"), drip(status)))
}

/// A request to the simulator.
type Asks = fn(&Request) -> bool;

impl World {
    /// Gives `answer` to all requests that `asks` names, which are carried out, until the returned is set.
    fn answer_all(&self, asks: Asks, answer: Answer) -> Arc<AtomicBool> {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let matches = move |request: &Request| asks(request) && !is_over.load(Relaxed);
        self.simulator.answer_after(usize::MAX, matches, answer);
        over
    }
}

/// A time limit that ended with the first byte would never end: a request's time is that of its whole answer. The
/// key that a dripping answer hides is found by the next attempt.
#[tokio::test]
async fn a_body_that_drips_is_given_up_when_the_requests_time_is_over_and_nothing_is_lost() {
    let is_probe: Asks = |request| request.plane == Plane::KafkaRest;
    let cases: [(&str, Asks, &str); 6] = [
        ("the list", lists_keys, "gave no whole answer"),
        ("a create", makes_a_key, "gave no whole answer"),
        ("a probe", is_probe, "gave no whole answer"),
        (
            "a description",
            |r| r.label() == "DescribeSecret",
            "it took too long",
        ),
        (
            "a value",
            |r| r.label() == "GetSecretValue",
            "it took too long",
        ),
        (
            "a put",
            |r| r.label() == "PutSecretValue",
            "it took too long",
        ),
    ];
    for (name, asks, says) in cases {
        for recovery in [Recovery::SameToken, Recovery::NewToken] {
            let setting = Setting::default();
            let world = world(setting).await;
            let case = format!("{name}, {recovery:?}");
            let over = world.answer_all(asks, drip(200));
            let began = Instant::now();

            let outcome = world.attempt(&case).await;

            assert!(began.elapsed() < STEP, "{case}: {:?}", began.elapsed());
            let shown = format!("{outcome:?}");
            assert!(shown.contains(says), "{case}: {shown}");
            over.store(true, Relaxed);
            world.rotate_until_it_succeeds(recovery, &case).await;
            world.assert_rotated(setting, &case);
        }
    }
}

/// Secrets Manager may ask the SDK to wait until tomorrow. It waits no longer than it would unasked, and then tries
/// again.
#[tokio::test]
async fn a_wait_of_a_day_that_secrets_manager_asks_for_is_cut_short() {
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
        let throttled = Answer::aws_error(400, "ThrottlingException", "Rate exceeded")
            .with_header("x-amz-retry-after", DAY_IN_MILLISECONDS)
            .with_header("retry-after", "86400");
        let is_it = move |request: &Request| request.label() == operation;
        world.simulator.answer(2, is_it, throttled);
        let began = Instant::now();

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{operation}");
        assert!(began.elapsed() < STEP, "{operation}: {:?}", began.elapsed());
        world.assert_rotated(setting, operation);
    }
}

/// What the function waits where Lambda runs it.
#[test]
fn a_call_of_secrets_manager_takes_less_than_a_minute_however_long_it_asks_to_wait() {
    const TRIES: u32 = 3;
    let store::Limits {
        attempt,
        longest_repeat,
        ..
    } = store::Limits::default();

    assert!(attempt * TRIES + longest_repeat * (TRIES - 1) < Duration::from_mins(1));
}
