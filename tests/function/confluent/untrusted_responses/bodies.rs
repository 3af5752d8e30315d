//! Invalid bodies, statuses and headers.

use super::slow::slow_responses;
use super::*;

/// A length above every limit for bodies, in bytes.
const HUGE: usize = 3 << 20;

/// A nesting depth at which a recursive parser would overflow its stack.
const DEEP: usize = 100_000;

/// Bodies that are invalid for every request.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(DEEP), close.repeat(DEEP));
        format!(r#"{{"id":"K","unknown":{open}{close},"data":{open}{close},"spec":{open}{close}}}"#)
    };
    let many = |element: &str| {
        format!(
            "[{}{element}]",
            format!("{element},").repeat(200_000 / element.len())
        )
    };
    vec![
        ("an empty body", Vec::new()),
        ("whitespace", b" \r\n\t ".to_vec()),
        ("null", b"null".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a string", br#""CANARY""#.to_vec()),
        ("a number that is too large", b"1e99999".to_vec()),
        (
            "fields of the wrong type",
            br#"{"id":7,"data":{"0":1},"metadata":[],"spec":"CANARY","ARN":[1],"VersionIdsToStages":"CANARY","SecretString":{"CANARY":1}}"#.to_vec(),
        ),
        (
            "nested fields of the wrong type",
            br#"{"id":"K","data":[[],"CANARY"],"spec":{"secret":["CANARY"]},"VersionIdsToStages":{"CANARY":7},"SecretString":null}"#.to_vec(),
        ),
        ("a truncated string", br#"{"id":"K","data":[{"id":"K","spec":{"secret":"CANARY"#.to_vec()),
        ("two JSON values", br#"{"data":[]}{"data":[]}"#.to_vec()),
        ("an HTML page", b"<!doctype html><title>CANARY</title>".to_vec()),
        ("unclosed arrays", "[".repeat(DEEP).into_bytes()),
        ("deep arrays", deep("[", "]").into_bytes()),
        ("deep objects", format!("{}1{}", r#"{"data":"#.repeat(DEEP), "}".repeat(DEEP)).into_bytes()),
        ("deep objects in fields", deep(r#"{"a":"#, "}").replace(":}", ":1}").into_bytes()),
        ("strings that are not UTF-8", b"{\"id\":\"\xff\xfe\",\"data\":[{\"id\":\"\xc3\x28\"}],\"ARN\":\"\xff\"}".to_vec()),
        ("a body that is not UTF-8", vec![0xff; 300]),
        ("half a surrogate", br#"{"id":"\ud800","data":[{"id":"\udc00"}],"SecretString":"\ud800"}"#.to_vec()),
        ("zeros", vec![0; 5_000]),
        ("a huge body of spaces", vec![b' '; HUGE]),
        ("a huge string", format!(r#"{{"id":"{}"}}"#, "K".repeat(HUGE)).into_bytes()),
        ("many empty elements", format!(r#"{{"data":{},"metadata":{{"next":""}}}}"#, many("0")).into_bytes()),
        ("a compressed body", stored_gzip(br#"{"data":[],"metadata":{"next":""}}"#)),
        ("a compressed bomb", gzip_bomb()),
    ]
}

/// All invalid responses.
fn responses() -> Vec<NamedResponse> {
    let mut responses: Vec<NamedResponse> = Vec::new();
    for (name, body) in bodies() {
        for status in [200, 403] {
            responses.push((
                format!("{status} with {name}"),
                json_response(status, body.clone()),
            ));
        }
    }
    let long = "x".repeat(60_000);
    let body = json!({"errors": [{"code": long, "detail": long}], "message": long, "__type": long})
        .to_string();
    for status in [400, 500] {
        responses.push((
            format!("{status} with a long message"),
            json_response(status, body.clone()),
        ));
        responses.push((
            format!("{status}, truncated"),
            json_response(status, "{").truncated(1000),
        ));
    }
    responses.push((
        "200, truncated".to_owned(),
        json_response(200, r#"{"id":"K","data":["#).truncated(1000),
    ));
    responses.push((
        "200 with a content-length that is too large".to_owned(),
        json_response(200, "{}").truncated(u64::MAX / 2),
    ));
    responses.extend(slow_responses());
    for status in [202, 204, 206, 226, 299, 300, 304, 305, 418, 451, 600, 999] {
        responses.push((
            format!("{status} with an empty body"),
            Response::empty(status),
        ));
    }
    for (name, value) in [
        ("retry-after", "99999999"),
        ("retry-after", "99999999999999999999999999"),
        ("retry-after", "-1"),
        ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("retry-after", "NaN"),
        ("x-ratelimit-reset", "99999999"),
        ("x-amz-retry-after", "99999999"),
        ("x-amz-retry-after", "-1"),
        ("x-request-id", &long),
        ("x-request-id", "\u{e9}\u{1f511}"),
        ("content-encoding", "gzip"),
        ("content-type", "\u{e9}"),
        ("x-amzn-errortype", &long),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ] {
        let short = &value[..value.len().min(30)];
        for status in [429, 503] {
            let response = Response::empty(status).with_header(name, value);
            responses.push((format!("{status}, {name}: {short}"), response));
        }
    }
    responses
}

/// Returns a gzip file with one uncompressed block, which would be a valid response if it were decompressed.
fn stored_gzip(content: &[u8]) -> Vec<u8> {
    let crc = content.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    });
    let length = u16::try_from(content.len()).unwrap();
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    gzip.extend(length.to_le_bytes());
    gzip.extend((!length).to_le_bytes());
    gzip.extend(content);
    gzip.extend((!crc).to_le_bytes());
    gzip.extend(u32::from(length).to_le_bytes());
    gzip
}

/// Returns a gzip file of a hundred kilobytes that decompresses to sixteen million spaces.
///
/// <https://www.rfc-editor.org/rfc/rfc1951#section-3.2.6>
fn gzip_bomb() -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // One last block of fixed codes: a space, then repetitions of the previous 258 bytes. Huffman codes are packed from their
    // highest bit.
    let mut bits = vec![1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    let repeat = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    bits.extend(repeat.iter().cycle().take(repeat.len() * 64_000));
    bits.extend([0; 7]);
    let bytes = bits.chunks(8);
    gzip.extend(bytes.map(|bits| bits.iter().rev().fold(0_u8, |byte, bit| byte << 1 | bit)));
    gzip.extend([0; 8]);
    gzip
}

/// A step, or a rotation in one process, into whose requests responses are injected.
struct Attempt {
    before: World,
    /// The step; `None` for all steps.
    step: Option<&'static str>,
    /// The requests, and their index, counted from 0.
    requests: Vec<(usize, Request)>,
}

impl Attempt {
    async fn new(before: World, step: Option<&'static str>) -> Self {
        let mut attempt = Self {
            before,
            step,
            requests: Vec::new(),
        };
        let undisturbed = attempt.before.fork().await;
        let outcome = attempt.run(&undisturbed, "no invalid response").await;
        assert_eq!(outcome, Outcome::Succeeded);
        let requests = undisturbed.simulator.state().requests.clone();
        attempt.requests = requests.into_iter().enumerate().collect();
        attempt
    }

    async fn run(&self, world: &World, case: &str) -> Outcome {
        match self.step {
            Some(step) => world.attempt_step(step, case).await,
            None => world.attempt(case).await,
        }
    }
}

/// Returns each step, with all its requests.
fn each_step(setting: Setting) -> Vec<Attempt> {
    block_on(async {
        let mut steps = Vec::new();
        for (step, before) in before_each_step(setting).await {
            steps.push(Attempt::new(before, Some(step)).await);
        }
        steps
    })
}

/// Returns a rotation in one process, with the probes that follow the creation of the key: the process has cached their endpoint.
fn later_probes(setting: Setting) -> Attempt {
    let mut rotation = block_on(async { Attempt::new(world(setting).await, None).await });
    let mut requests = rotation.requests.iter();
    let created = requests.position(|(_, request)| creates_a_key(request));
    let created = created.expect("a key is created");
    rotation
        .requests
        .retain(|(nth, request)| *nth > created && is_probe(request));
    rotation
}

/// Returns the headers that request a wait.
fn waits(response: &Response) -> Vec<&(String, String)> {
    let headers = response.headers.iter();
    let is_wait = |name: &str| name == "retry-after" || name.starts_with("x-ratelimit");
    headers.filter(|(name, _)| is_wait(name)).collect()
}

/// Injects each of `responses` into each request of `attempts`, and recovers in the same process.
///
/// Many responses leave the same state. A process keeps nothing of an invalid response except whether to wait, and whether to look up
/// the endpoint again, which depends on the status and the outcome. So only the first case with this state, request, status, wait and
/// outcome recovers.
fn assert_recovers_from(setting: Setting, attempts: &[Attempt], responses: &[NamedResponse]) {
    let mut cases = Vec::new();
    for attempt in attempts {
        for (nth, request) in &attempt.requests {
            for (name, response) in responses {
                let (request, step) = (request.name(), attempt.step);
                let name = format!("{name} to {request} ({nth}) of {step:?}");
                cases.push((attempt, (*nth, request), name, response));
            }
        }
    }
    let (succeeded, recovered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let continued = ContinuedStates::default();

    in_threads(&cases, |(attempt, (nth, request_name), name, response)| {
        block_on(async {
            let mut world = attempt.before.fork().await;
            world.set_request_limit(SHORT_REQUEST_LIMIT);
            world.time_limit = STEP;
            world.respond_to_nth(*nth, (*response).clone());
            let outcome = attempt.run(&world, name).await;
            let has_succeeded = outcome == Outcome::Succeeded;
            if has_succeeded {
                succeeded.fetch_add(1, Relaxed);
            }
            let sent = (response.status, waits(response));
            let cause = (attempt.step, request_name, sent, has_succeeded);
            if !continued.is_new(&world, &cause) {
                return;
            }
            recovered.fetch_add(1, Relaxed);
            world.set_request_limit(REQUEST_LIMIT);
            world.time_limit = AMPLE;
            world.recover(setting, name).await;
        });
    });

    let (all, succeeded) = (cases.len(), succeeded.into_inner());
    println!(
        "{setting:?}: {all} invalid responses, of which the first attempt tolerated {succeeded}; recovered from {} states",
        recovered.into_inner()
    );
}

/// After any invalid response, the step ends in time with a cause, and the next attempt leaves the correct keys.
#[test]
fn a_rotation_recovers_from_every_invalid_response_to_every_request() {
    let setting = Setting::default();
    let mut attempts = each_step(setting);
    attempts.push(later_probes(setting));
    assert_recovers_from(setting, &attempts, &responses());
}

#[test]
fn self_rotation_recovers_from_every_invalid_success_of_every_request() {
    let setting = Setting {
        key_type: KeyType::Cloud,
        mode: Mode::SelfRotation,
        policy: OldKeyPolicy::KeepUntilNextRotation,
        further: &[],
    };
    let mut responses = responses();
    // Error responses are parsed in the same way for all credentials.
    responses.retain(|(_, response)| response.status < 300);
    assert_recovers_from(setting, &each_step(setting), &responses);
}

/// A body that is never decompressed cannot exceed the size limit.
#[tokio::test]
async fn a_compressed_response_is_not_decompressed() {
    for request in ["GET /iam/v2/api-keys", "DescribeSecret"] {
        let setting = Setting::default();
        let world = world(setting).await;
        let response = json_response(200, stored_gzip(br#"{"data":[],"ARN":"decompressed"}"#));
        let response = response.with_header("content-encoding", "gzip");
        let matches = move |sent: &Request| sent.name() == request;
        world.simulator.respond_with(1, matches, response);

        let outcome = world.attempt(request).await;

        let outcome = format!("{outcome:?}");
        assert!(outcome.contains("be parsed"), "{request}: {outcome}");
        world.recover(setting, request).await;
    }
}
