//! Complete rotations: without a fault, with a fault in a request, and with invalid settings.

use simulator::{Fault, Quota, QuotaResponse};

use super::*;
use crate::faults::{block_on, in_threads, undisturbed_rotation};
use crate::several_keys::TWO_KEYS;

#[tokio::test]
async fn a_rotation_of_every_key_type_prints_no_secret() {
    for key_type in KEY_TYPES {
        for mode in [Mode::Admin, Mode::SelfRotation, Mode::Keyless] {
            let world = World::new(Setting {
                key_type,
                mode,
                ..Setting::default()
            })
            .await;
            let case = format!("{key_type:?}, {mode:?}");

            let outcome = world.rotate_without_leak(&case).await;

            // Of all keys, only Cloud API keys can authenticate to the control plane.
            let is_possible = mode != Mode::SelfRotation || key_type == KeyType::Cloud;
            assert_eq!(
                outcome == Outcome::Succeeded,
                is_possible,
                "{case}: {outcome:?}"
            );
        }
    }
}

#[test]
fn a_rotation_with_a_fault_prints_no_secret() {
    let keyless = Setting {
        mode: Mode::Keyless,
        ..Setting::default()
    };
    let mut cases = Vec::new();
    for setting in [Setting::default(), keyless, TWO_KEYS] {
        let requests = block_on(undisturbed_rotation(setting));
        for (offset, fault) in Fault::ALL.into_iter().enumerate() {
            // Every request has a fault, and every fault occurs in each step.
            let of_fault = (offset % 5..requests.len()).step_by(5);
            cases.extend(of_fault.map(|nth| (setting, fault, nth, requests[nth].clone())));
        }
    }

    in_threads(&cases, |(setting, fault, nth, request)| {
        block_on(async {
            let case = format!("{fault:?} at request {nth}, {request}");
            let mut world = World::new(*setting).await;
            world.set_request_limit(SHORT_REQUEST_LIMIT);
            world.simulator.fail(*nth, *fault);

            world.rotate_without_leak(&case).await;
            world.rotate_without_leak(&case).await;
        });
    });
}

#[tokio::test]
async fn a_failed_rotation_prints_no_secret() {
    let cases: [(&str, Arrange); 9] = [
        ("the admin key's API secret is wrong", |world| {
            let (id, secret) = world.admin_key_pair();
            let value = json!({"apiKey": id, "apiSecret": format!("{secret}wrong")});
            world.store_invalid(&world.admin_secret_arn(), &value.to_string());
        }),
        ("the admin secret contains no key", |world| {
            let (_, secret) = world.admin_key_pair();
            world.store_invalid(&world.admin_secret_arn(), &json!([secret]).to_string());
        }),
        ("the current key was deleted", |world| {
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world.simulator.delete_key_manually(&world.initial_key);
        }),
        ("the quota is used up", |world| {
            world.simulator.state().controls.quota = Some(Quota {
                per_owner: 1,
                response: QuotaResponse::BadRequest,
            });
        }),
        ("PutSecretValue is denied", |world| {
            let denied = simulator::Response::aws_access_denied("PutSecretValue");
            world.respond_to("PutSecretValue", denied);
        }),
        ("the KMS key is denied", |world| {
            world.respond_to("GetSecretValue", simulator::Response::aws_kms_denied());
        }),
        ("the move of the label is rejected", |world| {
            let rejected = simulator::Response::aws_error(400, "InvalidParameterException", "no");
            world.respond_to("UpdateSecretVersionStage", rejected);
        }),
        ("the endpoint is not allowed", |world| {
            world.set_advertised_url("https://confluent.cloud.evil.example");
        }),
        ("the endpoint is unreachable", |world| {
            world.set_advertised_url(&world.simulator.unreachable_url());
        }),
    ];
    for (case, arrange) in cases {
        let world = World::new(Setting::default()).await;
        arrange(&world);

        let outcome = world.rotate_without_leak(case).await;

        assert_ne!(outcome, Outcome::Succeeded, "{case}");
    }
}

async fn world_with_brokers() -> World {
    let mut world = World::new(Setting::default()).await;
    world.simulator.add_brokers("lkc-orders", 2);
    world.set_variable("KAFKA_VERIFICATION", "brokers");
    world
}

#[test]
fn a_rotation_that_is_verified_at_brokers_prints_no_secret() {
    let requests = block_on(async {
        let undisturbed = world_with_brokers().await;
        assert_eq!(undisturbed.rotate().await, Outcome::Succeeded);
        undisturbed.simulator.state().requests.clone()
    });
    let is_to_broker = |request: &simulator::Request| request.service == Service::KafkaBroker;
    let first = requests.iter().position(is_to_broker).unwrap();
    // The requests of one round.
    let round = first..first + 7;
    let cases = Fault::ALL
        .into_iter()
        .flat_map(|fault| round.clone().map(move |nth| (fault, nth)));
    let cases: Vec<_> = cases.collect();

    in_threads(&cases, |(fault, nth)| {
        block_on(async {
            let world = world_with_brokers().await;
            world.simulator.fail(*nth, *fault);

            world
                .rotate_without_leak(&format!("{fault:?}, {nth}"))
                .await;
        });
    });
}
