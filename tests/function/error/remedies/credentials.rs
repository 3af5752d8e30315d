//! Messages about the management credentials.

use super::*;

const CASES: &[Case] = &[
    Case {
        name: "a resource-scoped API key in the admin secret",
        arrange: |world| {
            let resource = Some("lkc-orders");
            let key = world.simulator.add_key(ADMIN, resource, Some(ENVIRONMENT));
            store_admin_key(world, &key);
        },
        error: "AdminSecretRequired",
        message: "Confluent Cloud rejected key MANAGEMENT in a request to list the owner's API keys: HTTP 401, invalid \
                  API key: make sure you're using a Cloud API Key and not a Cluster API Key: \
                  https://docs.confluent.io/cloud/current/api.html#section/Authentication (request ID ID). Name an \
                  admin secret with a Cloud API key (template parameter AdminSecretArn), or store a Cloud API key in the one \
                  that is named",
        ..CASE
    },
    Case {
        name: "a typo in the admin key's API secret",
        arrange: |world| {
            let (id, _) = world.simulator.add_key(ADMIN, None, None);
            store_admin_key(world, &(id, "cfltTypo".to_owned()));
        },
        error: "ConfluentUnauthenticated",
        message: "Confluent Cloud rejected key MANAGEMENT in a request to list the owner's API keys: HTTP 401, \
                  Unauthorized (request ID ID). Correct this key in the secret that contains it, or store another \
                  Cloud API key if it was deleted",
        ..CASE
    },
    Case {
        name: "an admin key without a role",
        arrange: |world| world.grant_admin(&[]),
        error: "CurrentKeyNotOfOwner",
        message: "could not confirm that the current key CURRENT is an API key of sa-orders: Confluent Cloud shows neither this \
                  key nor any key of this owner to the management credentials: they have no role for this owner, or the key has \
                  another owner or was deleted. Look up the key's owner in Confluent Cloud. If it is another one, correct \
                  serviceAccountId. If it is this one, grant the management credentials' owner, or the identity pool, \
                  ResourceOwner on this service account",
        ..CASE
    },
    Case {
        name: "an admin key without permission to create keys",
        arrange: |world| respond(world, creates_a_key, Response::confluent_forbidden()),
        error: "ConfluentForbidden",
        message: "Confluent Cloud denied key MANAGEMENT permission to create an API key: HTTP 403, code \
                  forbidden_access, Forbidden Access (request ID ID). Check that serviceAccountId is correct and that it and \
                  the key exist. Only if so, grant the management credentials' owner ResourceOwner on this service account",
        ..CASE
    },
    Case {
        name: "two admin secrets",
        arrange: |world| {
            let other = "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf";
            world.set_variable("ADMIN_SECRET_ARN", other);
        },
        error: "AdminSecretConflict",
        message: "adminSecretArn or masterarn in the secret and ADMIN_SECRET_ARN name different admin secrets. Name one secret in \
                  both, or remove one of them",
        ..CASE
    },
    Case {
        name: "the ARN of an admin secret in another Region",
        arrange: |world| {
            let other = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf";
            world.change_value(|value| value["adminSecretArn"] = json!(other));
        },
        error: "SecretsManagerRejected",
        message: "could not read the admin secret: Secrets Manager rejected GetSecretValue for ADMIN: ResourceNotFoundException, Secrets Manager can't \
                  find the specified secret. Check the ARN or the name: the secret must exist in the function's Region",
        ..CASE
    },
    Case {
        name: "a partial ARN of the admin secret",
        arrange: |world| {
            let arn = admin_secret(world).unwrap();
            world.change_value(|value| value["adminSecretArn"] = json!(arn[..arn.len() - 7]));
        },
        error: "InvalidSecretValue",
        message: "the value of the AWSCURRENT version of the secret is invalid: `adminSecretArn` is not the complete ARN of a \
                  secret, with the hyphen and the six random characters at its end. Copy it from DescribeSecret of the admin \
                  secret",
        ..CASE
    },
    Case {
        name: "a partial ARN of the admin secret in the rotation metadata",
        arrange: |world| {
            let arn = admin_secret(world).unwrap();
            let partial = arn[..arn.len() - 7].to_owned();
            let mut state = world.simulator.state();
            state.secret_mut(&world.arn).admin_secret_arn = Some(partial);
        },
        error: "InvalidAdminSecretArn",
        message: "adminSecretArn in the rotation metadata is not the complete ARN of a secret, with the hyphen and the six \
                  random characters at its end. Copy it from DescribeSecret of the admin secret",
        ..CASE
    },
    Case {
        name: "a binary admin secret",
        arrange: |world| {
            let binary = world.simulator.add_binary_secret("admin/bytes", b"\x00");
            world.change_value(|value| value["adminSecretArn"] = json!(binary));
        },
        error: "InvalidAdminSecretValue",
        message: "could not read the admin secret: the value of ADMIN is binary (SecretBinary). Store the value as a string \
                  (SecretString)",
        ..CASE
    },
    Case {
        name: "an admin secret in plaintext",
        arrange: |world| store(world, &admin_secret(world).unwrap(), "KEY:cfltSecret"),
        error: "InvalidAdminSecretValue",
        message: "the value of the admin secret ADMIN is invalid: it is not a JSON object (line 1, column [..]). Store \
                  key/value pairs: apiKey, apiSecret and (not in admin secrets) serviceAccountId",
        ..CASE
    },
];

/// Stores another key in the admin secret.
fn store_admin_key(world: &World, (id, secret): &(String, String)) {
    let value = json!({"apiKey": id, "apiSecret": secret});
    store(world, &admin_secret(world).unwrap(), &value.to_string());
}

#[tokio::test]
async fn invalid_management_credentials_are_reported_with_their_remedy() {
    assert_messages(CASES).await;
}

#[tokio::test]
async fn self_rotation_of_a_resource_scoped_api_key_requires_an_admin_secret() {
    let world = World::new(Setting {
        mode: Mode::SelfRotation,
        ..Setting::default()
    })
    .await;

    let error = world.step("createSecret").await.unwrap_err();

    let message = with_placeholders(&world, &error.error_message);
    let expected = "the secret's own key is a resource-scoped API key (kafka), which cannot authenticate to the control plane of \
                    Confluent Cloud, and no admin secret is configured. Name an admin secret with a Cloud API key: in the \
                    template parameter AdminSecretArn, or in adminSecretArn of the secret and in OtherAdminSecretArns. Or use an \
                    identity pool (IdentityPoolId)";
    assert_eq!(error.error_type, "AdminSecretRequired");
    assert_eq!(message, expected);
    assert_eq!(world.count(is_to_confluent), 0);
}
