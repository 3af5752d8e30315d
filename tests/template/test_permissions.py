"""Whatever its parameters are, the stack allows only what these tests list."""

import json
from itertools import combinations

import pytest
from conftest import ROOT, Stack
from samcli.yamlhelper import yaml_parse

ACCOUNT, OTHER_ACCOUNT = "111111111111", "222222222222"
FUNCTION = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:confluent-key-rotation"
ADMIN = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:admin-AbCdEf"
OTHER_ADMINS = [f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:{name}-AbCdEf" for name in ("b", "c")]
KEYS = [f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{name}" for name in ("1", "2")]
ADMIN_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/3"
SECRETS_TO_RETIRE = [f"arn:aws:secretsmanager:eu-west-1:{OTHER_ACCOUNT}:secret:a/{name}-AbCdEf" for name in ("b", "c")]
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
AUDIENCE = "https://confluent.cloud/oidc"

PREFIXES = ["a/", "b", "c/d", "e+", "f@"]

CHOICES = {
    "SecretPrefixes": ",".join(PREFIXES),
    "SourceAccount": OTHER_ACCOUNT,
    "AdminSecretArn": ADMIN,
    "OtherAdminSecretArns": ",".join(OTHER_ADMINS),
    "SecretKmsKeyArns": ",".join(KEYS),
    "AdminSecretKmsKeyArns": ADMIN_KEY,
    "IdentityPoolId": "pool-AbC1",
    "VpcSubnetIds": "subnet-1,subnet-2",
    "VpcSecurityGroupIds": "sg-1",
    "PermissionsBoundaryArn": BOUNDARY,
    "RetireSchedule": "no",
    "RetireSecretArns": ",".join(SECRETS_TO_RETIRE),
}
# The template's rules reject other combinations.
TOGETHER = {"VpcSubnetIds", "VpcSecurityGroupIds"}
APART = {"AdminSecretArn", "OtherAdminSecretArns", "IdentityPoolId"}
EVERY_COMBINATION = [
    dict(parameters) for size in range(len(CHOICES) + 1) for parameters in combinations(CHOICES.items(), size)
]
COMBINATIONS = [
    parameters
    for parameters in EVERY_COMBINATION
    if len(TOGETHER & parameters.keys()) != 1
    and len(APART & parameters.keys()) <= 1
    and ("RetireSecretArns" not in parameters or "SourceAccount" in parameters)
]

ENI_ACTIONS = {
    f"ec2:{action}"
    for action in (
        "CreateNetworkInterface",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "DeleteNetworkInterface",
        "AssignPrivateIpAddresses",
        "UnassignPrivateIpAddresses",
    )
}


def as_set(value):
    return frozenset([value] if isinstance(value, str) else value)


def flat(statement):
    """Returns a statement's actions, resources, and conditions as sets."""
    conditions = frozenset(
        (operator, key, as_set(values))
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )
    known = {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
    assert statement.keys() <= known, statement
    return as_set(statement["Action"]), as_set(statement["Resource"]), conditions


def allowed(parameters):
    """Yields every permission that the function may have, for the given parameters."""
    account = parameters.get("SourceAccount", ACCOUNT)
    prefixes = parameters.get("SecretPrefixes", "confluent/").split(",")
    secrets = [f"arn:aws:secretsmanager:eu-west-1:{account}:secret:{prefix}*" for prefix in prefixes]
    admins = [parameters["AdminSecretArn"]] if "AdminSecretArn" in parameters else []
    others = OTHER_ADMINS if "OtherAdminSecretArns" in parameters else []
    log = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/aws/lambda/confluent-key-rotation:*"
    current = ("StringEquals", "secretsmanager:VersionStage", as_set("AWSCURRENT"))
    service = ("StringEquals", "kms:ViaService", as_set("secretsmanager.eu-west-1.amazonaws.com"))

    yield (
        as_set(
            f"secretsmanager:{action}"
            for action in ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage")
        ),
        as_set(secrets),
        frozenset([("StringEquals", "secretsmanager:resource/AllowRotationLambdaArn", as_set(FUNCTION))]),
    )
    yield as_set(["logs:CreateLogStream", "logs:PutLogEvents"]), as_set(log), frozenset()
    yield as_set(["xray:PutTraceSegments", "xray:PutTelemetryRecords"]), as_set("*"), frozenset()
    for secret in (admins, others):
        if secret:
            yield as_set("secretsmanager:GetSecretValue"), as_set(secret), frozenset([current])
    if "SecretKmsKeyArns" in parameters:
        of_secrets = ("StringLike", "kms:EncryptionContext:SecretARN", as_set(secrets))
        yield as_set(["kms:Decrypt", "kms:GenerateDataKey"]), as_set(KEYS), frozenset([service, of_secrets])
    if "AdminSecretKmsKeyArns" in parameters and (admins or others):
        of_admins = ("StringEquals", "kms:EncryptionContext:SecretARN", as_set(admins or others))
        yield as_set("kms:Decrypt"), as_set(ADMIN_KEY), frozenset([service, of_admins])
    if "IdentityPoolId" in parameters:
        yield token_permission(
            parameters.get("TokenAudience", AUDIENCE), parameters.get("TokenSigningAlgorithm", "ES384")
        )
    if "RetireSchedule" not in parameters and "SourceAccount" not in parameters:
        yield as_set("secretsmanager:ListSecrets"), as_set("*"), frozenset()
    if "VpcSubnetIds" in parameters:
        yield frozenset(ENI_ACTIONS), as_set("*"), frozenset()


def token_permission(audience, algorithm):
    """Returns the permission for one audience and algorithm, for at most five minutes, and for the role's own ARN as subject.

    `sts:IdentityTokenAudience` has several values, and a token requires at least one.
    <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_policies.html>
    """
    return (
        as_set("sts:GetWebIdentityToken"),
        as_set(f"arn:aws:sts::{ACCOUNT}:self"),
        frozenset(
            [
                ("ForAllValues:StringEquals", "sts:IdentityTokenAudience", as_set(audience)),
                ("Null", "sts:IdentityTokenAudience", as_set("false")),
                ("StringEquals", "sts:SigningAlgorithm", as_set(algorithm)),
                ("NumericLessThanEquals", "sts:DurationSeconds", as_set("300")),
                ("StringEqualsIfExists", "sts:SubjectMode", as_set("AWSIdentity")),
            ]
        ),
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["VpcSubnetIds"], "VpcSubnetIds requires VpcSecurityGroupIds"),
        (["VpcSecurityGroupIds"], "VpcSecurityGroupIds requires VpcSubnetIds"),
        (["AdminSecretArn", "OtherAdminSecretArns"], "not both"),
        (["IdentityPoolId", "AdminSecretArn"], "Set IdentityPoolId or AdminSecretArn, not both"),
        (["IdentityPoolId", "OtherAdminSecretArns"], "Set IdentityPoolId or OtherAdminSecretArns, not both"),
        (["RetireSecretArns"], "RetireSecretArns requires SourceAccount"),
        (["RetireSecretArns", "RetireSchedule"], "RetireSecretArns requires SourceAccount"),
    ],
)
def test_invalid_combinations_of_parameters_are_rejected(names, message):
    with pytest.raises(AssertionError, match=message):
        Stack("template.yaml", **{name: CHOICES[name] for name in names})


@pytest.mark.parametrize("count", range(1, len(PREFIXES) + 1))
def test_each_prefix_has_its_own_pattern(stack, count):
    parameters = {"SecretPrefixes": ",".join(PREFIXES[:count])}
    role = stack(**parameters).resources["RotationRole"]["Properties"]
    (rotate,) = (
        s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"] if s.get("Sid") == "Rotate"
    )
    assert flat(rotate) == next(allowed(parameters))


@pytest.mark.parametrize("prefixes", ["", "a/,", ",a/", "a/,,b/", "a/, b/", "a/*", "a,b,c,d,e,f"])
def test_invalid_prefixes_are_rejected(prefixes):
    """An empty prefix would allow every secret, and a sixth one would be ignored."""
    with pytest.raises(AssertionError, match="SecretPrefixes="):
        Stack("template.yaml", SecretPrefixes=prefixes)


def test_rules_use_only_functions_that_rules_support():
    """<https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html>"""

    def functions(value):
        if isinstance(value, dict):
            yield from value.keys()
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
            yield from functions(item)

    rules = yaml_parse((ROOT / "template.yaml").read_text())["Rules"]
    for rule in rules.values():
        for assertion in rule["Assertions"]:
            supported = {"Ref", "Fn::And", "Fn::EachMemberEquals", "Fn::Equals", "Fn::Not", "Fn::Or"}
            assert set(functions(assertion["Assert"])) <= supported


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=lambda parameters: "+".join(parameters) or "defaults")
def test_the_role_allows_what_the_function_requires_and_no_more(stack, parameters):
    created = stack(**parameters)
    identity = {name for name, r in created.resources.items() if r["Type"].startswith("AWS::IAM::")}
    assert identity == {"RotationRole"}
    role = created.resources["RotationRole"]["Properties"]
    assert "ManagedPolicyArns" not in role
    assert role.get("PermissionsBoundary") == parameters.get("PermissionsBoundaryArn")

    statements = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
    allow = [flat(s) for s in statements if s["Effect"] == "Allow"]
    assert sorted(map(repr, map(readable, allow))) == sorted(map(repr, map(readable, allowed(parameters))))


