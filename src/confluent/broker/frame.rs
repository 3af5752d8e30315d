//! The frames of the Kafka protocol that authenticate with SASL/PLAIN and list the brokers.
//!
//! Uses only non-flexible versions, which Kafka has supported since 2.2.
//!
//! <https://kafka.apache.org/protocol.html>

use crate::confluent::ApiKey;

/// The largest response that is read, in bytes. A broker's entry in the metadata has about 80 bytes.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// The client ID that a broker's log contains.
const CLIENT_ID: &str = env!("CARGO_PKG_NAME");

/// The error code `SASL_AUTHENTICATION_FAILED`: the only one that shows that the broker does not accept the key.
///
/// <https://kafka.apache.org/protocol.html#protocol_error_codes>
pub const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// A request, in the order in which a connection sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum_macros::Display)]
pub enum Operation {
    /// Selects the mechanism.
    SaslHandshake,
    /// Sends the API key.
    SaslAuthenticate,
    /// Requests the brokers of the cluster, and no topics.
    Metadata,
}

impl Operation {
    /// Returns `request_api_key` and `request_api_version`.
    fn api(self) -> (i16, i16) {
        match self {
            // Version 0 would send the token without a frame.
            Self::SaslHandshake => (17, 1),
            Self::SaslAuthenticate => (36, 1),
            // The first version that can prevent the creation of topics.
            Self::Metadata => (3, 4),
        }
    }

    /// Returns the number with which a broker relates its response to the request. A connection sends each request once.
    fn correlation_id(self) -> i32 {
        i32::from(self.api().0)
    }
}

/// Encodes a request with its length. `SaslAuthenticate` contains the API secret, so the result must not be printed.
pub fn request(operation: Operation, key: &ApiKey) -> Vec<u8> {
    let (request_api_key, version) = operation.api();
    let mut frame = Vec::new();
    frame.extend(request_api_key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(operation.correlation_id().to_be_bytes());
    string(&mut frame, CLIENT_ID);
    match operation {
        Operation::SaslHandshake => string(&mut frame, "PLAIN"),
        Operation::SaslAuthenticate => {
            // An empty authorization ID: https://www.rfc-editor.org/rfc/rfc4616#section-2
            let token = format!("\0{}\0{}", key.id, key.secret.expose());
            frame.extend(length(token.len()).to_be_bytes());
            frame.extend(token.as_bytes());
        }
        Operation::Metadata => {
            // An empty array of topics, and no creation of topics.
            frame.extend(0_i32.to_be_bytes());
            frame.push(0);
        }
    }
    let mut framed = length(frame.len()).to_be_bytes().to_vec();
    framed.append(&mut frame);
    framed
}

fn string(frame: &mut Vec<u8>, string: &str) {
    let length = i16::try_from(string.len()).unwrap_or(i16::MAX);
    frame.extend(length.to_be_bytes());
    frame.extend(string.as_bytes());
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Decodes the length of a response from its first four bytes. Returns `None` if it is less than 4 or more than [`MAX_FRAME_BYTES`].
pub fn response_length(prefix: [u8; 4]) -> Option<usize> {
    let length = usize::try_from(i32::from_be_bytes(prefix)).ok()?;
    (4..=MAX_FRAME_BYTES).contains(&length).then_some(length)
}

/// The response is not valid for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Decodes the response to `SaslHandshake` or `SaslAuthenticate`, without its length. Returns its error code, or 0 if it succeeded.
pub fn error_code(operation: Operation, response: &[u8]) -> Result<i16, Malformed> {
    let mut reader = Reader::new(operation, response)?;
    let code = reader.i16()?;
    match operation {
        Operation::SaslHandshake => {
            for _ in 0..reader.count()? {
                reader.string()?;
            }
        }
        Operation::SaslAuthenticate => {
            let _error_message = reader.nullable_string()?;
            let length = usize::try_from(reader.i32()?).map_err(|_| Malformed)?;
            let _auth_bytes = reader.take(length)?;
            let _session_lifetime_ms = reader.take(8)?;
        }
        Operation::Metadata => return Err(Malformed),
    }
    reader.end()?;
    Ok(code)
}

/// A broker in the metadata of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The host name.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Decodes the response to `Metadata`, without its length. Returns the brokers without duplicates.
pub fn brokers(response: &[u8]) -> Result<Vec<Address>, Malformed> {
    let mut reader = Reader::new(Operation::Metadata, response)?;
    let _throttle_time_ms = reader.i32()?;
    let mut brokers = Vec::new();
    for _ in 0..reader.count()? {
        let _node_id = reader.i32()?;
        let host = reader.string()?.to_owned();
        let port = u16::try_from(reader.i32()?).map_err(|_| Malformed)?;
        let _rack = reader.nullable_string()?;
        brokers.push(Address { host, port });
    }
    let _cluster_id = reader.nullable_string()?;
    let _controller_id = reader.i32()?;
    // No topic was requested.
    if reader.count()? != 0 {
        return Err(Malformed);
    }
    reader.end()?;
    brokers.sort();
    brokers.dedup();
    Ok(brokers)
}

/// Reads a response from its beginning.
struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    /// Reads the header of the response to `operation`.
    fn new(operation: Operation, response: &'r [u8]) -> Result<Self, Malformed> {
        let mut reader = Self(response);
        let is_response = reader.i32()? == operation.correlation_id();
        is_response.then_some(reader).ok_or(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'r [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Reads the number of items of an array. Each item has at least one byte, so a larger number is malformed.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i32()?).map_err(|_| Malformed)?;
        (count <= self.0.len()).then_some(count).ok_or(Malformed)
    }

    fn nullable_string(&mut self) -> Result<Option<&'r str>, Malformed> {
        let length = self.i16()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let string = std::str::from_utf8(self.take(length)?);
        string.map(Some).map_err(|_| Malformed)
    }

    fn string(&mut self) -> Result<&'r str, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    fn end(&self) -> Result<(), Malformed> {
        self.0.is_empty().then_some(()).ok_or(Malformed)
    }
}
