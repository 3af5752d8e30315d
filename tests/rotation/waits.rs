//! How many requests a rotation makes, and how often it waits for one before it sends the next.

use simulator::rotation::STEPS;

use super::*;

/// Longer than the function needs between an answer and its next request, however busy the machine is.
const LATENCY: Duration = Duration::from_millis(50);

/// Requests and serial waits of each step of a rotation.
async fn cost(world: &World) -> [(usize, usize); 4] {
    world.simulator.state().knobs.latency = LATENCY;
    let mut cost = [(0, 0); 4];
    for (step, cost) in STEPS.iter().zip(&mut cost) {
        world.simulator.forget_requests();
        world.step(step).await.expect(step);
        let state = world.simulator.state();
        *cost = (state.requests.len(), state.serial_waits());
        println!("{step}: {cost:?} {:?}", state.labels());
    }
    cost
}

/// A world whose admin secret the function's configuration names.
async fn configured_world() -> World {
    let mut world = World::new(Setting::default()).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    world.edit(|value| {
        let fields = value.as_object_mut().expect("an object");
        fields.remove("adminSecretArn");
    });
    world.set("ADMIN_SECRET_ARN", admin.as_str().unwrap());
    world
}

/// Every number here is a promise to whoever pays for requests and waits: a change that needs one more says why.
#[tokio::test]
async fn independent_reads_go_out_together_and_nothing_is_asked_twice_in_a_step() {
    let fresh = store::Limits::default().fresh;
    let mut named = World::new(Setting::default()).await;
    named.function.store_limits.fresh = fresh;
    assert_eq!(cost(&named).await, [(10, 6), (3, 1), (8, 6), (8, 6)]);

    let mut configured = configured_world().await;
    configured.function.store_limits.fresh = fresh;
    assert_eq!(cost(&configured).await, [(11, 5), (3, 1), (8, 5), (8, 5)]);
}
