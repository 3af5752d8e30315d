//! Which keys go before another is made, and which stay.

use super::*;

/// A secret of the same owner for the same cluster, with a key of its own. Returns its ARN and the key's id.
fn another_secret(world: &World, name: &str) -> (String, String) {
    let key = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    let mut value = world.value("AWSCURRENT");
    value["apiKey"] = json!(key.0);
    value["apiSecret"] = json!(key.1);
    (world.simulator.add_secret(name, &value.to_string()), key.0)
}

/// Only keys of this secret are ever deleted: named by a version of this secret, or carrying our mark for this
/// secret; and in both cases owned by `serviceAccountId`. Foreign keys of the same owner are never touched.
#[tokio::test]
async fn what_an_abandoned_rotation_left_is_swept_and_nobody_elses_keys_are() {
    let mut world = World::new(Setting::default()).await;
    // Foreign keys, and one without an owner, which is in every list.
    let mut others = world.all_keys();
    others.remove(&world.first_key);
    let this = world.arn.clone();
    let (other, other_key) = another_secret(&world, "payments/kafka");
    world.arn = other;
    world.pass(&["createSecret"]).await;
    let other_pending = world.key("AWSPENDING").unwrap();
    world.arn = this;
    world.pass(&["createSecret"]).await;
    let left_over = world.key("AWSPENDING").unwrap();
    world.simulator.abandon(&world.arn);

    world.pass(&["createSecret"]).await;
    assert!(
        world.all_keys().contains(&left_over),
        "an invocation of that rotation may still publish it"
    );
    world
        .pass(&["setSecret", "testSecret", "finishSecret"])
        .await;

    let keys = world.all_keys();
    assert!(!keys.contains(&left_over), "what was left over is gone");
    assert!(keys.is_superset(&others), "nobody else's key is gone");
    assert!(
        keys.contains(&other_key) && keys.contains(&other_pending),
        "nor another secret's"
    );
}

/// The trial of the current key may wait for minutes, if its endpoint is asked too often.
#[tokio::test]
async fn the_previous_key_stays_if_somebody_cancels_the_rotation_during_the_trial() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let keys = world.all_keys();
    let cancel = async || world.simulator.cancel_rotation(&world.arn);

    let outcome = world.step_while("createSecret", is_probe, cancel).await;

    assert_eq!(outcome.unwrap_err().error_type, "RotationNotEnabled");
    assert_eq!(world.all_keys(), keys);
}

/// The deletions may wait for minutes, if Confluent is asked too often.
#[tokio::test]
async fn no_key_is_made_for_a_rotation_that_somebody_ends_during_the_sweep() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    let left_over = world.key("AWSPENDING").unwrap();
    world.simulator.abandon(&world.arn);
    made_long_ago(&world, &left_over);
    let abandon = async || world.simulator.abandon(&world.arn);

    let outcome = world
        .step_while("createSecret", deletes_a_key, abandon)
        .await;

    assert_eq!(outcome.unwrap_err().error_type, "VersionNotPending");
    assert_eq!(world.count(makes_a_key), 1, "what was left over");
}

#[tokio::test]
async fn what_was_left_over_long_ago_goes_before_another_key_is_made() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    let left_over = world.key("AWSPENDING").unwrap();
    world.simulator.abandon(&world.arn);
    made_long_ago(&world, &left_over);

    world.pass(&["createSecret"]).await;

    assert!(!world.all_keys().contains(&left_over));
}

/// Makes a key old.
fn made_long_ago(world: &World, key: &str) {
    let mut state = world.simulator.state();
    let key = state.keys.get_mut(key).expect("a key");
    "2020-01-01T00:00:00Z".clone_into(&mut key.created_at);
}

/// A world with a key that an abandoned rotation left, and another rotation ready to be finished.
async fn left_over_before_finish() -> (World, String) {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    let left_over = world.key("AWSPENDING").unwrap();
    world.simulator.abandon(&world.arn);
    world
        .pass(&["createSecret", "setSecret", "testSecret"])
        .await;
    (world, left_over)
}

#[tokio::test]
async fn what_was_left_over_stays_while_another_rotation_is_pending() {
    let (world, left_over) = left_over_before_finish().await;
    let moves_the_label = is_operation("UpdateSecretVersionStage");

    let finished = world
        .step_while("finishSecret", moves_the_label, async || {
            world.simulator.abandon(&world.arn);
            world.simulator.begin_rotation(&world.arn);
        })
        .await;

    assert!(finished.is_ok(), "{finished:?}");
    assert!(
        world.all_keys().contains(&left_over),
        "it may be that one's"
    );
    assert!(!world.all_keys().contains(&world.first_key));
}

