//! Every kind of key, in both modes, under both policies.

use super::*;

/// Every kind.
pub(crate) const KINDS: [Kind; 7] = [
    Kind::Cloud,
    Kind::Kafka,
    Kind::SchemaRegistry,
    Kind::KsqlDb,
    Kind::Flink,
    Kind::Tableflow,
    Kind::Global,
];

const MODES: [Mode; 3] = [Mode::Admin, Mode::Own, Mode::FirstKey];

const POLICIES: [OldKeyPolicy; 2] = [OldKeyPolicy::Delete, OldKeyPolicy::KeepUntilNextRotation];

/// Every setting in which Confluent lets the signing key make keys.
pub(crate) fn possible_settings() -> impl Iterator<Item = Setting> {
    let all = KINDS.into_iter().flat_map(|kind| {
        MODES.into_iter().flat_map(move |mode| {
            POLICIES
                .into_iter()
                .map(move |policy| Setting { kind, mode, policy })
        })
    });
    all.filter(|setting| setting.mode != Mode::Own || may_sign(setting.kind))
}

/// Whether keys of a kind may sign requests for keys; of Global keys it is not documented, and both happen.
fn may_sign(kind: Kind) -> bool {
    matches!(kind, Kind::Cloud | Kind::Global)
}

/// The world of a setting, with keys that are accepted late and not at once everywhere.
async fn settling_world(setting: Setting) -> World {
    let world = World::new(setting).await;
    {
        let knobs = &mut world.simulator.state().knobs;
        knobs.settling = vec![401, 200, 401, 200, 200, 401];
        knobs.control_plane_settling = vec![401, 200, 401];
        knobs.global_keys_may_call_iam = true;
        knobs.flink_ids_name_their_environment = true;
    }
    world
}

#[tokio::test]
async fn every_kind_is_rotated_in_both_modes_under_both_policies() {
    for setting in possible_settings() {
        let world = settling_world(setting).await;

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{setting:?}");
        let current = world.key("AWSCURRENT").unwrap();
        assert_ne!(current, world.first_key, "{setting:?}");
        let mut left = vec![current];
        let is_kept = setting.policy == OldKeyPolicy::KeepUntilNextRotation;
        if is_kept && setting.mode != Mode::FirstKey {
            left.push(world.first_key.clone());
        }
        world.assert_keys(&left, &setting);
    }
}

/// No key is deleted while `AWSCURRENT` or `AWSPENDING` names it, nor, under `keep-until-next-rotation`, the one
/// `AWSPREVIOUS` names before the next rotation has begun. The simulator checks it at every request.
#[tokio::test]
async fn twenty_rotations_leave_the_keys_that_the_policy_says() {
    for policy in POLICIES {
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        let mut previous = world.first_key.clone();

        for rotation in 0..20 {
            assert_eq!(
                world.rotate().await,
                Outcome::Succeeded,
                "{policy:?} {rotation}"
            );
            let current = world.key("AWSCURRENT").unwrap();
            let left = match policy {
                OldKeyPolicy::Delete => vec![current.clone()],
                OldKeyPolicy::KeepUntilNextRotation => vec![current.clone(), previous],
            };
            world.assert_keys(&left, &(policy, rotation));
            previous = current;
        }
    }
}

/// Users make keys for themselves alone, so the admin secret holds a Cloud key of the same user.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/manage-api-keys.html>
#[tokio::test]
async fn a_users_key_is_rotated_with_a_cloud_key_of_the_same_user() {
    let world = World::new(Setting::default()).await;
    let user = "u-ada42";
    let simulator = &world.simulator;
    simulator.add_owner(user, &[Role::Operator]);
    let signing = simulator.add_key(user, None, None);
    let admin_secret = simulator.add_admin_secret("ada", &signing);
    let (id, secret) = simulator.add_key(user, Some("lkc-orders"), Some(ENVIRONMENT));
    world.edit(|value| {
        value["apiKey"] = json!(id);
        value["apiSecret"] = json!(secret);
        value["serviceAccountId"] = json!(user);
        value["adminSecretArn"] = json!(admin_secret);
    });

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    assert_ne!(current, id);
    let state = simulator.state();
    let left: Vec<&str> = state
        .keys_of(user)
        .iter()
        .map(|key| key.id.as_str())
        .collect();
    assert_eq!(left.len(), 2);
    assert!(
        left.contains(&current.as_str()) && left.contains(&signing.0.as_str()),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_resource_key_that_would_have_to_sign_is_refused_before_anything_is_made() {
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Cloud) {
        let world = World::new(Setting {
            kind,
            mode: Mode::Own,
            ..Setting::default()
        })
        .await;

        let error = world.step("createSecret").await.unwrap_err();

        assert_eq!(
            error.error_type, "AdminSecretNeeded",
            "{kind:?}: {}",
            error.error_message
        );
        assert!(
            error.error_message.contains("Name an admin secret"),
            "{kind:?}: {}",
            error.error_message
        );
        world.assert_keys(std::slice::from_ref(&world.first_key), &kind);
    }
}

#[tokio::test]
async fn the_environment_is_taken_from_the_keys_own_resource_where_the_secret_names_none() {
    for kind in KINDS {
        let world = World::new(Setting {
            kind,
            ..Setting::default()
        })
        .await;
        world.edit(|value| {
            value.as_object_mut().unwrap().remove("environmentId");
        });

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{kind:?}");
        assert_ne!(
            world.key("AWSCURRENT").unwrap(),
            world.first_key,
            "{kind:?}"
        );
    }
}
