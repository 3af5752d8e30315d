"""rotation-schedule.yaml enables rotation for one secret."""

import pytest
from conftest import Stack

SECRET = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:confluent/orders-AbCdEf"
FUNCTION = "arn:aws:lambda:eu-west-1:111111111111:function:confluent-key-rotation"


def resources(**parameters):
    parameters = {"SecretArn": SECRET, "RotationFunctionArn": FUNCTION, **parameters}
    return Stack("templates/rotation-schedule.yaml", **parameters).resources


def test_the_stack_enables_rotation_and_does_not_rotate_immediately_by_default():
    assert resources() == {
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
    schedule = resources(RotateImmediately="true")["Schedule"]["Properties"]
    assert schedule["RotateImmediatelyOnUpdate"] == "true"


@pytest.mark.parametrize("function", [f"{FUNCTION}:live", f"{FUNCTION}:1", f"{FUNCTION}:$LATEST"])
def test_the_arn_of_an_alias_or_version_is_rejected(function):
    with pytest.raises(AssertionError, match="RotationFunctionArn="):
        resources(RotationFunctionArn=function)


@pytest.mark.parametrize("expression", ["cron(0 8 1 * ? *)", "cron(0 /4 * * ? *)", "rate(10 days)", "rate(4 hours)"])
def test_valid_schedules_are_accepted(expression):
    schedule = resources(ScheduleExpression=expression)["Schedule"]["Properties"]
    assert schedule["RotationRules"]["ScheduleExpression"] == expression


@pytest.mark.parametrize("expression", ["cron(30 8 1 * ? *)", "rate(0 days)", "30 days", "rate(5 minutes)"])
def test_invalid_schedules_are_rejected(expression):
    with pytest.raises(AssertionError, match="ScheduleExpression="):
        resources(ScheduleExpression=expression)
