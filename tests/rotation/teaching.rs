//! What a person reads when a rotation fails: what is wrong, then what to do.
//!
//! Each case is a mistake that people make, or a fault that they meet. The message is compared whole, so that whoever
//! changes a text reads all of it again.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use simulator::{Answer, Plane, Quota, QuotaAnswer, Request, Watch};

use super::*;

/// A mistake or a fault, the name of the error it ends with, and the message.
///
/// In the message `OLD`, `NEW` and `SIGNER` are ids of keys, `SECRET` and `ADMIN` are ARNs, and `[..]`, once, is what the
/// operating system or the network library says.
struct Case {
    name: &'static str,
    arrange: fn(&mut World),
    step: &'static str,
    error: &'static str,
    message: &'static str,
}

/// A case that shows in the first step, as most do.
fn case(
    name: &'static str,
    arrange: fn(&mut World),
    error: &'static str,
    message: &'static str,
) -> Case {
    Case {
        name,
        arrange,
        step: "createSecret",
        error,
        message,
    }
}

/// Gives the secret another value, whether its key opens anything or not.
fn edit(world: &World, field: &str, value: &str) {
    watch_nothing(world);
    world.edit(|document| document[field] = json!(value));
}

/// Puts a value into the secret that is not what the function wants.
fn put(world: &World, value: &str) {
    watch_nothing(world);
    world.simulator.put_by_hand(&world.arn, value);
}

fn watch_nothing(world: &World) {
    world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
}

/// The ARN of the admin secret, if the secret names one.
fn admin_secret(world: &World) -> Option<String> {
    let state = world.simulator.state();
    let value: Value = serde_json::from_str(state.secret(&world.arn).value("AWSCURRENT")?).ok()?;
    value["adminSecretArn"].as_str().map(str::to_owned)
}

/// Gives the admin secret another key.
fn put_admin_key(world: &World, (id, secret): &(String, String)) {
    let arn = admin_secret(world).unwrap();
    world.simulator.state().secret_mut(&arn).watch = Watch::Off;
    let value = json!({"apiKey": id, "apiSecret": secret});
    world.simulator.put_by_hand(&arn, &value.to_string());
}

/// Lets the control plane name another endpoint for the cluster.
fn advertise(world: &World, url: String) {
    let mut state = world.simulator.state();
    let cluster = state.resources.get_mut("lkc-orders").unwrap();
    cluster.advertised = Some(url);
}

/// Answers every request for an operation of Secrets Manager.
fn refuse(world: &World, operation: &'static str, code: &str, message: &str) {
    let answer = Answer::aws_error(400, code, message);
    let is_operation = move |request: &Request| request.operation.as_deref() == Some(operation);
    world.simulator.answer(usize::MAX, is_operation, answer);
}

/// Answers every request to Confluent's control plane.
fn answer_all(world: &World, answer: Answer) {
    let on_control_plane = |request: &Request| request.plane == Plane::ControlPlane;
    world.simulator.answer(usize::MAX, on_control_plane, answer);
}

