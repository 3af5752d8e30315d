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
        arrange: |world| {
            let page = Response::new(503, "text/html", "<html>down</html>");
            respond(world, is_control_plane, page);
        },
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
        arrange: |world| {
            let page = Response::new(403, "text/html", "<html>Blocked</html>");
            respond(world, is_control_plane, page);
        },
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
            let page = Response::new(403, "text/html", "<html>Blocked</html>");
            let reads = |request: &Request| {
                is_control_plane(request) && request.name().contains("api-keys/")
            };
            respond(world, reads, page);
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
