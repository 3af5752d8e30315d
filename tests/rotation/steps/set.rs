//! `setSecret`, and the check it shares with `finishSecret`: may the pending value take the current one's place?

use super::*;

const BOTH: [&str; 2] = ["setSecret", "finishSecret"];

#[tokio::test]
async fn set_secret_asks_nothing_of_confluent() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    world.requests();

    world.pass(&["setSecret"]).await;

    assert_eq!(
        world.requests(),
        ["DescribeSecret", "GetSecretValue", "GetSecretValue"]
    );
}

#[tokio::test]
async fn a_pending_value_for_something_else_than_the_current_one_is_refused() {
    for step in BOTH {
        for (field, other) in [
            ("serviceAccountId", "sa-other"),
            ("resourceId", "lkc-other"),
            ("environmentId", "env-other"),
        ] {
            let case = format!("{step}, {field}");
            let world = World::new(Setting::default()).await;
            world.pass(&["createSecret"]).await;
            world.forge_pending(|value| value[field] = json!(other));
            let keys = world.all_keys();

            let error = world.refusal(step, &case).await;

            assert_eq!(error.error_type, "PendingDisagrees", "{case}");
            assert!(error.error_message.contains(field), "{case}: {error:?}");
            assert_eq!(
                world.key("AWSCURRENT").as_ref(),
                Some(&world.first_key),
                "{case}"
            );
            assert_eq!(world.all_keys(), keys, "{case}");
        }
    }
}

#[tokio::test]
async fn a_pending_value_that_holds_the_current_key_is_refused() {
    for step in BOTH {
        let world = World::new(Setting::default()).await;
        let before = world.version("AWSCURRENT");
        let token = world.simulator.begin_test(&world.arn);

        let outcome = world
            .invoke(world.simulator.event(&world.arn, &token, step))
            .await;

        assert_eq!(
            outcome.expect_err(step).error_type,
            "PendingIsCurrent",
            "{step}"
        );
        assert_eq!(world.version("AWSCURRENT"), before, "{step}");
        world.assert_keys(std::slice::from_ref(&world.first_key), &step);
    }
}

/// <https://github.com/aws/aws-sdk-js-v3/issues/7701>
#[tokio::test]
async fn a_pending_value_that_is_seen_late_is_waited_for() {
    for step in ["setSecret", "testSecret", "finishSecret"] {
        let world = World::new(Setting::default()).await;
        world.simulator.state().knobs.value_lag = 3;
        world.pass(&["createSecret"]).await;

        let outcome = world.step(step).await;

        assert!(outcome.is_ok(), "{step}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_pending_version_that_never_has_a_value_is_reported() {
    for step in ["setSecret", "testSecret", "finishSecret"] {
        let world = World::new(Setting::default()).await;
        let token = world.token();

        let error = world.refusal(step, "there is no value").await;

        assert_eq!(error.error_type, "VersionWithoutValue", "{step}");
        assert!(error.error_message.contains(&token), "{step}: {error:?}");
        assert_eq!(
            world.count(|request| request.plane != Plane::SecretsManager),
            0,
            "{step}"
        );
    }
}