#[tokio::test]
async fn what_was_left_over_stays_while_it_is_not_known_which_key_the_previous_version_names() {
    let (world, left_over) = left_over_before_finish().await;
    let (old, new) = (world.version("AWSCURRENT").unwrap(), world.token());
    world
        .simulator
        .move_label(&world.arn, "AWSCURRENT", Some(&new));
    world
        .simulator
        .move_label(&world.arn, "AWSPREVIOUS", Some(&old));
    {
        let mut state = world.simulator.state();
        let versions = &mut state.secret_mut(&world.arn).versions;
        versions.get_mut(&old).unwrap().value = Some(SecretValue::Text("no JSON".to_owned()));
    }

    world.pass(&["finishSecret"]).await;

    let keys = world.all_keys();
    assert!(keys.contains(&left_over) && keys.contains(&world.first_key));
}

#[tokio::test]
async fn a_key_with_our_mark_stays_if_it_is_not_the_owners() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    let left_over = world.key("AWSPENDING").unwrap();
    world.simulator.abandon(&world.arn);
    // The list is asked for the owner's keys, and shows this one all the same.
    world
        .simulator
        .state()
        .keys
        .get_mut(&left_over)
        .unwrap()
        .owner = None;

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    assert!(world.all_keys().contains(&left_over));
}

#[tokio::test]
async fn secrets_with_long_names_that_begin_alike_do_not_sweep_each_others_keys() {
    let mut world = World::new(Setting::default()).await;
    let name = "n".repeat(511);
    let (one, _) = another_secret(&world, &format!("{name}1"));
    let (other, _) = another_secret(&world, &format!("{name}2"));
    world.arn.clone_from(&one);
    world.pass(&["createSecret"]).await;
    let left_over = world.key("AWSPENDING").unwrap();
    world.simulator.abandon(&one);

    world.arn = other;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert!(
        world.all_keys().contains(&left_over),
        "it is the other secret's"
    );
    world.arn = one;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert!(
        !world.all_keys().contains(&left_over),
        "it is this secret's"
    );
}

#[tokio::test]
async fn the_previous_key_stays_if_it_is_for_something_else_than_the_current_one() {
    let cases: [(&str, Arrange); 2] = [
        ("another owner", |world| {
            world
                .simulator
                .add_owner("sa-other", &[Role::ResourceOwnerOf("sa-other".to_owned())]);
            let (id, secret) =
                world
                    .simulator
                    .add_key("sa-other", Some("lkc-orders"), Some(ENVIRONMENT));
            world.edit(|value| {
                value["serviceAccountId"] = json!("sa-other");
                value["apiKey"] = json!(id);
                value["apiSecret"] = json!(secret);
            });
        }),
        ("another resource", |world| {
            world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
            let (id, secret) = world
                .simulator
                .add_key(OWNER, Some("lkc-other"), Some(ENVIRONMENT));
            world.edit(|value| {
                value["resourceId"] = json!("lkc-other");
                value["apiKey"] = json!(id);
                value["apiSecret"] = json!(secret);
            });
        }),
    ];
    for (case, arrange) in cases {
        let world = World::new(Setting::default()).await;
        arrange(&world);
        assert_eq!(
            world.key("AWSPREVIOUS").as_ref(),
            Some(&world.first_key),
            "{case}"
        );

        let (outcome, lines) = logs::logged(world.rotate()).await;

        assert_eq!(outcome, Outcome::Succeeded, "{case}");
        assert!(world.all_keys().contains(&world.first_key), "{case}");
        let is_said = |line: &Value| {
            line["level"] == "WARN" && line["message"].to_string().contains("AWSPREVIOUS")
        };
        assert!(lines.iter().any(is_said), "{case}: {lines:#?}");
    }
}

#[tokio::test]
async fn a_kept_key_goes_when_the_next_rotation_begins_and_its_successor_stays() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let second = world.key("AWSCURRENT").unwrap();
    world.assert_keys(
        &[world.first_key.clone(), second.clone()],
        &"after one rotation",
    );

    world.pass(&["createSecret"]).await;

    let third = world.key("AWSPENDING").unwrap();
    world.assert_keys(&[second, third], &"in the next one");
}

#[tokio::test]
async fn a_key_that_a_person_put_in_place_of_a_kept_one_is_as_good_as_ours() {
    let world = World::new(Setting::default()).await;
    let (id, secret) = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    world.edit(|value| {
        value["apiKey"] = json!(id);
        value["apiSecret"] = json!(secret);
    });

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"both keys that the secret had are gone");
}

#[tokio::test]
async fn a_key_that_an_invocation_may_still_be_storing_stays_and_an_older_one_goes() {
    for is_old in [false, true] {
        let world = World::new(Setting::default()).await;
        let broken = Answer::aws_error(500, "InternalServiceError", "An error occurred");
        let puts = is_operation("PutSecretValue");
        world.simulator.answer(3, puts, broken);
        world
            .refusal("createSecret", "whether the value is stored is not known")
            .await;
        let unstaged = world
            .keys()
            .into_iter()
            .find(|key| *key != world.first_key)
            .unwrap();
        if is_old {
            made_long_ago(&world, &unstaged);
        }

        world.pass(&["createSecret"]).await;

        assert_ne!(world.all_keys().contains(&unstaged), is_old);
    }
}
