//! A fleet of many secrets.

use super::*;
use crate::faults::{block_on, in_threads};

/// The number of secrets of a large fleet.
const SECRETS: usize = 10_000;

/// The maximum size of a response.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_RESPONSE_BYTES: usize = 6 << 20;

/// Runs a test of many secrets while no group of faults runs: on a busy machine, the list of so many secrets would time out.
pub(super) fn alone(test: impl AsyncFn() + Sync) {
    in_threads(&[()], |()| block_on(test()));
}

/// A world with `count` further secrets, which the function does not read.
async fn fleet(count: usize, name: impl Fn(usize) -> String) -> World {
    let mut world = World::new(DELETE_AFTER).await;
    // The simulator needs time for a page of so many secrets.
    world.function.sdk_limits.attempt = AMPLE;
    for nth in 0..count {
        let arn = world.simulator.add_secret(&name(nth), "{}");
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&arn);
        secret.current_key_guarantee = CurrentKeyGuarantee::Off;
        secret.last_rotated = secret.last_changed;
    }
    world.requests();
    world
}

#[test]
fn the_status_of_ten_thousand_secrets_fits_into_a_response() {
    alone(async || {
        let world = fleet(SECRETS, |nth| {
            format!("confluent/team-{:02}/orders-{nth:05}", nth % 40)
        })
        .await;

        let status = world.status().await;

        assert_eq!(status["total"], SECRETS + 1);
        assert_eq!(status["truncated"], 0);
        assert!(status.to_string().len() < MAX_RESPONSE_BYTES / 2);
        assert_eq!(world.count(is_operation("ListSecrets")), SECRETS / 100 + 1);
        let names = status["secrets"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|line| line["secret"].as_str().unwrap()).collect();
        assert!(names.is_sorted());
    });
}

/// With long names and a finding in 19 of 20 lines, lines are dropped and counted.
#[test]
fn lines_that_do_not_fit_into_a_response_are_counted() {
    alone(async || {
        let world = fleet(SECRETS, |nth| format!("{nth:0>500}")).await;
        {
            let mut state = world.simulator.state();
            for (nth, secret) in state.secrets.values_mut().enumerate() {
                secret.rotation_enabled = Some(nth % 20 == 0);
            }
        }

        let status = world.status().await;

        let lines = status["secrets"].as_array().unwrap();
        let dropped = status["truncated"].as_u64().unwrap();
        assert!(dropped > 0 && lines.len() as u64 + dropped == SECRETS as u64 + 1);
        assert!(status.to_string().len() < MAX_RESPONSE_BYTES);
        // Those without findings are dropped first, except a few that fit into the rest.
        let without_findings = lines.iter().filter(|line| line["findings"].is_null());
        assert!(without_findings.count() <= 3);
    });
}

#[tokio::test]
async fn every_page_is_read_although_some_are_empty() {
    let world = fleet(250, |nth| format!("confluent/orders-{nth:03}")).await;
    world.simulator.state().controls.empty_secrets_pages = true;

    let status = world.status().await;

    assert_eq!(status["total"], 251);
}

/// `ListSecrets` returns the tags and descriptions of all secrets of the account: 50 tags of 384 characters each.
#[tokio::test]
async fn a_page_with_the_most_and_longest_resource_tags_is_read() {
    let world = super::retire::due(DELETE_AFTER).await;
    for nth in 0..99 {
        let arn = world.simulator.add_secret(&format!("team/{nth:03}"), "{}");
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&arn);
        secret.current_key_guarantee = CurrentKeyGuarantee::Off;
        secret.attributes.rotation_lambda_arn = None;
        secret.rotation_enabled = None;
        for tag in 0..50 {
            let key = format!("{tag:0>128}");
            secret.attributes.tags.insert(key, "v".repeat(256));
        }
    }

    let outcomes = [
        world.invoke(json!({"Step": "status"})).await,
        world.invoke(json!({"Step": "retire"})).await,
    ];

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:#?}");
    world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &"retired");
}
