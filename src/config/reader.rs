//! Reads environment variables and collects their problems.

use std::fmt;

use url::Url;

use crate::http::is_loopback;

/// Returns the value of an environment variable, or `None` if it is not set, empty or not valid Unicode.
#[expect(clippy::disallowed_methods, reason = "the only read of a variable")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The problems of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration: {}", .0.join("; "))]
pub struct Problems(Vec<String>);

/// Reads variables and collects their problems. An invalid variable counts as not set.
pub(super) struct Reader<F> {
    variable: F,
    problems: Problems,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(super) fn new(variable: F) -> Self {
        Self {
            variable,
            problems: Problems::default(),
        }
    }

    /// Returns the problems of all variables that were read.
    pub(super) fn finish(self) -> Result<(), Problems> {
        match self.problems {
            Problems(problems) if problems.is_empty() => Ok(()),
            problems => Err(problems),
        }
    }

    /// Returns the value of `name` without surrounding whitespace, or `None` if it is empty.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Returns the value of `name`, which must be set.
    pub(super) fn required(&mut self, name: &str) -> String {
        self.value(name).unwrap_or_else(|| {
            self.problems.0.push(format!("{name} must be set"));
            String::new()
        })
    }

    /// Parses the value of `name`.
    pub(super) fn parse<T, E: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(&self.value(name)?);
        let report = |problem| self.problems.0.push(format!("{name} {problem}"));
        parsed.map_err(report).ok()
    }

    /// Adds a problem of `name`.
    pub(super) fn report(&mut self, name: &str, problem: &str) {
        self.problems.0.push(format!("{name} {problem}"));
    }

    /// Returns the choice that the value of `name` selects.
    pub(super) fn choose<T: Copy + Default>(&mut self, name: &str, choices: &[(&str, T)]) -> T {
        self.parse(name, |value| choice(value, choices))
            .unwrap_or_default()
    }
}

/// Returns the choice that `value` selects.
pub(super) fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let chosen = choices.iter().find(|(choice, _)| *choice == value);
    let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
    let chosen = chosen.map(|(_, choice)| *choice);
    chosen.ok_or_else(|| format!("must be one of: {}", names.join(", ")))
}

/// Parses the base URL of a service, such as `example`.
pub(super) fn base_url(value: &str, example: &str) -> Result<Url, String> {
    let problem = || {
        format!(
            "must be an HTTPS URL without a user, path or query, such as {example} (HTTP only for a loopback address)"
        )
    };
    let url = Url::parse(value).map_err(|_| problem())?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let has_user = !url.username().is_empty() || url.password().is_some();
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    let is_valid = is_bare && !has_user && is_safe;
    is_valid.then_some(url).ok_or_else(problem)
}
