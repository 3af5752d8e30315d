//! Names and secrets, made from a counter: the same test sees the same ones every time, and a case's
//! name is its whole reproduction.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Every secret the simulator makes up contains this text, and nothing else does.
pub const CANARY: &str = "CANARY";

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `length` characters of `alphabet` that follow from `seed`.
fn noise(seed: u64, length: usize, alphabet: &[u8]) -> String {
    let mut state = seed;
    let mut next = || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).expect("31 bits fit")
    };
    (0..length)
        .map(|_| char::from(alphabet[next() % alphabet.len()]))
        .collect()
}

/// Sixteen upper-case letters and digits, as every key id in Confluent's examples.
pub(crate) fn key_id(serial: u64) -> String {
    format!("{}{serial:06}", noise(serial, 10, b"BDEFGHJKLMPQSTUVWXZ"))
}

/// A key's secret in the form used since July 2025: `cflt`, 54 characters, and the CRC-32 of these,
/// little-endian, in base64.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html>
pub(crate) fn key_secret(serial: u64) -> String {
    // `+` and `/` in every one: they are what a careless encoder breaks.
    let body = format!("{CANARY}{serial:06}+/{}", noise(serial, 40, BASE64));
    let checksum = STANDARD_NO_PAD.encode(crc32(body.as_bytes()).to_le_bytes());
    format!("cflt{body}{checksum}")
}

/// CRC-32 (IEEE 802.3), bit by bit.
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

/// A version id, `ClientRequestToken` or organization id.
pub(crate) fn uuid(serial: u64) -> String {
    let digits = noise(serial, 32, b"0123456789abcdef");
    format!(
        "{}-{}-4{}-a{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
        &digits[20..]
    )
}

/// 36 to 256 characters of `[a-zA-Z0-9\-]`.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
pub(crate) fn rotation_token(serial: u64) -> String {
    format!("{CANARY}-{}", uuid(serial))
}

/// Six characters at the end of a secret's ARN.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_iam-permissions.html>
pub(crate) fn arn_suffix(serial: u64) -> String {
    noise(serial, 6, &BASE64[..62])
}

/// A moment, in RFC 3339: `serial` seconds into 2026, so that later keys are later.
pub(crate) fn timestamp(serial: u64) -> String {
    let (day, second) = (serial / 86_400, serial % 86_400);
    format!(
        "2026-01-{:02}T{:02}:{:02}:{:02}.000000Z",
        1 + day,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The time now, as [`timestamp`] writes it: how old a key is decides what a client may conclude.
pub(crate) fn now() -> String {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (since_epoch / 86_400, since_epoch % 86_400);
    // Years from March on, so that a leap day is a year's last.
    // https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000000Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_carries_the_checksum_that_the_documented_example_carries() {
        let documented = "cfltT8d8RzkNseTMEDKcjNM1BZTFPHqRn/dQm9q7w6SjzZ12wZfwjaJdipHZtDjw";
        let checksum = STANDARD_NO_PAD.encode(crc32(&documented.as_bytes()[4..58]).to_le_bytes());
        assert_eq!(checksum, documented[58..]);
        assert_eq!(key_secret(7).len(), documented.len());
    }

    #[test]
    fn ids_have_their_documented_lengths() {
        assert_eq!(key_id(7).len(), 16);
        assert_eq!(uuid(7).len(), 36);
        assert!((36..=256).contains(&rotation_token(7).len()));
    }
}
