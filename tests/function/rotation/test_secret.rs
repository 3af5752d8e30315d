//! `testSecret`: what it does if the pending key cannot be verified, and the configuration test.

use super::*;

impl World {
    /// Runs only `testSecret` on a copy of the current value, as `RotateImmediately=false` does.
    pub(crate) async fn test_configuration(&self) -> Outcome {
        let invoke = async |event| self.invoke(event).await.map_err(|error| error.error_type);
        self.simulator.test_configuration(&self.arn, &invoke).await
    }
}

#[tokio::test]
async fn under_control_plane_a_pending_key_with_another_scope_is_rejected() {
    let cases: [(&str, ArrangeFor, &str); 3] = [
        (
            "another owner's",
            |world, key| {
                world.simulator.state().keys.get_mut(key).unwrap().owner = Some(ADMIN.to_owned());
            },
            "PendingKeyScopeMismatch",
        ),
        (
            "another resource's",
            |world, key| {
                world.simulator.state().keys.get_mut(key).unwrap().resource =
                    "lkc-other".to_owned();
            },
            "PendingKeyScopeMismatch",
        ),
        (
            "no permission to see it",
            |world, _| world.grant_admin(&[]),
            "PendingKeyNotListed",
        ),
    ];
    for (case, arrange, error_type) in cases {
        let mut world = with_pending_key().await;
        world.set_variable("KEY_VERIFICATION", "control-plane");
        world.time_limit = SHORT_TIME_LIMIT;
        arrange(&world, &world.key("AWSPENDING").unwrap());

        let error = world.step_error("testSecret", case).await;

        assert_eq!(
            error.error_type, error_type,
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.version("AWSPENDING"), Some(world.token()), "{case}");
    }
}

#[tokio::test]
async fn under_control_plane_the_step_waits_until_the_control_plane_returns_the_pending_key() {
    let mut world = World::new(Setting::default()).await;
    world.set_variable("KEY_VERIFICATION", "control-plane");
    world.run_steps(&["createSecret", "setSecret"]).await;
    let pending = world.key("AWSPENDING").unwrap();
    let path = format!("GET {API_KEYS}/{pending}");
    let reads_pending = move |request: &Request| request.name() == path;
    world
        .simulator
        .respond_with(3, reads_pending, Response::confluent_forbidden());
    world.simulator.respond_with(3, lists_keys, empty_list());

    world.run_steps(&["testSecret"]).await;

    assert_eq!(world.key("AWSPENDING"), Some(pending));
}

#[tokio::test]
async fn if_the_pending_key_was_deleted_aws_pending_is_removed_and_the_next_rotation_starts_over() {
    for verification in ["required", "best-effort", "control-plane"] {
        let mut world = with_pending_key().await;
        world.set_variable("KEY_VERIFICATION", verification);
        let deleted = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_manually(&deleted);
        world
            .simulator
            .age_version(&world.arn, "AWSPENDING", Duration::from_mins(11));
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world.step_error("testSecret", verification).await;

        assert_eq!(
            error.error_type, "PendingKeyDeleted",
            "{verification}: {}",
            error.error_message
        );
        assert_eq!(world.version("AWSPENDING"), None, "{verification}");
        world.time_limit = AMPLE;
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{verification}");
        let mut keys = vec![world.key("AWSCURRENT").unwrap()];
        if verification == "control-plane" {
            // Possession of it was not verified, so its replacement is no evidence.
            keys.push(world.initial_key.clone());
        }
        world.assert_keys(&keys, &verification);
    }
}

