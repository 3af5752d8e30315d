"""Failures cause notifications, and alarms and dashboard use metrics and log fields that the function writes."""

import json
import re

import pytest
from conftest import ROOT


def metrics_in(source):
    """Returns the namespace of the function's metrics, and their names by the names of their dimensions."""
    code = source.split("#[cfg(test)]")[0]
    (namespace,) = re.findall(r'const NAMESPACE: &str = "(\w+)";', code)
    directives = re.findall(
        r'"Namespace": NAMESPACE,\s*"Dimensions": \[\[([^]]*)\]\],\s*"Metrics": (of_function|\[[^]]*\])', code
    )
    assert len(directives) == code.count('"Dimensions":') == 2, directives
    # Each metric is a name, a unit, and a value.
    of_function = re.findall(r'\(\s*"(\w+)",\s*"(?:Count|Seconds)",', code)
    assert len(of_function) >= 12, of_function
    return namespace, {
        tuple(sorted(re.findall(r'"(\w+)"', dimensions))): set(
            of_function if metrics == "of_function" else re.findall(r'named\("(\w+)"', metrics)
        )
        for dimensions, metrics in directives
    }


NAMESPACE, FUNCTION_METRICS = metrics_in((ROOT / "src/telemetry/metrics.rs").read_text())
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
LAMBDA_METRICS = {"Duration", "Errors", "Throttles"}
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
EVENTBRIDGE_METRICS = {"FailedInvocations"}

SECRET = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:confluent/orders-AbCdEf"
VERSION = "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"


def service_event(name, secret=SECRET):
    """Returns a rotation's AWS service event, which has the secret in `additionalEventData`.

    <https://docs.aws.amazon.com/secretsmanager/latest/userguide/cloudtrail_log_entries.html>,
    <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/non-api-aws-service-events.html>
    """
    return {
        "version": "0",
        "id": "d82e0a2d-EXAMPLE",
        "detail-type": "AWS Service Event via CloudTrail",
        "source": "aws.secretsmanager",
        "account": "111111111111",
        "time": "2026-01-01T02:00:20Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "eventVersion": "1.08",
            "userIdentity": {"accountId": "111111111111", "invokedBy": "secretsmanager.amazonaws.com"},
            "eventTime": "2026-01-01T02:00:20Z",
            "eventSource": "secretsmanager.amazonaws.com",
            "eventName": name,
            "awsRegion": "eu-west-1",
            "sourceIPAddress": "secretsmanager.amazonaws.com",
            "userAgent": "secretsmanager.amazonaws.com",
            "errorMessage": "Error when executing lambda FUNCTION during createSecret step",
            "requestParameters": None,
            "responseElements": None,
            "additionalEventData": {"SecretId": secret},
            "requestID": f"Rotation-{secret}-{VERSION}",
            "eventID": "e3b69cfe-EXAMPLE",
            "readOnly": False,
            "eventType": "AwsServiceEvent",
            "managementEvent": True,
            "recipientAccountId": "111111111111",
            "eventCategory": "Management",
        },
    }


def matches(pattern, event):
    """Returns whether EventBridge matches the event: it has every field of the pattern, with one of the listed values.

    <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html>
    """
    if isinstance(pattern, dict):
        return isinstance(event, dict) and all(
            name in event and matches(expected, event[name]) for name, expected in pattern.items()
        )
    for expected in pattern:
        if isinstance(expected, dict):
            assert expected.keys() == {"prefix"}, "the tests do not support this operator"
            if isinstance(event, str) and event.startswith(expected["prefix"]):
                return True
        elif expected == event:
            return True
    return False


def rule(stack):
    return stack.of_type("AWS::Events::Rule")["FailedRotations"]


@pytest.mark.parametrize("name", ["RotationFailed", "RotationAbandoned", "TestRotationFailed"])
def test_a_failed_rotation_causes_a_notification(stack, name):
    assert matches(rule(stack())["EventPattern"], service_event(name))


def test_no_other_event_causes_a_notification(stack):
    pattern = rule(stack())["EventPattern"]
    for name in ("RotationStarted", "RotationSucceeded", "TestRotationStarted", "TestRotationSucceeded"):
        assert not matches(pattern, service_event(name)), name
    assert not matches(pattern, service_event("RotationFailed", SECRET.replace("confluent/", "database/")))
    assert not matches(pattern, {**service_event("RotationFailed"), "detail-type": "AWS API Call via CloudTrail"})


