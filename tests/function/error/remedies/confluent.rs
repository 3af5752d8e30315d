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
                  127.0.0.1:1: [..]. Connect the function to this host (in a VPC, with NAT), and check \
                  CONFLUENT_API_URL",
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
