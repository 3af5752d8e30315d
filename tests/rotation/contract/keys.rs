//! The API Keys API: keys are listed, made and deleted, and refusals explained.

use confluent_key_rotation::confluent::{Error, Listed, NewKey};
use confluent_key_rotation::refusal::Meaning;
use simulator::{GoneAnswer, LastPage, Quota, QuotaAnswer};

use super::*;

impl World {
    /// The keys that a list shows, as the simulator knows them.
    fn listed_keys(&self) -> Vec<String> {
        let state = self.simulator.state();
        let is_listed = |owner: Option<&str>| owner.is_none_or(|owner| owner == OWNER);
        let keys = state.keys.values();
        keys.filter(|key| is_listed(key.owner.as_deref()))
            .map(|key| key.id.clone())
            .collect()
    }

    async fn create(&self, signer: &ApiKey, kind: Kind) -> Result<ApiKey, Error> {
        let new = NewKey {
            owner: OWNER,
            resource: &resource(kind),
            display_name: "orders/kafka",
            description: "a mark",
        };
        self.confluent().create(signer, &new).await
    }
}

fn page(keys: &[Value], next: &Value) -> Answer {
    Answer::json(200, &json!({"data": keys, "metadata": {"next": next}}))
}

fn ids(keys: &[Listed]) -> Vec<&str> {
    let mut ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_list_is_followed_to_its_end_however_the_end_is_spelt() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    for _ in 0..4 {
        world.resource_key(Kind::Kafka);
    }
    let all = world.listed_keys();
    for last_page in [LastPage::Empty, LastPage::Null, LastPage::Absent] {
        for cap in [1, 2, 5, 100] {
            world.simulator.state().knobs.last_page = last_page;
            world.simulator.state().knobs.page_size_cap = Some(cap);

            let keys = world.confluent().list(&signer, OWNER).await.unwrap();

            let case = format!("{last_page:?}, {cap} keys a page");
            assert_eq!(ids(&keys), all, "{case}");
            assert_eq!(world.requests().len(), all.len().div_ceil(cap), "{case}");
        }
    }
}

#[tokio::test]
async fn a_list_asks_for_the_owner_and_for_the_largest_documented_page() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();

    world.confluent().list(&signer, OWNER).await.unwrap();

    let target = world.simulator.state().requests[0].target.clone();
    assert_eq!(
        target,
        format!("/iam/v2/api-keys?spec.owner={OWNER}&page_size=100")
    );
}

#[tokio::test]
async fn a_listed_key_tells_its_owner_resource_environment_and_organization() {
    for kind in KINDS {
        let world = world_of(kind).await;
        let signer = world.admin_key();

        let keys = world.confluent().list(&signer, OWNER).await.unwrap();

        let key = keys.iter().find(|key| key.id == world.first_key);
        let key = key.unwrap_or_else(|| panic!("{kind:?}: {keys:?}"));
        assert_eq!(key.owner.as_deref(), Some(OWNER), "{kind:?}");
        let (id, environment) = (key.resource.as_deref(), key.environment.as_deref());
        assert!(resource(kind).is_named_by(id, environment), "{key:?}");
        let organization = world.simulator.state().organization.clone();
        assert_eq!(key.organization, Some(organization), "{kind:?}");
        assert!(key.created_at > Some(1_700_000_000), "{key:?}");
    }
}

#[tokio::test]
async fn a_key_without_an_owner_does_not_end_a_list() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    let internal = world.simulator.add_internal_key();

    let keys = world.confluent().list(&signer, OWNER).await.unwrap();

    let of_nobody = keys.iter().filter(|key| key.owner.is_none());
    assert!(ids(&keys).contains(&world.first_key.as_str()), "{keys:?}");
    assert!(ids(&keys).contains(&internal.as_str()), "{keys:?}");
    assert_eq!(
        of_nobody.count(),
        2,
        "the one that was added, and the world's own"
    );
}

#[tokio::test]
async fn a_key_with_fields_that_are_null_or_unknown_does_not_end_a_list() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    let odd = [
        json!({"id": "A", "spec": {"owner": null, "resource": null, "description": null}}),
        json!({"id": "B", "spec": {"owner": {"id": OWNER, "new": [1]}, "expires_at": "2027"}}),
        json!({"id": "C", "metadata": {"created_at": "yesterday", "resource_name": null}}),
    ];
    world.always_answer(page(&odd, &json!(null)));

    let keys = world.confluent().list(&signer, OWNER).await.unwrap();

    assert_eq!(ids(&keys), ["A", "B", "C"]);
}

