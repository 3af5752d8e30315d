//! The token exchange.

use serde_json::{Value, json};
use simulator::{Authentication, ExpiresIn, Fault, Response, Service};

use super::{FORM, Keyless, list};

/// <https://docs.confluent.io/cloud/current/api.html#operation/exchangeStsV1OauthToken>
#[tokio::test]
async fn a_web_identity_token_is_exchanged_for_an_access_token() {
    let keyless = Keyless::new().await;

    let (status, body) = keyless.exchange(&keyless.web_identity_token().await).await;

    assert_eq!(status, 200);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 900);
    assert_eq!(
        body["issued_token_type"],
        "urn:ietf:params:oauth:token-type:access_token"
    );
    let token = body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(token.split('.').count(), 3);
    let canaries = keyless.world.simulator.canaries();
    assert!(token.split('.').all(|part| {
        let part = part.trim_start_matches("eyJ").to_owned();
        canaries.contains(&part)
    }));
    assert!(canaries.contains(&token));
    let state = keyless.world.simulator.state();
    let request = state.requests.last().unwrap();
    assert_eq!(request.name(), "POST /sts/v1/oauth2/token");
    assert_eq!(request.service, Service::ControlPlane);
    assert_eq!(request.authentication, Authentication::None);
}

#[tokio::test]
async fn the_response_states_the_lifetime_as_the_controls_specify() {
    let keyless = Keyless::new().await;
    for (expires_in, stated) in [
        (ExpiresIn::Requested, Some(json!(60))),
        (ExpiresIn::Absent, None),
        (ExpiresIn::Value(json!("900")), Some(json!("900"))),
        (ExpiresIn::Value(Value::Null), Some(Value::Null)),
    ] {
        keyless.world.simulator.state().controls.expires_in = expires_in;
        let form = keyless.form(&keyless.web_identity_token().await);

        let form = form.replace("expires_in=900", "expires_in=60");
        let (status, body) = keyless.send_form(&[FORM], &form).await;

        assert_eq!(status, 200);
        assert_eq!(body.get("expires_in"), stated.as_ref());
        let token = body["access_token"].as_str().unwrap();
        assert_eq!(keyless.bearer(&list(), token).await.0, 200);
    }
}

#[tokio::test]
async fn expires_in_is_optional() {
    let keyless = Keyless::new().await;
    let form = keyless.form(&keyless.web_identity_token().await);

    let (_, body) = keyless
        .send_form(&[FORM], &form.replace("&expires_in=900", ""))
        .await;

    assert_eq!(body["expires_in"], 900);
}

#[tokio::test]
async fn only_a_token_that_the_provider_and_the_filter_accept_is_exchanged() {
    let keyless = Keyless::new().await;
    let status = async |token: &str| keyless.exchange(token).await.0;
    let change = |change: fn(&mut simulator::IdentityPool)| {
        let mut state = keyless.world.simulator.state();
        change(state.identity_pools.get_mut(&keyless.pool).unwrap());
    };
    let token = keyless.web_identity_token().await;

    assert_eq!(status("").await, 401);
    assert_eq!(status(&format!("{token}A")).await, 401);
    let other = keyless
        .web_identity_token_for("https://other.example")
        .await;
    assert_eq!(status(&other).await, 403);
    change(|pool| pool.subject.push('x'));
    assert_eq!(status(&token).await, 403);
    change(|pool| pool.subject.truncate(pool.subject.len() - 1));
    change(|pool| pool.issuer = "https://other.example".to_owned());
    assert_eq!(status(&token).await, 401);
    change(|pool| pool.issuer = simulator::TOKEN_ISSUER.to_owned());
    keyless
        .world
        .simulator
        .state()
        .controls
        .pool_filter_mismatch = true;
    assert_eq!(status(&token).await, 403);
    keyless
        .world
        .simulator
        .state()
        .controls
        .pool_filter_mismatch = false;
    assert_eq!(status(&token).await, 200);
}

#[tokio::test]
async fn an_unknown_pool_is_not_found() {
    let keyless = Keyless::new().await;
    let form = keyless.form(&keyless.web_identity_token().await);

    let form = form.replace(&keyless.pool, "pool-none");
    let (status, body) = keyless.send_form(&[FORM], &form).await;

    assert_eq!(status, 404);
    assert_eq!(body["errors"][0]["status"], "404");
}

