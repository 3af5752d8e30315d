//! Two secrets that one function rotates concurrently.

use super::concurrent::paused_once_each;
use super::*;

/// Two secrets that one function rotates concurrently.
#[derive(Debug)]
struct TwoSecrets {
    /// Whether both keys have the same owner and cluster. Otherwise, the second key is another owner's, for a Schema Registry cluster,
    /// and the secrets have only the admin secret in common.
    have_same_scope: bool,
    turns: Turns,
}

impl TwoSecrets {
    /// Adds the second secret and returns its ARN.
    fn add_second(&self, world: &World) -> String {
        let simulator = &world.simulator;
        let value = if self.have_same_scope {
            let (id, secret) = simulator.add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
            let mut value = world.value("AWSCURRENT");
            value["apiKey"] = json!(id);
            value["apiSecret"] = json!(secret);
            value["note"] = json!("of the second secret");
            value
        } else {
            let (owner, resource, environment) = ("sa-billing", "lsrc-billing", "env-billing");
            simulator.add_owner(owner, &[Role::ResourceOwnerOf(owner.to_owned())]);
            simulator.add_schema_registry(resource, environment);
            let (id, secret) = simulator.add_key(owner, Some(resource), Some(environment));
            json!({
                "apiKey": id,
                "apiSecret": secret,
                "serviceAccountId": owner,
                "resourceId": resource,
                "environmentId": environment,
                "adminSecretArn": world.value("AWSCURRENT")["adminSecretArn"],
                "team": "billing",
            })
        };
        simulator.add_secret("billing", &value.to_string())
    }

    async fn run(&self, orders: &Orders, continued: &ContinuedStates) {
        let name = format!("{self:?}");
        let mut trace = Trace::<2>::new(Shared::Process, &"two secrets");
        if orders.can_skip(&trace, &self.turns) {
            return;
        }
        let world = world_without_timeouts(Setting::default(), 1, &[]).await;
        let arns = [world.arn.clone(), self.add_second(&world)];
        let secrets = || {
            let state = world.simulator.state();
            arns.each_ref().map(|arn| key_and_fields(&state, arn))
        };
        let (keys, before) = (|| world.simulator.state().keys.len(), secrets());
        let count = keys();
        let (the_world, case) = (&world, &name);
        let rotation = |arn| {
            let rotation = async move {
                let outcome = the_world.rotate_secret(arn).await;
                assert_eq!(outcome, Outcome::Succeeded, "{case}");
            };
            Runner::new(&world.simulator, Setting::default(), rotation)
        };

        let mut rotations = [rotation(&arns[0]), rotation(&arns[1])];
        orders
            .interleave(&mut trace, &mut rotations, &self.turns, &name)
            .await;

        for ((previous, before), (current, after)) in before.iter().zip(secrets()) {
            assert_ne!(*previous, current, "{name}");
            assert_eq!(*before, after, "{name}");
            let state = world.simulator.state();
            assert!(state.keys.contains_key(&current), "{name}: {current}");
            assert!(!state.keys.contains_key(previous), "{name}: {previous}");
        }
        assert_eq!(keys(), count, "{name}");
        let deleted = world.simulator.state().deleted_keys.len();
        assert_eq!(deleted, 2, "{name}: only the two previous keys are deleted");
        orders.complete(&trace, &world, &name);
        // After two complete rotations, each process remembers the same.
        if !continued.is_new(&world, &"the next rotations") {
            return;
        }
        for arn in &arns {
            let outcome = world.rotate_secret(arn).await;
            assert_eq!(outcome, Outcome::Succeeded, "{name}: the next rotation");
        }
        world.simulator.assert_guarantees();
    }
}

/// Returns the ID of a secret's current key, and all other fields of the current value.
fn key_and_fields(state: &State, arn: &str) -> (String, Value) {
    let value = state.secret(arn).value("AWSCURRENT").expect("a value");
    let mut value: Value = serde_json::from_str(value).unwrap();
    let fields = value.as_object_mut().expect("an object");
    let id = fields.remove("apiKey").expect("an API key ID");
    fields.remove("apiSecret").expect("an API secret");
    (id.as_str().expect("a string").to_owned(), value)
}

/// Each rotation is paused once at any request, and the two take turns of any number of requests.
fn turns_of_two(requests: usize, pauses: &[usize]) -> Vec<Turns> {
    let alternating = (1..=requests).map(|per_turn| vec![per_turn; 2 * requests]);
    let once_each = paused_once_each(pauses).into_iter();
    once_each.chain(alternating).collect()
}

#[test]
fn concurrent_rotations_of_secrets_of_one_owner_never_delete_each_others_keys() {
    run_two(true);
}

#[test]
fn concurrent_rotations_in_one_process_never_mix_the_fields_of_two_secrets() {
    run_two(false);
}

fn run_two(have_same_scope: bool) {
    let undisturbed = block_on(async {
        let world = world(Setting::default()).await;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        world
    });
    let requests = undisturbed.simulator.state().requests.len();
    let pauses = pauses(&held_actions(&undisturbed, Setting::default()));
    let turns = turns_of_two(requests, &pauses).into_iter();
    let mut cases: Vec<TwoSecrets> = turns
        .map(|turns| TwoSecrets {
            have_same_scope,
            turns,
        })
        .collect();

    shuffle(&mut cases);
    let (orders, continued) = (Orders::default(), ContinuedStates::default());
    in_threads(&cases, |case| block_on(case.run(&orders, &continued)));

    let different = orders.count();
    println!(
        "{} pairs of concurrent rotations, {different} different",
        cases.len()
    );
}