#[tokio::test]
async fn only_the_token_of_the_next_page_is_followed() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    let elsewhere = Simulator::start().await;
    let next = format!(
        "{}/iam/v2/api-keys?spec.owner=sa-other&page_token=a%2Bb",
        elsewhere.confluent_url()
    );
    world.simulator.answer(1, |_| true, page(&[], &json!(next)));
    world.always_answer(page(&[json!({"id": "A"})], &json!("")));

    let keys = world.confluent().list(&signer, OWNER).await.unwrap();

    assert_eq!(ids(&keys), ["A"]);
    let target = world.simulator.state().requests[1].target.clone();
    assert!(target.ends_with("&page_token=a%2Bb"), "{target}");
    assert!(target.contains(&format!("spec.owner={OWNER}&")), "{target}");
    assert_eq!(elsewhere.state().labels(), [""; 0]);
}

#[tokio::test]
async fn a_list_that_does_not_end_is_an_error() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    world.always_answer(page(&[], &json!("/iam/v2/api-keys?page_token=again")));

    let outcome = world.confluent().list(&signer, OWNER).await;

    let error = outcome.expect_err("no end");
    assert!(error.to_string().contains("does not end"), "{error}");
    assert!(world.requests().len() <= 100);
}

#[tokio::test]
async fn a_list_that_is_not_whole_is_an_error_that_says_where_and_quotes_nothing() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    let next = |next: &str| json!({"data": [], "metadata": {"next": next}}).to_string();
    for (body, says) in [
        (next("/iam/v2/api-keys?hunter2"), "without a page_token"),
        (next("/iam/v2/api-keys?page_token="), "without a page_token"),
        (next("http://[hunter2"), "no URL"),
        ("{\n \"data\": [hunter2]}".to_owned(), "line 2, column 11"),
        (
            r#"{"data": [{"id": 1, "hunter2": 2}]}"#.to_owned(),
            "line 1",
        ),
        (r#"{"data": "hunter2"}"#.to_owned(), "line 1"),
        (r#"{"keys": ["hunter2"]}"#.to_owned(), "line 1"),
        ("<html>hunter2</html>".to_owned(), "line 1"),
        ("\u{feff}hunter2".to_owned(), "line 1"),
        (String::new(), "line 1, column 0"),
    ] {
        let answer = Answer::new(200, "application/json", body.clone());
        world.simulator.answer(1, |_| true, answer);

        let outcome = world.confluent().list(&signer, OWNER).await;

        let error = outcome.expect_err(&body);
        assert!(error.to_string().contains(says), "{body}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn every_kind_of_key_is_made_with_ids_alone() {
    for kind in KINDS {
        let world = world_of(kind).await;
        let signer = world.admin_key();

        let key = world.create(&signer, kind).await.unwrap();

        let state = world.simulator.state();
        let made = &state.keys[key.id.as_str()];
        assert_eq!(made.kind, kind);
        assert_eq!(made.secret, key.secret.expose(), "{kind:?}");
        assert_eq!(made.owner.as_deref(), Some(OWNER), "{kind:?}");
        assert_eq!(made.description, "a mark", "{kind:?}");
        assert_eq!(made.display_name, "orders/kafka", "{kind:?}");
        assert_eq!(
            made.environment.as_deref(),
            environment_id(kind),
            "{kind:?}"
        );
        // The simulator takes any other field for a violation.
        assert!(
            state.violations.is_empty(),
            "{kind:?}: {:?}",
            state.violations
        );
    }
}

#[tokio::test]
async fn a_key_is_made_whichever_success_says_so() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    for status in [200, 201, 202] {
        let made = json!({"id": "NEW", "spec": {"secret": "hunter2", "new": null}, "new": {}});
        world
            .simulator
            .answer(1, |_| true, Answer::json(status, &made));

        let key = world.create(&signer, Kind::Kafka).await.unwrap();

        assert_eq!(key.id.as_str(), "NEW", "{status}");
        assert_eq!(key.secret.expose(), "hunter2", "{status}");
    }
}

#[tokio::test]
async fn a_made_key_that_cannot_be_read_may_exist_and_is_not_quoted() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    for body in [
        json!({"id": "", "spec": {"secret": "hunter2"}}).to_string(),
        json!({"spec": {"secret": "hunter2"}}).to_string(),
        json!({"id": "NEW", "spec": {"secret": ""}, "hunter2": ""}).to_string(),
        json!({"id": "NEW", "spec": {"secret": null}, "hunter2": ""}).to_string(),
        json!({"id": "NEW", "hunter2": ""}).to_string(),
        json!({"id": "NEW", "spec": {"secret": ["hunter2"]}}).to_string(),
        json!({"id": "NEW", "spec": "hunter2"}).to_string(),
        r#"{"id": "NEW", "spec": {"secret": "hunter2"#.to_owned(),
        "hunter2".to_owned(),
        String::new(),
    ] {
        let answer = Answer::new(202, "application/json", body.clone());
        world.simulator.answer(1, |_| true, answer);
        world.simulator.forget_requests();

        let outcome = world.create(&signer, Kind::Kafka).await;

        let error = outcome.expect_err(&body);
        assert!(matches!(error, Error::Unusable { .. }), "{body}: {error:?}");
        assert!(error.may_have_been_carried_out(), "{body}");
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
        assert_eq!(world.requests().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn a_refused_create_has_made_nothing() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    for status in [302, 400, 401, 402, 403, 409, 422] {
        world.simulator.answer(1, |_| true, Answer::empty(status));

        let outcome = world.create(&signer, Kind::Kafka).await;

        let error = outcome.expect_err("a refusal");
        assert!(!error.may_have_been_carried_out(), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_gone_counts_as_deleted_if_confluent_says_404() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    for (gone_answer, meaning) in [
        (GoneAnswer::NotFound, None),
        (GoneAnswer::Forbidden, Some(Meaning::Forbidden)),
    ] {
        world.simulator.state().knobs.gone_answer = gone_answer;
        let key = world.create(&signer, Kind::Kafka).await.unwrap();

        let first = world
            .confluent()
            .delete(&signer, &key.id, async || true)
            .await;
        let second = world
            .confluent()
            .delete(&signer, &key.id, async || true)
            .await;

        assert!(first.is_ok(), "{gone_answer:?}: {first:?}");
        assert_eq!(world.keys(), [world.first_key.as_str()], "{gone_answer:?}");
        let told = second.err().and_then(|error| error.meaning());
        assert_eq!(told, meaning, "{gone_answer:?}");
    }
}

#[tokio::test]
async fn an_id_cannot_lead_a_request_to_another_path() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    world.always_answer(Answer::empty(204));
    let id = ApiKeyId::new("../../org/v2/environments?a=b#c".to_owned());

    world
        .confluent()
        .delete(&signer, &id, async || true)
        .await
        .unwrap();

    let target = world.simulator.state().requests[0].target.clone();
    assert_eq!(
        target,
        "/iam/v2/api-keys/..%2F..%2Forg%2Fv2%2Fenvironments%3Fa=b%23c"
    );
}

#[tokio::test]
async fn a_quota_is_recognised_in_both_of_confluents_answers() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    for answer in [QuotaAnswer::PaymentRequired, QuotaAnswer::BadRequest] {
        let per_owner = 1;
        world.simulator.state().knobs.quota = Some(Quota { per_owner, answer });

        let error = world.create(&signer, Kind::Kafka).await.unwrap_err();

        assert_eq!(error.meaning(), Some(Meaning::QuotaExceeded), "{answer:?}");
        assert!(error.to_string().contains("limited to 1"), "{error}");
        assert!(!error.may_have_been_carried_out(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_resource_key_cannot_sign_and_the_error_says_to_name_an_admin_secret() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.resource_key(Kind::Kafka);

    let error = world.create(&signer, Kind::Kafka).await.unwrap_err();

    assert_eq!(error.meaning(), Some(Meaning::ResourceKey));
    let message = confluent_key_rotation::error::Error::from(error).message();
    assert!(message.contains("Name an admin secret"), "{message}");
}

#[tokio::test]
async fn a_signer_without_a_role_is_told_which_one_it_needs() {
    let world = world_of(Kind::Kafka).await;
    world.simulator.add_owner("sa-other", &[]);
    let signer = api_key(world.simulator.add_key("sa-other", None, None));

    let error = world.create(&signer, Kind::Kafka).await.unwrap_err();

    assert_eq!(error.meaning(), Some(Meaning::Forbidden));
    let message = confluent_key_rotation::error::Error::from(error).message();
    for role in ["ResourceOwner", "OrganizationAdmin"] {
        assert!(message.contains(role), "{message}");
    }
}

#[tokio::test]
async fn a_refusal_names_what_was_asked_for_its_status_code_detail_and_request() {
    let world = world_of(Kind::Kafka).await;
    let signer = world.admin_key();
    let refusal = Answer::confluent_error(409, Some("resource_already_exists"), "Conflict", "busy")
        .with_header("x-request-id", "req-42");
    world.always_answer(refusal);

    let error = world.create(&signer, Kind::Kafka).await.unwrap_err();

    for part in [
        "create an API key",
        "409",
        "resource_already_exists",
        "busy",
        "req-42",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}
