//! How much memory the release binary takes, whatever it is answered.

use std::fs;

use simulator::{Answer, Request};

use super::*;

/// Half of what the smallest Lambda function has.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MOST_KILOBYTES: u64 = 64 << 10;

/// As much of a body as is read.
const LONGEST_BODY: usize = 1 << 20;

impl lambda::Process {
    /// The most memory that the process has ever had, in kilobytes.
    ///
    /// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
    fn peak_kilobytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        kilobytes.expect("a size").parse().expect("a number")
    }
}

/// `before`, then `element` as often as there is room, then `after`.
fn filled(before: &str, element: &str, after: &str) -> Vec<u8> {
    let room = LONGEST_BODY - before.len() - after.len();
    let elements = element.repeat(room / element.len());
    let elements = elements.trim_end_matches(',');
    format!("{before}{elements}{after}").into_bytes()
}

/// Bodies that take many times their length once they are parsed.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let next = r#"],"metadata":{"next":"/?page_token=again"}}"#;
    vec![
        ("numbers", filled(r#"{"data":["#, "0,", next)),
        ("nameless keys", filled(r#"{"data":["#, "{},", next)),
        (
            "keys with a field",
            filled(r#"{"data":["#, r#"{"":0},"#, next),
        ),
        (
            "one long key",
            filled(
                r#"{"data":[{"id":""#,
                "K",
                r#""}],"metadata":{"next":"/?page_token=again"}}"#,
            ),
        ),
        ("objects", filled(r#"{"spec":["#, r#"{"":0},"#, "]}")),
        ("arrays", filled(r#"{"status":["#, "[],", "]}")),
        ("errors", filled(r#"{"errors":["#, r#"{"":0},"#, "]}")),
        ("tags", filled(r#"{"Tags":["#, "{},", "]}")),
        ("replicas", filled(r#"{"ReplicationStatus":["#, "{},", "]}")),
        (
            "labels",
            filled(r#"{"VersionIdsToStages":{"v":["#, r#""","#, "]}}"),
        ),
        ("a long value", filled(r#"{"SecretString":""#, " ", r#""}"#)),
        (
            "a value of many fields",
            filled(r#"{"SecretString":"{"#, r#"\"\":0,"#, r#"}"}"#),
        ),
        ("white space", filled("", " ", "")),
    ]
}

/// A request for each answer that is parsed in its own way, and the step that begins with it or soon comes to it.
const ASKED: [(&str, &str); 5] = [
    ("DescribeSecret", "createSecret"),
    ("GetSecretValue", "setSecret"),
    ("GET /iam/v2/api-keys", "createSecret"),
    ("GET /cmk/v2/clusters/lkc-orders", "createSecret"),
    ("GET /kafka/v3/clusters/lkc-orders/topics", "createSecret"),
];

/// Returns how many kilobytes a step takes that is given `answer` to a request, as often as it asks.
async fn peak_of(asked: &'static str, step: &str, answer: Answer) -> u64 {
    let world = World::new(Setting::default()).await;
    let is_it = move |request: &Request| request.label() == asked;
    world.simulator.answer(usize::MAX, is_it, answer);
    let lambda = Lambda::start(&world.simulator, &[]).await;
    let token = world.simulator.begin_rotation(&world.arn);
    let event = world.simulator.event(&world.arn, &token, step);

    // A probe that is answered with JSON is a success, whatever it says.
    let _ = lambda.invoke(event).await;

    lambda.process.peak_kilobytes()
}

/// What a service answers is parsed in half the memory of the smallest function.
#[tokio::test]
async fn no_answer_to_any_request_takes_more_memory_than_there_is() {
    let mut peak = 0;
    for (asked, step) in ASKED {
        for (name, body) in bodies() {
            for status in [200, 403] {
                let answer = Answer::new(status, "application/json", body.clone());

                let kilobytes = peak_of(asked, step, answer).await;

                let case = format!("{status} with {name} to {asked}");
                assert!(kilobytes < MOST_KILOBYTES, "{kilobytes} kB: {case}");
                peak = peak.max(kilobytes);
            }
        }
    }
    println!("at most {peak} kB");
}
