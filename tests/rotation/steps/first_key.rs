//! A secret that holds no key yet: its first rotation makes one, so that no person ever sees it.

use std::ops::Add;

use simulator::Verdict;

use super::*;

const FIRST: Setting = Setting {
    kind: Kind::Kafka,
    mode: Mode::FirstKey,
    policy: OldKeyPolicy::Delete,
};

#[tokio::test]
async fn the_first_rotation_of_a_secret_without_a_key_makes_one_and_changes_no_other_byte() {
    let world = World::new(FIRST).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let text = format!(
        "{{\r\n \"serviceAccountId\": \"{OWNER}\",\t\"resourceId\":\"lkc-orders\", \"password\": \"\", \"username\": null,\n \
         \"adminSecretArn\": {admin}, \"big\": 12345678901234567890123 \n}}\n"
    );
    world.simulator.put_by_hand(&world.arn, &text);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let id = world.key("AWSCURRENT").unwrap();
    let state = world.simulator.state();
    let (key, secret) = (&state.keys[&id], &state.keys[&id].secret);
    assert_eq!(
        (key.owner.as_deref(), key.resource.as_str()),
        (Some(OWNER), "lkc-orders")
    );
    let expected = text
        .replace(r#""password": """#, &format!(r#""password": "{secret}""#))
        .replace(r#""username": null"#, &format!(r#""username": "{id}""#))
        .replace(
            " \n}",
            &format!(r#","apiKey":"{id}","apiSecret":"{secret}""#).add(" \n}"),
        );
    let value = state.secret(&world.arn).value("AWSCURRENT");
    assert_eq!(value, Some(expected.as_str()));
}

#[tokio::test]
async fn every_step_is_refused_if_a_first_key_is_not_allowed() {
    let mut world = World::new(FIRST).await;
    world
        .pass(&["createSecret", "setSecret", "testSecret"])
        .await;
    world.set("FIRST_KEY", "off");
    let keys = world.all_keys();

    for step in ["setSecret", "testSecret", "finishSecret"] {
        let error = world.refusal(step, "not allowed").await;
        assert_eq!(error.error_type, "NoKeyYet", "{step}");
    }
    world.simulator.abandon(&world.arn);
    let error = world.refusal("createSecret", "not allowed").await;

    assert_eq!(error.error_type, "NoKeyYet");
    assert!(error.error_message.contains("FIRST_KEY=allow"), "{error:?}");
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn a_first_key_is_not_made_where_no_admin_secret_signs() {
    let world = World::new(FIRST).await;
    world.edit(|value| value["adminSecretArn"] = Value::Null);
    let keys = world.all_keys();

    let error = world.refusal("createSecret", "nobody signs").await;

    assert_eq!(error.error_type, "FirstKeyNeedsAdmin");
    assert!(error.error_message.contains("adminSecretArn"), "{error:?}");
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn a_test_without_a_rotation_finds_nothing_to_try_before_there_is_a_key() {
    let world = World::new(FIRST).await;
    let invoke = async |event| {
        let outcome = world.invoke(event).await;
        outcome.map_err(|error| format!("{error:?}"))
    };

    let outcome = world.simulator.test_only(&world.arn, &invoke).await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(world.count(is_probe), 0);
}

/// What the owner may not do says nothing about its key, if the endpoint tells the key from a wrong one.
#[tokio::test]
async fn a_first_key_that_may_not_do_what_is_tried_is_proven_where_a_wrong_secret_is_refused() {
    for tells_keys_apart in [true, false] {
        let mut world = World::new(FIRST).await;
        world.pass(&["createSecret", "setSecret"]).await;
        let forbidden = ("lkc-orders".to_owned(), Verdict::Forbidden);
        world.simulator.state().knobs.verdicts = [forbidden].into();
        if !tells_keys_apart {
            let body = json!({"error_code": 40301, "message": "Request is not authorized"});
            world
                .simulator
                .answer(usize::MAX, is_probe, Answer::json(403, &body));
            world.time_limit = Duration::from_secs(12);
        }

        let tested = world.step("testSecret").await;

        assert_eq!(tested.is_ok(), tells_keys_apart, "{tested:?}");
    }
}

/// Whoever writes the secret may name an endpoint that answers what they like.
#[tokio::test]
async fn a_first_key_is_not_proven_by_an_endpoint_in_the_secret_that_lets_anybody_in() {
    let mut world = World::new(FIRST).await;
    let endpoint = {
        let state = world.simulator.state();
        state.resources["lkc-orders"].url.clone()
    };
    world.edit(|value| value["endpoint"] = json!(endpoint));
    world.pass(&["createSecret", "setSecret"]).await;
    world
        .simulator
        .answer(usize::MAX, is_probe, Answer::json(200, &json!({})));
    world.time_limit = Duration::from_secs(12);

    let error = world.refusal("testSecret", "an open endpoint").await;

    assert_eq!(error.error_type, "NewKeyNotAccepted", "{error:?}");
}

/// Somebody empties a secret to have another key made: the key that its version before names may be in use.
#[tokio::test]
async fn the_key_of_a_secret_that_somebody_emptied_stays_until_another_is_current() {
    let mut world = World::new(Setting::default()).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let emptied = world.key("AWSCURRENT").unwrap();
    world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
    world.edit(|value| {
        value["apiKey"] = json!("");
        value["apiSecret"] = json!("");
    });
    world.set("FIRST_KEY", "allow");

    world
        .pass(&["createSecret", "setSecret", "testSecret"])
        .await;

    assert!(world.all_keys().contains(&emptied));
    world.pass(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"its mark leads to it");
}
