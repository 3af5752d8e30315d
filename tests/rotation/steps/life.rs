//! What people and other programs do to a secret and its keys while a rotation is under way.

use super::*;

/// Fields of the secret that are not ours come out of a rotation as they went in, also when a person changes
/// them meanwhile.
#[tokio::test]
async fn a_value_that_a_person_stores_during_a_rotation_is_not_undone() {
    let world = World::new(Setting::default()).await;
    let edit = async || world.edit(|value| value["note"] = json!("changed"));

    // The new value lands between making the key and storing it, and Secrets Manager takes AWSPENDING off.
    let outcome = world
        .step_while("createSecret", is_operation("PutSecretValue"), edit)
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    let error = world
        .refusal("setSecret", "the pending value is outdated")
        .await;
    assert_eq!(
        error.error_type, "PendingOutdated",
        "{}",
        error.error_message
    );
    let error = world
        .refusal("finishSecret", "the pending value is outdated")
        .await;
    assert_eq!(
        error.error_type, "PendingOutdated",
        "{}",
        error.error_message
    );
    world.simulator.abandon(&world.arn);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(world.value("AWSCURRENT")["note"], json!("changed"));
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"after the rotation that followed");
}

/// Somebody who names another's key in a secret of their own, and chooses the endpoint at which it is tried, must
/// not obtain a key of the other's.
#[tokio::test]
async fn an_endpoint_that_answers_everybody_alike_is_no_proof_of_possession() {
    for status in [200, 403] {
        let world = World::new(Setting::default()).await;
        let endpoint = {
            let state = world.simulator.state();
            state.resources["lkc-orders"].url.clone()
        };
        world.watch(Watch::Off);
        world.edit(|value| {
            value["apiSecret"] = json!("guessed");
            value["endpoint"] = json!(endpoint);
        });
        world
            .simulator
            .answer(20, is_probe, Answer::json(status, &json!({})));
        let keys = world.all_keys();

        let error = world.refusal("createSecret", "a guessed secret").await;

        assert_eq!(
            error.error_type, "EndpointIndifferent",
            "{status}: {}",
            error.error_message
        );
        assert_eq!(world.count(makes_a_key), 0, "{status}");
        assert_eq!(world.all_keys(), keys, "{status}");
    }
}