fn of_the_key() -> Vec<Case> {
    vec![
        case(
            "a typo in the key's secret",
            |world| edit(world, "apiSecret", "cfltTypo"),
            "CurrentKeyNotAccepted",
            "the current key OLD does not open its resource: it is not accepted there (401). Correct apiKey and \
             apiSecret in the secret; if the key is dead, set CURRENT_KEY_CHECK=off on the function for one rotation",
        ),
        case(
            "a typo in the key's id",
            |world| edit(world, "apiKey", "TYPO"),
            "CurrentKeyNotOfOwner",
            "the current key TYPO is not among sa-orders's keys: Confluent Cloud shows others, and not this one. Correct \
             apiKey in the secret; if the key was deleted, set CURRENT_KEY_CHECK=off on the function for one rotation",
        ),
        case(
            "a typo in the owner's id",
            |world| edit(world, "serviceAccountId", "sa-order"),
            "CurrentKeyNotOfOwner",
            "the current key OLD is not among sa-order's keys: it belongs to somebody else. Correct apiKey and \
             apiSecret, or serviceAccountId, in the secret",
        ),
        case(
            "the environment of another cluster",
            |world| edit(world, "environmentId", "env-test"),
            "CurrentKeyOfOtherResource",
            "the current key OLD is for another resource or environment than the secret names. Correct resourceId and \
             environmentId in the secret, or put the right key into it",
        ),
        case(
            "a bootstrap server's id for the cluster's",
            |world| edit(world, "resourceId", "pkc-orders"),
            "UnknownResource",
            "`resourceId` is not one that Confluent Cloud gives. Use lkc-…, lsrc-…, lksqlc-…, a Flink region such as \
             aws.us-west-2, Tableflow or Global, or leave it out for a Cloud key",
        ),
        Case {
            step: "testSecret",
            ..case(
                "a role that may not read the resource",
                |world| {
                    let is_of_new_key = {
                        let new = world.key("AWSPENDING");
                        move |request: &Request| {
                            request.plane == Plane::KafkaRest && request.key_id == new
                        }
                    };
                    let body = json!({"error_code": 40301, "message": "Request is not authorized"});
                    let refusal = Answer::json(403, &body);
                    world.simulator.answer(usize::MAX, is_of_new_key, refusal);
                    world.time_limit = Duration::from_secs(12);
                },
                "NewKeyNotAuthorised",
                "the new key NEW is not known to open its resource after [..] tries in 0 seconds: it is recognised \
                 there, and not authorised (403). The next attempt tries it again; if it goes on, give the key's owner \
                 a role that may list what is in the resource",
            )
        },
    ]
}

fn of_the_value() -> Vec<Case> {
    let not_an_object = "the value of the AWSCURRENT version of the secret is not usable: it is not a JSON object \
                         (line 1, column [..]). Store one JSON object with apiKey, apiSecret and serviceAccountId, and \
                         nothing before or after it; in the console, enter them as key/value pairs";
    vec![
        case(
            "the console's plain text, a key and its secret",
            |world| put(world, "ABCDEFGH12345678:cfltSecret"),
            "SecretValue",
            not_an_object,
        ),
        case(
            "the console's plain text, a secret alone",
            |world| put(world, "cfltSecret"),
            "SecretValue",
            not_an_object,
        ),
        case(
            "a file for a value",
            |world| world.arn = world.simulator.add_binary_secret("orders/bytes", b"\x00"),
            "SecretValue",
            "the value of SECRET is binary (SecretBinary). Store it as text (SecretString): a JSON object with apiKey \
             and apiSecret",
        ),
        case(
            "half a key",
            |world| edit(world, "apiSecret", ""),
            "SecretValue",
            "the value of the AWSCURRENT version of the secret is not usable: `apiSecret` is missing or empty. Put \
             `apiSecret` into it, spelt exactly so",
        ),
        case(
            "no key yet",
            |world| {
                edit(world, "apiSecret", "");
                edit(world, "apiKey", "");
            },
            "NoKeyYet",
            "the secret holds no key: apiKey and apiSecret are absent or empty. Put a key into the secret, or set \
             FIRST_KEY=allow on the function to let the first rotation make one",
        ),
        case(
            "an endpoint on a foreign domain",
            |world| edit(world, "endpoint", "https://kafka.example"),
            "EndpointNotAllowed",
            "`endpoint` in the secret is not used: kafka.example is not a host that credentials are sent to (its domain \
             is not an allowed one). Put the right one into `endpoint` in the secret; if this host is one to trust with \
             the key, add its domain to ALLOWED_ENDPOINT_DOMAINS on the function",
        ),
        case(
            "the bootstrap server for the endpoint",
            |world| {
                edit(
                    world,
                    "endpoint",
                    "pkc-1.eu-west-1.aws.confluent.cloud:9092",
                );
            },
            "EndpointNotAllowed",
            "`endpoint` in the secret is not used: pkc-1.eu-west-1.aws.confluent.cloud:9092 is not a host that \
             credentials are sent to (its port is not 443). Write it as https://HOST into `endpoint` in the secret",
        ),
    ]
}

