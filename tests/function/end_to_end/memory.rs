//! The memory that the program uses to parse responses.

use std::fs;

use simulator::{Request, Response};

use super::*;

/// Half of the memory of the smallest Lambda function.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MAX_KILOBYTES: u64 = 64 << 10;

/// The length up to which the function reads a body.
const MAX_BODY_LENGTH: usize = 1 << 20;

impl lambda::Process {
    /// Returns the peak memory of the process, in kilobytes.
    ///
    /// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
    pub(super) fn peak_kilobytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        kilobytes.expect("a size").parse().expect("a number")
    }
}

/// Returns `before`, then `element` as often as the maximum length permits, then `after`.
fn filled(before: &str, element: &str, after: &str) -> Vec<u8> {
    let length = MAX_BODY_LENGTH - before.len() - after.len();
    let elements = element.repeat(length / element.len());
    let elements = elements.trim_end_matches(',');
    format!("{before}{elements}{after}").into_bytes()
}

/// Bodies that need many times their length in memory when they are parsed.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let next = r#"],"metadata":{"next":"/?page_token=again"}}"#;
    vec![
        ("numbers", filled(r#"{"data":["#, "0,", next)),
        ("keys without fields", filled(r#"{"data":["#, "{},", next)),
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
            "replicas in other accounts",
            filled(r#"{"CrossAccountReplicas":["#, "{},", "]}"),
        ),
        (
            "labels",
            filled(r#"{"VersionIdsToStages":{"v":["#, r#""","#, "]}}"),
        ),
        ("a long value", filled(r#"{"SecretString":""#, " ", r#""}"#)),
        (
            "a value of many fields",
            filled(r#"{"SecretString":"{"#, r#"\"\":0,"#, r#"}"}"#),
        ),
        ("whitespace", filled("", " ", "")),
    ]
}

/// A request for each kind of response, and a step that sends it early.
const REQUESTS: [(&str, &str); 5] = [
    ("DescribeSecret", "createSecret"),
    ("GetSecretValue", "testSecret"),
    ("GET /iam/v2/api-keys", "createSecret"),
    ("GET /cmk/v2/clusters/lkc-orders", "createSecret"),
    ("GET /kafka/v3/clusters/lkc-orders/topics", "createSecret"),
];

/// Returns the peak memory of a step, in kilobytes, if every `request` gets `response`.
async fn peak_of(request: &'static str, step: &str, response: Response) -> u64 {
    let world = World::new(Setting::default()).await;
    let matches = move |sent: &Request| sent.name() == request;
    world.simulator.respond_with(usize::MAX, matches, response);
    let lambda = Lambda::start(&world.simulator, &[]).await;
    let token = world.simulator.start_rotation(&world.arn);
    let event = world.simulator.event(&world.arn, &token, step);

    // The step succeeds if the request is a probe: any JSON counts as accepted.
    let _ = lambda.invoke(event).await;

    lambda.process.peak_kilobytes()
}

#[tokio::test]
async fn every_response_is_parsed_in_half_the_memory_of_the_smallest_function() {
    let mut peak = 0;
    for (request, step) in REQUESTS {
        for (name, body) in bodies() {
            for status in [200, 403] {
                let response = Response::new(status, "application/json", body.clone());

                let kilobytes = peak_of(request, step, response).await;

                let case = format!("{status} with {name} to {request}");
                assert!(kilobytes < MAX_KILOBYTES, "{kilobytes} kB: {case}");
                peak = peak.max(kilobytes);
            }
        }
    }
    println!("at most {peak} kB");
}
