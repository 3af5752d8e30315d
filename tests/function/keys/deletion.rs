//! The one rule for deletion: which keys a rotation deletes, and which it keeps. Each test rotates under every policy.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use simulator::SecretValue;

use super::*;
use crate::telemetry::logs::logged;

pub(super) async fn world(policy: OldKeyPolicy) -> World {
    World::new(Setting {
        policy,
        ..Setting::default()
    })
    .await
}

impl World {
    /// Rotates the secret, which must succeed. Returns the log lines.
    pub(super) async fn rotate_successfully(&self, case: &dyn Debug) -> Vec<Value> {
        let (outcome, lines) = logged(self.rotate()).await;
        assert_eq!(outcome, Outcome::Succeeded, "{case:?}: {lines:#?}");
        lines
    }

    /// Rotates the secret twice. Both rotations must succeed and keep `key`, and one of them must log why.
    pub(super) async fn assert_kept(&self, key: &str, reason: &str, case: &dyn Debug) {
        let mut lines = self.rotate_successfully(case).await;
        assert!(self.all_keys().contains(key), "{case:?}");
        lines.extend(self.rotate_successfully(case).await);
        assert!(self.all_keys().contains(key), "{case:?}");
        let mut warnings = lines.iter().filter(|line| line["level"] == "WARN");
        let says_why = |line: &Value| {
            let line = line.to_string();
            line.contains(key) && line.contains(reason)
        };
        assert!(warnings.any(says_why), "{case:?}: {lines:#?}");
        let counts_kept = |line: &Value| line["KeysKept"].as_u64() > Some(0);
        assert!(lines.iter().any(counts_kept), "{case:?}: {lines:#?}");
    }

    /// Adds another application's key of the same owner.
    pub(super) fn other_key(
        &self,
        resource: Option<&str>,
        environment: Option<&str>,
    ) -> (String, String) {
        self.simulator.add_key(OWNER, resource, environment)
    }

    fn allow_shared_current_key(&self) {
        self.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    }
}

