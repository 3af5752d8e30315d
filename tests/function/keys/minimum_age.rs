//! The minimum age: where the function cannot probe a key, it waits until the key has reached an age.

use std::time::Instant;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::*;

/// Creates a world whose pending key is stored, and in which the function cannot probe.
async fn without_probes(key_type: KeyType, verification: &str, seconds: &str) -> World {
    let mut world = World::new(Setting {
        key_type,
        ..Setting::default()
    })
    .await;
    if verification == "best-effort" {
        let unreachable = world.simulator.unreachable_url();
        for resource in world.simulator.state().resources.values_mut() {
            resource.advertised_url = Some(unreachable.clone());
        }
    }
    let variables = [
        ("KEY_VERIFICATION", verification),
        ("PROPAGATION_WAIT_SECONDS", seconds),
    ];
    world.function = function(&world.simulator, &variables);
    world.run_steps(&["createSecret", "setSecret"]).await;
    world
}

impl World {
    /// Sets the time at which the pending key was created.
    fn set_created_at(&self, created_at: &str) {
        let pending = self.key("AWSPENDING").unwrap();
        let mut state = self.simulator.state();
        let key = state.keys.get_mut(&pending).unwrap();
        key.created_at = Some(created_at.to_owned());
    }

    /// Sets the age of the pending key in seconds.
    fn set_age(&self, age: i64) {
        let now = DateTime::from(std::time::SystemTime::now());
        let created_at = DateTime::from_secs(now.secs() - age);
        self.set_created_at(&created_at.fmt(Format::DateTime).unwrap());
    }
}

#[tokio::test]
async fn a_kafka_or_ksqldb_key_ages_five_minutes_and_other_keys_two() {
    for (key_type, minimum) in [
        (KeyType::Kafka, 300),
        (KeyType::KsqlDb, 300),
        (KeyType::SchemaRegistry, 120),
        (KeyType::Flink, 120),
    ] {
        for verification in ["control-plane", "best-effort"] {
            let mut world = without_probes(key_type, verification, "").await;
            world.time_limit = SHORT_TIME_LIMIT;
            world.set_age(minimum - 10);

            let error = world.step_error("testSecret", "too young").await;

            assert_eq!(error.error_type, "TimeoutTooShort", "{key_type:?}");
            world.set_age(minimum + 2);
            let outcome = world.step("testSecret").await;
            assert!(outcome.is_ok(), "{key_type:?}, {verification}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn propagation_wait_seconds_overrides_the_minimum_age() {
    for verification in ["control-plane", "best-effort"] {
        let started = Instant::now();
        let world = without_probes(KeyType::Kafka, verification, "2").await;
        let created = Instant::now();

        world.run_steps(&["testSecret"]).await;

        assert!(created.elapsed() < Duration::from_secs(5), "{verification}");
        assert!(started.elapsed() > Duration::from_secs(2), "{verification}");
        let age = created.elapsed();
        assert!(age > Duration::from_millis(1900), "{verification}: {age:?}");
    }
}

#[tokio::test]
async fn an_age_that_the_deadline_does_not_allow_fails_immediately_and_the_next_attempt_continues()
{
    for verification in ["control-plane", "best-effort"] {
        let mut world = without_probes(KeyType::SchemaRegistry, verification, "840").await;
        let (pending, keys) = (world.key("AWSPENDING"), world.all_keys());
        world.time_limit = SHORT_TIME_LIMIT;
        let started = Instant::now();

        let error = world.step_error("testSecret", verification).await;

        assert_eq!(error.error_type, "TimeoutTooShort", "{verification}");
        let message = &error.error_message;
        assert!(message.contains("its minimum age"), "{message}");
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{verification}"
        );
        assert_eq!((world.key("AWSPENDING"), world.all_keys()), (pending, keys));
        world.set_age(842);
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{verification}");
    }
}

#[tokio::test]
async fn a_key_of_unknown_age_waits_for_the_complete_minimum_age() {
    let mut world = without_probes(KeyType::Kafka, "control-plane", "").await;
    world.time_limit = SHORT_TIME_LIMIT;
    for created_at in [
        "",
        "yesterday",
        "0001-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
    ] {
        world.set_created_at(created_at);

        let error = world.step_error("testSecret", created_at).await;

        assert_eq!(error.error_type, "TimeoutTooShort", "{created_at}");
    }
}

/// The clocks of Confluent and of the function may differ.
#[tokio::test]
async fn a_key_from_the_future_waits_no_longer_than_the_minimum_age() {
    let world = without_probes(KeyType::Kafka, "control-plane", "1").await;
    world.set_age(-3600);

    let outcome = world.step("testSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>
#[tokio::test]
async fn a_configuration_test_does_not_wait_for_a_key_that_has_propagated() {
    for verification in ["control-plane", "best-effort"] {
        let mut world = World::new(Setting::default()).await;
        world.set_advertised_url(&world.simulator.unreachable_url());
        let variables = [
            ("KEY_VERIFICATION", verification),
            ("PROPAGATION_WAIT_SECONDS", ""),
        ];
        world.function = function(&world.simulator, &variables);
        world.time_limit = Duration::from_secs(90);

        let outcome = world.test_configuration().await;

        assert_eq!(outcome, Outcome::Succeeded, "{verification}");
    }
}