def statements_of(stack):
    """Returns the statements of the role."""
    role = stack.resources["RotationRole"]["Properties"]
    return [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]


def test_the_token_has_the_audience_and_the_algorithm_of_the_parameters(stack):
    settings = {"TokenAudience": "urn:rotation:a_b-c.d", "TokenSigningAlgorithm": "RS256"}
    keyless = stack(IdentityPoolId="pool-AbC1", **settings)
    token = [flat(s) for s in statements_of(keyless) if "GetWebIdentityToken" in s["Sid"]]
    assert token == [token_permission("urn:rotation:a_b-c.d", "RS256")]
    assert not [s for s in statements_of(stack(**settings)) if "sts:" in str(s)]


@pytest.mark.parametrize("schedule", ["yes", "no"])
def test_without_an_admin_secret_the_role_reads_only_the_secrets_with_its_prefixes(stack, schedule):
    keyless = stack(
        IdentityPoolId="pool-AbC1",
        AdminSecretKmsKeyArns=ADMIN_KEY,
        SecretKmsKeyArns=",".join(KEYS),
        RetireSchedule=schedule,
    )
    reads = [s for s in statements_of(keyless) if {"secretsmanager:GetSecretValue", "kms:Decrypt"} & set(s["Action"])]
    assert [s["Sid"] for s in reads] == ["Rotate", "UseSecretKmsKeys"]
    assert ADMIN_KEY not in json.dumps(statements_of(keyless))


