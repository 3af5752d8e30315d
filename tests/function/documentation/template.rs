//! [`Template`]: what CloudFormation checks before it changes anything.
//!
//! Only the layout of this repository's templates is understood. Anything else panics.

use std::collections::BTreeMap;

use regex_lite::Regex;

/// The function's template.
pub(super) const FUNCTION: Template = Template(include_str!("../../../template.yaml"));

/// The template of a rotation schedule.
pub(super) const SCHEDULE: Template =
    Template(include_str!("../../../templates/rotation-schedule.yaml"));

/// A template, as YAML.
#[derive(Clone, Copy)]
pub(super) struct Template(&'static str);

/// Parameters by name, without those that have their defaults.
pub(super) type Parameters = BTreeMap<String, String>;

impl Template {
    /// Returns the names in a section.
    pub(super) fn names(self, section: &str) -> impl Iterator<Item = &'static str> + use<> {
        self.section(section).filter_map(|line| {
            let name = line.strip_prefix("  ")?.strip_suffix(':')?;
            name.starts_with(char::is_alphabetic).then_some(name)
        })
    }

    fn section(self, name: &str) -> impl Iterator<Item = &'static str> + use<> {
        let section = self.0.split_once(&format!("\n{name}:\n"));
        let lines = section.map_or("", |(_, section)| section).lines();
        lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#']))
    }

    /// Returns a property of a parameter.
    fn property(self, parameter: &str, property: &str) -> Option<String> {
        let start = format!("  {parameter}:");
        let lines = self.section("Parameters");
        let mut lines = lines.skip_while(|line| *line != start).skip(1);
        let start = format!("    {property}:");
        let mut properties = lines
            .by_ref()
            .take_while(|line| line.starts_with("    "))
            .filter_map(|line| line.strip_prefix(&start));
        let value = properties.next()?;
        Some(unquoted(value.strip_prefix(' ').expect("on the same line")))
    }

    /// Returns the default of a parameter.
    pub(super) fn default(self, parameter: &str) -> Option<String> {
        self.property(parameter, "Default")
    }

    /// Returns the values of the parameters of a list, or their defaults.
    pub(super) fn list(self, parameters: &Parameters, names: &[&str]) -> Vec<String> {
        let values = names.iter().map(|name| self.value(parameters, name));
        let items = values.flatten().flat_map(|value| items(&value));
        items.filter(|item| !item.is_empty()).collect()
    }

    /// Returns the value of a parameter, or its default.
    pub(super) fn value(self, parameters: &Parameters, name: &str) -> Option<String> {
        let given = parameters.get(name).cloned();
        given.or_else(|| self.default(name))
    }

    /// Returns the environment variable of a parameter.
    pub(super) fn variable(self, parameter: &str) -> Option<&'static str> {
        let (_, variables) = self.0.split_once("        Variables:\n").unwrap();
        let lines = variables
            .lines()
            .take_while(|line| line.starts_with("          "));
        let mut variables = lines.filter_map(|line| line.trim().split_once(": "));
        let is_set = |value: &str| {
            let mut words = value.split(|c: char| !c.is_alphanumeric());
            value.contains("!Ref") && words.any(|word| word == parameter)
        };
        variables
            .find(|(_, value)| is_set(value))
            .map(|(name, _)| name)
    }

    /// Checks the parameters of a stack.
    ///
    /// # Errors
    /// Returns an error if a parameter does not exist, has no value or violates a constraint, or if a rule is violated.
    pub(super) fn check(self, parameters: &Parameters) -> Result<(), String> {
        let mut given = parameters.keys();
        if let Some(unknown) = given.find(|name| !self.names("Parameters").any(|n| n == *name)) {
            return Err(format!("the template has no parameter {unknown}"));
        }
        for name in self.names("Parameters") {
            let value = self.value(parameters, name);
            let value = value.ok_or_else(|| format!("parameter {name} must have a value"))?;
            if let Some(constraint) = self.violated_constraint(name, &value) {
                return Err(format!(
                    "parameter {name} failed to satisfy constraint: {constraint}"
                ));
            }
        }
        self.check_rules(parameters)
    }

    /// Returns the description of the first constraint of a parameter that `value` violates.
    fn violated_constraint(self, parameter: &str, value: &str) -> Option<String> {
        let is_list = self.property(parameter, "Type")? == "CommaDelimitedList";
        let values = if is_list {
            items(value)
        } else {
            vec![value.to_owned()]
        };
        let mut constraints = CONSTRAINTS.iter().filter_map(|(name, is_satisfied)| {
            let constraint = self.property(parameter, name)?;
            let mut values = values.iter();
            let is_violated = values.any(|value| !is_satisfied(&constraint, value));
            is_violated.then(|| format!("{name} {constraint}"))
        });
        let violated = constraints.next()?;
        let description = self.property(parameter, "ConstraintDescription");
        Some(description.unwrap_or(violated))
    }

    /// Checks the rules.
    ///
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html>
    fn check_rules(self, parameters: &Parameters) -> Result<(), String> {
        let lines = self.section("Rules").map(str::trim);
        let lines: Vec<_> = lines.filter(|line| !line.starts_with('#')).collect();
        let rules = lines.join("\n");
        assert!(!rules.contains("RuleCondition"), "not implemented");
        for assertion in rules.split("- Assert: ").skip(1) {
            let (expression, description) = assertion.split_once("AssertDescription: ").unwrap();
            let words = expression.split(|c: char| c.is_whitespace() || "[]{},".contains(c));
            let words: Vec<_> = words.filter(|word| !["", "-"].contains(word)).collect();
            let value = |name: &str| self.value(parameters, name).unwrap();
            if !is_true(&mut words.iter(), &value) {
                return Err(description.lines().next().unwrap().to_owned());
            }
        }
        Ok(())
    }
}

