//! The fields of ours in a secret value, and where they stand in its text.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Error, KEY_FIELDS, is_secret_arn};
use crate::credential::{ApiKey, ApiKeyId, Redacted};

/// Ids of keys have 16 or 18 characters, their secrets 64.
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html>
pub(crate) const LONGEST_ID: usize = 40;

/// The fields that are read and never written.
pub(super) const SETTINGS: [&str; 6] = [
    "serviceAccountId",
    "resourceId",
    "environmentId",
    "adminSecretArn",
    "masterarn",
    "endpoint",
];

/// A field of ours.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Where the value stands in the text, in bytes.
    pub(super) span: Range<usize>,
    /// The value: empty for `null`, none for what is neither `null` nor a string.
    pub(super) text: Option<String>,
}

impl Field {
    /// Whether white space of the value is ignored. In a JAAS configuration none is: it is kept.
    fn is_padded(&self) -> bool {
        let text = self.text.as_deref().unwrap_or_default();
        text != text.trim() && self.name != "sasl.jaas.config"
    }
}

/// The fields of ours in an object, in their order.
pub(super) struct Fields(Vec<Field>);

impl Fields {
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let fields = json.deserialize_map(FieldsOf { text });
        let fields = fields.and_then(|fields| json.end().map(|()| fields));
        // Only the position: the parser's own message quotes the text it stopped at.
        fields.map(Self).map_err(|error| Error::NotAnObject {
            line: error.line(),
            column: error.column(),
        })
    }

    /// The fields whose white space is ignored, in sentences.
    pub(super) fn warnings(&self) -> Vec<String> {
        let padded = self.0.iter().filter(|field| field.is_padded());
        let warning = |field: &Field| {
            let name = field.name;
            format!("the white space around the value of `{name}` is ignored: remove it")
        };
        padded.map(warning).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.name == name)
    }

    pub(super) fn find(&self, name: &'static str) -> Result<Option<&Field>, Error> {
        let mut fields = self.0.iter().filter(|field| field.name == name);
        match (fields.next(), fields.next()) {
            (field, None) => Ok(field),
            _ => Err(Error::Repeated(name)),
        }
    }

    pub(super) fn optional(&self, name: &'static str) -> Result<Option<String>, Error> {
        let Some(field) = self.find(name)? else {
            return Ok(None);
        };
        let text = field.text.as_deref().ok_or(Error::NotAString(name))?;
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    pub(super) fn required(&self, name: &'static str) -> Result<String, Error> {
        self.optional(name)?.ok_or(Error::Missing(name))
    }

    /// An ARN is printed, so what does not look like one is refused.
    pub(super) fn secret_arn(&self, field: &'static str) -> Result<Option<String>, Error> {
        let arn = self.optional(field)?;
        let form = "the whole ARN of a secret, `arn:…:secretsmanager:…`";
        match &arn {
            Some(arn) if !is_secret_arn(arn) => Err(Error::Malformed { field, form }),
            _ => Ok(arn),
        }
    }

    /// The key; none if both of its fields are absent or empty.
    pub(super) fn api_key_or_none(&self) -> Result<Option<ApiKey>, Error> {
        match (self.optional("apiKey")?, self.optional("apiSecret")?) {
            (None, None) => Ok(None),
            _ => self.api_key().map(Some),
        }
    }

    pub(super) fn api_key(&self) -> Result<ApiKey, Error> {
        let id = self.required("apiKey")?;
        // An id is printed. One that could be a secret, in the wrong field, must not be.
        if id.len() > LONGEST_ID {
            let (field, form) = ("apiKey", "the key's id, not its secret");
            return Err(Error::Malformed { field, form });
        }
        Ok(ApiKey {
            id: ApiKeyId::new(id),
            secret: Redacted::new(self.required("apiSecret")?),
        })
    }
}

/// The key in the value of an admin secret, which needs no other field, and what is odd about the value.
///
/// # Errors
/// [`Error`], naming the field.
pub fn api_key(text: &Redacted) -> Result<(ApiKey, Vec<String>), Error> {
    let fields = Fields::read(text.expose())?;
    Ok((fields.api_key()?, fields.warnings()))
}

struct FieldsOf<'t> {
    text: &'t str,
}

impl<'t> Visitor<'t> for FieldsOf<'t> {
    type Value = Vec<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut object: A) -> Result<Vec<Field>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = object.next_entry::<String, &RawValue>()? {
            let key_fields = KEY_FIELDS.into_iter().flatten().map(|(name, _)| *name);
            let Some(name) = key_fields.chain(SETTINGS).find(|ours| *ours == name) else {
                continue;
            };
            let value = value.get();
            // A raw value borrows from the text, so how far they are apart is where it stands.
            let start = value.as_ptr().addr() - self.text.as_ptr().addr();
            let text = serde_json::from_str::<Option<String>>(value).ok();
            fields.push(Field {
                name,
                span: start..start + value.len(),
                text: text.map(Option::unwrap_or_default),
            });
        }
        Ok(fields)
    }
}
