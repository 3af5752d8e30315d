//! The API Keys API: listing, creating and deleting keys, and error responses.

use confluent_key_rotation::confluent::{ApiKeyMetadata, ApiKeySpec, Error, ErrorKind, KeyFilter};
use simulator::{DeletedKeyResponse, LastPage, Quota, QuotaResponse};

use super::*;

impl World {
    /// Returns the IDs of the keys that the owner's list contains, from the simulator's state.
    fn listed_keys(&self) -> Vec<String> {
        let state = self.simulator.state();
        let is_listed = |owner: Option<&str>| owner.is_none_or(|owner| owner == OWNER);
        let keys = state.keys.values();
        keys.filter(|key| is_listed(key.owner.as_deref()))
            .map(|key| key.id.clone())
            .collect()
    }

    async fn create(&self, credentials: &Credentials, key_type: KeyType) -> Result<ApiKey, Error> {
        let spec = ApiKeySpec {
            owner: OWNER,
            resource: &resource(key_type),
            display_name: "orders/kafka",
            description: "an ownership tag",
        };
        self.confluent().create(credentials, &spec).await
    }
}

fn page(keys: &[Value], next: &Value) -> Response {
    Response::json(200, &json!({"data": keys, "metadata": {"next": next}}))
}

fn ids(keys: &[ApiKeyMetadata]) -> Vec<&str> {
    let mut ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn all_pages_are_read_and_every_form_of_the_last_page_ends_the_list() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    for _ in 0..4 {
        world.resource_key(KeyType::Kafka);
    }
    let all = world.listed_keys();
    for last_page in [LastPage::Empty, LastPage::Null, LastPage::Absent] {
        for page_size in [1, 2, 5, 100] {
            world.simulator.state().controls.last_page = last_page;
            world.simulator.state().controls.max_page_size = Some(page_size);

            let keys = world
                .confluent()
                .list(&credentials, KeyFilter::of_owner(OWNER))
                .await
                .unwrap();

            let case = format!("{last_page:?}, {page_size} keys per page");
            assert_eq!(ids(&keys), all, "{case}");
            let pages = all.len().div_ceil(page_size);
            assert_eq!(world.requests().len(), pages, "{case}");
        }
    }
}

#[tokio::test]
async fn a_list_is_requested_by_owner_and_by_resource_where_that_is_documented() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();

    for key_type in KEY_TYPES {
        let resource = &resource(key_type);
        let by_resource = match key_type {
            KeyType::Kafka | KeyType::SchemaRegistry | KeyType::KsqlDb => {
                format!("&spec.resource={}", resource.id)
            }
            _ => String::new(),
        };
        for (filter, by_resource) in [
            (KeyFilter::of_owner(OWNER), String::new()),
            (KeyFilter::for_resource(OWNER, resource), by_resource),
        ] {
            world.simulator.clear_requests();

            world.confluent().list(&credentials, filter).await.unwrap();

            let target = world.simulator.state().requests[0].target.clone();
            let expected =
                format!("/iam/v2/api-keys?spec.owner={OWNER}&page_size=100{by_resource}");
            assert_eq!(target, expected, "{key_type:?}");
        }
    }
}

#[tokio::test]
async fn a_listed_key_contains_its_owner_resource_environment_and_organization() {
    for key_type in KEY_TYPES {
        let world = world_of(key_type).await;
        let credentials = world.admin_credentials();

        let keys = world
            .confluent()
            .list(&credentials, KeyFilter::of_owner(OWNER))
            .await
            .unwrap();

        let key = keys.iter().find(|key| key.id == world.initial_key);
        let key = key.unwrap_or_else(|| panic!("{key_type:?}: {keys:?}"));
        assert_eq!(key.owner.as_deref(), Some(OWNER), "{key_type:?}");
        let (id, environment) = (key.resource.as_deref(), key.environment.as_deref());
        assert!(resource(key_type).matches(id, environment), "{key:?}");
        let organization = world.simulator.state().organization.clone();
        assert_eq!(key.organization, Some(organization), "{key_type:?}");
        assert!(key.created_at > Some(1_700_000_000), "{key:?}");
    }
}