#[tokio::test]
async fn a_resource_that_is_asked_too_often_says_nothing_about_the_current_key() {
    let world = World::new(Setting::default()).await;
    world.simulator.answer(5, is_probe, Answer::empty(429));

    let outcome = world.step("createSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// Only an endpoint that lets a wrong secret in, or recognises it, is one that answers everybody alike.
#[tokio::test]
async fn an_endpoint_that_fails_when_it_is_shown_a_wrong_secret_is_not_called_indifferent() {
    let world = World::new(Setting::default()).await;
    let current = world.first_key.clone();
    let forbidden = Answer::json(403, &json!({}));
    let tried = std::sync::atomic::AtomicUsize::new(0);
    let is_first_of_two =
        move |request: &Request| is_probe(request) && tried.fetch_add(1, Relaxed).is_multiple_of(2);
    world.simulator.answer(20, is_first_of_two, forbidden);
    world.simulator.answer(20, is_probe, Answer::empty(503));

    let error = world.refusal("createSecret", "a failing endpoint").await;

    assert_eq!(error.error_type, "CurrentKeyNotAccepted");
    assert!(error.error_message.contains("status 503"), "{error:?}");
    assert_eq!(world.key("AWSCURRENT"), Some(current));
}

#[tokio::test]
async fn while_the_current_key_is_dead_the_previous_one_is_spared() {
    let mut world = World::new(Setting {
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let dead = world.key("AWSCURRENT").unwrap();
    world.watch(Watch::Off);
    world.simulator.delete_key_by_hand(&dead);
    world.set("CURRENT_KEY_CHECK", "off");

    world.pass(&["createSecret"]).await;

    let made = world.key("AWSPENDING").unwrap();
    world.assert_keys(
        &[world.first_key.clone(), made],
        &"the last key that works lives",
    );
}

#[tokio::test]
async fn a_deleted_pending_key_is_noticed_where_only_keys_tell_the_environment() {
    for kind in [Kind::Kafka, Kind::Flink] {
        let mut world = World::new(Setting {
            kind,
            ..Setting::default()
        })
        .await;
        world.edit(|value| {
            value
                .as_object_mut()
                .expect("an object")
                .remove("environmentId");
        });
        world.pass(&["createSecret", "setSecret"]).await;
        let pending = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_by_hand(&pending);
        world.time_limit = Duration::from_millis(11_300);

        let error = world.refusal("testSecret", "the pending key is gone").await;

        assert_eq!(
            error.error_type, "NewKeyDeleted",
            "{kind:?}: {}",
            error.error_message
        );
        assert_eq!(world.key("AWSPENDING"), None, "{kind:?}");
    }
}

#[tokio::test]
async fn a_control_plane_that_knows_the_new_key_late_is_waited_for() {
    let mut world = World::new(Setting::default()).await;
    world.set("KEY_VERIFICATION", "control-plane");
    world.pass(&["createSecret", "setSecret"]).await;
    let pending = world.key("AWSPENDING").unwrap();
    let path = format!("GET {API_KEYS}/{pending}");
    let reads_it = move |request: &Request| request.label() == path;
    world
        .simulator
        .answer(3, reads_it, Answer::confluent_forbidden());
    world.simulator.answer(3, lists_keys, empty_list());

    world.pass(&["testSecret"]).await;

    assert_eq!(world.key("AWSPENDING"), Some(pending));
}

#[tokio::test]
async fn an_endpoint_that_was_reached_once_is_not_out_of_reach() {
    let mut world = World::new(Setting::default()).await;
    world.set("KEY_VERIFICATION", "best-effort");
    world.pass(&["createSecret", "setSecret"]).await;
    world.simulator.state().knobs.verdicts.clear();
    let pending = world.key("AWSPENDING").unwrap();
    world
        .simulator
        .answer(1, is_probe, Answer::json(401, &json!({})));
    world.simulator.forget_requests();
    // After the 401, nothing answers.
    for nth in 6..200 {
        world.simulator.fail(nth, simulator::Fault::ResetBefore);
    }
    world.time_limit = Duration::from_millis(11_300);

    let error = world.refusal("testSecret", "a key that was refused").await;

    assert_eq!(
        error.error_type, "EndpointUnreachable",
        "{}",
        error.error_message
    );
    assert_eq!(world.key("AWSPENDING"), Some(pending));
}

#[tokio::test]
async fn a_previous_value_that_is_binary_stops_no_rotation() {
    let world = World::new(Setting::default()).await;
    let value = world.value("AWSCURRENT").to_string();
    {
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&world.arn);
        let version = secret.labels["AWSCURRENT"].clone();
        let version = secret
            .versions
            .get_mut(&version)
            .expect("the current version");
        version.value = Some(SecretValue::Binary(b"bytes".to_vec()));
    }
    world.simulator.put_by_hand(&world.arn, &value);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_value_that_was_stored_and_is_not_seen_yet_keeps_its_key() {
    let world = World::new(Setting::default()).await;
    let put = {
        let calm = World::new(Setting::default()).await;
        calm.pass(&["createSecret"]).await;
        let labels = calm.simulator.state().labels();
        let put = labels.iter().position(|label| label == "PutSecretValue");
        put.expect("a put")
    };
    world.simulator.state().knobs.value_lag = 2;
    // The first put is carried out and not answered; by its repeat the role has lost the permission.
    world.simulator.fail(put, simulator::Fault::ResetAfter);
    let puts = std::sync::atomic::AtomicUsize::new(0);
    let is_repeat = move |request: &Request| {
        is_operation("PutSecretValue")(request) && puts.fetch_add(1, Relaxed) > 0
    };
    let denied = Answer::aws_access_denied("PutSecretValue");
    world.simulator.answer(9, is_repeat, denied);

    let outcome = world.step("createSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
    let pending = world.key("AWSPENDING").expect("a stored value");
    world.assert_keys(&[world.first_key.clone(), pending], &"the stored key lives");
}

#[tokio::test]
async fn a_key_that_comes_after_the_rotation_was_finished_is_deleted() {
    let world = World::new(Setting::default()).await;
    let finish = async || {
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    };

    let outcome = world
        .step_while("createSecret", is_operation("PutSecretValue"), finish)
        .await;

    assert!(outcome.is_err(), "its value cannot be stored any more");
    let current = world.key("AWSCURRENT").expect("a rotated secret");
    assert_ne!(current, world.first_key);
    world.assert_keys(&[current], &"the late key is gone");
}

#[tokio::test]
async fn white_space_in_the_admin_secret_is_ignored_and_named() {
    let world = World::new(Setting::default()).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let admin = admin.as_str().expect("an ARN");
    let value = world
        .simulator
        .state()
        .secret(admin)
        .value("AWSCURRENT")
        .map(str::to_owned);
    let value = value.expect("a value").replace("\"}", "\\n\"}");
    // The simulator would hold the key's secret to be wrong.
    world.simulator.state().secret_mut(admin).watch = Watch::Off;
    world.simulator.put_by_hand(admin, &value);

    let (outcome, lines) = logs::logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let names_it = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.contains("apiSecret") && line["secret"] == admin
    };
    assert!(lines.iter().any(names_it), "{lines:#?}");
}