def test_a_failed_rotation_of_a_secret_with_any_prefix_causes_a_notification(stack):
    pattern = rule(stack(SecretPrefixes="a/,b/,c/"))["EventPattern"]
    for prefix in ("a/", "b/", "c/"):
        assert matches(pattern, service_event("RotationFailed", SECRET.replace("confluent/", prefix))), prefix
    assert not matches(pattern, service_event("RotationFailed"))


def notification(stack, event):
    """Returns the message that EventBridge sends to the topic for an event."""
    (target,) = rule(stack)["Targets"]
    transformer = target["InputTransformer"]
    assert len(transformer["InputTemplate"]) <= 8192
    values = {}
    for name, path in transformer["InputPathsMap"].items():
        found = event
        for field in path.removeprefix("$.").split("."):
            found = found[field]
        values[name] = found
    assert set(re.findall(r"<([a-z]+)>", transformer["InputTemplate"])) == values.keys()
    return re.sub(r"<([a-z]+)>", lambda name: values[name[1]], transformer["InputTemplate"])


def test_a_notification_names_the_secret_and_contains_a_query_for_the_cause(stack):
    message = notification(stack(), service_event("RotationFailed"))

    for part in (
        "RotationFailed for the secret " + SECRET,
        "during createSecret step",
        "log group /aws/lambda/confluent-key-rotation",
        "If finishSecret failed, AWSCURRENT may have moved: check which version has AWSCURRENT before you delete any key",
    ):
        assert part in message
    # Each line is a string in quotation marks, in which another one would have to be escaped. It is delivered unchanged.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    lines = message.splitlines()
    assert all(re.fullmatch(r'"[^"\\]+"', line) for line in lines), lines
    # The query is a line of its own, so that it can be copied.
    (at,) = (number for number, line in enumerate(lines) if "| filter" in line)
    assert "the next line without the quotation marks" in lines[at - 1]
    assert re.fullmatch(
        r'"fields @timestamp, [a-z_, ]+ \| filter concat\(\'Rotation-\', secret_id, \'-\', version_id\) = '
        rf"'Rotation-{re.escape(SECRET)}-{VERSION}'"
        r' \| sort @timestamp asc"',
        lines[at],
    )
    assert_fields_are_logged(lines[at])


def assert_exists(namespace, metric, dimensions):
    if namespace == "AWS/Lambda":
        assert metric in LAMBDA_METRICS
        assert dimensions == ("FunctionName",)
        return
    if namespace == "AWS/Events":
        assert metric in EVENTBRIDGE_METRICS
        assert dimensions == ("RuleName",)
        return
    assert namespace == NAMESPACE
    assert metric in FUNCTION_METRICS[dimensions], f"{metric} under {dimensions}"


FLEET_ALARMS = {"RotationsOverdueAlarm", "RotationsStuckAlarm", "NoDataFromRetireAlarm"}
WATCHED = {
    "Errors",
    "Throttles",
    "FailedInvocations",
    "DeletionsFailed",
    "RotationsOverdue",
    "RotationsStuck",
    "SecretsManaged",
}


def test_every_alarm_watches_an_existing_metric_and_notifies_the_topic(stack):
    alarms = stack().of_type("AWS::CloudWatch::Alarm")
    watched = set()
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == ["Notifications"]
        assert alarm["AlarmName"].startswith("confluent-key-rotation-")
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        assert 0 < len(alarm["AlarmDescription"]) <= 1024
        (dimension,) = alarm["Dimensions"]
        watched_by = {"FunctionName": "confluent-key-rotation", "RuleName": "FailedRotations"}
        assert dimension["Value"] == watched_by[dimension["Name"]]
        assert_exists(alarm["Namespace"], alarm["MetricName"], (dimension["Name"],))
        watched.add(alarm["MetricName"])
    assert watched == WATCHED
    assert len(watched) == len(alarms)


def test_the_alarm_on_errors_names_existing_errors_that_fail_every_rotation(stack):
    description = stack().of_type("AWS::CloudWatch::Alarm")["ErrorsAlarm"]["AlarmDescription"]
    named = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", description)) - {"IdentityPoolId"}
    assert named == {"FederationDisabled", "TokenDenied", "TokenNotIssued", "TokenExchangeRejected", "TokenResponseInvalid"}
    (runbook,) = re.findall(r"docs/runbooks/[a-z-]+\.md", description)
    assert (ROOT / runbook).exists()
    errors = (ROOT / "docs/reference/errors.md").read_text()
    assert all(f"| `{name}` |" in errors for name in named)


