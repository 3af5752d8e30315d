//! `ListSecrets` by the function.

use serde_json::{Value, json};
use simulator::{FUNCTION_ARN, Simulator, Stack};

use crate::World;

impl World {
    async fn list_secrets(&self, body: Value) -> (u16, Value) {
        self.secrets_manager("ListSecrets", &body).await
    }

    /// Returns the names of the secrets on each page.
    async fn pages(&self, size: usize) -> Vec<Vec<String>> {
        let mut request = json!({ "MaxResults": size });
        let mut pages = Vec::new();
        loop {
            let (status, body) = self.list_secrets(request.clone()).await;
            assert_eq!(status, 200, "{body}");
            let secrets = body["SecretList"].as_array().unwrap();
            let names = secrets.iter().map(|entry| entry["Name"].as_str().unwrap());
            pages.push(names.map(ToOwned::to_owned).collect());
            match body.get("NextToken") {
                Some(token) => request["NextToken"] = token.clone(),
                None => return pages,
            }
        }
    }

    /// Returns the list entry of the secret.
    async fn entry(&self) -> Value {
        let (_, body) = self.list_secrets(json!({})).await;
        let mut entries = body["SecretList"].as_array().unwrap().iter();
        let entry = entries.find(|entry| entry["ARN"] == json!(self.arn));
        entry.unwrap().clone()
    }
}

fn fields(entry: &Value) -> Vec<&str> {
    let fields = entry.as_object().unwrap().keys();
    fields.map(String::as_str).collect()
}

fn deploy(simulator: &Simulator, may_list_secrets: bool) {
    simulator.deploy(Stack {
        name: "rotation".to_owned(),
        function_arn: FUNCTION_ARN.to_owned(),
        outputs: [].into(),
        secret_prefixes: vec!["app/".to_owned()],
        admin_secret_arns: Vec::new(),
        may_list_secrets,
    });
}

#[tokio::test]
async fn an_entry_and_a_description_have_the_documented_fields() {
    let world = World::new().await;
    world
        .simulator
        .add_replica(&world.arn, "eu-west-1", "InSync");
    let tags = [("team".to_owned(), "orders".to_owned())];
    world
        .simulator
        .state()
        .secret_mut(&world.arn)
        .attributes
        .tags = tags.into();

    world.rotate().await;
    let entry = world.entry().await;
    let (_, description) = world.aws("DescribeSecret", json!({})).await;

    let common = [
        "ARN",
        "CreatedDate",
        "LastChangedDate",
        "LastRotatedDate",
        "Name",
        "NextRotationDate",
        "PrimaryRegion",
        "RotationEnabled",
        "RotationLambdaARN",
        "RotationRules",
        "Tags",
    ];
    for field in common {
        assert!(!entry[field].is_null(), "{field}");
        assert_eq!(entry[field], description[field], "{field}");
    }
    assert_eq!(
        fields(&entry),
        [&common[..10], &["SecretVersionsToStages"], &common[10..]].concat()
    );
    assert_eq!(
        fields(&description),
        [
            &common[..7],
            &["ReplicationStatus"],
            &common[7..],
            &["VersionIdsToStages"]
        ]
        .concat()
    );
    assert_eq!(
        entry["SecretVersionsToStages"],
        description["VersionIdsToStages"]
    );
    assert_eq!(entry["RotationLambdaARN"], FUNCTION_ARN);
    assert_eq!(
        entry["RotationRules"],
        json!({ "AutomaticallyAfterDays": 30 })
    );
    assert_eq!(entry["Tags"], json!([{ "Key": "team", "Value": "orders" }]));
}

#[tokio::test]
async fn a_secret_whose_rotation_was_never_turned_on_has_no_field_of_rotation() {
    let mut world = World::new().await;
    world.arn = world.simulator.add_admin_secret("admin", &world.admin);

    let entry = world.entry().await;

    assert_eq!(
        fields(&entry),
        [
            "ARN",
            "CreatedDate",
            "LastChangedDate",
            "Name",
            "SecretVersionsToStages",
            "Tags"
        ]
    );
}

#[tokio::test]
async fn a_secret_whose_rotation_was_turned_off_keeps_its_function_and_has_no_next_rotation() {
    let world = World::new().await;
    world.simulator.cancel_rotation(&world.arn);

    let entry = world.entry().await;

    assert_eq!(entry["RotationEnabled"], false);
    assert_eq!(entry["RotationLambdaARN"], FUNCTION_ARN);
    assert_eq!(entry.get("NextRotationDate"), None);
}

