"""The templates as CloudFormation would deploy them, for any choice of parameters."""

import os
import re
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

ROOT = Path(__file__).resolve().parents[2]
ABSENT = object()

PSEUDO = {
    "AWS::AccountId": "111111111111",
    "AWS::NoValue": ABSENT,
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "rotation",
}


# SAM asks the AWS SDK which region it is in.
os.environ["AWS_DEFAULT_REGION"] = PSEUDO["AWS::Region"]


class NoManagedPolicies:
    """SAM asks for the managed policies that it would attach. The template names none."""

    def load(self):
        return {}


class Stack:
    """A template whose parameters and conditions are settled. Attributes of resources stay as `Resource.Attribute`."""

    def __init__(self, template, **chosen):
        template = yaml_parse((ROOT / template).read_text())
        declared = template.get("Parameters", {})
        unknown = chosen.keys() - declared.keys()
        assert not unknown, f"no such parameters: {unknown}"
        for name, parameter in declared.items():
            value = chosen.get(name, parameter.get("Default"))
            assert value is not None, f"{name} has no default"
            check(name, parameter, str(value))
        values = {name: chosen.get(name, parameter.get("Default")) for name, parameter in declared.items()}
        self.values = {
            name: value.split(",") if declared[name]["Type"] == "CommaDelimitedList" else value
            for name, value in values.items()
        }
        for rule in template.get("Rules", {}).values():
            assert rule.keys() == {"Assertions"}, "a rule with a condition, which this test does not know"
            for assertion in rule["Assertions"]:
                assert self.holds(assertion["Assert"]), assertion["AssertDescription"]
        if "Transform" in template:
            template = self.expanded(template)
        self.template = template
        self.conditions = template.get("Conditions", {})
        self.resources = {}
        for name, resource in template["Resources"].items():
            if "Condition" not in resource or self.holds(resource["Condition"]):
                self.resources[name] = {
                    "Type": resource["Type"],
                    "Properties": self.settled(resource.get("Properties", {})),
                }

    @staticmethod
    def expanded(template):
        # SAM wants code that was uploaded.
        template["Resources"]["RotationFunction"]["Properties"]["CodeUri"] = "s3://bucket/key"
        return transform(template, {}, NoManagedPolicies())

    def of_type(self, kind):
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == kind}

    def holds(self, condition):
        if isinstance(condition, str):
            return self.holds(self.conditions[condition])
        ((operator, operand),) = condition.items()
        match operator:
            case "Condition":
                return self.holds(operand)
            case "Fn::Not":
                return not self.holds(operand[0])
            case "Fn::And":
                return all(map(self.holds, operand))
            case "Fn::Or":
                return any(map(self.holds, operand))
            case "Fn::Equals":
                return self.settled(operand[0]) == self.settled(operand[1])
            case "Fn::EachMemberEquals":
                return all(item == operand[1] for item in self.settled(operand[0]))
        raise AssertionError(f"a condition that this test does not know: {operator}")

    def settled(self, value):
        if isinstance(value, list):
            return [item for item in map(self.settled, value) if item is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, operand),) = value.items()
            if name == "Ref":
                return self.reference(operand)
            if name.startswith("Fn::"):
                return self.called(name, operand)
        settled = {name: self.settled(item) for name, item in value.items()}
        return {name: item for name, item in settled.items() if item is not ABSENT}

    def reference(self, name):
        if name in PSEUDO:
            return PSEUDO[name]
        return self.values.get(name, name)

    def called(self, function, operand):
        match function:
            case "Fn::If":
                condition, then, otherwise = operand
                return self.settled(then if self.holds(condition) else otherwise)
            case "Fn::Join":
                return operand[0].join(self.settled(operand[1]))
            case "Fn::Split":
                return self.settled(operand[1]).split(operand[0])
            case "Fn::GetAtt":
                return operand if isinstance(operand, str) else ".".join(operand)
            case "Fn::Sub":
                text, names = operand if isinstance(operand, list) else (operand, {})
                names = {name: self.settled(item) for name, item in names.items()}

                def value_of(match):
                    name = match[1]
                    return "${" + name[1:] + "}" if name[0] == "!" else str(names.get(name) or self.reference(name))

                return re.sub(r"\$\{([^}]+)\}", value_of, text)
        raise AssertionError(f"a function that this test does not know: {function}")


def check(name, parameter, value):
    """Refuses a value that CloudFormation would refuse."""
    if "AllowedValues" in parameter:
        assert value in map(str, parameter["AllowedValues"]), f"{name}={value}"
    is_list = parameter["Type"] == "CommaDelimitedList"
    for item in value.split(",") if is_list else [value]:
        if "AllowedPattern" in parameter:
            assert re.fullmatch(parameter["AllowedPattern"], item), f"{name}={item}"
    if parameter["Type"] == "Number":
        assert parameter.get("MinValue", 0) <= float(value) <= parameter.get("MaxValue", float("inf")), f"{name}={value}"


@pytest.fixture(scope="session")
def stack():
    """The function's stack for a choice of parameters."""
    made = {}

    def make(**chosen):
        key = tuple(sorted(chosen.items()))
        if key not in made:
            made[key] = Stack("template.yaml", **chosen)
        return made[key]

    return make