#[tokio::test]
async fn another_applications_key_whose_id_was_pasted_and_rejected_is_kept() {
    for policy in POLICIES {
        for resource in [Some("lkc-orders"), Some("lkc-other"), None] {
            let case = (policy, resource);
            let world = world(policy).await;
            world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
            let (pasted, _) = world.other_key(resource, resource.map(|_| ENVIRONMENT));
            world.allow_shared_current_key();
            let valid = world.value("AWSCURRENT");
            world.change_value(|value| value["apiKey"] = json!(pasted));
            world
                .step_error("createSecret", "another application's key")
                .await;
            world
                .simulator
                .store_manually(&world.arn, &valid.to_string());

            for _ in 0..3 {
                world.rotate_successfully(&case).await;
                assert!(world.all_keys().contains(&pasted), "{case:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_shared_key_that_a_user_replaced_manually_is_kept() {
    for policy in POLICIES {
        let world = world(policy).await;
        let shared = world.initial_key.clone();
        let own = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
        world.simulator.replace_key_manually(&world.arn, &own);

        for _ in 0..3 {
            world.rotate_successfully(&policy).await;
            assert!(world.all_keys().contains(&shared), "{policy:?}");
        }
    }
}

#[tokio::test]
async fn a_current_key_that_was_never_verified_is_kept() {
    for policy in POLICIES {
        let mut world = world(policy).await;
        world.set_variable("CURRENT_KEY_CHECK", "off");
        let (pasted, _) = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
        world.allow_shared_current_key();
        world.change_value(|value| value["apiKey"] = json!(pasted));

        world.rotate_successfully(&policy).await;
        world.rotate_successfully(&policy).await;

        assert!(world.all_keys().contains(&pasted), "{policy:?}");
    }
}

#[tokio::test]
async fn the_last_working_key_is_kept_until_another_one_is_current() {
    for policy in POLICIES {
        let mut world = world(policy).await;
        world.rotate_successfully(&policy).await;
        let working = world.key("AWSCURRENT").unwrap();
        world.allow_shared_current_key();
        world.change_value(|value| value["apiSecret"] = json!("wrong"));
        world.set_variable("CURRENT_KEY_CHECK", "off");

        world
            .run_steps(&["createSecret", "setSecret", "testSecret"])
            .await;
        assert!(world.all_keys().contains(&working), "{policy:?}");
        world.run_steps(&["finishSecret"]).await;
        world.rotate_successfully(&policy).await;

        // The next rotation's current key has this secret's tag.
        let is_kept = world.all_keys().contains(&working);
        assert!(!is_kept || policy != OldKeyPolicy::Delete);
    }
}

#[tokio::test]
async fn a_rotated_key_that_is_also_the_admin_key_fails_before_a_key_is_created() {
    for policy in POLICIES {
        let world = World::new(Setting {
            key_type: KeyType::Cloud,
            policy,
            ..Setting::default()
        })
        .await;
        world.grant_admin(&[Role::OrganizationAdmin]);
        let key = world.simulator.state().secret(&world.arn).key("AWSCURRENT");
        let admin = world.simulator.add_admin_secret("same-key", &key.unwrap());
        world.change_value(|value| value["adminSecretArn"] = json!(admin));
        let keys = world.all_keys();

        let error = world.step_error("createSecret", "the admin key").await;

        assert_eq!(error.error_type, "CurrentKeyIsAdminKey", "{error:?}");
        assert_eq!(world.all_keys(), keys);
    }
}

#[tokio::test]
async fn the_key_of_a_previous_version_with_another_scope_is_kept() {
    for policy in POLICIES {
        for is_tagged in [false, true] {
            for (field, other) in [
                ("resourceId", "lkc-other"),
                ("serviceAccountId", "sa-other"),
            ] {
                let case = (policy, is_tagged, field);
                let world = world(policy).await;
                world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
                world.simulator.add_owner("sa-other", &[]);
                let (owner, resource) = if field == "resourceId" {
                    (OWNER, other)
                } else {
                    (other, "lkc-orders")
                };
                let (kept, secret) =
                    world
                        .simulator
                        .add_key(owner, Some(resource), Some(ENVIRONMENT));
                let valid = world.value("AWSCURRENT");
                if is_tagged {
                    world.simulator.tag_key(&kept, &world.arn, "v", "i", "");
                }
                world.allow_shared_current_key();
                world.change_value(|value| {
                    value[field] = json!(other);
                    value["apiKey"] = json!(kept);
                    value["apiSecret"] = json!(secret);
                });
                world
                    .simulator
                    .store_manually(&world.arn, &valid.to_string());

                world.rotate_successfully(&case).await;

                assert!(world.all_keys().contains(&kept), "{case:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_key_is_deleted_if_a_version_with_a_label_cannot_be_read() {
    type ChangeVersion = fn(&World, &str);
    let changes: [(&str, ChangeVersion); 4] = [
        ("not JSON", |world, label| {
            let value = SecretValue::String("not JSON".to_owned());
            world.simulator.overwrite_value(&world.arn, label, value);
        }),
        ("binary", |world, label| {
            let value = SecretValue::Binary(vec![1, 2, 3]);
            world.simulator.overwrite_value(&world.arn, label, value);
        }),
        ("without an owner", |world, label| {
            let value = SecretValue::String(r#"{"user":"a"}"#.to_owned());
            world.simulator.overwrite_value(&world.arn, label, value);
        }),
        ("denied", |world, label| {
            world.simulator.deny_decryption(&world.arn, label);
        }),
    ];
    for policy in POLICIES {
        for (change, change_version) in changes {
            let case = (policy, change);
            let world = world(policy).await;
            world.rotate_successfully(&case).await;
            let value = world.value("AWSCURRENT").to_string();
            world.simulator.add_version(&world.arn, "BLUE", &value);
            change_version(&world, "BLUE");
            let keys = world.all_keys();

            let lines = world.rotate_successfully(&case).await;

            assert!(world.all_keys().is_superset(&keys), "{case:?}");
            let log = serde_json::to_string(&lines).unwrap();
            assert!(log.contains("kept all keys"), "{case:?}: {log}");
        }
    }
}

#[tokio::test]
async fn the_key_of_a_version_with_a_users_own_label_is_kept_until_the_label_is_removed() {
    for policy in POLICIES {
        for spelling in ["plain", "escaped", "repeated", "large number", "surrogate"] {
            let case = (policy, spelling);
            let world = world(policy).await;
            world.rotate_successfully(&case).await;
            let blue = world.key("AWSCURRENT").unwrap();
            let mut value = world.value("AWSCURRENT").to_string();
            if spelling != "plain" {
                let first = format!("\\u{:04x}", u32::from(blue.as_bytes()[0]));
                value = value.replace(&blue, &format!("{first}{}", &blue[1..]));
            }
            let more = match spelling {
                "repeated" => r#","x":1,"x":2}"#,
                "large number" => r#","x":1e999}"#,
                "surrogate" => r#","x":"\ud800"}"#,
                _ => "}",
            };
            value = format!("{}{more}", value.strip_suffix('}').unwrap());
            world.simulator.add_version(&world.arn, "BLUE", &value);

            world.rotate_successfully(&case).await;
            world.rotate_successfully(&case).await;
            assert!(world.all_keys().contains(&blue), "{case:?}");

            world.simulator.move_label(&world.arn, "BLUE", None);
            world.rotate_successfully(&case).await;
            assert!(!world.all_keys().contains(&blue), "{case:?}");
        }
    }
}

#[tokio::test]
async fn a_manually_created_key_that_could_not_be_deleted_is_deleted_later() {
    let obstacles: [(&str, ArrangeFor, ArrangeFor); 3] = [
        (
            "a custom label",
            |world, _| {
                let value = world.value("AWSCURRENT").to_string();
                world.simulator.add_version(&world.arn, "BLUE", &value);
            },
            |world, _| world.simulator.move_label(&world.arn, "BLUE", None),
        ),
        (
            "a denied DELETE",
            |world, key| world.simulator.make_undeletable(key, 403),
            |world, key| {
                let mut state = world.simulator.state();
                state.keys.get_mut(key).unwrap().deletion_status = None;
            },
        ),
        (
            "a failed DELETE",
            |world, key| world.simulator.make_undeletable(key, 503),
            |world, key| {
                let mut state = world.simulator.state();
                state.keys.get_mut(key).unwrap().deletion_status = None;
            },
        ),
    ];
    for (name, add, remove) in obstacles {
        let world = world(OldKeyPolicy::KeepUntilNextRotation).await;
        let manual = world.initial_key.clone();
        add(&world, &manual);
        world.rotate_successfully(&name).await;
        world.rotate_successfully(&name).await;
        world.rotate_successfully(&name).await;
        assert!(world.all_keys().contains(&manual), "{name}");
        remove(&world, &manual);

        world.rotate_successfully(&name).await;

        assert!(!world.all_keys().contains(&manual), "{name}");
    }
}

#[tokio::test]
async fn an_undeletable_previous_key_fails_only_the_cleanup() {
    for status in [403, 500, 503] {
        let world = world(OldKeyPolicy::Delete).await;
        world.rotate_successfully(&status).await;
        let previous = world.key("AWSCURRENT").unwrap();
        world.simulator.make_undeletable(&previous, status);

        let outcome = world.rotate().await;

        assert_ne!(outcome, Outcome::Succeeded, "{status}");
        assert_ne!(world.key("AWSCURRENT"), Some(previous.clone()));
        world.simulator.abandon_rotation(&world.arn);
        let next = world.rotate().await;
        assert_eq!(
            next,
            Outcome::Succeeded,
            "{status}: an orphan blocks nothing"
        );
    }
}

#[tokio::test]
async fn every_other_orphan_is_deleted_if_one_cannot_be() {
    let world = world(OldKeyPolicy::Delete).await;
    let mut orphans = Vec::new();
    for n in 0..3 {
        let (id, _) = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
        let version = format!("abandoned-{n}");
        world.simulator.tag_key(&id, &world.arn, &version, "i", "");
        orphans.push(id);
    }
    world.simulator.make_undeletable(&orphans[0], 403);

    world.rotate_successfully(&"").await;

    let keys = world.all_keys();
    assert!(keys.contains(&orphans[0]));
    assert!(!keys.contains(&orphans[1]) && !keys.contains(&orphans[2]));
}

#[tokio::test]
async fn the_label_is_removed_before_the_previous_key_is_deleted() {
    let world = world(OldKeyPolicy::Delete).await;
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    let label = async || assert_eq!(world.version("AWSPREVIOUS"), None);

    let finished = world.step_while("finishSecret", deletes_a_key, label).await;

    assert!(finished.is_ok(), "{finished:?}");
    assert!(!world.all_keys().contains(&world.initial_key));
}

#[tokio::test]
async fn a_rollback_during_the_cleanup_stops_the_deletion_and_the_step_succeeds() {
    for operation in ["ListSecretVersionIds", "DescribeSecret", "GetSecretValue"] {
        let world = world(OldKeyPolicy::Delete).await;
        world
            .run_steps(&["createSecret", "setSecret", "testSecret"])
            .await;
        let initial = world.version("AWSCURRENT").unwrap();
        let is_promoted = AtomicBool::new(false);
        let matches = move |request: &Request| {
            let promotes = request.name() == "UpdateSecretVersionStage";
            let is_after = is_promoted.fetch_or(promotes, Relaxed);
            is_after && !promotes && (request.name() == operation || lists_keys(request))
        };

        let finished = world
            .step_while("finishSecret", matches, async || {
                world.make_current(&initial);
            })
            .await;

        assert!(finished.is_ok(), "{operation}: {finished:?}");
        assert!(world.all_keys().contains(&world.initial_key), "{operation}");
    }
}

#[tokio::test]
async fn a_version_that_no_rotation_created_is_not_cleaned_up() {
    let world = world(OldKeyPolicy::Delete).await;
    let keys = world.all_keys();
    let own = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
    world.simulator.replace_key_manually(&world.arn, &own);
    let version = world.version("AWSCURRENT").unwrap();
    let event = world.simulator.event(&world.arn, &version, "finishSecret");

    let (finished, lines) = logged(world.invoke(event)).await;

    assert!(finished.is_ok(), "{finished:?}");
    assert!(world.all_keys().is_superset(&keys));
    let log = serde_json::to_string(&lines).unwrap();
    assert!(log.contains("was not created for this version"), "{log}");
}

#[tokio::test]
async fn an_unverified_key_that_was_promoted_manually_leads_to_no_deletion() {
    let world = world(OldKeyPolicy::Delete).await;
    world.run_steps(&["createSecret"]).await;
    let pending = world.version("AWSPENDING").unwrap();
    let key = world.key("AWSPENDING").unwrap();
    world.allow_shared_current_key();
    world.make_current(&pending);
    world.simulator.delete_key_manually(&key);
    let mut world = world;
    world.time_limit = SHORT_TIME_LIMIT;

    let outcome = world.step("finishSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(world.all_keys().contains(&world.initial_key));
}

#[tokio::test]
async fn a_flink_key_of_another_environment_is_kept_if_the_secret_names_no_environment() {
    let world = World::new(Setting {
        key_type: KeyType::Flink,
        ..Setting::default()
    })
    .await;
    world.change_value(|value| {
        value.as_object_mut().unwrap().remove("environmentId");
    });
    let (other, _) = world
        .simulator
        .add_key(OWNER, Some("aws.us-west-2"), Some("env-other"));
    world
        .simulator
        .tag_key(&other, &world.arn, "abandoned", "i", "");

    world
        .assert_kept(&other, "its environment is not", &"Flink")
        .await;
}

#[tokio::test]
async fn a_previous_key_that_the_rule_keeps_is_named_under_keep_until_next_rotation() {
    let mut world = world(OldKeyPolicy::KeepUntilNextRotation).await;
    world.set_variable("CURRENT_KEY_CHECK", "off");

    let reason = "no ownership tag says";
    let kept = world.initial_key.clone();
    world.assert_kept(&kept, reason, &"not verified").await;
}

#[tokio::test]
async fn a_failed_deletion_of_a_key_that_was_not_stored_is_a_warning() {
    let world = world(OldKeyPolicy::Delete).await;
    let denied = Response::aws_access_denied("PutSecretValue");
    world
        .simulator
        .respond_with(1, is_operation("PutSecretValue"), denied);
    world
        .simulator
        .respond_with(1, deletes_a_key, Response::confluent_forbidden());

    let (outcome, lines) = logged(world.step("createSecret")).await;

    let error = outcome.unwrap_err();
    assert_eq!(error.error_type, "SecretsManagerRejected", "{error:?}");
    let log = serde_json::to_string(&lines).unwrap();
    assert!(log.contains("could not delete the created key"), "{log}");
    assert!(log.contains(r#""DeletionsFailed":1"#), "{log}");
}

#[tokio::test]
async fn an_unreadable_previous_version_blocks_nothing_and_its_key_becomes_an_orphan() {
    let world = world(OldKeyPolicy::KeepUntilNextRotation).await;
    for _ in 0..2 {
        world.rotate_successfully(&"").await;
    }
    let previous = world.key("AWSPREVIOUS").unwrap();
    let value = SecretValue::String("not JSON".to_owned());
    world
        .simulator
        .overwrite_value(&world.arn, "AWSPREVIOUS", value);

    world.rotate_successfully(&"").await;

    // The promotion has moved the label away from that version.
    assert!(!world.all_keys().contains(&previous));
}

/// The tag of an orphan may be the only evidence that a key without a tag was the secret's.
#[tokio::test]
async fn the_key_that_only_a_deleted_orphan_names_is_reported() {
    let does_not_name = "the current key's ownership tag does not name it";
    for is_named in [false, true] {
        let world = world(OldKeyPolicy::KeepUntilNextRotation).await;
        let (other, _) = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
        let (orphan, _) = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
        let replaced = if is_named { &world.initial_key } else { &other };
        let extra = format!("replaces={replaced}");
        world
            .simulator
            .tag_key(&orphan, &world.arn, "abandoned", "i", &extra);

        let lines = world.rotate_successfully(&is_named).await;

        assert!(!world.all_keys().contains(&orphan), "{is_named}");
        assert!(world.all_keys().contains(replaced), "{is_named}");
        let reports = |line: &Value| line.to_string().contains(does_not_name);
        assert_eq!(lines.iter().any(reports), !is_named, "{lines:#?}");
    }
}