fn of_who_signs() -> Vec<Case> {
    vec![
        case(
            "a cluster's key in the admin secret",
            |world| {
                let resource = Some("lkc-orders");
                let key = world.simulator.add_key(ADMIN, resource, Some(ENVIRONMENT));
                put_admin_key(world, &key);
            },
            "AdminSecretNeeded",
            "Confluent Cloud did not let the key SIGNER list the owner's API keys: status 401, invalid API key: make \
             sure you're using a Cloud API Key and not a Cluster API Key: \
             https://docs.confluent.io/cloud/current/api.html#section/Authentication (request id ID). Name an admin \
             secret that holds a Cloud key (adminSecretArn in the secret, or ADMIN_SECRET_ARN): the key of a cluster \
             cannot manage keys",
        ),
        case(
            "a typo in the admin key's secret",
            |world| {
                let (id, _) = world.simulator.add_key(ADMIN, None, None);
                put_admin_key(world, &(id, "cfltTypo".to_owned()));
            },
            "ConfluentUnauthenticated",
            "Confluent Cloud did not let the key SIGNER list the owner's API keys: status 401, Unauthorized (request id \
             ID). Correct apiKey and apiSecret in the secret that holds this key; if the key was deleted, put another \
             one there",
        ),
        case(
            "an admin without a role",
            |world| world.simulator.add_owner(ADMIN, &[]),
            "CurrentKeyNotOfOwner",
            "the current key OLD is not among sa-orders's keys: Confluent Cloud shows none of them to the key that \
             signs. Give the owner of the key that signs ResourceOwner on sa-orders, or OrganizationAdmin; if the \
             account is another one, correct serviceAccountId in the secret",
        ),
        case(
            "an admin who may not make keys",
            |world| {
                let makes_a_key = |request: &Request| {
                    request.plane == Plane::ControlPlane && request.method == "POST"
                };
                let refusal = Answer::confluent_forbidden();
                world.simulator.answer(usize::MAX, makes_a_key, refusal);
            },
            "ConfluentForbidden",
            "Confluent Cloud did not let the key SIGNER create an API key: status 403, code forbidden_access, Forbidden \
             Access (request id ID). Give the owner of the key that signs ResourceOwner on the service account, or \
             OrganizationAdmin; Confluent Cloud answers so too if what was asked for is gone",
        ),
        case(
            "an admin who does not see the cluster",
            |world| {
                let roles = [Role::ResourceOwnerOf(OWNER.to_owned())];
                world.simulator.add_owner(ADMIN, &roles);
            },
            "EndpointNotFound",
            "the resource's endpoint is not found: Confluent Cloud did not let the key SIGNER find the resource's \
             endpoint: status [..]. Correct resourceId and environmentId in the secret, or give the owner of the key \
             that signs a role that sees the resource, such as Operator, or put `endpoint` into the secret",
        ),
        case(
            "two admin secrets",
            |world| {
                let other = "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf";
                world.set("ADMIN_SECRET_ARN", other);
            },
            "AdminSecretAmbiguous",
            "adminSecretArn in the secret and ADMIN_SECRET_ARN name different admin secrets. Make them the same, or \
             leave all but one out",
        ),
        case(
            "the ARN of an admin secret in another region",
            |world| {
                let elsewhere = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf";
                world.edit(|document| document["adminSecretArn"] = json!(elsewhere));
            },
            "SecretsManagerRefused",
            "Secrets Manager refused GetSecretValue of ADMIN: ResourceNotFoundException, Secrets Manager can't find the \
             specified secret. Check the ARN: the secret has to exist, and in the function's own region",
        ),
        case(
            "an admin secret in plain text",
            |world| {
                let arn = admin_secret(world).unwrap();
                world.simulator.state().secret_mut(&arn).watch = Watch::Off;
                world.simulator.put_by_hand(&arn, "KEY:cfltSecret");
            },
            "AdminSecretValue",
            "the value of the admin secret ADMIN is not usable: it is not a JSON object (line 1, column [..]). Store \
             one JSON object with apiKey and apiSecret, and nothing before or after it; in the console, enter them as \
             key/value pairs",
        ),
    ]
}