@pytest.mark.parametrize(
    ("parameters", "exist"),
    [
        ({}, True),
        ({"OldKeyPolicy": "delete"}, True),
        ({"RetireSchedule": "no"}, False),
        ({"SourceAccount": "222222222222"}, False),
        (
            {
                "SourceAccount": "222222222222",
                "RetireSecretArns": "arn:aws:secretsmanager:eu-west-1:222222222222:secret:confluent/orders-AbCdEf",
            },
            False,
        ),
    ],
    ids=repr,
)
def test_the_alarms_on_the_fleet_exist_if_retire_reports_it(stack, parameters, exist):
    """With the secrets that an event names, retire reports no fleet."""
    alarms = stack(**parameters).of_type("AWS::CloudWatch::Alarm")
    assert FLEET_ALARMS & alarms.keys() == (FLEET_ALARMS if exist else set())


def is_in_alarm(alarm, points):
    """Returns whether an alarm in the state OK goes into ALARM, for the values of its last periods, `None` for missing data.

    The alarm evaluates as many values as it has evaluation periods, existing ones first. CloudWatch looks two periods
    further back in its only example.
    <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>
    """
    assert "DatapointsToAlarm" not in alarm
    periods = alarm["EvaluationPeriods"]
    existing = [point for point in points[-periods - 2 :] if point is not None][-periods:]
    compare = {"GreaterThanOrEqualToThreshold": float.__ge__, "LessThanThreshold": float.__lt__}
    breaching = [compare[alarm["ComparisonOperator"]](float(point), float(alarm["Threshold"])) for point in existing]
    missing = {"breaching": [True], "notBreaching": [False], "ignore": [False]}[alarm["TreatMissingData"]]
    return all(breaching + missing * (periods - len(existing)))


@pytest.mark.parametrize("name", ["ErrorsAlarm", "ThrottlesAlarm", "DeletionsFailedAlarm"])
def test_a_failed_attempt_after_which_a_retry_succeeds_raises_no_alarm(stack, name):
    """Failed steps within an hour, and failed hourly runs."""
    alarm = stack().of_type("AWS::CloudWatch::Alarm")[name]
    assert (alarm["Period"], alarm["Statistic"]) == (3600, "Sum")
    for points in ([1], [0, 5, 0], [0, 0, 7], [1, 1, 0], [0, 1, 1], [1, 0, 1], [None, None, 1], [1, None, None]):
        assert not is_in_alarm(alarm, points), points
    for points in ([1, 1, 1], [0, 1, 4, 1]):
        assert is_in_alarm(alarm, points), points


@pytest.mark.parametrize("name", ["RotationsOverdueAlarm", "RotationsStuckAlarm"])
def test_one_report_of_an_overdue_or_stuck_rotation_raises_an_alarm(stack, name):
    alarm = stack().of_type("AWS::CloudWatch::Alarm")[name]
    assert (alarm["Period"], alarm["Statistic"]) == (3600, "Maximum")
    assert is_in_alarm(alarm, [0, 0, 1])
    assert not is_in_alarm(alarm, [1, 0, 0])
    # Without data, the state doesn't change.
    assert not is_in_alarm(alarm, [None, None, None])


def test_no_data_from_retire_for_at_least_three_hours_raises_an_alarm(stack):
    alarm = stack().of_type("AWS::CloudWatch::Alarm")["NoDataFromRetireAlarm"]
    assert (alarm["Period"], alarm["Statistic"]) == (3600, "SampleCount")
    assert not is_in_alarm(alarm, [1, 1, None, None])
    assert is_in_alarm(alarm, [1, None, None, None, None, None])


def dashboard(stack):
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    return json.loads(dashboard["DashboardBody"])


# Written only with `KAFKA_VERIFICATION`, whose default is `rest`.
NOT_ON_DASHBOARD = {"UnreachableBrokers"}


