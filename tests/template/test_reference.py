"""docs/reference/parameters.md has the rows that the templates' descriptions produce."""

import re

import pytest
from conftest import ROOT
from samcli.yamlhelper import yaml_parse

PAGE = (ROOT / "docs/reference/parameters.md").read_text()
TEMPLATES = ["template.yaml", "templates/rotation-schedule.yaml"]


def values_of(parameter):
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"])
    return parameter["ConstraintDescription"].removeprefix("must be ")


def rows(template):
    """Yields a row for each parameter and each output."""
    template = yaml_parse((ROOT / template).read_text())
    parameters = template["Parameters"]
    names = re.compile(rf"\b({'|'.join(parameters)})\b")
    for name, parameter in parameters.items():
        default = parameter.get("Default")
        default = "required" if default is None else f"`{default}`" if default != "" else "empty"
        description = names.sub(r"`\1`", parameter["Description"].strip())
        description = re.sub(r"\(([A-Z_]+)\)$", r"Sets `\1`.", description)
        yield f"| `{name}` | {values_of(parameter)} | {default} | {description} |"
    for name, output in template["Outputs"].items():
        yield f"| `{name}` | {output['Description']} |"


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_parameter_and_each_output_has_its_row(template):
    missing = [row for row in rows(template) if row not in PAGE.splitlines()]
    assert not missing, "\n".join(missing)


def test_no_row_names_a_parameter_or_an_output_that_does_not_exist():
    documented = re.findall(r"^\| `([A-Z][a-z]\w*)` \|.*", PAGE, re.MULTILINE)
    existing = [re.match(r"\| `(\w+)`", row)[1] for template in TEMPLATES for row in rows(template)]
    assert sorted(documented) == sorted(existing)