/// As IAM words a denial.
fn denial(operation: &str, policy: &str) -> String {
    format!(
        "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
         secretsmanager:{operation} on resource: orders because no {policy} policy allows the \
         secretsmanager:{operation} action"
    )
}

fn of_permissions() -> Vec<Case> {
    const DENIED: &str = "AccessDeniedException";
    vec![
        case(
            "no permission for the KMS key",
            |world| {
                refuse(
                    world,
                    "GetSecretValue",
                    DENIED,
                    "Access to KMS is not allowed",
                );
            },
            "SecretsManagerRefused",
            "Secrets Manager refused GetSecretValue of SECRET: AccessDeniedException, Access to KMS is not allowed. \
             Allow the function's role kms:Decrypt and kms:GenerateDataKey on the key that encrypts the secret, in the \
             role's policy and the key's, and check that the key is enabled",
        ),
        case(
            "a KMS key that is switched off",
            |world| {
                let message = "Secrets Manager can't decrypt the protected secret text using the provided KMS key";
                refuse(world, "GetSecretValue", "DecryptionFailure", message);
            },
            "SecretsManagerRefused",
            "Secrets Manager refused GetSecretValue of SECRET: DecryptionFailure, Secrets Manager can't decrypt the \
             protected secret text using the provided KMS key. Allow the function's role kms:Decrypt and \
             kms:GenerateDataKey on the key that encrypts the secret, in the role's policy and the key's, and check \
             that the key is enabled",
        ),
        case(
            "a role that may not store a value",
            |world| {
                let message = denial("PutSecretValue", "identity-based");
                refuse(world, "PutSecretValue", DENIED, &message);
            },
            "SecretsManagerRefused",
            "Secrets Manager refused PutSecretValue of SECRET: AccessDeniedException, User: \
             arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
             secretsmanager:PutSecretValue on resource: orders because no identity-based policy allows the \
             secretsmanager:PutSecretValue action. Allow the function's role secretsmanager:PutSecretValue on this \
             secret in the role's policy; a condition on AllowRotationLambdaArn wants the function's ARN exactly as it \
             is attached",
        ),
        case(
            "a role that may not read the admin secret",
            |world| {
                // The first two reads are of the secret itself.
                let reads = AtomicUsize::new(0);
                let of_admin = move |request: &Request| {
                    request.operation.as_deref() == Some("GetSecretValue")
                        && reads.fetch_add(1, Relaxed) >= 2
                };
                let answer = Answer::aws_access_denied("GetSecretValue");
                world.simulator.answer(usize::MAX, of_admin, answer);
            },
            "SecretsManagerRefused",
            "Secrets Manager refused GetSecretValue of ADMIN: AccessDeniedException, User: \
             arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
             secretsmanager:GetSecretValue because no identity-based policy allows the secretsmanager:GetSecretValue \
             action. Allow the function's role secretsmanager:GetSecretValue on this secret in the role's policy; a \
             condition on AllowRotationLambdaArn wants the function's ARN exactly as it is attached",
        ),
        case(
            "the policy of the VPC's endpoint",
            |world| {
                let message = denial("DescribeSecret", "VPC endpoint");
                refuse(world, "DescribeSecret", DENIED, &message);
            },
            "SecretsManagerRefused",
            "Secrets Manager refused DescribeSecret of SECRET: AccessDeniedException, User: \
             arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
             secretsmanager:DescribeSecret on resource: orders because no VPC endpoint policy allows the \
             secretsmanager:DescribeSecret action. Allow the function's role secretsmanager:DescribeSecret on this \
             secret in the policy of the VPC's endpoint of Secrets Manager",
        ),
    ]
}

