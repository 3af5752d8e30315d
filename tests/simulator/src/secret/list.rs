//! `ListSecrets`: pages in the order of the ARNs.

use serde_json::{Map, Value, json};

use super::describe::list_entry;
use super::{Secret, error_response::error};
use crate::http::response::Response;
use crate::state::State;

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
const MAX_PAGE: usize = 100;

/// The prefix of a token. The rest is the key of the last item of the page before.
const PAGE: &str = "page after ";
/// The same, for a page without items.
const EMPTY_PAGE: &str = "empty page after ";

/// A page of a list.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    /// Returns the page that a request specifies, from `items` in the order of their keys.
    ///
    /// A page follows a key, not a number of items, so that a change of the list between two requests moves no item to
    /// another page.
    pub(crate) fn of<'a>(
        items: impl Iterator<Item = (&'a str, T)>,
        body: &Map<String, Value>,
    ) -> Result<Self, Response> {
        Self::with_limits(items, body, MAX_PAGE, false)
    }

    /// Returns a page with at most `max_size` items. With `empty_pages`, every page with items is preceded and followed by one
    /// without: "These operations can occasionally return an empty or shorter than expected list of results even when there
    /// are more results available."
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
    fn with_limits<'a>(
        items: impl Iterator<Item = (&'a str, T)>,
        body: &Map<String, Value>,
        max_size: usize,
        empty_pages: bool,
    ) -> Result<Self, Response> {
        let size = page_size(body)?.min(max_size);
        let first = if empty_pages { EMPTY_PAGE } else { PAGE };
        let token = body.get("NextToken").map(Value::as_str);
        let token = token.unwrap_or(Some(first)).unwrap_or_default();
        let is_empty = token.starts_with(EMPTY_PAGE);
        let after = token.strip_prefix(EMPTY_PAGE);
        let Some(after) = after.or_else(|| token.strip_prefix(PAGE)) else {
            let message = "The NextToken value is invalid.";
            return Err(error("InvalidNextTokenException", message));
        };
        let mut items = items.skip_while(|(key, _)| *key <= after).peekable();
        if is_empty {
            let next = items.peek().map(|_| format!("{PAGE}{after}"));
            return Ok(Self {
                items: Vec::new(),
                next,
            });
        }
        let (keys, page): (Vec<&str>, Vec<T>) = items.by_ref().take(size).unzip();
        let has_next = empty_pages || items.peek().is_some();
        let last = keys.last().copied().unwrap_or(after);
        Ok(Self {
            items: page,
            next: has_next.then(|| format!("{first}{last}")),
        })
    }

    /// Adds the token of the next page to a response.
    pub(crate) fn add_next(&self, mut body: Value) -> Value {
        if let Some(next) = &self.next {
            body["NextToken"] = json!(next);
        }
        body
    }
}

/// Returns the maximum number of items of a page.
fn page_size(body: &Map<String, Value>) -> Result<usize, Response> {
    let Some(size) = body.get("MaxResults") else {
        return Ok(MAX_PAGE);
    };
    let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
    size.filter(|size| (1..=MAX_PAGE).contains(size))
        .ok_or_else(|| {
            let message = "1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member must \
                           have value between 1 and 100";
            error("ValidationException", message)
        })
}

/// Lists the secrets for which `is_listed` returns true: "`ListSecrets` might not reflect changes from the last five minutes."
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
pub(crate) fn list_secrets(
    state: &State,
    body: &Map<String, Value>,
    is_listed: impl Fn(&Secret) -> bool,
) -> Result<Value, Response> {
    let secrets = state.frozen_list.as_ref().unwrap_or(&state.secrets);
    let listed = secrets.iter().filter(|(_, secret)| is_listed(secret));
    let listed = listed.map(|(arn, secret)| (arn.as_str(), secret));
    let controls = &state.controls;
    let max_size = controls.max_secrets_page.unwrap_or(MAX_PAGE);
    let page = Page::with_limits(listed, body, max_size, controls.empty_secrets_pages)?;
    let entries: Value = page.items.iter().copied().map(list_entry).collect();
    Ok(page.add_next(json!({ "SecretList": entries })))
}
