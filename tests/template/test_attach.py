"""The template that attaches one secret."""

import pytest
from conftest import Stack

SECRET = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:confluent/orders-AbCdEf"
FUNCTION = "arn:aws:lambda:eu-west-1:111111111111:function:confluent-key-rotation"


def attached(**chosen):
    chosen = {"SecretArn": SECRET, "RotationFunctionArn": FUNCTION, **chosen}
    return Stack("templates/attach.yaml", **chosen).resources


def test_a_secret_is_attached_and_not_rotated_at_once_unless_asked_for():
    assert attached() == {
        "Schedule": {
            "Type": "AWS::SecretsManager::RotationSchedule",
            "Properties": {
                "SecretId": SECRET,
                "RotationLambdaARN": FUNCTION,
                "RotateImmediatelyOnUpdate": "false",
                "RotationRules": {"ScheduleExpression": "cron(0 2 ? * SUN *)", "Duration": "4h"},
            },
        }
    }
    schedule = attached(RotateImmediately="true")["Schedule"]["Properties"]
    assert schedule["RotateImmediatelyOnUpdate"] == "true"


@pytest.mark.parametrize("function", [f"{FUNCTION}:live", f"{FUNCTION}:1", f"{FUNCTION}:$LATEST"])
def test_an_alias_or_version_which_the_role_does_not_know_is_refused(function):
    with pytest.raises(AssertionError, match="RotationFunctionArn="):
        attached(RotationFunctionArn=function)


@pytest.mark.parametrize("expression", ["cron(0 8 1 * ? *)", "cron(0 /4 * * ? *)", "rate(10 days)", "rate(4 hours)"])
def test_schedules_that_secrets_manager_knows_are_taken(expression):
    schedule = attached(ScheduleExpression=expression)["Schedule"]["Properties"]
    assert schedule["RotationRules"]["ScheduleExpression"] == expression


@pytest.mark.parametrize("expression", ["cron(30 8 1 * ? *)", "rate(0 days)", "30 days", "rate(5 minutes)"])
def test_other_schedules_are_refused(expression):
    with pytest.raises(AssertionError, match="ScheduleExpression="):
        attached(ScheduleExpression=expression)
