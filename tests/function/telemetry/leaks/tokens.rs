//! Responses that contain a token in keyless mode. The signature of a web identity token is secret, its claims are not.

use simulator::{Request, Response};

use super::responses::{echoes, url_encoded};
use super::*;

const EXCHANGE: &str = "POST /sts/v1/oauth2/token";

async fn keyless_world() -> World {
    let mut world = World::new(Setting {
        mode: Mode::Keyless,
        ..Setting::default()
    })
    .await;
    world.time_limit = Duration::from_secs(3);
    world
}

/// Returns a string with the length and the alphabet of a part of a JWT, which contains the canary.
fn part_of_jwt() -> String {
    format!("qx_7-ZbQ{CANARY}kW9-vT_{}", "pL3xR-8_".repeat(6))
}

/// Rotates, and responds to each exchange with what `echo` returns for the web identity token.
async fn rotate_with_echo(world: &World, echo: impl Fn(&str) -> Response, case: &str) -> Outcome {
    let is_exchange = |request: &Request| request.name() == EXCHANGE;
    let hold = world.simulator.hold_requests(is_exchange);
    let respond = async {
        hold.arrived(1).await;
        let canaries = world.simulator.canaries();
        let is_jwt = |canary: &&String| canary.split('.').count() == 3;
        let token = canaries.iter().find(is_jwt).expect("a web identity token");
        world.respond_to(EXCHANGE, echo(token));
        hold.release();
    };
    tokio::join!(world.rotate_without_leak(case), respond).0
}

/// Returns a token as a response may quote it.
fn encodings(token: &str) -> Vec<String> {
    let hex: Vec<String> = token.bytes().map(|byte| format!("{byte:02x}")).collect();
    let bytes: Vec<String> = token.bytes().map(|byte| byte.to_string()).collect();
    let signature = token.rsplit('.').next().unwrap();
    vec![
        token.to_owned(),
        signature.to_owned(),
        url_encoded(token),
        format!("Bearer {token}"),
        format!("subject_token={token}&identity_pool_id=pool-1"),
        token.replace('.', " . "),
        token.replace('-', "&#45;"),
        token.replace('_', "%5F"),
        hex.concat(),
        bytes.join(", "),
        aws_smithy_types::base64::encode(token),
    ]
}

#[tokio::test]
async fn a_web_identity_token_that_a_response_repeats_is_not_printed() {
    for status in [200, 302, 400, 401, 403, 404, 500] {
        for encoding in 0..encodings("").len() {
            for nth in 0..echoes(status, "").len() {
                let world = keyless_world().await;
                let case = format!("{status}, response {nth}, encoding {encoding}");
                let echo = |token: &str| echoes(status, &encodings(token)[encoding])[nth].clone();

                let outcome = rotate_with_echo(&world, echo, &case).await;

                assert_ne!(outcome, Outcome::Succeeded, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_access_token_that_a_response_repeats_is_not_printed() {
    let token = format!("eyJhbGciOiJub25lIn0.{}.{}", part_of_jwt(), part_of_jwt());
    let has_token = |request: &Request| request.authentication == simulator::Authentication::Bearer;
    for status in [400, 401, 403, 404, 500] {
        for encoded in encodings(&token) {
            for (nth, echo) in echoes(status, &encoded).into_iter().enumerate() {
                let world = keyless_world().await;
                let body =
                    json!({"access_token": token, "token_type": "Bearer", "expires_in": 900});
                world.respond_to(EXCHANGE, Response::json(200, &body));
                world.simulator.respond_with(usize::MAX, has_token, echo);
                let case = format!("{status}, response {nth}, {encoded}");

                let outcome = world.rotate_without_leak(&case).await;

                assert_ne!(outcome, Outcome::Succeeded, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_invalid_response_with_a_token_is_not_printed() {
    let token = part_of_jwt();
    for body in [
        json!({"access_token": [token], "token_type": "Bearer"}),
        json!({"access_token": format!("{token}\n"), "token_type": "Bearer"}),
        json!({"access_token": token, "token_type": token}),
        json!({"access_token": token, "token_type": "Bearer", "expires_in": token}),
        json!([token]),
    ] {
        let world = keyless_world().await;
        world.respond_to(EXCHANGE, Response::json(200, &body));
        world.rotate_without_leak(&body.to_string()).await;
    }
    for xml in [
        format!("<GetWebIdentityTokenResponse><WebIdentityToken>{token}"),
        format!(
            "<ErrorResponse><Error><Code>{token}</Code><Message>{token}</Message></Error></ErrorResponse>"
        ),
        token.clone(),
    ] {
        for status in [200, 400, 403, 500] {
            let world = keyless_world().await;
            let response = Response::new(status, "text/xml", xml.clone());
            let response = response.with_header("x-amzn-requestid", &token);
            world.respond_to("GetWebIdentityToken", response);

            let outcome = world.rotate_without_leak(&format!("{status}, {xml}")).await;

            assert_ne!(outcome, Outcome::Succeeded, "{status}, {xml}");
        }
    }
}

#[tokio::test]
async fn no_preflight_report_contains_a_token() {
    let world = keyless_world().await;
    let log = CapturedLog::start();

    let report = world.preflight().await;

    assert_no_secret(&world.simulator, &log.output(), "log");
    assert_no_secret(&world.simulator, &json!(report).to_string(), "report");
}
