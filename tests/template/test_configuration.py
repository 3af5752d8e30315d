"""The template has a parameter for every setting of the function, and sets no other variable."""

import re

import pytest
import tomlkit
from conftest import ROOT, Stack

# The parameter that sets each variable, and a value to test it with.
PARAMETERS = {
    "ADMIN_SECRET_ARN": ("AdminSecretArn", "arn:aws:secretsmanager:eu-west-1:111111111111:secret:admin-AbCdEf"),
    "ALLOWED_ENDPOINT_DOMAINS": ("AllowedEndpointDomains", "example.com, example.net"),
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": ("SecretsManagerEndpoint", "https://vpce-1.example.com"),
    "CONFLUENT_API_URL": ("ConfluentApiUrl", "https://api.confluentgov.com"),
    "CURRENT_KEY_CHECK": ("CurrentKeyCheck", "off"),
    "IDENTITY_POOL_ID": ("IdentityPoolId", "pool-AbC1"),
    "INITIAL_KEY": ("InitialKey", "allow"),
    "HTTPS_PROXY": ("HttpsProxy", "http://proxy.example.com:3128"),
    "NO_PROXY": ("NoProxy", "vpce-1.example.com"),
    "KAFKA_VERIFICATION": ("KafkaVerification", "brokers"),
    "KEY_VERIFICATION": ("KeyVerification", "best-effort"),
    "OLD_KEY_HOURS": ("OldKeyHours", "720"),
    "OLD_KEY_POLICY": ("OldKeyPolicy", "keep-until-next-rotation"),
    "PROBE_INTERVAL_MS": ("ProbeIntervalMs", "500"),
    "PROPAGATION_WAIT_SECONDS": ("PropagationWaitSeconds", "840"),
    "SSL_CERT_FILE": ("SslCertFile", "/opt/ca.pem"),
    "TOKEN_AUDIENCE": ("TokenAudience", "https://example.com/rotation"),
    "TOKEN_SIGNING_ALGORITHM": ("TokenSigningAlgorithm", "RS256"),
}

# The function rejects a setting of the token without an identity pool.
REQUIRES = {parameter: {"IdentityPoolId": "pool-AbC1"} for parameter in ("TokenAudience", "TokenSigningAlgorithm")}

# Lambda sets these variables: the log level from LoggingConfig, the credentials from the function's role.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
SET_BY_LAMBDA = {
    "AWS_ACCESS_KEY_ID",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
}

# The AWS SDKs' variables for other endpoints and retries. No deployment of this template requires them.
# https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html#EVarSettings
WITHOUT_PARAMETER = {
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
}


def variables_in(source):
    """Returns the names of variables in string literals outside tests. Every name has an underscore."""
    code = source.split("#[cfg(test)]")[0]
    return set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"', code))


def function_of(stack):
    (function,) = stack.of_type("AWS::Lambda::Function").values()
    return function


def variables_of(stack):
    return function_of(stack)["Environment"]["Variables"]


def test_every_variable_that_the_function_reads_has_a_parameter():
    sources = (ROOT / "src/config").glob("*.rs")
    read = set().union(*(variables_in(path.read_text()) for path in sources))
    assert len(read) >= 10, read
    assert read <= PARAMETERS.keys() | SET_BY_LAMBDA | WITHOUT_PARAMETER, read


def test_every_parameter_sets_its_variable(stack):
    for variable, (parameter, value) in PARAMETERS.items():
        required = REQUIRES.get(parameter, {})
        assert variables_of(stack(**required, **{parameter: value}))[variable] == value, variable
        assert variables_of(stack(**required)).get(variable) != value, variable


