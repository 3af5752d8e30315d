//! Invalid created keys and implausible lists.

use super::*;

/// The largest number of pages that is read.
const MAX_PAGES: usize = 100;

/// The largest number of keys on a page.
const MAX_PAGE_KEYS: usize = 1_000;

/// The largest number of keys in a list.
const MAX_KEYS: usize = 10_000;

/// The invalid key exists at Confluent. It is found by its ownership tag and deleted.
#[tokio::test]
async fn a_created_key_with_an_invalid_id_or_secret_is_found_and_deleted() {
    let key = |id: &str, secret: &str| json!({"id": id, "spec": {"secret": secret}});
    for (name, body) in [
        ("an empty ID", key("", CANARY)),
        ("an empty secret", key("CREATED", "")),
        ("a blank ID", key(" \t", CANARY)),
        ("a blank secret", key("CREATED", "  ")),
        ("no ID", json!({"spec": {"secret": CANARY}})),
        ("no secret", json!({"id": "CREATED", "spec": {}})),
        ("an ID as long as a secret", key(&"K".repeat(64), CANARY)),
        ("an ID with surrounding whitespace", key(" CREATED", CANARY)),
        (
            "a secret with surrounding whitespace",
            key("CREATED", "CANARY\n"),
        ),
        (
            "a secret that exceeds the size limit of a secret value",
            key("CREATED", &CANARY.repeat(20_000)),
        ),
    ] {
        for recovery in [Recovery::SameToken, Recovery::NewToken] {
            let setting = Setting::default();
            let world = world(setting).await;
            let response = Response::json(202, &body);
            (world.simulator).replace_response(3, creates_a_key, response);
            let case = format!("{name}, {recovery:?}");

            let outcome = world.attempt(&case).await;

            assert_ne!(outcome, Outcome::Succeeded, "{case}");
            world.rotate_until_it_succeeds(recovery, &case).await;
            world.assert_rotated(setting, &case);
        }
    }
}

/// A response that names another key than the created one does not cause the deletion of a key in use.
#[tokio::test]
async fn a_created_key_with_the_id_of_another_key_deletes_no_key_in_use() {
    for secret in [CANARY.to_owned(), CANARY.repeat(20_000)] {
        let setting = Setting::default();
        let world = world(setting).await;
        let body = json!({"id": world.initial_key, "spec": {"secret": secret}});
        let response = Response::json(202, &body);
        (world.simulator).replace_response(1, creates_a_key, response);
        let case = format!("a secret of {} bytes", secret.len());

        let outcome = world.attempt(&case).await;

        println!("{case}: {outcome:?}");
        assert!(world.keys().contains(&world.initial_key), "{case}");
        world
            .rotate_until_it_succeeds(Recovery::NewToken, &case)
            .await;
        world.assert_rotated(setting, &case);
    }
}

#[tokio::test]
async fn a_list_without_a_last_page_creates_and_deletes_nothing() {
    let setting = Setting::default();
    let world = world(setting).await;
    let next = "https://elsewhere.example/iam/v2/api-keys?page_token=again";
    let page = Response::json(200, &json!({"data": [], "metadata": {"next": next}}));
    world.simulator.respond_with(MAX_PAGES, lists_keys, page);
    let keys = world.keys();

    let outcome = world.attempt("no last page").await;

    assert!(
        format!("{outcome:?}").contains("exceeds 100 pages"),
        "{outcome:?}"
    );
    world.assert_keys(&keys, &"no last page");
    world.recover(setting, "no last page").await;
}

/// A key without an owner is not this secret's, even if it has its ownership tag.
#[tokio::test]
async fn keys_without_an_owner_are_neither_used_nor_deleted() {
    let setting = Setting::default();
    let world = world(setting).await;
    let keys: Vec<_> = world.keys();
    let internal_key = world.simulator.add_internal_key();
    let listed: Vec<_> = keys
        .iter()
        .chain([&internal_key])
        .enumerate()
        .map(|(nth, id)| {
            let owner = [json!(null), json!({}), json!({"id": null})][nth % 3].clone();
            json!({"id": id, "spec": {"owner": owner, "resource": {"id": "lkc-orders"}}})
        })
        .collect();
    let list = Response::json(200, &json!({"data": listed, "metadata": {}}));
    world.simulator.respond_with(1, lists_keys, list);

    let outcome = world.attempt("no owners").await;

    assert!(
        format!("{outcome:?}").contains("CurrentKeyNotOfOwner"),
        "{outcome:?}"
    );
    world.assert_keys(&keys, &"no owners");
    world.recover(setting, "no owners").await;
    assert!(world.simulator.state().keys.contains_key(&internal_key));
}

/// Returns a page of a list with a number of keys without IDs.
fn page_of(keys: usize, next: &str) -> Response {
    let keys = vec!["{}"; keys].join(",");
    let page = format!(r#"{{"data":[{keys}],"metadata":{{"next":"{next}"}}}}"#);
    json_response(200, page)
}

/// The limits bound the memory that an implausible list uses.
#[tokio::test]
async fn a_list_with_too_many_keys_creates_and_deletes_nothing() {
    const PAGES: usize = MAX_KEYS / MAX_PAGE_KEYS + 1;
    let next = "/?page_token=again";
    for (name, pages, page, problem) in [
        (
            "too many on one page",
            1,
            page_of(MAX_PAGE_KEYS + 1, ""),
            "cannot be parsed at line 1",
        ),
        (
            "too many on all pages",
            PAGES,
            page_of(MAX_PAGE_KEYS, next),
            "exceeds 10000 keys",
        ),
    ] {
        let setting = Setting::default();
        let world = world(setting).await;
        world.simulator.respond_with(pages, lists_keys, page);
        let keys = world.keys();

        let outcome = world.attempt(name).await;

        let outcome = format!("{outcome:?}");
        assert!(outcome.contains(problem), "{name}: {outcome}");
        world.assert_keys(&keys, &name);
        world.recover(setting, name).await;
    }
}

/// Each page is within the limit for a body, but the list exceeds its own.
#[tokio::test]
async fn a_list_with_too_many_bytes_creates_and_deletes_nothing() {
    const PAGES: usize = 17;
    let setting = Setting::default();
    let world = world(setting).await;
    let description = "d".repeat(1_000_000);
    let page = json!({
        "data": [{"id": "K", "spec": {"description": description}}],
        "metadata": {"next": "/?page_token=again"},
    });
    let page = Response::json(200, &page);
    world.simulator.respond_with(PAGES, lists_keys, page);
    let keys = world.keys();

    let outcome = world.attempt("long pages").await;

    let outcome = format!("{outcome:?}");
    assert!(outcome.contains("or 16777216 bytes"), "{outcome}");
    world.assert_keys(&keys, &"long pages");
    world.recover(setting, "long pages").await;
}