#[tokio::test]
async fn a_list_may_contain_keys_without_an_owner() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    let internal = world.simulator.add_internal_key();

    let keys = world
        .confluent()
        .list(&credentials, KeyFilter::of_owner(OWNER))
        .await
        .unwrap();

    let without_owner = keys.iter().filter(|key| key.owner.is_none());
    assert!(ids(&keys).contains(&world.initial_key.as_str()), "{keys:?}");
    assert!(ids(&keys).contains(&internal.as_str()), "{keys:?}");
    assert_eq!(
        without_owner.count(),
        2,
        "the added one and the one of every world"
    );
}

#[tokio::test]
async fn a_list_may_contain_null_and_unknown_fields() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    let keys = [
        json!({"id": "A", "spec": {"owner": null, "resource": null, "description": null}}),
        json!({"id": "B", "spec": {"owner": {"id": OWNER, "new": [1]}, "expires_at": "2027"}}),
        json!({"id": "C", "metadata": {"created_at": "yesterday", "resource_name": null}}),
    ];
    world.always_answer(page(&keys, &json!(null)));

    let keys = world
        .confluent()
        .list(&credentials, KeyFilter::of_owner(OWNER))
        .await
        .unwrap();

    assert_eq!(ids(&keys), ["A", "B", "C"]);
}

#[tokio::test]
async fn only_the_token_of_the_next_pages_url_is_used() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    let elsewhere = Simulator::start().await;
    let next = format!(
        "{}/iam/v2/api-keys?spec.owner=sa-other&page_token=a%2Bb",
        elsewhere.confluent_url()
    );
    world
        .simulator
        .respond_with(1, |_| true, page(&[], &json!(next)));
    world.always_answer(page(&[json!({"id": "A"})], &json!("")));

    let keys = world
        .confluent()
        .list(&credentials, KeyFilter::of_owner(OWNER))
        .await
        .unwrap();

    assert_eq!(ids(&keys), ["A"]);
    let target = world.simulator.state().requests[1].target.clone();
    assert!(target.ends_with("&page_token=a%2Bb"), "{target}");
    assert!(target.contains(&format!("spec.owner={OWNER}&")), "{target}");
    assert_eq!(elsewhere.state().request_names(), [""; 0]);
}

#[tokio::test]
async fn a_list_without_a_last_page_is_an_error() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    world.always_answer(page(&[], &json!("/iam/v2/api-keys?page_token=again")));

    let outcome = world
        .confluent()
        .list(&credentials, KeyFilter::of_owner(OWNER))
        .await;

    let error = outcome.expect_err("no last page");
    assert!(error.to_string().contains("exceeds 100 pages"), "{error}");
    assert_eq!(world.requests().len(), 100);
}

