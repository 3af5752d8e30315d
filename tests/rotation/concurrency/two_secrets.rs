//! Two secrets that are rotated at once through one function.

use super::at_once::stopped_once_each;
use super::*;

/// Two secrets that are rotated at once through one function.
#[derive(Debug)]
struct Two {
    /// Whether both are for the same service account and cluster; else they have no field in common.
    alike: bool,
    turns: Turns,
}

impl Two {
    /// The second secret. Returns its ARN.
    fn add_other(&self, world: &World) -> String {
        let simulator = &world.simulator;
        let value = if self.alike {
            let (id, secret) = simulator.add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
            let mut value = world.value("AWSCURRENT");
            value["apiKey"] = json!(id);
            value["apiSecret"] = json!(secret);
            value["note"] = json!("the other's");
            value
        } else {
            let owner = "sa-billing";
            simulator.add_owner(owner, &[Role::ResourceOwnerOf(owner.to_owned())]);
            let (id, secret) = simulator.add_key(owner, None, None);
            json!({"apiKey": id, "apiSecret": secret, "serviceAccountId": owner, "team": "billing"})
        };
        simulator.add_secret("billing", &value.to_string())
    }

    async fn run(&self) {
        let name = format!("{self:?}");
        let world = patient_world(Setting::default(), 1, &[]).await;
        let arns = [world.arn.clone(), self.add_other(&world)];
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
            Runner::new(&world.simulator, rotation)
        };

        interleave([rotation(&arns[0]), rotation(&arns[1])], &self.turns).await;

        for ((old, before), (new, after)) in before.iter().zip(secrets()) {
            assert_ne!(*old, new, "{name}");
            assert_eq!(*before, after, "{name}");
            let state = world.simulator.state();
            assert!(state.keys.contains_key(&new), "{name}: {new}");
            assert!(!state.keys.contains_key(old), "{name}: {old}");
        }
        // Each has one key, the old or the new one; and nothing else came or went.
        assert_eq!(keys(), count, "{name}");
        let deleted = world.simulator.state().deleted_keys.len();
        assert_eq!(deleted, 2, "{name}: only the two old keys are deleted");
        for arn in &arns {
            let outcome = world.rotate_secret(arn).await;
            assert_eq!(outcome, Outcome::Succeeded, "{name}: the next rotation");
        }
        world.simulator.assert_promises_kept();
    }
}

/// The key that a secret's current value names, and all the rest that it says.
fn key_and_fields(state: &State, arn: &str) -> (String, Value) {
    let text = state.secret(arn).value("AWSCURRENT").expect("a value");
    let mut value: Value = serde_json::from_str(text).unwrap();
    let fields = value.as_object_mut().expect("an object");
    let id = fields.remove("apiKey").expect("a key's id");
    fields.remove("apiSecret").expect("a key's secret");
    (id.as_str().expect("a text").to_owned(), value)
}

/// Each stopped once at any request, and the two in turn, so many requests at a time.
fn turns_of_two(requests: usize) -> Vec<Turns> {
    let in_turn = (1..=requests).map(|at_a_time| vec![at_a_time; 2 * requests]);
    let stopped = stopped_once_each(requests, requests);
    stopped.into_iter().chain(in_turn).collect()
}

#[test]
fn secrets_of_one_service_account_that_rotate_at_once_never_touch_each_others_keys() {
    run_two(true);
}

#[test]
fn secrets_that_rotate_at_once_through_one_warm_function_never_share_a_field() {
    run_two(false);
}

fn run_two(alike: bool) {
    let requests = block_on(calm_rotation(Setting::default())).len();
    let turns = turns_of_two(requests).into_iter();
    let cases: Vec<Two> = turns.map(|turns| Two { alike, turns }).collect();

    in_threads(&cases, |case| block_on(case.run()));

    println!("{} pairs of rotations", cases.len());
}