@pytest.mark.parametrize("pool", ["pool-", "pool-a b", "sa-abc123", "pool-a\n", "POOL-a", 'pool-a"', "pool-a,pool-b"])
def test_invalid_identity_pools_are_rejected(pool):
    with pytest.raises(AssertionError, match="IdentityPoolId="):
        Stack("template.yaml", IdentityPoolId=pool)


@pytest.mark.parametrize("audience", ["", 'a" || true', "a,b", "${aws:username}", "https://*", "a" * 161])
def test_an_audience_that_would_change_the_filter_or_the_policy_is_rejected(audience):
    """The filter of an identity pool has at most 300 characters, and the name of a role 64."""
    with pytest.raises(AssertionError, match="TokenAudience="):
        Stack("template.yaml", TokenAudience=audience)


def test_the_filter_of_the_identity_pool_requires_this_role_and_this_audience(stack):
    """The default filter of Confluent's CLI is `true`. The filter must exist before the pool."""
    for parameters in ({}, {"IdentityPoolId": "pool-AbC1"}):
        outputs = stack(**parameters).outputs()
        assert outputs["FunctionRoleArn"] == "RotationRole.Arn"
        assert outputs["IdentityPoolFilter"] == f'claims.sub=="RotationRole.Arn" && claims.aud=="{AUDIENCE}"'
    longest = stack(TokenAudience="a" * 160).outputs()["IdentityPoolFilter"]
    role = "arn:aws-us-gov:iam::123456789012:role/" + "r" * 64
    assert len(longest.replace("RotationRole.Arn", role)) <= 300


def readable(statement):
    actions, resources, conditions = statement
    conditions = sorted((operator, key, sorted(values)) for operator, key, values in conditions)
    return sorted(actions), sorted(resources), conditions


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=lambda parameters: "+".join(parameters) or "defaults")
def test_in_a_vpc_the_code_is_denied_access_to_network_interfaces(stack, parameters):
    role = stack(**parameters).resources["RotationRole"]["Properties"]
    statements = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
    deny = [flat(s) for s in statements if s["Effect"] == "Deny"]
    if "VpcSubnetIds" not in parameters:
        assert deny == []
        return
    ((actions, resources, conditions),) = deny
    assert actions >= ENI_ACTIONS
    assert resources == {"*"}
    assert conditions == {("ArnEquals", "lambda:SourceFunctionArn", as_set(FUNCTION))}


