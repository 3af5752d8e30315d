//! Keys that are made and cannot be used, and lists that cannot be true.

use super::*;

/// A list is followed no further.
const MOST_PAGES: usize = 100;

/// No list of keys is longer.
const MOST_KEYS: usize = 10_000;

/// A created key that cannot be used was made all the same: it is found by its mark, and goes.
#[tokio::test]
async fn a_made_key_that_cannot_be_used_is_found_and_deleted() {
    let key = |id: &str, secret: &str| json!({"id": id, "spec": {"secret": secret}});
    for (name, answer) in [
        ("an empty id", key("", CANARY)),
        ("an empty secret", key("MADE", "")),
        ("a blank id", key(" \t", CANARY)),
        ("a blank secret", key("MADE", "  ")),
        ("no id", json!({"spec": {"secret": CANARY}})),
        ("no secret", json!({"id": "MADE", "spec": {}})),
        ("an id as long as a secret", key(&"K".repeat(64), CANARY)),
        ("an id with space around it", key(" MADE", CANARY)),
        ("a secret with space around it", key("MADE", "CANARY\n")),
        (
            "a secret that no secret value has room for",
            key("MADE", &CANARY.repeat(20_000)),
        ),
    ] {
        for recovery in [Recovery::SameToken, Recovery::NewToken] {
            let setting = Setting::default();
            let world = world(setting).await;
            let answer = Answer::json(202, &answer);
            world.simulator.answer_after(3, makes_a_key, answer);
            let case = format!("{name}, {recovery:?}");

            let outcome = world.attempt(&case).await;

            assert_ne!(outcome, Outcome::Succeeded, "{case}");
            world.rotate_until_it_succeeds(recovery, &case).await;
            world.assert_rotated(setting, &case);
        }
    }
}

/// An answer that names another key than the one that was made gets none of the living keys deleted.
#[tokio::test]
async fn a_made_key_under_the_id_of_another_one_costs_no_key_in_use() {
    for secret in [CANARY.to_owned(), CANARY.repeat(20_000)] {
        let setting = Setting::default();
        let world = world(setting).await;
        let answer = json!({"id": world.first_key, "spec": {"secret": secret}});
        let answer = Answer::json(202, &answer);
        world.simulator.answer_after(1, makes_a_key, answer);
        let case = format!("a secret of {} bytes", secret.len());

        let outcome = world.attempt(&case).await;

        println!("{case}: {outcome:?}");
        assert!(world.keys().contains(&world.first_key), "{case}");
        world
            .rotate_until_it_succeeds(Recovery::NewToken, &case)
            .await;
        world.assert_rotated(setting, &case);
    }
}

#[tokio::test]
async fn a_list_whose_pages_never_end_makes_and_deletes_nothing() {
    let setting = Setting::default();
    let world = world(setting).await;
    let next = "https://elsewhere.example/iam/v2/api-keys?page_token=again";
    let page = Answer::json(200, &json!({"data": [], "metadata": {"next": next}}));
    world.simulator.answer(MOST_PAGES, lists_keys, page);
    let keys = world.keys();

    let outcome = world.attempt("endless pages").await;

    assert!(
        format!("{outcome:?}").contains("does not end"),
        "{outcome:?}"
    );
    world.assert_keys(&keys, &"endless pages");
    world.recover(setting, "endless pages").await;
}

/// Keys without an owner are nobody's of ours, though they bear our mark.
#[tokio::test]
async fn keys_without_an_owner_are_neither_taken_nor_deleted() {
    let setting = Setting::default();
    let world = world(setting).await;
    let keys: Vec<_> = world.keys();
    let foreign = world.simulator.add_internal_key();
    let listed: Vec<_> = keys
        .iter()
        .chain([&foreign])
        .enumerate()
        .map(|(nth, id)| {
            let owner = [json!(null), json!({}), json!({"id": null})][nth % 3].clone();
            json!({"id": id, "spec": {"owner": owner, "resource": {"id": "lkc-orders"}}})
        })
        .collect();
    let list = Answer::json(200, &json!({"data": listed, "metadata": {}}));
    world.simulator.answer(1, lists_keys, list);

    let outcome = world.attempt("no owners").await;

    assert!(
        format!("{outcome:?}").contains("CurrentKeyNotOfOwner"),
        "{outcome:?}"
    );
    world.assert_keys(&keys, &"no owners");
    world.recover(setting, "no owners").await;
    assert!(world.simulator.state().keys.contains_key(&foreign));
}

/// A page of a list with so many nameless keys.
fn page_of(keys: usize, next: &str) -> Answer {
    let keys = vec!["{}"; keys].join(",");
    let page = format!(r#"{{"data":[{keys}],"metadata":{{"next":"{next}"}}}}"#);
    json_answer(200, page)
}

/// Keys that nobody can have so many of are counted and not kept.
#[tokio::test]
async fn a_list_of_more_keys_than_there_can_be_makes_and_deletes_nothing() {
    for (name, pages, page) in [
        ("on one page", 1, page_of(MOST_KEYS + 1, "")),
        ("on more", 3, page_of(MOST_KEYS / 2, "/?page_token=again")),
    ] {
        let setting = Setting::default();
        let world = world(setting).await;
        world.simulator.answer(pages, lists_keys, page);
        let keys = world.keys();

        let outcome = world.attempt(name).await;

        let shown = format!("{outcome:?}");
        assert!(shown.contains("more than 10000 keys"), "{name}: {shown}");
        world.assert_keys(&keys, &name);
        world.recover(setting, name).await;
    }
}

/// Nor are pages kept that are long each and many.
#[tokio::test]
async fn a_list_of_more_bytes_than_there_can_be_makes_and_deletes_nothing() {
    const PAGES: usize = 17;
    let setting = Setting::default();
    let world = world(setting).await;
    let description = "d".repeat(1_000_000);
    let page = json!({
        "data": [{"id": "K", "spec": {"description": description}}],
        "metadata": {"next": "/?page_token=again"},
    });
    let page = Answer::json(200, &page);
    world.simulator.answer(PAGES, lists_keys, page);
    let keys = world.keys();

    let outcome = world.attempt("long pages").await;

    let shown = format!("{outcome:?}");
    assert!(shown.contains("is longer than"), "{shown}");
    world.assert_keys(&keys, &"long pages");
    world.recover(setting, "long pages").await;
}
