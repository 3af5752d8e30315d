//! Rotations of every key type, in every mode, under every policy.

use super::*;

/// All key types.
pub(crate) const KEY_TYPES: [KeyType; 7] = [
    KeyType::Cloud,
    KeyType::Kafka,
    KeyType::SchemaRegistry,
    KeyType::KsqlDb,
    KeyType::Flink,
    KeyType::Tableflow,
    KeyType::Global,
];

const MODES: [Mode; 4] = [
    Mode::Admin,
    Mode::SelfRotation,
    Mode::InitialKey,
    Mode::Keyless,
];

/// The steps of a rotation do the same under `keep-until-next-rotation` as under `delete-after`.
const POLICIES: [OldKeyPolicy; 2] = [OldKeyPolicy::DeleteAfter, OldKeyPolicy::Delete];

/// Every setting in which the management credentials have permission to manage keys, but keyless mode with one key type only.
pub(crate) fn possible_settings() -> impl Iterator<Item = Setting> {
    let all = KEY_TYPES.into_iter().flat_map(|key_type| {
        MODES.into_iter().flat_map(move |mode| {
            POLICIES.into_iter().map(move |policy| Setting {
                key_type,
                mode,
                policy,
                further: &[],
            })
        })
    });
    all.filter(|Setting { key_type, mode, .. }| match mode {
        Mode::Admin | Mode::InitialKey => true,
        Mode::SelfRotation => may_manage_keys(*key_type),
        // The access token replaces the admin key, whatever the key type.
        Mode::Keyless => *key_type == KeyType::Kafka,
    })
}

/// Returns the key types whose keys cannot manage keys.
pub(crate) fn resource_scoped() -> impl Iterator<Item = KeyType> {
    let is_resource_scoped = |key_type: &KeyType| !may_manage_keys(*key_type);
    KEY_TYPES.into_iter().filter(is_resource_scoped)
}

/// Whether keys of a type may have permission to manage keys. Confluent does not document it for Global API keys.
fn may_manage_keys(key_type: KeyType) -> bool {
    matches!(key_type, KeyType::Cloud | KeyType::Global)
}

/// A world in which keys propagate slowly, and to some servers later than to others.
async fn world_with_slow_propagation(setting: Setting) -> World {
    let world = World::new(setting).await;
    {
        let controls = &mut world.simulator.state().controls;
        controls.propagation_statuses = vec![401, 200, 401, 200, 200, 401];
        controls.control_plane_propagation_statuses = vec![401, 200, 401];
        controls.global_keys_may_call_iam = true;
        controls.flink_ids_include_environment = true;
    }
    world
}

#[tokio::test]
async fn every_key_type_is_rotated_in_every_mode_under_every_policy() {
    for setting in possible_settings() {
        let world = world_with_slow_propagation(setting).await;

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{setting:?}");
        let current = world.key("AWSCURRENT").unwrap();
        assert_ne!(current, world.initial_key, "{setting:?}");
        let mut expected = vec![current];
        let is_kept = setting.policy != OldKeyPolicy::Delete;
        if is_kept && setting.mode != Mode::InitialKey {
            expected.push(world.initial_key.clone());
        }
        world.assert_keys(&expected, &setting);
    }
}

/// No key is deleted while `AWSCURRENT` or `AWSPENDING` names it. Under `keep-until-next-rotation`, the key that
/// `AWSPREVIOUS` names is not deleted before the next rotation starts. The simulator checks this at every request.
#[tokio::test]
async fn twenty_rotations_keep_only_the_keys_that_the_policy_requires() {
    for policy in crate::POLICIES {
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        let mut previous = world.initial_key.clone();

        for rotation in 0..20 {
            assert_eq!(
                world.rotate().await,
                Outcome::Succeeded,
                "{policy:?} {rotation}"
            );
            let current = world.key("AWSCURRENT").unwrap();
            let expected = match policy {
                OldKeyPolicy::Delete => vec![current.clone()],
                OldKeyPolicy::DeleteAfter | OldKeyPolicy::KeepUntilNextRotation => {
                    vec![current.clone(), previous]
                }
            };
            world.assert_keys(&expected, &(policy, rotation));
            previous = current;
        }
    }
}

/// Users can create keys only for themselves, so the admin secret contains a Cloud API key of the same user.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/manage-api-keys.html>
#[tokio::test]
async fn a_users_key_is_rotated_with_a_cloud_api_key_of_the_same_user() {
    let world = World::new(Setting::default()).await;
    let user = "u-ada42";
    let simulator = &world.simulator;
    simulator.add_owner(user, &[Role::Operator]);
    let admin_key = simulator.add_key(user, None, None);
    let admin_secret = simulator.add_admin_secret("ada", &admin_key);
    let (id, secret) = simulator.add_key(user, Some("lkc-orders"), Some(ENVIRONMENT));
    world.change_value(|value| {
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
    let keys: Vec<&str> = state
        .keys_of(user)
        .iter()
        .map(|key| key.id.as_str())
        .collect();
    assert_eq!(keys.len(), 2);
    assert!(
        keys.contains(&current.as_str()) && keys.contains(&admin_key.0.as_str()),
        "{keys:?}"
    );
}

#[tokio::test]
async fn self_rotation_with_a_key_that_cannot_manage_keys_fails_before_a_key_is_created() {
    for key_type in KEY_TYPES
        .into_iter()
        .filter(|key_type| *key_type != KeyType::Cloud)
    {
        let world = World::new(Setting {
            key_type,
            mode: Mode::SelfRotation,
            ..Setting::default()
        })
        .await;

        let error = world.step("createSecret").await.unwrap_err();

        assert_eq!(
            error.error_type, "AdminSecretRequired",
            "{key_type:?}: {}",
            error.error_message
        );
        assert!(
            error.error_message.contains("Name an admin secret"),
            "{key_type:?}: {}",
            error.error_message
        );
        world.assert_keys(std::slice::from_ref(&world.initial_key), &key_type);
    }
}

#[tokio::test]
async fn an_environment_that_the_secret_omits_is_taken_from_the_current_key() {
    for key_type in KEY_TYPES {
        let world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        world.change_value(|value| {
            value.as_object_mut().unwrap().remove("environmentId");
        });

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}");
        assert_ne!(
            world.key("AWSCURRENT").unwrap(),
            world.initial_key,
            "{key_type:?}"
        );
    }
}