/// A constraint of a parameter, and whether a value, the second argument, satisfies it.
type Constraint = (&'static str, fn(&str, &str) -> bool);

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html>
const CONSTRAINTS: [Constraint; 7] = [
    ("Type", |name, value| match name {
        "Number" => value.parse::<f64>().is_ok(),
        name => ["String", "CommaDelimitedList"].contains(&name),
    }),
    ("AllowedPattern", |pattern, value| {
        let pattern = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        pattern.is_match(value)
    }),
    ("AllowedValues", |values, value| {
        items(values.trim_matches(['[', ']'])).contains(&value.to_owned())
    }),
    ("MinValue", |min, value| number(value) >= number(min)),
    ("MaxValue", |max, value| number(value) <= number(max)),
    ("MinLength", |min, value| length(value) >= number(min)),
    ("MaxLength", |max, value| length(value) <= number(max)),
];

fn number(value: &str) -> f64 {
    value.parse().unwrap()
}

fn length(value: &str) -> f64 {
    f64::from(u32::try_from(value.chars().count()).unwrap())
}

/// Returns the items of a list.
fn items(list: &str) -> Vec<String> {
    list.split(',').map(|item| unquoted(item.trim())).collect()
}

/// Removes the quotation marks of a YAML string.
fn unquoted(value: &str) -> String {
    let quoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    quoted.map_or_else(|| value.to_owned(), |quoted| quoted.replace(r"\\", r"\"))
}

/// Evaluates the expression at the start of `words`, which are in prefix notation.
fn is_true(words: &mut std::slice::Iter<'_, &str>, value: &impl Fn(&str) -> String) -> bool {
    match *words.next().unwrap() {
        "!Not" => !is_true(words, value),
        "!Or" => {
            // All remaining words are its operands.
            let mut any = false;
            while !words.as_slice().is_empty() {
                any |= is_true(words, value);
            }
            any
        }
        function @ ("!Equals" | "Fn::EachMemberEquals:") => {
            assert_eq!(words.next(), Some(&"!Ref"));
            let value = value(words.next().unwrap());
            let expected = unquoted(words.next().unwrap());
            let members = match function {
                "!Equals" => vec![value],
                _ => items(&value),
            };
            members.iter().all(|member| *member == expected)
        }
        function => panic!("{function} is not implemented"),
    }
}

#[test]
fn each_environment_variable_of_the_template_has_its_parameter() {
    let variable = |parameter| FUNCTION.variable(parameter);
    assert_eq!(variable("AdminSecretArn"), Some("ADMIN_SECRET_ARN"));
    assert_eq!(variable("NoProxy"), Some("NO_PROXY"));
    assert_eq!(variable("IdentityPoolId"), Some("IDENTITY_POOL_ID"));
    assert_eq!(variable("FunctionName"), None);
    let default = |parameter| FUNCTION.default(parameter).unwrap();
    assert_eq!(default("OldKeyPolicy"), "delete-after");
    assert_eq!(default("AdminSecretArn"), "");
    assert!(FUNCTION.names("Parameters").count() > 20);
}

/// Returns the result of [`Template::check`] with `parameters`, such as `A=1 B=2`.
fn check(template: Template, parameters: &str) -> Result<(), String> {
    let parameters = parameters
        .split(' ')
        .filter_map(|word| word.split_once('='));
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    template.check(&parameters.collect())
}

#[test]
fn a_value_that_violates_a_constraint_is_rejected() {
    const TEMPLATE: Template = Template(
        "
Parameters:
  Pattern:
    Type: String
    Default: a
    AllowedPattern: \"a|\\\\(b\\\\)\"
    ConstraintDescription: must be a or (b)
  List:
    Type: CommaDelimitedList
    Default: \"\"
    AllowedPattern: \"(c[0-9])?\"
  Choice:
    Type: String
    Default: \"off\"
    AllowedValues: [\"off\", allow]
  Number:
    Type: Number
    Default: 2
    MinValue: 2
    MaxValue: 10
  Length:
    Type: String
    Default: de
    MinLength: 2
    MaxLength: 3
  Required:
    Type: String

Resources:
",
    );
    let check = |parameter: &str| check(TEMPLATE, &format!("Required=x {parameter}"));
    for valid in [
        "",
        "Pattern=(b)",
        "List=c1,c2",
        "Choice=off",
        "Choice=allow",
        "Number=2",
        "Number=10",
        "Length=de",
        "Length=def",
    ] {
        assert_eq!(check(valid), Ok(()), "{valid}");
    }
    for (invalid, constraint) in [
        ("Pattern=ab", "must be a or (b)"),
        ("Pattern=", "must be a or (b)"),
        ("List=c1,d2", "AllowedPattern"),
        ("Choice=of", "AllowedValues"),
        ("Choice=", "AllowedValues"),
        ("Number=two", "Type"),
        ("Number=1", "MinValue"),
        ("Number=11", "MaxValue"),
        ("Length=d", "MinLength"),
        ("Length=defg", "MaxLength"),
    ] {
        let (name, _) = invalid.split_once('=').unwrap();
        let expected = format!("parameter {name} failed to satisfy constraint: {constraint}");
        let error = check(invalid).unwrap_err();
        assert!(error.starts_with(&expected), "{invalid}: {error}");
    }
    assert_eq!(
        TEMPLATE.check(&Parameters::new()),
        Err("parameter Required must have a value".to_owned())
    );
    assert_eq!(
        check("Other=1"),
        Err("the template has no parameter Other".to_owned())
    );
}

#[test]
fn parameters_that_violate_a_rule_are_rejected() {
    const SUBNET: &str = "VpcSubnetIds=subnet-0";
    const GROUP: &str = "VpcSecurityGroupIds=sg-0";
    const POOL: &str = "IdentityPoolId=pool-AbC1";
    let admin_secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf";
    let (admin, others) = (
        format!("AdminSecretArn={admin_secret}"),
        format!("OtherAdminSecretArns={admin_secret}"),
    );
    let exclusive = Err("Set AdminSecretArn or OtherAdminSecretArns, not both".to_owned());
    for (parameters, expected) in [
        (String::new(), Ok(())),
        (format!("{SUBNET},subnet-1 {GROUP}"), Ok(())),
        (
            SUBNET.to_owned(),
            Err("VpcSubnetIds requires VpcSecurityGroupIds".to_owned()),
        ),
        (
            GROUP.to_owned(),
            Err("VpcSecurityGroupIds requires VpcSubnetIds".to_owned()),
        ),
        (admin.clone(), Ok(())),
        (others.clone(), Ok(())),
        (POOL.to_owned(), Ok(())),
        (
            format!("{POOL} {admin}"),
            Err("Set IdentityPoolId or AdminSecretArn, not both".to_owned()),
        ),
        (
            format!("{POOL} {others}"),
            Err("Set IdentityPoolId or OtherAdminSecretArns, not both".to_owned()),
        ),
        (format!("{admin} {others}"), exclusive),
    ] {
        assert_eq!(check(FUNCTION, &parameters), expected, "{parameters}");
    }
}

#[test]
fn the_template_of_a_schedule_requires_both_arns() {
    let secret = "SecretArn=arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders-AbCdEf";
    let function = "RotationFunctionArn=arn:aws:lambda:eu-west-1:123456789012:function:rotation";
    assert_eq!(check(SCHEDULE, &format!("{secret} {function}")), Ok(()));
    for invalid in [
        secret.to_owned(),
        format!("{secret} {function}:alias"),
        format!("{secret} {function} Duration=25h"),
    ] {
        assert!(check(SCHEDULE, &invalid).is_err(), "{invalid}");
    }
}
