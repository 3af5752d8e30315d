//! The responses of a broker, and what it does instead.
//!
//! <https://github.com/apache/kafka> `clients/src/main/resources/common/message`

use super::frame::{APIS, Frame, Writer};

/// <https://kafka.apache.org/protocol#protocol_error_codes>
pub(super) const NONE: i16 = 0;
pub(super) const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
pub(super) const ILLEGAL_SASL_STATE: i16 = 34;
pub(super) const UNSUPPORTED_VERSION: i16 = 35;
pub(super) const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// What the broker does after a frame.
pub(super) enum Reply {
    Respond {
        bytes: Vec<u8>,
        /// The error code; `None` if the bytes are not the broker's own response.
        status: Option<u16>,
        closes: bool,
    },
    Close,
    Reset,
    Stall,
    Interrupt,
}

pub(super) fn reply(frame: &Frame, code: i16, body: Writer) -> Reply {
    Reply::Respond {
        bytes: body.into_frame(frame.correlation_id),
        status: Some(code.cast_unsigned()),
        closes: false,
    }
}

pub(super) fn closing(reply: Reply) -> Reply {
    match reply {
        Reply::Respond { bytes, status, .. } => Reply::Respond {
            bytes,
            status,
            closes: true,
        },
        other => other,
    }
}

/// Returns a response with an error code. After a failure of the authentication, the broker closes the connection.
pub(super) fn error_reply(frame: &Frame, code: i16) -> Reply {
    match frame.operation().as_str() {
        "ApiVersions" => reply(frame, code, api_versions(code, |key| key == frame.api_key)),
        "SaslHandshake" => {
            // The error lists the mechanisms that the broker supports.
            let other: &[&str] = match code {
                UNSUPPORTED_SASL_MECHANISM => &["OAUTHBEARER"],
                _ => &[],
            };
            closing(reply(frame, code, sasl_handshake(code, other)))
        }
        "SaslAuthenticate" => closing(reply(frame, code, sasl_authenticate(frame, code))),
        // The error code of Metadata is a topic's, so a response without topics has none.
        // https://github.com/apache/kafka clients/src/main/java/org/apache/kafka/common/requests/MetadataRequest.java
        "Metadata" => reply(frame, code, metadata(frame.api_version, &[], None)),
        _ => Reply::Close,
    }
}

/// `ApiVersionsResponse.json`, in version 0 whatever the request's version.
pub(super) fn api_versions(code: i16, is_listed: impl Fn(i16) -> bool) -> Writer {
    let apis: Vec<_> = APIS.iter().filter(|api| is_listed(api.key)).collect();
    Writer::default().int16(code).array(&apis, |writer, api| {
        let versions = &api.versions;
        writer
            .int16(api.key)
            .int16(*versions.start())
            .int16(*versions.end())
    })
}

/// `SaslHandshakeResponse.json`.
pub(super) fn sasl_handshake(code: i16, mechanisms: &[&str]) -> Writer {
    Writer::default()
        .int16(code)
        .array(mechanisms, |writer, name| {
            writer.nullable_string(Some(name))
        })
}

/// `SaslAuthenticateResponse.json`. The session does not expire.
///
/// Confluent Cloud's message: <https://github.com/confluentinc/confluent-kafka-python/issues/1034>
pub(super) fn sasl_authenticate(frame: &Frame, code: i16) -> Writer {
    let message = match code {
        NONE => None,
        SASL_AUTHENTICATION_FAILED => Some("Authentication failed"),
        _ => Some("The server experienced an unexpected error when processing the request."),
    };
    let token_length = 0;
    let writer = Writer::default()
        .int16(code)
        .nullable_string(message)
        .int32(token_length);
    if frame.api_version == 0 {
        writer
    } else {
        writer.int64(0)
    }
}

/// `MetadataResponse.json`, without topics. Without brokers, there is no controller.
pub(super) fn metadata(
    version: i16,
    brokers: &[(i32, (String, i32))],
    cluster: Option<&str>,
) -> Writer {
    let mut writer = Writer::default();
    if version >= 3 {
        let throttle_time = 0;
        writer = writer.int32(throttle_time);
    }
    writer = writer.array(brokers, |writer, (node_id, (host, port))| {
        let writer = writer
            .int32(*node_id)
            .nullable_string(Some(host))
            .int32(*port);
        if version >= 1 {
            let rack = None;
            writer.nullable_string(rack)
        } else {
            writer
        }
    });
    if version >= 2 {
        writer = writer.nullable_string(cluster);
    }
    if version >= 1 {
        writer = writer.int32(brokers.first().map_or(-1, |(node_id, _)| *node_id));
    }
    writer = writer.array::<()>(&[], |writer, ()| writer);
    if version >= 8 {
        let authorized_operations = i32::MIN;
        writer = writer.int32(authorized_operations);
    }
    writer
}
