//! Frames of the Kafka protocol, in the versions without varints and tagged fields.
//!
//! <https://kafka.apache.org/protocol> and <https://github.com/apache/kafka> `clients/src/main/resources/common/message`

use std::fmt;

/// An API: its name, its key, and the versions that a broker supports.
pub(super) struct Api {
    pub(super) name: &'static str,
    pub(super) key: i16,
    pub(super) versions: std::ops::RangeInclusive<i16>,
}

const fn api(name: &'static str, key: i16, last_version: i16) -> Api {
    Api {
        name,
        key,
        versions: 0..=last_version,
    }
}

/// The APIs in the response to `ApiVersions`. The simulator has no topics, but clients treat a broker without the first four
/// as too old.
///
/// <https://github.com/confluentinc/librdkafka> `src/rdkafka_feature.c`
pub(super) const APIS: [Api; 8] = [
    api("Produce", 0, 8),
    api("Fetch", 1, 11),
    api("ListOffsets", 2, 5),
    api("FindCoordinator", 10, 2),
    api("Metadata", 3, 8),
    api("SaslHandshake", 17, 1),
    api("ApiVersions", 18, 0),
    api("SaslAuthenticate", 36, 1),
];

/// A request frame, without its length.
pub(super) struct Frame {
    pub(super) api_key: i16,
    pub(super) api_version: i16,
    pub(super) correlation_id: i32,
    pub(super) client_id: String,
    /// The frame with its header.
    pub(super) bytes: Vec<u8>,
    body_at: usize,
}

/// The body of a request.
pub(super) enum Body {
    ApiVersions,
    SaslHandshake {
        mechanism: String,
    },
    /// The token; `None` if it is malformed.
    SaslAuthenticate(Option<Token>),
    Metadata {
        /// The number of topics; `None` for all. In version 0, no topics mean all, too.
        topics: Option<usize>,
        creates_topics: bool,
    },
}

/// The client's token of SASL/PLAIN: `authzid NUL authcid NUL passwd`.
///
/// <https://www.rfc-editor.org/rfc/rfc4616#section-2>
#[derive(Clone)]
pub(super) struct Token {
    pub(super) authorization_id: String,
    pub(super) key_id: String,
    pub(super) secret: String,
}

impl Frame {
    /// Parses the header. Its first version is a prefix of the later ones.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut reader = Reader(&bytes);
        let (api_key, api_version) = (reader.int16()?, reader.int16()?);
        let correlation_id = reader.int32()?;
        let client_id = reader.string()?;
        let body_at = bytes.len() - reader.0.len();
        Some(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
            bytes,
            body_at,
        })
    }

    pub(super) fn api(&self) -> Option<&'static Api> {
        APIS.iter().find(|api| api.key == self.api_key)
    }

    /// Returns the name of the API, or its number if the simulator does not know it.
    pub(super) fn operation(&self) -> String {
        self.api()
            .map_or_else(|| format!("API {}", self.api_key), |api| api.name.into())
    }

    /// Returns whether the broker supports the version. Without `SaslAuthenticate`, the tokens after version 0 of
    /// `SaslHandshake` have no header: the simulator does not support them.
    ///
    /// <https://cwiki.apache.org/confluence/display/KAFKA/KIP-152+-+Improve+diagnostics+for+SASL+authentication+failures>
    pub(super) fn is_supported(&self) -> bool {
        self.api()
            .is_some_and(|api| api.versions.contains(&self.api_version))
            && (self.api_key, self.api_version) != (17, 0)
    }

    /// Parses the body of a supported version; `None` if it is malformed, or if the simulator does not support the API.
    pub(super) fn body(&self) -> Option<Body> {
        let mut reader = Reader(&self.bytes[self.body_at..]);
        let body = match self.api()?.name {
            "ApiVersions" => Body::ApiVersions,
            "SaslHandshake" => Body::SaslHandshake {
                mechanism: reader.string()?,
            },
            "SaslAuthenticate" => Body::SaslAuthenticate(Token::parse(reader.bytes()?)),
            "Metadata" => metadata(&mut reader, self.api_version)?,
            _ => return None,
        };
        reader.0.is_empty().then_some(body)
    }
}

/// `MetadataRequest.json`.
fn metadata(reader: &mut Reader<'_>, version: i16) -> Option<Body> {
    let count = reader.int32()?;
    for _ in 0..count {
        reader.string()?;
    }
    let topics = usize::try_from(count).ok();
    let creates_topics = version < 4 || reader.int8()? != 0;
    if version >= 8 {
        reader.take(2)?;
    }
    Some(Body::Metadata {
        topics,
        creates_topics,
    })
}

impl Token {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let token = std::str::from_utf8(bytes).ok()?;
        let [authorization_id, key_id, secret] =
            <[&str; 3]>::try_from(token.split('\0').collect::<Vec<_>>()).ok()?;
        (!key_id.is_empty() && !secret.is_empty()).then(|| Self {
            authorization_id: authorization_id.to_owned(),
            key_id: key_id.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

impl fmt::Debug for Token {
    /// Omits the API secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Reads big-endian fields. `None` at the end of the bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int8(&mut self) -> Option<i8> {
        self.take(1)?.try_into().ok().map(i8::from_be_bytes)
    }

    fn int16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.int32()?).ok()?;
        self.take(length)
    }

    /// Reads a string. A null string is read as an empty one.
    fn string(&mut self) -> Option<String> {
        let Ok(length) = usize::try_from(self.int16()?) else {
            return Some(String::new());
        };
        let string = std::str::from_utf8(self.take(length)?).ok()?;
        Some(string.to_owned())
    }
}

/// Writes the fields of a response.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn int16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn int32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn int64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn nullable_string(self, value: Option<&str>) -> Self {
        let Some(value) = value else {
            return self.int16(-1);
        };
        let length = i16::try_from(value.len()).expect("the string is short");
        let mut writer = self.int16(length);
        writer.0.extend(value.as_bytes());
        writer
    }

    pub(super) fn array<T>(self, items: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        let count = i32::try_from(items.len()).expect("the array is short");
        items.iter().fold(self.int32(count), write)
    }

    /// Returns the response frame with its length and header.
    pub(super) fn into_frame(self, correlation_id: i32) -> Vec<u8> {
        let length = i32::try_from(self.0.len() + 4).expect("the response is short");
        let header = Self::default().int32(length).int32(correlation_id);
        [header.0, self.0].concat()
    }
}
