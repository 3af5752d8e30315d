//! Messages about the resource's endpoint.

use super::*;

const CASES: &[Case] = &[
    Case {
        name: "an endpoint on a domain that is not allowed",
        arrange: |world| set_field(world, "endpoint", "https://kafka.example"),
        error: "EndpointNotAllowed",
        message: "`endpoint` in the secret is not allowed: credentials are not sent to kafka.example because its \
                  domain is not in the list of allowed domains. Correct `endpoint`, or, if the domain is your own, add it \
                  to ALLOWED_ENDPOINT_DOMAINS",
        ..CASE
    },
    Case {
        name: "the bootstrap server instead of the endpoint",
        arrange: |world| {
            let bootstrap_server = "pkc-1.eu-west-1.aws.confluent.cloud:9092";
            set_field(world, "endpoint", bootstrap_server);
        },
        error: "EndpointNotAllowed",
        message: "`endpoint` in the secret is not allowed: credentials are not sent to \
                  pkc-1.eu-west-1.aws.confluent.cloud:9092 because its port is not 443. Set `endpoint` in the secret to \
                  the resource's REST endpoint, https://HOST, or remove it",
        ..CASE
    },
    Case {
        name: "a private cluster outside the function's network",
        arrange: |world| world.set_advertised_url(&world.simulator.unreachable_url()),
        error: "EndpointUnreachable",
        message: "could not verify the current key CURRENT: its endpoint is unreachable (could not connect to \
                  127.0.0.1:1: [..]). Connect the function to a network with a route to the endpoint and DNS for its \
                  host name. If it has them, check security groups, firewalls and HTTPS_PROXY",
        ..CASE
    },
    Case {
        name: "a gateway that returns 403 for every request",
        arrange: |world| respond(world, is_probe, Response::empty(403)),
        error: "EndpointAcceptsAnyCredential",
        message: "could not verify the key CURRENT: its endpoint does not reject a wrong API secret. If this \
                  persists, check for a firewall, a proxy (HTTPS_PROXY) and Confluent's IP filters, or correct `endpoint` in the \
                  secret",
        ..CASE
    },
    Case {
        name: "a proxy that returns a page for every request",
        arrange: |world| {
            let page = Response::new(200, "text/html", "<html>Blocked</html>");
            respond(world, is_probe, page);
        },
        error: "CurrentKeyNotAccepted",
        message: "could not verify the current key CURRENT (last probe: inconclusive (HTTP 200 without JSON)). If this \
                  persists, check for a firewall, a proxy (HTTPS_PROXY) and Confluent's IP filters, or correct `endpoint` in the \
                  secret",
        ..CASE
    },
    Case {
        name: "an admin key without a role for the cluster",
        arrange: |world| world.grant_admin(&[Role::ResourceOwnerOf(OWNER.to_owned())]),
        error: "EndpointNotFound",
        message: "could not look up the resource's endpoint: Confluent Cloud denied key MANAGEMENT permission to look \
                  up the resource's endpoint: HTTP [..]. Correct resourceId and environmentId. If they are correct, the \
                  management credentials cannot look up the resource: add its `endpoint` to the secret",
        ..CASE
    },
];

#[tokio::test]
async fn an_invalid_endpoint_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}