def test_the_dashboard_shows_every_metric_of_the_default_configuration_and_no_other(stack):
    shown = set()
    for widget in dashboard(stack())["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                search = re.fullmatch(
                    r"SEARCH\('\{(\w+),([\w,]+)\} MetricName=\"(\w+)\" FunctionName=\"confluent-key-rotation\"', 'Sum', 300\)",
                    metric[0]["expression"],
                )
                namespace, dimensions, name = search.groups()
                assert_exists(namespace, name, tuple(sorted(dimensions.split(","))))
            else:
                namespace, name, dimension, function = metric[:4]
                assert_exists(namespace, name, (dimension,))
                assert function == "confluent-key-rotation"
            shown.add(name)
    assert shown == LAMBDA_METRICS.union(*FUNCTION_METRICS.values()) - NOT_ON_DASHBOARD


@pytest.mark.parametrize("schedule", ["yes", "no"])
def test_the_dashboard_shows_every_alarm_and_has_no_gap(stack, schedule):
    created = stack(RetireSchedule=schedule)
    widgets = dashboard(created)["widgets"]
    (alarms,) = (widget for widget in widgets if widget["type"] == "alarm")
    assert {arn.removesuffix(".Arn") for arn in alarms["properties"]["alarms"]} == created.of_type(
        "AWS::CloudWatch::Alarm"
    ).keys()
    covered = {
        (widget["x"] + x, widget["y"] + y)
        for widget in widgets
        for x in range(widget["width"])
        for y in range(widget["height"])
    }
    assert len(covered) == sum(widget["width"] * widget["height"] for widget in widgets), "widgets overlap"
    assert covered == {(x, y) for x in range(24) for y in range(max(y for _, y in covered) + 1)}


QUERY_LANGUAGE = set(
    "and as asc by coalesce concat desc fields filter ispresent latest limit max min not or sort source stats strcontains sum".split()
)


def assert_fields_are_logged(query):
    """Asserts that the function writes every field of a query."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    written = set(re.findall(r'\b([a-z_]+) = ', source)) | set(re.findall(r'insert\("(\w+)"', source)) | {"message"}
    # `tracing::info!(probes, seconds, …)` names fields after variables.
    for call in re.findall(r"tracing::\w+!\((.*?)\);", source, re.DOTALL):
        written |= set(re.findall(r"(?:^|,)\s*[%?]?([a-z_]+)(?=,)", call))
    words = set(re.findall(r"(?<![@\w])[a-z_]+\b", re.sub(r"'[^']*'", "", query.replace("SOURCE", ""))))
    named = set(re.findall(r"\bas ([a-z_]+)", query))
    unknown = words - QUERY_LANGUAGE - named - written
    assert not unknown, f"{unknown} in {query}"


def log_queries(stack):
    return [w["properties"]["query"] for w in dashboard(stack)["widgets"] if w["type"] == "log"]


def test_the_dashboards_queries_use_fields_that_the_function_logs(stack):
    queries = log_queries(stack())
    assert len(queries) == 5
    for query in queries:
        assert query.startswith("SOURCE '/aws/lambda/confluent-key-rotation' | ")
        assert_fields_are_logged(query)


def test_the_dashboard_begins_with_the_fleet(stack):
    widgets = sorted(dashboard(stack())["widgets"], key=lambda widget: (widget["y"], widget["x"]))
    numbers = [metric[1] for widget in widgets[:2] for metric in widget["properties"]["metrics"]]
    assert numbers == [
        "SecretsManaged",
        "RotationsOverdue",
        "RotationsStuck",
        "PreviousKeysOverdue",
        "PreviousKeysDeleted",
    ]
    assert {widget["properties"]["view"] for widget in widgets[:2]} == {"singleValue"}
    assert "filter ispresent(findings)" in widgets[2]["properties"]["query"]


def test_no_query_filters_on_the_log_level(stack):
    """Lines of metrics have the configured log level, whatever they report."""
    for query in log_queries(stack()):
        for command in re.findall(r"(?:^|\|)\s*filter ([^|]*)", query):
            assert not re.search(r"\blevel\b", command), query


def test_dashboard_and_email_are_optional(stack):
    assert not stack(CreateDashboard="no").of_type("AWS::CloudWatch::Dashboard")
    assert not stack().of_type("AWS::SNS::Subscription")
    (email,) = stack(NotificationEmail="ops@example.com").of_type("AWS::SNS::Subscription").values()
    assert (email["Protocol"], email["Endpoint"]) == ("email", "ops@example.com")
