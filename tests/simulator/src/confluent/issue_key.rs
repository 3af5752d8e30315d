//! Issues API keys. IDs and secrets follow from a serial number, as in `generate`.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::api_key::{ApiKey, KeyType};
use crate::generate::{BASE64, CANARY, characters};
use crate::state::State;

impl State {
    /// Returns a new key without a creation time. It exists when it is inserted into [`State::keys`].
    pub(crate) fn issue_key(
        &mut self,
        owner: Option<&str>,
        resource: &str,
        environment: Option<&str>,
    ) -> ApiKey {
        let serial = self.next_serial();
        let key_type = KeyType::of(Some(resource))
            .unwrap_or_else(|| panic!("{resource} is not a resource ID"));
        let key = ApiKey {
            id: key_id(serial),
            secret: key_secret(serial),
            owner: owner.map(ToOwned::to_owned),
            key_type,
            resource: if key_type.is_control_plane() {
                resource.to_ascii_lowercase()
            } else {
                resource.to_owned()
            },
            environment: environment.map(ToOwned::to_owned),
            display_name: String::new(),
            description: String::new(),
            created_at: None,
            created_by_function: false,
            created_for: None,
            propagation_statuses: [].into(),
            other_nodes: Vec::new(),
            accepted_from: Instant::now(),
            hidden_from_lists: 0,
            hidden_from_reads: 0,
            delete_lag: None,
            deletion_status: None,
            remaining_reads: None,
        };
        self.canaries.insert(key.secret.clone());
        key
    }
}

/// Returns sixteen uppercase letters and digits, as in Confluent's examples.
fn key_id(serial: u64) -> String {
    format!(
        "{}{serial:06}",
        characters(serial, 10, b"BDEFGHJKLMPQSTUVWXZ")
    )
}

/// Returns an API secret in the format used since July 2025: `cflt`, 54 characters, and their CRC-32, little-endian, in
/// base64.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html>
fn key_secret(serial: u64) -> String {
    // Every secret has `+` and `/`, because encoders treat them differently.
    let body = format!("{CANARY}{serial:06}+/{}", characters(serial, 40, BASE64));
    let checksum = STANDARD_NO_PAD.encode(crc32(body.as_bytes()).to_le_bytes());
    format!("cflt{body}{checksum}")
}

/// Returns the CRC-32 (IEEE 802.3).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_the_checksum_and_the_length_of_the_documented_example() {
        let documented = "cfltT8d8RzkNseTMEDKcjNM1BZTFPHqRn/dQm9q7w6SjzZ12wZfwjaJdipHZtDjw";
        let checksum = STANDARD_NO_PAD.encode(crc32(&documented.as_bytes()[4..58]).to_le_bytes());
        assert_eq!(checksum, documented[58..]);
        assert_eq!(key_secret(7).len(), documented.len());
    }

    #[test]
    fn a_key_id_has_the_documented_length() {
        assert_eq!(key_id(7).len(), 16);
    }
}
