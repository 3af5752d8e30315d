//! Ownership: which keys a rotation deletes, and which it keeps.

use super::*;

/// Adds a secret of the same owner for the same cluster, with its own key. Returns its ARN and the key's ID.
fn add_secret(world: &World, name: &str) -> (String, String) {
    let key = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    let mut value = world.value("AWSCURRENT");
    value["apiKey"] = json!(key.0);
    value["apiSecret"] = json!(key.1);
    (world.simulator.add_secret(name, &value.to_string()), key.0)
}

/// A key is deleted only if a version of this secret contains it or it has this secret's ownership tag, and only if
/// `serviceAccountId` owns it. Another application's keys of the same owner are kept.
#[tokio::test]
async fn orphaned_keys_of_an_abandoned_rotation_are_deleted_and_other_keys_are_kept() {
    let mut world = World::new(Setting::default()).await;
    // Another application's keys, and one without an owner, which is in every list.
    let mut others = world.all_keys();
    others.remove(&world.initial_key);
    let this = world.arn.clone();
    let (other, other_key) = add_secret(&world, "payments/kafka");
    world.arn = other;
    world.run_steps(&["createSecret"]).await;
    let other_pending = world.key("AWSPENDING").unwrap();
    world.arn = this;
    world.run_steps(&["createSecret"]).await;
    let orphan = world.key("AWSPENDING").unwrap();
    world.simulator.abandon_rotation(&world.arn);

    world.run_steps(&["createSecret"]).await;
    assert!(
        world.all_keys().contains(&orphan),
        "an invocation of that rotation may still promote it"
    );
    world
        .run_steps(&["setSecret", "testSecret", "finishSecret"])
        .await;

    let keys = world.all_keys();
    assert!(!keys.contains(&orphan), "the orphaned key was deleted");
    assert!(
        keys.is_superset(&others),
        "another application's keys are kept"
    );
    assert!(
        keys.contains(&other_key) && keys.contains(&other_pending),
        "another secret's keys are kept"
    );
}

/// The staging labels are not read again before the key is created.
#[tokio::test]
async fn a_key_that_is_created_after_the_rotation_was_abandoned_is_deleted_by_the_next_one() {
    let world = World::new(Setting::default()).await;
    let abandon = async || world.simulator.abandon_rotation(&world.arn);

    let outcome = world
        .step_while("createSecret", creates_a_key, abandon)
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(world.all_keys().contains(&world.initial_key));
    world.simulator.abandon_rotation(&world.arn);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"after the next rotation");
}

#[tokio::test]
async fn create_secret_deletes_no_key() {
    for policy in POLICIES {
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        world.run_steps(&["createSecret"]).await;
        let orphan = world.key("AWSPENDING").unwrap();
        world.simulator.abandon_rotation(&world.arn);
        let created_at = Some("2020-01-01T00:00:00Z");
        world.simulator.set_created_at(&orphan, created_at);
        let keys = world.all_keys();

        world.run_steps(&["createSecret"]).await;

        assert!(world.all_keys().is_superset(&keys), "{policy:?}");
    }
}

/// Creates a world with an orphaned key of an abandoned rotation, and a rotation in which only finishSecret is left to run.
async fn with_orphan_before_finish() -> (World, String) {
    let world = World::new(Setting::default()).await;
    world.run_steps(&["createSecret"]).await;
    let orphan = world.key("AWSPENDING").unwrap();
    world.simulator.abandon_rotation(&world.arn);
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    (world, orphan)
}

#[tokio::test]
async fn an_orphaned_key_is_kept_while_the_previous_value_is_unknown() {
    let (world, orphan) = with_orphan_before_finish().await;
    let (previous, current) = (world.version("AWSCURRENT").unwrap(), world.token());
    world
        .simulator
        .move_label(&world.arn, "AWSCURRENT", Some(&current));
    world
        .simulator
        .move_label(&world.arn, "AWSPREVIOUS", Some(&previous));
    {
        let mut state = world.simulator.state();
        let versions = &mut state.secret_mut(&world.arn).versions;
        versions.get_mut(&previous).unwrap().value =
            Some(SecretValue::String("not JSON".to_owned()));
    }

    world.run_steps(&["finishSecret"]).await;

    let keys = world.all_keys();
    assert!(keys.contains(&orphan) && keys.contains(&world.initial_key));
}

#[tokio::test]
async fn a_key_with_the_ownership_tag_is_kept_if_it_has_another_owner() {
    let world = World::new(Setting::default()).await;
    world.run_steps(&["createSecret"]).await;
    let orphan = world.key("AWSPENDING").unwrap();
    world.simulator.abandon_rotation(&world.arn);
    // The list of the owner's keys contains this one nevertheless.
    world.simulator.state().keys.get_mut(&orphan).unwrap().owner = None;

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    assert!(world.all_keys().contains(&orphan));
}

#[tokio::test]
async fn secrets_whose_long_names_have_the_same_prefix_do_not_delete_each_others_keys() {
    let mut world = World::new(Setting::default()).await;
    let name = "n".repeat(511);
    let (one, _) = add_secret(&world, &format!("{name}1"));
    let (other, _) = add_secret(&world, &format!("{name}2"));
    world.arn.clone_from(&one);
    world.run_steps(&["createSecret"]).await;
    let orphan = world.key("AWSPENDING").unwrap();
    world.simulator.abandon_rotation(&one);

    world.arn = other;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert!(
        world.all_keys().contains(&orphan),
        "it is the other secret's key"
    );
    world.arn = one;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert!(
        !world.all_keys().contains(&orphan),
        "it is this secret's key"
    );
}

#[tokio::test]
async fn a_kept_key_is_deleted_when_the_next_rotation_has_promoted_its_key() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let first = world.initial_key.clone();
    let second = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[first.clone(), second.clone()], &"after one rotation");

    world.run_steps(&["createSecret"]).await;
    let third = world.key("AWSPENDING").unwrap();
    let keys = [first, second.clone(), third.clone()];
    world.assert_keys(&keys, &"before the promotion");
    world
        .run_steps(&["setSecret", "testSecret", "finishSecret"])
        .await;

    world.assert_keys(&[second, third], &"after the promotion");
}

#[tokio::test]
async fn a_key_that_a_user_stored_is_replaced_and_deleted_and_the_one_before_it_is_kept() {
    let world = World::new(Setting::default()).await;
    let (id, secret) = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    world.change_value(|value| {
        value["apiKey"] = json!(id);
        value["apiSecret"] = json!(secret);
    });

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let current = world.key("AWSCURRENT").unwrap();
    let first = world.initial_key.clone();
    world.assert_keys(&[first, current], &"no evidence about the first key");
}

#[tokio::test]
async fn a_key_that_may_have_been_stored_is_deleted_by_finish_secret() {
    let world = World::new(Setting::default()).await;
    let failure = Response::aws_error(500, "InternalServiceError", "An error occurred");
    world
        .simulator
        .respond_with(3, is_operation("PutSecretValue"), failure);
    world
        .step_error("createSecret", "it is unknown whether the value was stored")
        .await;

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"");
}
