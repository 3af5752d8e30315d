//! Bodies, statuses and headers that no request asks for.

use super::slow::drips;
use super::*;

/// Larger than what is read of any answer.
const HUGE: usize = 3 << 20;

/// Deeper than any stack.
const DEEP: usize = 100_000;

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
    answers.extend(drips());
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