#[tokio::test]
async fn an_invalid_list_is_an_error_that_names_the_problem_and_quotes_nothing() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    let next = |next: &str| json!({"data": [], "metadata": {"next": next}}).to_string();
    for (body, problem) in [
        (next("/iam/v2/api-keys?hunter2"), "without a page_token"),
        (next("/iam/v2/api-keys?page_token="), "without a page_token"),
        (next("http://[hunter2"), "an invalid URL"),
        ("{\n \"data\": [hunter2]}".to_owned(), "line 2, column 11"),
        (
            r#"{"data": [{"id": 1, "hunter2": 2}]}"#.to_owned(),
            "line 1",
        ),
        (r#"{"data": "hunter2"}"#.to_owned(), "line 1"),
        (r#"{"keys": ["hunter2"]}"#.to_owned(), "line 1"),
        ("<html>hunter2</html>".to_owned(), "a proxy or a firewall"),
        ("\u{feff}hunter2".to_owned(), "a proxy or a firewall"),
        (String::new(), "line 1, column 0"),
    ] {
        let response = Response::new(200, "application/json", body.clone());
        world.simulator.respond_with(1, |_| true, response);

        let outcome = world
            .confluent()
            .list(&credentials, KeyFilter::of_owner(OWNER))
            .await;

        let error = outcome.expect_err(&body);
        assert!(error.to_string().contains(problem), "{body}: {error}");
        let output = format!("{error} {error:?}");
        assert!(!output.contains("hunter2"), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_key_of_every_type_is_created_with_ids_only() {
    for key_type in KEY_TYPES {
        let world = world_of(key_type).await;
        let credentials = world.admin_credentials();

        let key = world.create(&credentials, key_type).await.unwrap();

        let state = world.simulator.state();
        let created = &state.keys[key.id.as_str()];
        assert_eq!(created.key_type, key_type);
        assert_eq!(created.secret, key.secret.expose(), "{key_type:?}");
        assert_eq!(created.owner.as_deref(), Some(OWNER), "{key_type:?}");
        assert_eq!(created.description, "an ownership tag", "{key_type:?}");
        assert_eq!(created.display_name, "orders/kafka", "{key_type:?}");
        assert_eq!(
            created.environment.as_deref(),
            environment_id(key_type),
            "{key_type:?}"
        );
        // The simulator reports any other field as a violation.
        assert!(
            state.violations.is_empty(),
            "{key_type:?}: {:?}",
            state.violations
        );
    }
}

#[tokio::test]
async fn a_key_is_created_with_any_success_status() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    for status in [200, 201, 202] {
        let created = json!({"id": "NEW", "spec": {"secret": "hunter2", "new": null}, "new": {}});
        world
            .simulator
            .respond_with(1, |_| true, Response::json(status, &created));

        let key = world.create(&credentials, KeyType::Kafka).await.unwrap();

        assert_eq!(key.id.as_str(), "NEW", "{status}");
        assert_eq!(key.secret.expose(), "hunter2", "{status}");
    }
}

#[tokio::test]
async fn after_an_invalid_response_the_key_may_exist_and_nothing_is_quoted() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
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
        let response = Response::new(202, "application/json", body.clone());
        world.simulator.respond_with(1, |_| true, response);
        world.simulator.clear_requests();

        let outcome = world.create(&credentials, KeyType::Kafka).await;

        let error = outcome.expect_err(&body);
        assert!(
            matches!(error, Error::InvalidResponse { .. })
                || error.kind() == Some(ErrorKind::Blocked),
            "{body}: {error:?}"
        );
        assert!(error.may_have_taken_effect(), "{body}");
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
        assert_eq!(world.requests().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn a_rejected_request_creates_no_key() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    for status in [400, 401, 402, 403, 409, 422] {
        world
            .simulator
            .respond_with(1, |_| true, Response::empty(status));

        let outcome = world.create(&credentials, KeyType::Kafka).await;

        let error = outcome.expect_err("a rejection");
        assert!(!error.may_have_taken_effect(), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_key_that_no_longer_exists_counts_as_deleted_only_after_404() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    for (deleted_key_response, expected) in [
        (DeletedKeyResponse::NotFound, None),
        (DeletedKeyResponse::Forbidden, Some(ErrorKind::Forbidden)),
    ] {
        world.simulator.state().controls.deleted_key_response = deleted_key_response;
        let key = world.create(&credentials, KeyType::Kafka).await.unwrap();

        let first = world
            .confluent()
            .delete(&credentials, &key.id, async || true)
            .await;
        let second = world
            .confluent()
            .delete(&credentials, &key.id, async || true)
            .await;

        assert!(first.is_ok(), "{deleted_key_response:?}: {first:?}");
        assert_eq!(
            world.keys(),
            [world.initial_key.as_str()],
            "{deleted_key_response:?}"
        );
        let kind = second.err().and_then(|error| error.kind());
        assert_eq!(kind, expected, "{deleted_key_response:?}");
    }
    // The rule for deletion is not used here.
    world.simulator.state().violations.clear();
}

#[tokio::test]
async fn a_deletion_succeeds_only_without_a_body_or_with_json() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    let id = ApiKeyId::new("KEY".to_owned());
    for (status, body, is_success) in [
        (204, "", true),
        (200, "", true),
        (200, "{}", true),
        (200, "<html>Blocked</html>", false),
        (200, "Blocked", false),
        (200, "{Blocked}", false),
        (302, "", false),
    ] {
        let response = Response::new(status, "text/html", body);
        world.simulator.respond_with(1, |_| true, response);

        let deleted = world
            .confluent()
            .delete(&credentials, &id, async || true)
            .await;

        assert_eq!(deleted.is_ok(), is_success, "{status}, {body}");
        let may_be_deleted = deleted.is_err_and(|error| error.may_be_deleted());
        assert_eq!(may_be_deleted, !is_success, "{status}, {body}");
    }
}

#[tokio::test]
async fn an_id_cannot_change_the_path_of_a_request() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    world.always_answer(Response::empty(204));
    let id = ApiKeyId::new("../../org/v2/environments?a=b#c".to_owned());

    world
        .confluent()
        .delete(&credentials, &id, async || true)
        .await
        .unwrap();

    let target = world.simulator.state().requests[0].target.clone();
    assert_eq!(
        target,
        "/iam/v2/api-keys/..%2F..%2Forg%2Fv2%2Fenvironments%3Fa=b%23c"
    );
}

#[tokio::test]
async fn an_exceeded_quota_is_recognized_in_both_error_responses() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    for response in [QuotaResponse::PaymentRequired, QuotaResponse::BadRequest] {
        let per_owner = 1;
        world.simulator.state().controls.quota = Some(Quota {
            per_owner,
            response,
        });

        let error = world
            .create(&credentials, KeyType::Kafka)
            .await
            .unwrap_err();

        assert_eq!(error.kind(), Some(ErrorKind::QuotaExceeded), "{response:?}");
        assert!(error.to_string().contains("limited to 1"), "{error}");
        assert!(!error.may_have_taken_effect(), "{response:?}");
    }
}

#[tokio::test]
async fn a_resource_scoped_key_cannot_create_keys_and_the_remedy_is_an_admin_secret() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = Credentials::Key(world.resource_key(KeyType::Kafka));

    let error = world
        .create(&credentials, KeyType::Kafka)
        .await
        .unwrap_err();

    assert_eq!(error.kind(), Some(ErrorKind::ResourceScopedKey));
    let message = confluent_key_rotation::error::Error::from(error).message();
    assert!(message.contains("Name an admin secret"), "{message}");
}

#[tokio::test]
async fn the_error_for_a_missing_permission_names_the_role_to_grant() {
    let world = world_of(KeyType::Kafka).await;
    world.simulator.add_owner("sa-other", &[]);
    let credentials = Credentials::Key(api_key(world.simulator.add_key("sa-other", None, None)));

    let error = world
        .create(&credentials, KeyType::Kafka)
        .await
        .unwrap_err();

    assert_eq!(error.kind(), Some(ErrorKind::Forbidden));
    let message = confluent_key_rotation::error::Error::from(error).message();
    assert!(message.contains("ResourceOwner"), "{message}");
}

#[tokio::test]
async fn an_error_contains_operation_status_code_detail_and_request_id() {
    let world = world_of(KeyType::Kafka).await;
    let credentials = world.admin_credentials();
    let rejection =
        Response::confluent_error(409, Some("resource_already_exists"), "Conflict", "busy")
            .with_header("x-request-id", "req-42");
    world.always_answer(rejection);

    let error = world
        .create(&credentials, KeyType::Kafka)
        .await
        .unwrap_err();

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