def test_settings_of_the_token_are_variables_only_with_an_identity_pool(stack):
    keyless = {"IDENTITY_POOL_ID", "TOKEN_AUDIENCE", "TOKEN_SIGNING_ALGORITHM"}
    settings = {"TokenAudience": "https://example.com/rotation", "TokenSigningAlgorithm": "RS256"}
    assert not keyless & variables_of(stack(**settings)).keys()
    defaults = variables_of(stack(IdentityPoolId="pool-AbC1"))
    assert {name: defaults[name] for name in keyless} == {
        "IDENTITY_POOL_ID": "pool-AbC1",
        "TOKEN_AUDIENCE": "https://confluent.cloud/oidc",
        "TOKEN_SIGNING_ALGORITHM": "ES384",
    }


@pytest.mark.parametrize("kafka", ["brokers-best-effort", "brokers"])
def test_keys_that_are_not_probed_are_not_verified_at_brokers(stack, kafka):
    """The function does not start with such a configuration."""
    with pytest.raises(AssertionError, match="KeyVerification control-plane requires KafkaVerification rest"):
        Stack("template.yaml", KeyVerification="control-plane", KafkaVerification=kafka)
    for verification in ("required", "best-effort"):
        variables = variables_of(stack(KeyVerification=verification, KafkaVerification=kafka))
        assert (variables["KEY_VERIFICATION"], variables["KAFKA_VERIFICATION"]) == (verification, kafka)
    assert variables_of(stack(KeyVerification="control-plane"))["KAFKA_VERIFICATION"] == "rest"


def test_the_template_sets_only_variables_that_the_function_reads(stack):
    read = set().union(*(variables_in(path.read_text()) for path in (ROOT / "src").rglob("*.rs")))
    # An identity pool and an admin secret exclude each other.
    for excluded in ("IdentityPoolId", "AdminSecretArn"):
        parameters = {parameter: value for parameter, value in PARAMETERS.values() if parameter != excluded}
        variables = variables_of(stack(**parameters))
        assert variables.keys() <= read, variables.keys() - read


def test_the_log_format_is_json_and_the_log_level_is_a_parameter(stack):
    assert function_of(stack(LogLevel="DEBUG"))["LoggingConfig"] == {
        "LogGroup": "LogGroup",
        "LogFormat": "JSON",
        "ApplicationLogLevel": "DEBUG",
        "SystemLogLevel": "INFO",
    }


def test_the_function_has_the_expected_properties(stack):
    function = function_of(stack())
    assert function["Runtime"] == "provided.al2023"
    assert function["Architectures"] == ["arm64"]
    assert function["Timeout"] == 900
    assert function["TracingConfig"] == {"Mode": "Active"}
    absent = {"VpcConfig", "Layers", "ReservedConcurrentExecutions", "DeadLetterConfig"}
    assert not absent & function.keys()

    function = function_of(
        stack(
            Architecture="x86_64",
            LayerArns="arn:aws:lambda:eu-west-1:111111111111:layer:ca:1",
            ReservedConcurrency="10",
            VpcSubnetIds="subnet-1,subnet-2",
            VpcSecurityGroupIds="sg-1",
        )
    )
    assert function["Architectures"] == ["x86_64"]
    assert function["Layers"] == ["arn:aws:lambda:eu-west-1:111111111111:layer:ca:1"]
    assert function["ReservedConcurrentExecutions"] == "10"
    assert function["VpcConfig"] == {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}


def test_every_parameter_has_a_description_a_group_and_a_constraint(stack):
    template = stack().template
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    for name, parameter in template["Parameters"].items():
        assert parameter.get("Description"), name
        assert {"AllowedValues", "AllowedPattern", "MinValue"} & parameter.keys(), name
        assert "AllowedPattern" not in parameter or parameter.get("ConstraintDescription"), name


def test_sam_deploys_with_defaults_and_without_prompts(stack):
    deploy = tomlkit.parse((ROOT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
    assert deploy["stack_name"] == function_of(stack())["FunctionName"]
    assert (deploy["resolve_s3"], deploy["confirm_changeset"]) == (True, False)
    # A role with a name would require CAPABILITY_NAMED_IAM.
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert not any("RoleName" in role for role in stack().of_type("AWS::IAM::Role").values())