fn of_secrets_manager() -> Vec<Case> {
    vec![
        case(
            "a secret that is scheduled for deletion",
            |world| {
                let message = "You can't perform this operation on the secret because it was marked for deletion.";
                refuse(world, "GetSecretValue", "InvalidRequestException", message);
            },
            "SecretsManagerRefused",
            "Secrets Manager refused GetSecretValue of SECRET: InvalidRequestException, You can't perform this \
             operation on the secret because it was marked for deletion. Restore it with RestoreSecret if it is still \
             wanted, or let the rotation end with it",
        ),
        case(
            "a clock that is wrong",
            |world| {
                let message = "Signature expired: 20261101T000000Z is now earlier than 20261101T010000Z (20261101T010500Z - 5 min.)";
                refuse(
                    world,
                    "DescribeSecret",
                    "InvalidSignatureException",
                    message,
                );
            },
            "SecretsManagerRefused",
            "Secrets Manager refused DescribeSecret of SECRET: InvalidSignatureException, Signature expired: \
             20261101T000000Z is now earlier than 20261101T010000Z (20261101T010500Z - 5 min.). The next attempt signs \
             anew; if it goes on, set the clock of the machine that runs the function",
        ),
        case(
            "credentials that have expired",
            |world| {
                let message = "The security token included in the request is expired";
                refuse(world, "DescribeSecret", "ExpiredTokenException", message);
            },
            "SecretsManagerRefused",
            "Secrets Manager refused DescribeSecret of SECRET: ExpiredTokenException, The security token included in \
             the request is expired. Rotate again: Lambda renews the credentials of the function's role; outside of \
             Lambda, get fresh ones",
        ),
        case(
            "too many requests to Secrets Manager",
            |world| {
                refuse(
                    world,
                    "DescribeSecret",
                    "ThrottlingException",
                    "Rate exceeded",
                );
            },
            "SecretsManagerRefused",
            "Secrets Manager refused DescribeSecret of SECRET: ThrottlingException, Rate exceeded. The next attempt asks \
             again; if it goes on, spread the rotations over the day",
        ),
    ]
}

fn of_services_and_networks() -> Vec<Case> {
    vec![
        case(
            "a private cluster, from outside of its network",
            |world| advertise(world, world.simulator.unreachable_url()),
            "EndpointUnreachable",
            "the current key OLD cannot be tried at its resource: the endpoint cannot be reached from here (could not \
             connect to 127.0.0.1:1: [..]). Attach the function to a network that reaches the endpoint and resolves its \
             name, or set KEY_VERIFICATION=best-effort or control-plane on the function",
        ),
        case(
            "a gateway that answers 403 to everybody",
            |world| {
                let is_probe = |request: &Request| request.plane == Plane::KafkaRest;
                let answer = Answer::empty(403);
                world.simulator.answer(usize::MAX, is_probe, answer);
            },
            "EndpointIndifferent",
            "the resource's endpoint answers a wrong secret as it answers the current key's, so trying OLD there proves \
             nothing. Correct `endpoint` in the secret, or give the key's owner a role that may list what is in the \
             resource",
        ),
        case(
            "a quota that is used up",
            |world| {
                let answer = QuotaAnswer::PaymentRequired;
                let per_owner = 2;
                world.simulator.state().knobs.quota = Some(Quota { per_owner, answer });
            },
            "QuotaExceeded",
            "sa-orders has 2 API keys, 2 of them for this resource, and may have no more: Confluent Cloud did not let \
             the key SIGNER create an API key: status 402, [..] (request id ID). Delete keys of sa-orders that nobody \
             uses, or have Confluent raise the quota",
        ),
        case(
            "too many requests to Confluent",
            |world| {
                world.time_limit = Duration::from_secs(5);
                answer_all(world, Answer::empty(429));
            },
            "ConfluentRateLimited",
            "Confluent Cloud did not let the key SIGNER list the owner's API keys: status 429 (request id ID). The next \
             attempt asks again; if it goes on, spread the rotations over the day",
        ),
        case(
            "Confluent Cloud is down",
            |world| answer_all(world, Answer::new(503, "text/html", "<html>down</html>")),
            "ConfluentUnavailable",
            "Confluent Cloud failed to list the owner's API keys: status 503, an HTML page (request id ID). The next \
             attempt asks again; if it goes on, see https://status.confluent.cloud",
        ),
        case(
            "no way out to Confluent",
            |world| world.set("CONFLUENT_API_URL", &world.simulator.unreachable_url()),
            "ConfluentUnavailable",
            "Confluent Cloud gave no usable answer when asked to list the owner's API keys: could not connect to \
             127.0.0.1:1: [..]. Give the function a way to that host, in a VPC by a NAT gateway; and check \
             CONFLUENT_API_URL if you set it",
        ),
        case(
            "Lambda's usual timeout",
            |world| world.time_limit = Duration::from_secs(3),
            "OutOfTime",
            "too little time is left to make a key and store it. Set the function's timeout to 15 minutes; the next \
             attempt goes on where this one ended",
        ),
        Case {
            step: "testSecret",
            ..case(
                "Lambda's usual timeout, in the test",
                |world| world.time_limit = Duration::from_secs(3),
                "OutOfTime",
                "too little time is left to try the new key. Set the function's timeout to 15 minutes; the next attempt \
                 goes on where this one ended",
            )
        },
        case(
            "a step that nobody asked for",
            |world| {
                world
                    .simulator
                    .state()
                    .secret_mut(&world.arn)
                    .rotation_enabled = Some(false);
            },
            "RotationNotEnabled",
            "rotation is not enabled for SECRET. Enable it with RotateSecret, naming this function; if it was cancelled \
             on purpose, nothing is to be done",
        ),
    ]
}

