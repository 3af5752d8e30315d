"""Resolves the templates as CloudFormation does, for any parameter values."""

import os
import re
from functools import cache
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

# SAM gets the Region from the AWS SDK.
os.environ["AWS_DEFAULT_REGION"] = PSEUDO["AWS::Region"]


class NoManagedPolicies:
    """SAM loads the managed policies that it attaches. The template names none."""

    def load(self):
        return {}


@cache
def load(path):
    """Returns a template without its transform. SAM's doesn't depend on the values of parameters."""
    template = yaml_parse((ROOT / path).read_text())
    if "Transform" not in template:
        return template
    # SAM requires uploaded code.
    template["Resources"]["RotationFunction"]["Properties"]["CodeUri"] = "s3://bucket/key"
    return transform(template, {}, NoManagedPolicies())


class Stack:
    """A template with resolved parameters and conditions. An attribute of a resource resolves to `Resource.Attribute`."""

    def __init__(self, template, **parameters):
        template = load(template)
        declared = template.get("Parameters", {})
        unknown = parameters.keys() - declared.keys()
        assert not unknown, f"no such parameters: {unknown}"
        for name, parameter in declared.items():
            value = parameters.get(name, parameter.get("Default"))
            assert value is not None, f"{name} has no default"
            validate(name, parameter, str(value))
        values = {name: parameters.get(name, parameter.get("Default")) for name, parameter in declared.items()}
        self.values = {
            name: value.split(",") if declared[name]["Type"] == "CommaDelimitedList" else value
            for name, value in values.items()
        }
        for rule in template.get("Rules", {}).values():
            assert rule.keys() == {"Assertions"}, "the tests do not support rules with a condition"
            for assertion in rule["Assertions"]:
                assert self.evaluate(assertion["Assert"]), assertion["AssertDescription"]
        self.template = template
        self.conditions = template.get("Conditions", {})
        self.resources = {}
        for name, resource in template["Resources"].items():
            if "Condition" not in resource or self.evaluate(resource["Condition"]):
                self.resources[name] = {
                    "Type": resource["Type"],
                    "Properties": self.resolve(resource.get("Properties", {})),
                }

    def outputs(self):
        return {
            name: self.resolve(output["Value"])
            for name, output in self.template["Outputs"].items()
            if "Condition" not in output or self.evaluate(output["Condition"])
        }

    def of_type(self, resource_type):
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == resource_type}

    def evaluate(self, condition):
        if isinstance(condition, str):
            return self.evaluate(self.conditions[condition])
        ((operator, operand),) = condition.items()
        match operator:
            case "Condition":
                return self.evaluate(operand)
            case "Fn::Not":
                return not self.evaluate(operand[0])
            case "Fn::And":
                return all(map(self.evaluate, operand))
            case "Fn::Or":
                return any(map(self.evaluate, operand))
            case "Fn::Equals":
                return self.resolve(operand[0]) == self.resolve(operand[1])
            case "Fn::EachMemberEquals":
                return all(item == operand[1] for item in self.resolve(operand[0]))
        raise AssertionError(f"the tests do not support the condition {operator}")

    def resolve(self, value):
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, operand),) = value.items()
            if name == "Ref":
                return self.resolve_ref(operand)
            if name.startswith("Fn::"):
                return self.resolve_function(name, operand)
        resolved = {name: self.resolve(item) for name, item in value.items()}
        return {name: item for name, item in resolved.items() if item is not ABSENT}

    def resolve_ref(self, name):
        if name in PSEUDO:
            return PSEUDO[name]
        return self.values.get(name, name)

    def resolve_function(self, function, operand):
        match function:
            case "Fn::If":
                condition, then, otherwise = operand
                return self.resolve(then if self.evaluate(condition) else otherwise)
            case "Fn::Join":
                return operand[0].join(self.resolve(operand[1]))
            case "Fn::Select":
                return self.resolve(operand[1])[int(operand[0])]
            case "Fn::Split":
                return self.resolve(operand[1]).split(operand[0])
            case "Fn::GetAtt":
                return operand if isinstance(operand, str) else ".".join(operand)
            case "Fn::Sub":
                template, names = operand if isinstance(operand, list) else (operand, {})
                names = {name: self.resolve(item) for name, item in names.items()}

                def value_of(match):
                    name = match[1]
                    if name[0] == "!":
                        return "${" + name[1:] + "}"
                    return str(names[name] if name in names else self.resolve_ref(name))

                return re.sub(r"\$\{([^}]+)\}", value_of, template)
        raise AssertionError(f"the tests do not support the function {function}")


def validate(name, parameter, value):
    """Rejects a value that CloudFormation rejects."""
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
    """Returns the function's stack for the given parameters."""
    stacks = {}

    def create(**parameters):
        key = tuple(sorted(parameters.items()))
        if key not in stacks:
            stacks[key] = Stack("template.yaml", **parameters)
        return stacks[key]

    return create
