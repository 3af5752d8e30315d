//! The memory and the time that the program uses for a large fleet.

use super::*;

/// The number of secrets in the fleet.
const SECRETS: usize = 10_000;

/// Half of the memory of the smallest Lambda function.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MAX_KILOBYTES: u64 = 64 << 10;

/// Adds secrets whose previous key is due by the dates that `ListSecrets` returns. Their values contain no key.
fn add_secrets(world: &World) {
    for nth in 0..SECRETS {
        let arn = world
            .simulator
            .add_secret(&format!("confluent/orders-{nth:05}"), "{}");
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&arn);
        secret.current_key_guarantee = CurrentKeyGuarantee::Off;
        secret.last_rotated = secret.last_changed;
    }
}

#[tokio::test]
async fn a_fleet_of_ten_thousand_secrets_fits_into_half_the_memory_of_the_smallest_function() {
    let world = World::new(Setting::default()).await;
    add_secrets(&world);
    let lambda = Lambda::start(&world.simulator, &[]).await;

    let started = Instant::now();
    let status = lambda.invoke(json!({"Step": "status"})).await.unwrap();
    let elapsed = started.elapsed();

    assert_eq!(status["total"], SECRETS + 1);
    let kilobytes = lambda.process.peak_kilobytes();
    assert!(kilobytes < MAX_KILOBYTES, "{kilobytes} kB");
    println!("status of {SECRETS} secrets: {elapsed:.1?}, {kilobytes} kB");

    world.simulator.pass(Duration::from_hours(25));
    let started = Instant::now();
    let error = lambda.invoke(json!({"Step": "retire"})).await.unwrap_err();
    let elapsed = started.elapsed();

    // No value contains a key.
    assert_eq!(error.error_type, "RetireFailed");
    let kilobytes = lambda.process.peak_kilobytes();
    assert!(kilobytes < MAX_KILOBYTES, "{kilobytes} kB");
    println!("retire of {SECRETS} secrets without keys: {elapsed:.1?}, {kilobytes} kB");
}