/// A message with names in the place of ids.
fn with_names(world: &World, message: &str) -> String {
    let admin = admin_secret(world).unwrap_or_default();
    let signer = {
        let state = world.simulator.state();
        let key = state
            .secrets
            .get(&admin)
            .and_then(|secret| secret.key_named_by("AWSCURRENT"));
        key.unwrap_or_default().to_owned()
    };
    let new = world.key("AWSPENDING").unwrap_or_default();
    let mut text = message.to_owned();
    for (id, name) in [
        (world.first_key.as_str(), "OLD"),
        (&new, "NEW"),
        (&signer, "SIGNER"),
        (&world.arn, "SECRET"),
        (&admin, "ADMIN"),
    ] {
        if !id.is_empty() {
            text = text.replace(id, name);
        }
    }
    let Some((before, (id, after))) = text
        .split_once("(request id ")
        .and_then(|(before, rest)| Some((before, rest.split_once(')')?)))
    else {
        return text;
    };
    assert!(!id.is_empty(), "{message}");
    format!("{before}(request id ID){after}")
}

/// Asserts that a message is what it should be but for what `[..]` stands for.
fn assert_message(message: &str, expected: &str, case: &str) {
    let (start, end) = expected.split_once("[..]").unwrap_or((expected, ""));
    let is_expected = if end.is_empty() {
        message == expected
    } else {
        message.len() >= start.len() + end.len()
            && message.starts_with(start)
            && message.ends_with(end)
    };
    assert!(
        is_expected,
        "{case}\n     is: {message}\nexpected: {expected}"
    );
}

#[tokio::test]
async fn every_mistake_is_answered_with_what_is_wrong_and_then_what_to_do() {
    let cases = [
        of_the_key(),
        of_the_value(),
        of_who_signs(),
        of_permissions(),
        of_secrets_manager(),
        of_services_and_networks(),
    ];
    for case in cases.into_iter().flatten() {
        let mut world = World::new(Setting::default()).await;
        if case.step == "testSecret" {
            world.step("createSecret").await.unwrap();
        }
        (case.arrange)(&mut world);

        let error = world.step(case.step).await.expect_err(case.name);

        let message = with_names(&world, &error.error_message);
        assert_eq!(error.error_type, case.error, "{}: {message}", case.name);
        assert_message(&message, case.message, case.name);
    }
}

#[tokio::test]
async fn a_clusters_key_that_would_have_to_sign_for_itself_is_told_where_to_name_an_admin_secret() {
    let world = World::new(Setting {
        mode: Mode::Own,
        ..Setting::default()
    })
    .await;

    let error = world.step("createSecret").await.unwrap_err();

    let message = with_names(&world, &error.error_message);
    assert_message(
        &message,
        "Confluent Cloud did not let the key OLD list the owner's API keys: status 401, [..]. Name an admin secret that \
         holds a Cloud key (adminSecretArn in the secret, or ADMIN_SECRET_ARN): the key of a cluster cannot manage keys",
        "a cluster's key signs",
    );
}
