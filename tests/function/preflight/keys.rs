//! Cases of the checks of the owner's keys.

use simulator::{Quota, QuotaResponse};

use super::*;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a quota with room",
        check: "quota",
        observed: "sa-orders uses 2 of its quota of 100 API keys",
        ..CASE
    },
    Case {
        name: "a quota that is almost used up",
        check: "quota",
        outcome: Warning,
        observed: "9 of its quota of 10 API keys",
        arrange: |world| {
            set_quota(world, 10);
            for _ in 0..7 {
                let resource = Some("lkc-orders");
                world.simulator.add_key(OWNER, resource, Some(ENVIRONMENT));
            }
        },
        ..CASE
    },
    Case {
        name: "a quota that is used up",
        check: "quota",
        outcome: Failed,
        observed: "2 of its quota of 2 API keys",
        arrange: |world| set_quota(world, 2),
        ..CASE
    },
    Case {
        name: "a proxy that blocks requests for quotas",
        check: "quota",
        outcome: NotVerifiable,
        observed: "a proxy, a firewall or an IP filter blocks requests for the quota",
        arrange: |world| {
            let is_quota = |request: &Request| requests(request, "applied-quotas");
            respond(world, is_quota, Response::empty(407));
        },
        ..CASE
    },
    Case {
        name: "a quota with an orphaned key",
        check: "quota",
        outcome: Warning,
        observed: "3 of its quota of 3 API keys",
        arrange: |world| {
            add_orphan(world);
            set_quota(world, 3);
        },
        ..CASE
    },
    Case {
        name: "a quota with an orphaned key that is kept because the current key is not checked",
        check: "quota",
        outcome: Failed,
        observed: "3 of its quota of 3 API keys",
        arrange: |world| {
            world.set_variable("CURRENT_KEY_CHECK", "off");
            add_orphan(world);
            set_quota(world, 3);
        },
        ..CASE
    },
    Case {
        name: "a quota with a key that a user replaced manually",
        check: "quota",
        outcome: Failed,
        observed: "3 of its quota of 3 API keys",
        arrange: |world| {
            replace_key_manually(world);
            set_quota(world, 3);
        },
        ..CASE
    },
    Case {
        name: "a quota after a change of another field",
        check: "quota",
        outcome: Failed,
        observed: "2 of its quota of 2 API keys",
        arrange: |world| {
            world.change_value(|value| value["other"] = json!("changed"));
            set_quota(world, 2);
        },
        ..CASE
    },
    Case {
        name: "a quota of one key",
        check: "quota",
        outcome: Failed,
        observed: "1 of its quota of 1 API key (",
        setting: INITIAL_KEY,
        arrange: |world| set_quota(world, 1),
    },
    Case {
        name: "a quota that the credentials have no permission to read",
        check: "quota",
        outcome: NotVerifiable,
        observed: "Confluent Cloud does not return the quota",
        arrange: |world| world.grant_admin(&[Role::ResourceOwnerOf(OWNER.to_owned())]),
        ..CASE
    },
    Case {
        name: "a quota that cannot be read at the moment",
        check: "quota",
        outcome: Unknown,
        observed: "503",
        arrange: |world| {
            let fails = Response::empty(503);
            respond(world, |request| requests(request, "applied-quotas"), fails);
        },
        ..CASE
    },
    Case {
        name: "a quota that is not returned",
        check: "quota",
        outcome: NotVerifiable,
        observed: "Confluent Cloud does not return the quota",
        arrange: |world| {
            let none = Response::json(200, &json!({"data": []}));
            respond(world, |request| requests(request, "applied-quotas"), none);
        },
        ..CASE
    },
    Case {
        name: "a Global API key",
        check: "quota",
        outcome: NotVerifiable,
        observed: "documents no quota",
        setting: Setting {
            key_type: KeyType::Global,
            ..KAFKA_WITH_ADMIN_SECRET
        },
        ..CASE
    },
    // A test of its own checks the warning.
    Case {
        name: "no orphaned keys",
        check: "orphaned-keys",
        observed: "no orphaned keys",
        ..CASE
    },
    Case {
        name: "a pending value that is not JSON",
        check: "orphaned-keys",
        outcome: Warning,
        observed: "not a JSON object",
        arrange: |world| {
            let token = world.simulator.start_rotation(&world.arn);
            let mut state = world.simulator.state();
            let versions = &mut state.secret_mut(&world.arn).versions;
            let value = SecretValue::String("not JSON".to_owned());
            versions.get_mut(&token).unwrap().value = Some(value);
        },
        ..CASE
    },
    Case {
        name: "a key of the owner for the resource",
        check: "current-key",
        observed: "is a key of sa-orders and scoped to the resource",
        ..CASE
    },
    Case {
        name: "a deleted key",
        check: "current-key",
        outcome: Failed,
        observed: "could not confirm that the current key",
        arrange: delete_current_key,
        ..CASE
    },
    Case {
        name: "a key of another cluster",
        check: "current-key",
        outcome: Failed,
        observed: "scoped to another resource",
        arrange: |world| {
            world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
            world.change_value(|value| value["resourceId"] = json!("lkc-other"));
        },
        ..CASE
    },
    Case {
        name: "a deleted key that is not checked",
        check: "current-key",
        outcome: Warning,
        observed: "could not confirm that the current key",
        arrange: |world| {
            world.set_variable("CURRENT_KEY_CHECK", "off");
            delete_current_key(world);
        },
        ..CASE
    },
    Case {
        name: "a key that is not listed and cannot be read",
        check: "current-key",
        outcome: Unknown,
        observed: "503",
        arrange: |world| {
            world.simulator.respond_with(1, lists_keys, empty_list());
            let reads_keys = |request: &Request| requests(request, "api-keys");
            respond(world, reads_keys, Response::empty(503));
        },
        ..CASE
    },
    Case {
        name: "an initial key",
        check: "current-key",
        observed: "the next rotation creates it",
        setting: INITIAL_KEY,
        ..CASE
    },
    Case {
        name: "an initial key that is not allowed",
        check: "current-key",
        outcome: Failed,
        observed: "there is no key to rotate",
        setting: INITIAL_KEY,
        arrange: |world| world.set_variable("INITIAL_KEY", "off"),
    },
];

/// Stores another key in the secret, so that `AWSPREVIOUS` contains the initial one.
fn replace_key_manually(world: &World) {
    let resource = Some("lkc-orders");
    let (id, secret) = world.simulator.add_key(OWNER, resource, Some(ENVIRONMENT));
    world.change_value(|value| {
        value["apiKey"] = json!(id);
        value["apiSecret"] = json!(secret);
    });
}

fn set_quota(world: &World, per_owner: usize) {
    let response = QuotaResponse::PaymentRequired;
    world.simulator.state().controls.quota = Some(Quota {
        per_owner,
        response,
    });
}

pub(super) fn delete_current_key(world: &mut World) {
    world.simulator.delete_key_manually(&world.initial_key);
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
}

fn add_orphan(world: &World) {
    let resource = Some("lkc-orders");
    let (id, _) = world.simulator.add_key(OWNER, resource, Some(ENVIRONMENT));
    world
        .simulator
        .tag_key(&id, &world.arn, "abandoned", "i", "");
}