def test_only_lambda_can_assume_the_role(stack):
    trust = stack().resources["RotationRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


def has_retire_rule(parameters):
    is_reachable = "SourceAccount" not in parameters or "RetireSecretArns" in parameters
    return "RetireSchedule" not in parameters and is_reachable


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=lambda parameters: "+".join(parameters) or "defaults")
def test_only_secrets_manager_and_the_hourly_rule_can_invoke_the_function(stack, parameters):
    permissions = stack(**parameters).of_type("AWS::Lambda::Permission")
    expected = {
        "RotationPermission": {
            "FunctionName": "RotationFunction.Arn",
            "Action": "lambda:InvokeFunction",
            "Principal": "secretsmanager.amazonaws.com",
            "SourceAccount": parameters.get("SourceAccount", ACCOUNT),
        }
    }
    if has_retire_rule(parameters):
        expected["RetirePermission"] = {
            "FunctionName": "RotationFunction.Arn",
            "Action": "lambda:InvokeFunction",
            "Principal": "events.amazonaws.com",
            "SourceArn": "RetireRule.Arn",
        }
    assert permissions == expected


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=lambda parameters: "+".join(parameters) or "defaults")
def test_the_hourly_rule_sends_a_constant_event_once(stack, parameters):
    rules = stack(**parameters).of_type("AWS::Events::Rule")
    assert ("RetireRule" in rules) == has_retire_rule(parameters)
    if "RetireRule" not in rules:
        return
    rule = rules["RetireRule"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 hour)", "ENABLED")
    assert "EventPattern" not in rule
    (target,) = rule["Targets"]
    # The event never contains a number of hours.
    secrets = {"SecretIds": SECRETS_TO_RETIRE} if "SourceAccount" in parameters else {}
    assert {**target, "Input": json.loads(target["Input"])} == {
        "Id": "function",
        "Arn": "RotationFunction.Arn",
        "Input": {"Step": "retire", **secrets},
        "RetryPolicy": {"MaximumRetryAttempts": 0},
    }


@pytest.mark.parametrize("policy", ["delete-after", "delete", "keep-until-next-rotation"])
def test_the_hourly_rule_does_not_depend_on_the_policy(stack, policy):
    parameters = {"OldKeyPolicy": policy, "OldKeyHours": 1}
    assert stack(**parameters).of_type("AWS::Events::Rule") == stack().of_type("AWS::Events::Rule")


def test_lambda_does_not_retry_an_asynchronous_invocation(stack):
    for parameters in ({}, {"RetireSchedule": "no"}, {"SourceAccount": OTHER_ACCOUNT}):
        assert stack(**parameters).of_type("AWS::Lambda::EventInvokeConfig") == {
            "AsynchronousInvocations": {
                "FunctionName": "RotationFunction",
                "Qualifier": "$LATEST",
                "MaximumRetryAttempts": 0,
                "MaximumEventAgeInSeconds": 3600,
            }
        }


def test_only_eventbridge_and_the_stacks_alarms_can_publish(stack):
    (policy,) = stack().of_type("AWS::SNS::TopicPolicy").values()
    statements = [(s["Principal"], *flat(s)) for s in policy["PolicyDocument"]["Statement"]]
    alarms = f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm:confluent-key-rotation-*"
    topic, publish = as_set("Notifications"), as_set("sns:Publish")
    assert statements == [
        # "You can't use of Condition blocks in Amazon SNS topic policies for EventBridge."
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
        ({"Service": "events.amazonaws.com"}, publish, topic, frozenset()),
        (
            {"Service": "cloudwatch.amazonaws.com"},
            publish,
            topic,
            {
                ("StringEquals", "aws:SourceAccount", as_set(ACCOUNT)),
                ("ArnLike", "aws:SourceArn", as_set(alarms)),
            },
        ),
    ]


def test_the_function_has_that_role_and_the_stack_creates_nothing_else(stack):
    created = stack(NotificationEmail="a@example.com", **max(COMBINATIONS, key=len))
    (function,) = created.of_type("AWS::Lambda::Function").values()
    assert function["Role"] == "RotationRole.Arn"
    assert {r["Type"] for r in created.resources.values()} == {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::Function",
        "AWS::Lambda::Permission",
        "AWS::Logs::LogGroup",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
    }
