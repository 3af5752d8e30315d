//! Messages about the current and the pending key.

use super::*;

const CASES: &[Case] = &[
    Case {
        name: "a typo in the API secret",
        arrange: |world| set_field(world, "apiSecret", "cfltTypo"),
        error: "CurrentKeyNotAccepted",
        message: "could not verify the current key CURRENT (last probe: rejected with HTTP 401). Correct apiKey \
                  and apiSecret, or store another key if it was deleted",
        ..CASE
    },
    Case {
        name: "a typo in the API key ID",
        arrange: |world| set_field(world, "apiKey", "TYPO"),
        error: "CurrentKeyNotOfOwner",
        message: "the current key may have been deleted, but Confluent Cloud lists CURRENT, the key of AWSPREVIOUS: could not confirm that the current key TYPO is an API key of sa-orders: Confluent Cloud lists other \
                  keys of this owner, but not this one. If an earlier value was stored again, move AWSCURRENT to the version labeled AWSPREVIOUS. Otherwise, correct apiKey and apiSecret",
        ..CASE
    },
    Case {
        name: "a typo in the owner's ID",
        arrange: |world| set_field(world, "serviceAccountId", "sa-order"),
        error: "CurrentKeyNotOfOwner",
        message: "could not confirm that the current key CURRENT is an API key of sa-order: it is a key of sa-orders. Correct \
                  apiKey and apiSecret, or serviceAccountId",
        ..CASE
    },
    Case {
        name: "a typo in the owner's ID, if the list of this owner's keys is denied",
        arrange: |world| {
            set_field(world, "serviceAccountId", "sa-order");
            respond(world, lists_keys, Response::confluent_forbidden());
        },
        error: "CurrentKeyNotOfOwner",
        message: "could not confirm that the current key CURRENT is an API key of sa-order: it is a key of sa-orders. Correct \
                  apiKey and apiSecret, or serviceAccountId",
        ..CASE
    },
    Case {
        name: "the environment of another cluster",
        arrange: |world| set_field(world, "environmentId", "env-test"),
        error: "CurrentKeyScopeMismatch",
        message: "the current key CURRENT is scoped to another resource or environment. Correct resourceId and \
                  environmentId, or apiKey and apiSecret",
        ..CASE
    },
    Case {
        name: "a pending key that is denied, whatever the secret",
        mode: Mode::Admin,
        arrange: |world| {
            let pending = world.key("AWSPENDING");
            let is_probe_of_pending =
                move |request: &Request| is_probe(request) && request.key_id == pending;
            let body = json!({"error_code": 40301, "message": "Request is not authorized"});
            respond(world, is_probe_of_pending, Response::json(403, &body));
            world.time_limit = Duration::from_secs(12);
        },
        step: "testSecret",
        error: "EndpointAcceptsAnyCredential",
        message: "could not verify the key PENDING: its endpoint does not reject a wrong API secret. If this \
                  persists, check for a firewall, a proxy (HTTPS_PROXY) and Confluent's IP filters, or correct `endpoint` in the \
                  secret",
    },
    Case {
        name: "an exhausted quota",
        arrange: |world| {
            world.simulator.state().controls.quota = Some(simulator::Quota {
                per_owner: 2,
                response: simulator::QuotaResponse::PaymentRequired,
            });
        },
        error: "QuotaExceeded",
        message: "a quota for API keys is exhausted for sa-orders (2 API keys, 2 of them scoped to this resource); no key was deleted: none of \
                  this secret's keys can be deleted safely: Confluent Cloud rejected a request from key MANAGEMENT to create an API key: HTTP 402, [..] (request ID ID). Delete \
                  unused keys, or contact Confluent Support to raise the quota",
        ..CASE
    },
];

#[tokio::test]
async fn an_invalid_key_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}