#[tokio::test]
async fn a_deleted_pending_key_is_recognized_if_only_keys_contain_the_environment() {
    for key_type in [KeyType::Kafka, KeyType::Flink] {
        let mut world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        world.change_value(|value| {
            value
                .as_object_mut()
                .expect("an object")
                .remove("environmentId");
        });
        world.run_steps(&["createSecret", "setSecret"]).await;
        let pending = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_manually(&pending);
        world
            .simulator
            .age_version(&world.arn, "AWSPENDING", Duration::from_mins(11));
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world
            .step_error("testSecret", "the pending key was deleted")
            .await;

        assert_eq!(
            error.error_type, "PendingKeyDeleted",
            "{key_type:?}: {}",
            error.error_message
        );
        assert_eq!(world.key("AWSPENDING"), None, "{key_type:?}");
    }
}

#[tokio::test]
async fn a_pending_key_of_unknown_state_does_not_count_as_deleted() {
    let cases: [(&str, Arrange); 3] = [
        ("the list contains neither key", |world| {
            world
                .simulator
                .delete_key_manually(&world.key("AWSPENDING").unwrap());
            world.grant_admin(&[Role::Operator]);
        }),
        (
            "the list omits the key, and a read by its ID finds it",
            |world| {
                let pending = world.key("AWSPENDING").unwrap();
                let mut state = world.simulator.state();
                state.keys.get_mut(&pending).unwrap().propagation_statuses = always(401).into();
                let spec = json!({"owner": {"id": OWNER}, "resource": {"id": "lkc-orders"}});
                let list = json!({"data": [{"id": world.initial_key, "spec": spec}], "metadata": {"next": ""}});
                drop(state);
                world
                    .simulator
                    .respond_with(usize::MAX, lists_keys, Response::json(200, &list));
            },
        ),
        ("the list is rejected", |world| {
            world
                .simulator
                .delete_key_manually(&world.key("AWSPENDING").unwrap());
            let rejection = Response::confluent_error(400, None, "", "Not today");
            world
                .simulator
                .respond_with(usize::MAX, lists_keys, rejection);
        }),
    ];
    for (case, arrange) in cases {
        let mut world = with_pending_key().await;
        arrange(&world);
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world.step_error("testSecret", case).await;

        assert_eq!(
            error.error_type, "PendingKeyNotAccepted",
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.version("AWSPENDING"), Some(world.token()), "{case}");
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>
#[tokio::test]
async fn a_configuration_test_only_verifies_the_current_key() {
    for verification in ["required", "best-effort", "control-plane"] {
        let mut world = World::new(Setting::default()).await;
        world.set_variable("KEY_VERIFICATION", verification);
        let (keys, before) = (world.all_keys(), world.version("AWSCURRENT"));

        let outcome = world.test_configuration().await;

        assert_eq!(outcome, Outcome::Succeeded, "{verification}");
        assert_eq!(
            (world.all_keys(), world.version("AWSCURRENT")),
            (keys, before),
            "{verification}"
        );
        assert_eq!(
            world.count(creates_a_key) + world.count(deletes_a_key),
            0,
            "{verification}"
        );
        assert_eq!(
            world.count(is_operation("UpdateSecretVersionStage")),
            0,
            "{verification}"
        );
        assert_eq!(
            world.count(is_operation("PutSecretValue")),
            0,
            "{verification}"
        );
    }
}

#[tokio::test]
async fn a_configuration_test_fails_if_the_key_was_deleted_and_moves_no_label() {
    for (verification, error) in [
        ("required", "PendingKeyNotAccepted"),
        ("control-plane", "PendingKeyNotListed"),
    ] {
        let mut world = World::new(Setting::default()).await;
        world.set_variable("KEY_VERIFICATION", verification);
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world.simulator.delete_key_manually(&world.initial_key);
        let before = world.version("AWSCURRENT");
        world.time_limit = SHORT_TIME_LIMIT;

        let outcome = world.test_configuration().await;

        let failed = Outcome::Failed {
            step: "testSecret",
            error: error.to_owned(),
        };
        assert_eq!(outcome, failed, "{verification}");
        assert_eq!(
            world.count(is_operation("UpdateSecretVersionStage")),
            0,
            "{verification}"
        );
        assert_eq!(world.version("AWSCURRENT"), before, "{verification}");
    }
}
