//! Messages about Confluent Cloud and the network.

use super::*;

const CASES: &[Case] = &[
    Case {
        name: "rate limited requests",
        arrange: |world| {
            world.time_limit = Duration::from_secs(5);
            respond(world, is_control_plane, Response::empty(429));
        },
        error: "ConfluentRateLimited",
        message: "Confluent Cloud rate limited a request from key MANAGEMENT to list the owner's API keys: HTTP 429 \
                  (request ID ID). If this persists, schedule the rotations at different times",
        ..CASE
    },
    Case {
        name: "an outage",
        arrange: |world| respond(world, is_control_plane, page(503)),
        error: "ConfluentUnavailable",
        message: "Confluent Cloud failed to list the owner's API keys: HTTP 503, an HTML page (request ID ID). If this \
                  persists, see https://status.confluent.cloud",
        ..CASE
    },
    Case {
        name: "no network path",
        arrange: |world| {
            let url = world.simulator.unreachable_url();
            world.set_variable("CONFLUENT_API_URL", &url);
        },
        error: "ConfluentUnavailable",
        message: "the request to list the owner's API keys did not complete: could not connect to \
                  127.0.0.1:1: [..]. Check the network path from the function to this host: NAT in a VPC, firewalls, \
                  HTTPS_PROXY, SSL_CERT_FILE if a proxy inspects TLS, and CONFLUENT_API_URL",
        ..CASE
    },
    Case {
        name: "a page of a firewall",
        arrange: |world| respond(world, is_control_plane, page(403)),
        error: "RequestBlocked",
        message: "a proxy, a firewall or an IP filter blocked a request from key MANAGEMENT to list the owner's API keys: HTTP \
                  403, an HTML page (request ID ID). Check the proxy in HTTPS_PROXY with its user and password, firewalls, \
                  Confluent Cloud's IP filters, and CONFLUENT_API_URL",
        ..CASE
    },
    Case {
        name: "a page of a firewall for a request that reads a key",
        arrange: |world| {
            world.grant_admin(&[]);
            let reads = |request: &Request| {
                is_control_plane(request) && request.name().contains("api-keys/")
            };
            respond(world, reads, page(403));
        },
        error: "RequestBlocked",
        message: "a proxy, a firewall or an IP filter blocked a request from key MANAGEMENT to describe an API key: HTTP \
                  403, an HTML page (request ID ID). Check the proxy in HTTPS_PROXY with its user and password, firewalls, \
                  Confluent Cloud's IP filters, and CONFLUENT_API_URL",
        ..CASE
    },
    Case {
        name: "a proxy that requires a password",
        arrange: |world| respond(world, is_control_plane, Response::empty(407)),
        error: "RequestBlocked",
        message: "a proxy, a firewall or an IP filter blocked a request from key MANAGEMENT to list the owner's API keys: HTTP \
                  407 (request ID ID). Check the proxy in HTTPS_PROXY with its user and password, firewalls, \
                  Confluent Cloud's IP filters, and CONFLUENT_API_URL",
        ..CASE
    },
    Case {
        name: "a proxy that redirects to its login page",
        arrange: |world| {
            let login = Response::redirect("https://login.proxy.example/");
            respond(world, is_control_plane, login);
        },
        error: "RequestBlocked",
        message: "a proxy or a firewall responded to a request from key MANAGEMENT to list the owner's API keys: HTTP 302 \
                  (request ID ID). Check the proxy in HTTPS_PROXY with its user and password, firewalls, Confluent Cloud's IP \
                  filters, and CONFLUENT_API_URL",
        ..CASE
    },
    Case {
        name: "a page of a proxy in response to a creation",
        arrange: |world| respond(world, creates_a_key, page(200)),
        error: "CreationOutcomeUnknown",
        message: "it is unknown whether Confluent Cloud created a key: a proxy or a firewall responded to a request from key \
                  MANAGEMENT to create an API key: HTTP 200, an HTML page (request ID ID). Check the proxy in HTTPS_PROXY with \
                  its user and password, firewalls, and CONFLUENT_API_URL. If a key was created, a later step deletes it",
        ..CASE
    },
    Case {
        name: "an unpaid organization",
        arrange: |world| {
            let body =
                json!({"errors": [{"detail": "Your free trial has ended. Add a payment method."}]});
            respond(world, creates_a_key, Response::json(402, &body));
        },
        error: "ConfluentRejected",
        message: "Confluent Cloud rejected a request from key MANAGEMENT to create an API key: HTTP 402, Your free trial has \
                  ended. Add a payment method. (request ID ID). Resolve what Confluent Cloud reports, such as the \
                  organization's billing",
        ..CASE
    },
];

fn is_control_plane(request: &Request) -> bool {
    request.service == Service::ControlPlane
}

#[tokio::test]
async fn a_failure_of_confluent_cloud_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}

fn page(status: u16) -> Response {
    Response::new(status, "text/html", "<html>Blocked</html>")
}

/// Matches requests.
type Matches = fn(&Request) -> bool;

/// 511 is the status of a network that requires a login.
///
/// <https://www.rfc-editor.org/rfc/rfc6585#section-6>
#[tokio::test]
async fn the_remedy_of_a_proxys_response_names_the_proxy_whatever_its_status() {
    let looks_up_endpoint = |request: &Request| request.name().contains("/cmk/");
    let requests: [(Matches, &str, &str); 4] = [
        (lists_keys, "createSecret", "RequestBlocked"),
        (looks_up_endpoint, "createSecret", "RequestBlocked"),
        (creates_a_key, "createSecret", "CreationOutcomeUnknown"),
        (deletes_a_key, "finishSecret", "KeyDeletionFailed"),
    ];
    for (matches, step, name) in requests {
        let redirect = Response::redirect("https://login.proxy.example/");
        for response in [redirect, page(200), page(511)] {
            let world = World::new(Setting::default()).await;
            run_steps_before(&world, step).await;
            let case = format!("{name}, HTTP {}", response.status);
            respond(&world, matches, response);

            let error = world.step_error(step, &case).await;

            let message = error.error_message;
            assert_eq!(error.error_type, name, "{case}: {message}");
            assert!(message.contains("HTTPS_PROXY"), "{case}: {message}");
        }
    }
}

#[tokio::test]
async fn only_a_402_in_response_to_a_creation_is_an_exceeded_quota_without_a_reason() {
    let empty = json!({});
    let coded = json!({"errors": [{"status": "402", "code": "payment_required"}]});
    let cases: [(Matches, &str, &Value, &str); 4] = [
        (lists_keys, "createSecret", &empty, "ConfluentRejected"),
        (creates_a_key, "createSecret", &empty, "QuotaExceeded"),
        (creates_a_key, "createSecret", &coded, "ConfluentRejected"),
        (deletes_a_key, "finishSecret", &empty, "KeyDeletionFailed"),
    ];
    for (matches, step, body, name) in cases {
        let world = World::new(Setting::default()).await;
        run_steps_before(&world, step).await;
        respond(&world, matches, Response::json(402, body));

        let error = world.step_error(step, name).await;

        let message = error.error_message;
        assert_eq!(error.error_type, name, "{message}");
        let is_quota = name == "QuotaExceeded";
        assert_eq!(
            message.contains("Delete unused keys"),
            is_quota,
            "{message}"
        );
    }
}
