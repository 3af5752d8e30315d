"""Whatever the function can be told, a parameter of the template tells it, and nothing else is told."""

import re

from conftest import ROOT

# By which parameter a variable is set, and with which value to try it.
PARAMETERS = {
    "ADMIN_SECRET_ARN": ("AdminSecretArn", "arn:aws:secretsmanager:eu-west-1:111111111111:secret:admin-AbCdEf"),
    "ALLOWED_ENDPOINT_DOMAINS": ("AllowedEndpointDomains", "example.com, example.net"),
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": ("SecretsManagerEndpoint", "https://vpce-1.example.com"),
    "CONFLUENT_API_URL": ("ConfluentApiUrl", "https://api.confluentgov.com"),
    "CURRENT_KEY_CHECK": ("CurrentKeyCheck", "off"),
    "FIRST_KEY": ("FirstKey", "allow"),
    "HTTPS_PROXY": ("HttpsProxy", "http://proxy.example.com:3128"),
    "NO_PROXY": ("NoProxy", "vpce-1.example.com"),
    "KEY_VERIFICATION": ("KeyVerification", "best-effort"),
    "OLD_KEY_POLICY": ("OldKeyPolicy", "keep-until-next-rotation"),
    "PROBE_INTERVAL_MS": ("ProbeIntervalMs", "500"),
    "SSL_CERT_FILE": ("SslCertFile", "/opt/ca.pem"),
}

# Lambda sets these two itself, from LoggingConfig.
FROM_LOGGING_CONFIG = {"AWS_LAMBDA_LOG_LEVEL": "ApplicationLogLevel", "AWS_LAMBDA_LOG_FORMAT": "LogFormat"}

# Another name for the endpoint of the one AWS service that the function calls.
NOT_NEEDED = {"AWS_ENDPOINT_URL"}

# Takes the level's place where Lambda does not take one.
IN_TEXT = {"RUST_LOG"}


def variables_in(source):
    """Names of variables, all of which have an underscore, in string literals outside of tests."""
    shipped = source.split("#[cfg(test)]")[0]
    return set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"', shipped))


def function_of(made):
    (function,) = made.of_type("AWS::Lambda::Function").values()
    return function


def test_every_variable_that_the_function_reads_has_a_parameter():
    sources = [ROOT / "src/config.rs", *(ROOT / "src/config").glob("*.rs")]
    read = set().union(*(variables_in(path.read_text()) for path in sources))
    assert len(read) >= 10, read
    assert read <= PARAMETERS.keys() | FROM_LOGGING_CONFIG.keys() | NOT_NEEDED | IN_TEXT


def test_every_parameter_reaches_its_variable(stack):
    for variable, (parameter, value) in PARAMETERS.items():
        variables = function_of(stack(**{parameter: value}))["Environment"]["Variables"]
        assert variables[variable] == value, variable
        # By default it is what the function takes for a default, or nothing.
        assert function_of(stack())["Environment"]["Variables"].get(variable) != value, variable


def test_the_template_sets_no_variable_that_the_function_does_not_know(stack):
    known = set().union(*(variables_in(path.read_text()) for path in (ROOT / "src").rglob("*.rs")))
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", (ROOT / "README.md").read_text()))
    everything = {parameter: value for parameter, value in PARAMETERS.values()}
    for chosen in (everything, {"LogFormat": "Text"}):
        variables = function_of(stack(**chosen))["Environment"]["Variables"]
        assert variables.keys() <= known | documented, variables.keys() - known - documented


def test_the_level_is_lambdas_where_lines_are_json_and_ours_where_they_are_text(stack):
    json = function_of(stack(LogLevel="DEBUG"))
    assert json["LoggingConfig"]["LogFormat"] == "JSON"
    assert json["LoggingConfig"]["ApplicationLogLevel"] == "DEBUG"
    assert "RUST_LOG" not in json["Environment"]["Variables"]

    text = function_of(stack(LogLevel="DEBUG", LogFormat="Text"))
    assert text["LoggingConfig"] == {"LogGroup": "LogGroup", "LogFormat": "Text"}
    assert text["Environment"]["Variables"]["RUST_LOG"] == "DEBUG"


def test_the_function_is_what_it_is_meant_to_be(stack):
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


def test_every_parameter_is_described_grouped_and_constrained(stack):
    template = stack().template
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    for name, parameter in template["Parameters"].items():
        assert parameter.get("Description"), name
        assert {"AllowedValues", "AllowedPattern", "MinValue"} & parameter.keys(), name
        assert "AllowedPattern" not in parameter or parameter.get("ConstraintDescription"), name