#[tokio::test]
async fn every_secret_is_on_one_page() {
    let world = World::new().await;
    for name in ["b", "c", "d", "e"] {
        world.simulator.add_admin_secret(name, &world.admin);
    }
    for (max_page, empty_pages, expected) in [
        (None, false, vec![3, 2]),
        (Some(2), false, vec![2, 2, 1]),
        (Some(5), false, vec![3, 2]),
        (None, true, vec![0, 3, 0, 2, 0]),
        (Some(5), true, vec![0, 3, 0, 2, 0]),
    ] {
        world.simulator.state().controls.max_secrets_page = max_page;
        world.simulator.state().controls.empty_secrets_pages = empty_pages;

        let pages = world.pages(3).await;

        let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, expected, "{max_page:?}, {empty_pages}");
        assert_eq!(pages.concat(), ["app/kafka", "b", "c", "d", "e"]);
    }
}

#[tokio::test]
async fn a_secret_that_is_added_between_two_pages_moves_no_other_secret() {
    let world = World::new().await;
    for name in ["b", "d"] {
        world.simulator.add_admin_secret(name, &world.admin);
    }
    let (_, first) = world.list_secrets(json!({ "MaxResults": 2 })).await;

    for name in ["a", "c"] {
        world.simulator.add_admin_secret(name, &world.admin);
    }
    let (_, second) = world
        .list_secrets(json!({ "NextToken": first["NextToken"] }))
        .await;

    let names = |page: &Value| {
        let entries = page["SecretList"].as_array().unwrap().iter();
        let names: Vec<_> = entries.map(|entry| entry["Name"].clone()).collect();
        names
    };
    assert_eq!(names(&first), ["app/kafka", "b"]);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second.get("NextToken"), None);
}

#[tokio::test]
async fn a_list_of_the_function_with_filters_or_a_wrong_size_is_a_violation() {
    let world = World::new().await;
    for (field, value) in [
        ("Filters", json!([{ "Key": "name", "Values": ["app/"] }])),
        ("IncludePlannedDeletion", json!(true)),
        ("SortOrder", json!("asc")),
        ("SecretId", json!(world.arn)),
        ("MaxResults", json!(0)),
        ("MaxResults", json!(101)),
        ("MaxResults", json!("10")),
        ("NextToken", json!(1)),
    ] {
        let (status, _) = world.list_secrets(json!({ field: value })).await;

        assert_eq!(status, 500, "{field}");
        world.assert_violation(field);
    }
}

#[tokio::test]
async fn an_unknown_token_is_invalid() {
    let world = World::new().await;

    let (status, body) = world.list_secrets(json!({ "NextToken": "100" })).await;

    assert_eq!(
        (status, &body["__type"]),
        (400, &json!("InvalidNextTokenException"))
    );
}

#[tokio::test]
async fn the_function_lists_secrets_only_if_its_stack_permits_it() {
    let world = World::new().await;

    deploy(&world.simulator, false);
    let (status, denied) = world.list_secrets(json!({})).await;
    deploy(&world.simulator, true);
    let (permitted, _) = world.list_secrets(json!({})).await;

    assert_eq!((status, permitted), (400, 200));
    assert_eq!(denied["__type"], "AccessDeniedException");
    let reason = "is not authorized to perform: secretsmanager:ListSecrets because no identity-based policy allows";
    let message = denied["message"].as_str().unwrap();
    assert!(message.contains(reason), "{message}");
}

#[tokio::test]
async fn a_frozen_list_does_not_change() {
    let world = World::new().await;
    let before = world.entry().await;
    world.simulator.freeze_list();

    world.rotate().await;
    world.simulator.add_admin_secret("new", &world.admin);
    let frozen = (world.entry().await, world.pages(9).await.concat());
    world.simulator.unfreeze_list();
    let current = (world.entry().await, world.pages(9).await.concat());

    assert_eq!(frozen, (before, vec!["app/kafka".to_owned()]));
    assert_ne!(current.0, frozen.0);
    assert_eq!(current.1, ["app/kafka", "new"]);
}

#[tokio::test]
async fn deleted_secrets_and_secrets_of_other_regions_are_not_listed() {
    let world = World::new().await;
    let deleted = world.simulator.add_admin_secret("deleted", &world.admin);
    {
        let mut state = world.simulator.state();
        state.secret_mut(&deleted).attributes.deleted = Some(1.0);
        "eu-west-1".clone_into(&mut state.region);
    }
    world.simulator.add_admin_secret("elsewhere", &world.admin);

    assert_eq!(world.pages(9).await.concat(), ["app/kafka"]);
}
