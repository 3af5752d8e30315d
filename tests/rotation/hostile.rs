//! Services that answer as no service should, and endpoints that lead elsewhere.
//!
//! Each hostile answer is given once to each request of a rotation. Where it says that the request was carried out,
//! it was: then a key may exist that nobody knows the secret of. What is asserted is that a step ends soon and says
//! why, and that the next attempt leaves the keys it should.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use simulator::{Answer, CANARY, Plane, Request};

use super::faults::{Recovery, block_on, calm_rotation, world};
use super::*;

/// How long a step may take here: less than an absurd `Retry-After` asks for, and more than testSecret keeps back.
const STEP: Duration = Duration::from_secs(14);

/// No error is longer, whatever the answer was.
const LONGEST_ERROR: usize = 3_000;

/// A list is followed no further.
const MOST_PAGES: usize = 100;

/// Cases that run side by side.
const THREADS: usize = 16;

/// Larger than what is read of any answer.
const HUGE: usize = 3 << 20;

/// Deeper than any stack.
const DEEP: usize = 100_000;

type Named = (String, Answer);

fn json_answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer::new(status, "application/json", body.into())
}

/// Bodies that are not what any request asks for.
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
        ("nothing", Vec::new()),
        ("white space", b" \r\n\t ".to_vec()),
        ("null", b"null".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a string", br#""CANARY""#.to_vec()),
        ("a number too large", b"1e99999".to_vec()),
        (
            "fields of the wrong type",
            br#"{"id":7,"data":{"0":1},"metadata":[],"spec":"CANARY","ARN":[1],"VersionIdsToStages":"CANARY","SecretString":{"CANARY":1}}"#.to_vec(),
        ),
        (
            "fields of the wrong type, further down",
            br#"{"id":"K","data":[[],"CANARY"],"spec":{"secret":["CANARY"]},"VersionIdsToStages":{"CANARY":7},"SecretString":null}"#.to_vec(),
        ),
        ("text that is cut off", br#"{"id":"K","data":[{"id":"K","spec":{"secret":"CANARY"#.to_vec()),
        ("two answers", br#"{"data":[]}{"data":[]}"#.to_vec()),
        ("a page", b"<!doctype html><title>CANARY</title>".to_vec()),
        ("arrays without end", "[".repeat(DEEP).into_bytes()),
        ("deep arrays", deep("[", "]").into_bytes()),
        ("deep objects", format!("{}1{}", r#"{"data":"#.repeat(DEEP), "}".repeat(DEEP)).into_bytes()),
        ("deep objects in fields", deep(r#"{"a":"#, "}").replace(":}", ":1}").into_bytes()),
        ("bytes that are no text", b"{\"id\":\"\xff\xfe\",\"data\":[{\"id\":\"\xc3\x28\"}],\"ARN\":\"\xff\"}".to_vec()),
        ("bytes alone", vec![0xff; 300]),
        ("half a surrogate", br#"{"id":"\ud800","data":[{"id":"\udc00"}],"SecretString":"\ud800"}"#.to_vec()),
        ("zeros", vec![0; 5_000]),
        ("a huge blank", vec![b' '; HUGE]),
        ("a huge string", format!(r#"{{"id":"{}"}}"#, "K".repeat(HUGE)).into_bytes()),
        ("many empty elements", format!(r#"{{"data":{},"metadata":{{"next":""}}}}"#, many("0")).into_bytes()),
        ("a compressed body", stored_gzip(br#"{"data":[],"metadata":{"next":""}}"#)),
        ("a compressed bomb", gzip_bomb()),
    ]
}

/// Each way to answer, and whether it says that the request was carried out.
fn answers() -> Vec<Named> {
    let mut answers: Vec<Named> = Vec::new();
    for (name, body) in bodies() {
        for status in [200, 403] {
            answers.push((
                format!("{status} with {name}"),
                json_answer(status, body.clone()),
            ));
        }
    }
    let long = "x".repeat(60_000);
    let ends = json!({"errors": [{"code": long, "detail": long}], "message": long, "__type": long})
        .to_string();
    for status in [400, 500] {
        answers.push((
            format!("{status} with a long explanation"),
            json_answer(status, ends.clone()),
        ));
        answers.push((
            format!("{status} cut off"),
            json_answer(status, "{").cut_off(1000),
        ));
    }
    answers.push((
        "200 cut off".to_owned(),
        json_answer(200, r#"{"id":"K","data":["#).cut_off(1000),
    ));
    answers.push((
        "200 that announces too much".to_owned(),
        json_answer(200, "{}").cut_off(u64::MAX / 2),
    ));
    for status in [202, 204, 206, 226, 299, 300, 304, 305, 418, 451, 600, 999] {
        answers.push((format!("{status} and nothing else"), Answer::empty(status)));
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
            let answer = Answer::empty(status).with_header(name, value);
            answers.push((format!("{status}, {name}: {short}"), answer));
        }
    }
    answers
}

/// A gzip file of one block that is not compressed: inflated, it would be read as an answer.
fn stored_gzip(text: &[u8]) -> Vec<u8> {
    let crc = text.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    });
    let length = u16::try_from(text.len()).unwrap();
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    gzip.extend(length.to_le_bytes());
    gzip.extend((!length).to_le_bytes());
    gzip.extend(text);
    gzip.extend((!crc).to_le_bytes());
    gzip.extend(u32::from(length).to_le_bytes());
    gzip
}

/// A gzip file of a hundred kilobytes that would be sixteen million spaces.
///
/// <https://www.rfc-editor.org/rfc/rfc1951#section-3.2.6>
fn gzip_bomb() -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // One last block of fixed codes: a space, then again and again the 258 bytes before. Huffman codes are packed
    // from their highest bit.
    let mut bits = vec![1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    let repeat = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    bits.extend(repeat.iter().cycle().take(repeat.len() * 64_000));
    bits.extend([0; 7]);
    let bytes = bits.chunks(8);
    gzip.extend(bytes.map(|bits| bits.iter().rev().fold(0_u8, |byte, bit| byte << 1 | bit)));
    gzip.extend([0; 8]);
    gzip
}

/// Matches the `nth` request from now on.
fn is_nth(nth: usize) -> impl Fn(&Request) -> bool + Send + 'static {
    let seen = AtomicUsize::new(0);
    move |_| seen.fetch_add(1, Relaxed) == nth
}

impl World {
    /// Gives `answer` to the `nth` request from now on. A success means that it was carried out.
    fn answer_nth(&self, nth: usize, answer: Answer) {
        if (200..300).contains(&answer.status) {
            self.simulator.answer_after(1, is_nth(nth), answer);
        } else {
            self.simulator.answer(1, is_nth(nth), answer);
        }
    }

    /// Makes one attempt, which has to end soon, and which says why if it does not succeed.
    async fn attempt(&self, case: &str) -> Outcome {
        let began = Instant::now();
        let outcome = self.rotate().await;
        assert!(began.elapsed() < 4 * STEP, "{case}: {:?}", began.elapsed());
        if let Outcome::Failed { error, .. } = &outcome {
            assert!(
                error.len() < LONGEST_ERROR,
                "{case}: {} bytes: {:.300}",
                error.len(),
                error
            );
            assert!(!error.contains(CANARY), "{case}: {error}");
            assert!(!error.contains("anicked"), "{case}: {error}");
        }
        outcome
    }

    /// Attempts again, as Secrets Manager does, until nothing is in the way any more.
    async fn recover(&self, setting: Setting, case: &str) {
        self.rotate_until_it_succeeds(Recovery::SameToken, case)
            .await;
        self.assert_rotated(setting, case);
    }
}

/// Runs `case` for each of `cases`, side by side.
fn side_by_side<T: Sync>(cases: &[T], run: impl AsyncFn(&T) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let (mine, run) = (cases.iter().skip(first).step_by(THREADS), &run);
            scope.spawn(move || mine.for_each(|case| block_on(run(case))));
        }
    });
}

fn survive(setting: Setting, answers: &[Named]) {
    let requests = block_on(calm_rotation(setting));
    let mut cases = Vec::new();
    for (nth, request) in requests.iter().enumerate() {
        let of_request = answers
            .iter()
            .map(|(name, answer)| (nth, format!("{name} to {request} ({nth})"), answer));
        cases.extend(of_request);
    }
    let succeeded = AtomicUsize::new(0);

    side_by_side(&cases, async |(nth, name, answer)| {
        let mut world = world(setting).await;
        world.time_limit = STEP;
        world.answer_nth(*nth, (*answer).clone());
        let outcome = world.attempt(name).await;
        if outcome == Outcome::Succeeded {
            succeeded.fetch_add(1, Relaxed);
        }
        world.time_limit = AMPLE;
        world.recover(setting, name).await;
    });

    let (all, succeeded) = (cases.len(), succeeded.into_inner());
    println!(
        "{setting:?}: {all} hostile answers survived, {succeeded} of them at the first attempt"
    );
}

/// Whatever one answer is, the step ends soon and says why, and the next attempt leaves the right keys.
#[test]
fn a_rotation_survives_every_hostile_answer_to_every_request() {
    survive(Setting::default(), &answers());
}

#[test]
fn a_self_rotation_survives_every_hostile_success_of_every_request() {
    let setting = Setting {
        kind: Kind::Cloud,
        mode: Mode::Own,
        policy: OldKeyPolicy::KeepUntilNextRotation,
    };
    let mut answers = answers();
    // A refusal is read in the same way, whoever signs.
    answers.retain(|(_, answer)| answer.status < 300);
    survive(setting, &answers);
}

/// What is not inflated can be no bomb.
#[tokio::test]
async fn a_compressed_answer_is_not_inflated() {
    for request in ["GET /iam/v2/api-keys", "DescribeSecret"] {
        let setting = Setting::default();
        let world = world(setting).await;
        let answer = json_answer(200, stored_gzip(br#"{"data":[],"ARN":"inflated"}"#));
        let answer = answer.with_header("content-encoding", "gzip");
        let is_it = move |sent: &Request| sent.label() == request;
        world.simulator.answer(1, is_it, answer);

        let outcome = world.attempt(request).await;

        let shown = format!("{outcome:?}");
        assert!(shown.contains("be read"), "{request}: {shown}");
        world.recover(setting, request).await;
    }
}

fn makes_a_key(request: &Request) -> bool {
    request.method == "POST" && request.plane == Plane::ControlPlane
}

/// A created key that cannot be used was made all the same: it is found by its mark, and goes.
#[tokio::test]
async fn a_made_key_that_cannot_be_used_is_found_and_deleted() {
    let key = |id: &str, secret: &str| json!({"id": id, "spec": {"secret": secret}});
    for (name, answer) in [
        ("an empty id", key("", CANARY)),
        ("an empty secret", key("MADE", "")),
        ("a blank id", key(" \t", CANARY)),
        ("a blank secret", key("MADE", "  ")),
        ("no id", json!({"spec": {"secret": CANARY}})),
        ("no secret", json!({"id": "MADE", "spec": {}})),
        ("an id as long as a secret", key(&"K".repeat(64), CANARY)),
        ("an id with space around it", key(" MADE", CANARY)),
        ("a secret with space around it", key("MADE", "CANARY\n")),
        (
            "a secret that no secret value has room for",
            key("MADE", &CANARY.repeat(20_000)),
        ),
    ] {
        for recovery in [Recovery::SameToken, Recovery::NewToken] {
            let setting = Setting::default();
            let world = world(setting).await;
            let answer = Answer::json(202, &answer);
            world.simulator.answer_after(3, makes_a_key, answer);
            let case = format!("{name}, {recovery:?}");

            let outcome = world.attempt(&case).await;

            assert_ne!(outcome, Outcome::Succeeded, "{case}");
            world.rotate_until_it_succeeds(recovery, &case).await;
            world.assert_rotated(setting, &case);
        }
    }
}

/// An answer that names another key than the one that was made gets none of the living keys deleted.
#[tokio::test]
async fn a_made_key_under_the_id_of_another_one_costs_no_key_in_use() {
    for secret in [CANARY.to_owned(), CANARY.repeat(20_000)] {
        let setting = Setting::default();
        let world = world(setting).await;
        let answer = json!({"id": world.first_key, "spec": {"secret": secret}});
        let answer = Answer::json(202, &answer);
        world.simulator.answer_after(1, makes_a_key, answer);
        let case = format!("a secret of {} bytes", secret.len());

        let outcome = world.attempt(&case).await;

        println!("{case}: {outcome:?}");
        assert!(world.keys().contains(&world.first_key), "{case}");
        world
            .rotate_until_it_succeeds(Recovery::NewToken, &case)
            .await;
        world.assert_rotated(setting, &case);
    }
}

#[tokio::test]
async fn a_list_whose_pages_never_end_makes_and_deletes_nothing() {
    let setting = Setting::default();
    let world = world(setting).await;
    let lists_keys = |request: &Request| request.label() == "GET /iam/v2/api-keys";
    let next = "https://elsewhere.example/iam/v2/api-keys?page_token=again";
    let page = Answer::json(200, &json!({"data": [], "metadata": {"next": next}}));
    world.simulator.answer(MOST_PAGES, lists_keys, page);
    let keys = world.keys();

    let outcome = world.attempt("endless pages").await;

    assert!(
        format!("{outcome:?}").contains("does not end"),
        "{outcome:?}"
    );
    world.assert_keys(&keys, &"endless pages");
    world.recover(setting, "endless pages").await;
}

/// Keys without an owner are nobody's of ours, though they bear our mark.
#[tokio::test]
async fn keys_without_an_owner_are_neither_taken_nor_deleted() {
    let setting = Setting::default();
    let world = world(setting).await;
    let keys: Vec<_> = world.keys();
    let foreign = world.simulator.add_internal_key();
    let listed: Vec<_> = keys
        .iter()
        .chain([&foreign])
        .enumerate()
        .map(|(nth, id)| {
            let owner = [json!(null), json!({}), json!({"id": null})][nth % 3].clone();
            json!({"id": id, "spec": {"owner": owner, "resource": {"id": "lkc-orders"}}})
        })
        .collect();
    let list = Answer::json(200, &json!({"data": listed, "metadata": {}}));
    world
        .simulator
        .answer(1, |request| request.label() == "GET /iam/v2/api-keys", list);

    let outcome = world.attempt("no owners").await;

    assert!(
        format!("{outcome:?}").contains("CurrentKeyNotOfOwner"),
        "{outcome:?}"
    );
    world.assert_keys(&keys, &"no owners");
    world.recover(setting, "no owners").await;
    assert!(world.simulator.state().keys.contains_key(&foreign));
}

/// Where an endpoint may not lead, and the host that the error names.
const ELSEWHERE: [(&str, &str); 24] = [
    ("http://169.254.169.254", "169.254.169.254"),
    ("https://169.254.169.254", "169.254.169.254"),
    ("https://169.254.170.2:443", "169.254.170.2"),
    ("https://[fe80::1]", "[fe80::1]"),
    ("https://[fd00:ec2::254]", "[fd00:ec2::254]"),
    ("https://10.0.0.1", "10.0.0.1"),
    ("https://172.16.0.1", "172.16.0.1"),
    ("https://192.168.1.1", "192.168.1.1"),
    ("https://0x0a.1", "10.0.0.1"),
    ("http://[::ffff:127.0.0.1]:9", "[::ffff:7f00:1]:9"),
    ("http://0.0.0.0:9", "0.0.0.0:9"),
    ("http://localhost.:9", "localhost.:9"),
    ("http://pkc-1.confluent.cloud", "pkc-1.confluent.cloud"),
    ("ftp://pkc-1.confluent.cloud", "pkc-1.confluent.cloud"),
    (
        "https://pkc-1.confluent.cloud:9092",
        "pkc-1.confluent.cloud:9092",
    ),
    ("https://pkc-1.confluent.cloud.", "pkc-1.confluent.cloud."),
    (
        "https://user:CANARY@pkc-1.confluent.cloud",
        "pkc-1.confluent.cloud",
    ),
    ("https://pkc-1.confluent.cloud@evil.example", "evil.example"),
    (
        "https://confluent.cloud.evil.example",
        "confluent.cloud.evil.example",
    ),
    ("https://evilconfluent.cloud", "evilconfluent.cloud"),
    ("https://\u{441}onfluent.cloud", "xn--onfluent-ech.cloud"),
    ("https://xn--onfluent-ech.cloud", "xn--onfluent-ech.cloud"),
    (
        "confluent.cloud.evil.example:443",
        "confluent.cloud.evil.example",
    ),
    ("https://pkc-1\u{3002}evil.example", "pkc-1.evil.example"),
];

/// Asserts that a rotation got as far as the endpoint, which the error names, and no further.
async fn assert_goes_nowhere(world: &World, host: &str, case: &str) {
    let keys = world.keys();

    let outcome = world.attempt(case).await;

    let Outcome::Failed { step, error } = outcome else {
        panic!("{case}: {outcome:?}");
    };
    assert_eq!(step, "createSecret", "{case}");
    assert!(error.contains("EndpointNotAllowed"), "{case}: {error}");
    assert!(
        error.contains(&format!("{host} is not a host")),
        "{case}: {error}"
    );
    let state = world.simulator.state();
    for request in &state.requests {
        let is_known = matches!(request.plane, Plane::ControlPlane | Plane::SecretsManager);
        assert!(
            is_known && !makes_a_key(request),
            "{case}: {}",
            request.label()
        );
    }
    drop(state);
    world.assert_keys(&keys, &case);
}

/// No credential leaves for an endpoint that discovery names on a host that is not Confluent's.
#[tokio::test]
async fn a_look_up_that_leads_elsewhere_gets_no_credential_and_no_key_is_made() {
    for kind in [Kind::Kafka, Kind::SchemaRegistry, Kind::KsqlDb, Kind::Flink] {
        for (url, host) in ELSEWHERE {
            let setting = Setting {
                kind,
                ..Setting::default()
            };
            let world = world(setting).await;
            for resource in world.simulator.state().resources.values_mut() {
                resource.advertised = Some(url.to_owned());
            }
            let case = format!("{kind:?} at {url}");

            assert_goes_nowhere(&world, host, &case).await;

            for resource in world.simulator.state().resources.values_mut() {
                resource.advertised = None;
            }
            world.recover(setting, &case).await;
        }
    }
}

/// No credential leaves for an endpoint that the writer of a secret names on a host that is not Confluent's.
#[tokio::test]
async fn an_endpoint_in_the_secret_that_leads_elsewhere_gets_no_credential_and_no_key_is_made() {
    for (url, host) in ELSEWHERE {
        let setting = Setting::default();
        let world = world(setting).await;
        world.edit(|value| value["endpoint"] = json!(url));

        assert_goes_nowhere(&world, host, url).await;

        world.edit(|value| value["endpoint"] = Value::Null);
        world.recover(setting, url).await;
    }
}

/// A redirect would carry the credential along: no request of a rotation follows one.
#[test]
fn a_redirect_of_any_request_leads_nowhere() {
    let setting = Setting::default();
    let requests = block_on(calm_rotation(setting));
    let redirects = [301, 302, 303, 307, 308].into_iter();
    let cases: Vec<_> = redirects
        .flat_map(|status| {
            requests
                .iter()
                .enumerate()
                .map(move |(nth, request)| (status, nth, request))
        })
        .collect();

    side_by_side(&cases, async |(status, nth, request)| {
        let case = format!("{status} to {request} ({nth})");
        let elsewhere = Simulator::start().await;
        let mut world = world(setting).await;
        world.time_limit = STEP;
        let location = format!("{}/iam/v2/api-keys", elsewhere.confluent_url());
        let redirect = Answer::empty(*status).with_header("location", location);
        world.answer_nth(*nth, redirect);

        world.attempt(&case).await;

        assert_eq!(elsewhere.state().labels(), [""; 0], "{case}");
        world.time_limit = AMPLE;
        world.recover(setting, &case).await;
    });
    println!("{} redirects led nowhere", cases.len());
}