#[tokio::test]
async fn an_exchange_that_the_api_does_not_document_is_a_violation() {
    let keyless = Keyless::new().await;
    let form = keyless.form(&keyless.web_identity_token().await);
    let fields: Vec<&str> = form.split('&').collect();
    let without = |index: usize| {
        let mut fields = fields.clone();
        fields.remove(index);
        fields.join("&")
    };
    let mut cases = vec![
        (format!("{form}&scope=all"), "unknown form field scope"),
        (
            form.replace("jwt", "JWT"),
            "wrong form field subject_token_type",
        ),
        (
            form.replace("Agrant-type", "Agrant"),
            "wrong form field grant_type",
        ),
        (
            form.replace("access_token", "jwt"),
            "wrong form field requested_token_type",
        ),
        (form.replace("=900", "=0"), "wrong form field expires_in"),
        (form.replace("=900", "=901"), "wrong form field expires_in"),
        (form.replace("=900", "=15m"), "wrong form field expires_in"),
    ];
    for (index, field) in fields.iter().enumerate() {
        cases.push((format!("{form}&{field}"), "repeated form field"));
        if !field.starts_with("expires_in") {
            cases.push((without(index), "missing form field"));
        }
    }
    for (body, violation) in cases {
        assert_eq!(keyless.send_form(&[FORM], &body).await.0, 500, "{body}");
        keyless.world.assert_violation(violation);
    }
    for (headers, violation) in [
        (
            vec![FORM, "authorization: Basic SzpT"],
            "with an Authorization header",
        ),
        (vec!["content-type: application/json"], "the content type"),
        (vec![], "the content type"),
    ] {
        assert_eq!(keyless.send_form(&headers, &form).await.0, 500);
        keyless.world.assert_violation(violation);
    }
}

#[tokio::test]
async fn a_web_identity_token_that_is_exchanged_twice_is_a_violation() {
    let keyless = Keyless::new().await;
    let token = keyless.web_identity_token().await;
    assert_eq!(keyless.exchange(&token).await.0, 200);
    assert!(keyless.world.violations().is_empty());

    assert_eq!(keyless.exchange(&token).await.0, 200);

    keyless.world.assert_violation("exchanged before");
}

#[tokio::test]
async fn an_exchange_without_a_complete_response_may_be_retried() {
    let keyless = Keyless::new().await;
    let token = keyless.web_identity_token().await;
    let form = keyless.form(&token);
    let is_exchange = |request: &simulator::Request| request.name() == "POST /sts/v1/oauth2/token";
    let simulator = &keyless.world.simulator;
    for fault in [Fault::InternalErrorAfter, Fault::TooManyRequests] {
        simulator.clear_requests();
        simulator.fail(0, fault);
        assert_ne!(keyless.exchange(&token).await.0, 200);
    }
    let head = format!("POST /sts/v1/oauth2/token HTTP/1.1\r\n{FORM}");
    let interrupted = async || crate::send(&simulator.confluent_url(), &head, &form).await;
    simulator.clear_requests();
    simulator.fail(0, Fault::ResetAfter);
    assert!(interrupted().await.is_err());
    let truncated = Response::json(200, &json!({})).truncated(5);
    simulator.replace_response(1, is_exchange, truncated);
    // The client may receive the head.
    let _ = interrupted().await;
    let hold = simulator.hold_responses(is_exchange);
    tokio::select! {
        _ = interrupted() => panic!("the response is held"),
        () = hold.arrived(1) => {}
    }
    // In the meantime, the server observes that the client closed the connection.
    keyless.web_identity_token().await;
    hold.release();

    let (status, _) = keyless.exchange(&token).await;

    assert_eq!(status, 200);
    assert!(keyless.world.violations().is_empty());
}

#[tokio::test]
async fn a_secret_in_another_field_of_the_form_is_a_violation() {
    let keyless = Keyless::new().await;
    let token = keyless.web_identity_token().await;
    let access_token = keyless.access_token().await;
    let form = keyless.form(&token);
    for body in [
        form.replace(&keyless.pool, &token),
        form.replace(&token, &access_token),
        form.replace(&token, &keyless.world.key.1),
    ] {
        keyless.send_form(&[FORM], &body).await;

        keyless.world.assert_violation("the body contains a secret");
    }
    assert_eq!(keyless.exchange(&token).await.0, 200);
    assert!(keyless.world.violations().is_empty());
}
