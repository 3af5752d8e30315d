//! The requests of each step, and how many of them are sent one after the other.

use super::*;

/// Longer than the function needs between a response and its next request, however busy the machine is.
const LATENCY: Duration = Duration::from_millis(50);

/// Returns the requests and the number of sequential round trips of each step of a rotation.
async fn cost(world: &World) -> [(Vec<String>, usize); 4] {
    world.simulator.state().controls.latency = LATENCY;
    let mut cost = [const { (Vec::new(), 0) }; 4];
    for (step, cost) in STEPS.iter().zip(&mut cost) {
        world.simulator.clear_requests();
        world.step(step).await.expect(step);
        let state = world.simulator.state();
        *cost = (state.request_names(), state.round_trips());
    }
    cost
}

/// A world whose admin secret the function's configuration names.
async fn configured_world() -> World {
    let mut world = World::new(Setting::default()).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    world.change_value(|value| {
        let fields = value.as_object_mut().expect("an object");
        fields.remove("adminSecretArn");
    });
    world.set_variable("ADMIN_SECRET_ARN", admin.as_str().unwrap());
    world
}

/// Each request costs money and time. A change that adds one states the reason.
#[tokio::test]
async fn a_step_reads_each_value_once_and_the_labels_again_before_each_change() {
    let (labels, value) = ("DescribeSecret", "GetSecretValue");
    let list = "GET /iam/v2/api-keys";
    let endpoint = "GET /cmk/v2/clusters/lkc-orders";
    let probe = "GET /kafka/v3/clusters/lkc-orders/topics";
    let (create, store) = ("POST /iam/v2/api-keys", "PutSecretValue");
    let move_label = "UpdateSecretVersionStage";
    for world in [
        World::new(Setting::default()).await,
        configured_world().await,
    ] {
        let delete = &*format!("DELETE /iam/v2/api-keys/{}", world.initial_key);
        // The three values are the pending one, the current one and the admin secret's.
        let expected = [
            vec![
                labels, value, value, value, list, endpoint, probe, create, store,
            ],
            vec![],
            // The endpoint is cached.
            vec![labels, value, value, value, probe, probe, probe],
            // The pending key is verified again. The keys to delete are chosen with the labels after the promotion, and with the
            // values of all versions that have one. AWSPREVIOUS is removed before its key is deleted.
            vec![
                labels, value, value, value, probe, probe, probe, labels, move_label, labels, list,
                value, value, move_label, labels, delete,
            ],
        ];

        let cost = cost(&world).await;

        for ((step, expected), (requests, round_trips)) in STEPS.iter().zip(expected).zip(cost) {
            assert_eq!(requests, expected, "{step}");
            assert_eq!(round_trips, requests.len(), "{step}");
        }
    }
}
