//! Generates IDs and tokens from a serial number, so that a test always gets the same ones and can be rerun by its
//! name.

/// Every secret value that the simulator generates contains this string, and nothing else does.
pub const CANARY: &str = "CANARY";

pub(crate) const BASE64: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) const BASE64URL: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns `length` pseudorandom characters of `alphabet`.
pub(crate) fn characters(seed: u64, length: usize, alphabet: &[u8]) -> String {
    let mut state = seed;
    let mut next = || {
        // https://prng.di.unimi.it/splitmix64.c
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

/// Returns a version ID, `ClientRequestToken`, request ID or organization ID.
pub(crate) fn uuid(serial: u64) -> String {
    let digits = characters(serial, 32, b"0123456789abcdef");
    format!(
        "{}-{}-4{}-a{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
        &digits[20..]
    )
}

/// Returns a `RotationToken`: 36 to 256 characters of `[a-zA-Z0-9\-]`.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
pub(crate) fn rotation_token(serial: u64) -> String {
    format!("{CANARY}-{}", uuid(serial))
}

/// Returns the six characters at the end of a secret's ARN.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_iam-permissions.html>
pub(crate) fn arn_suffix(serial: u64) -> String {
    characters(serial, 6, &BASE64[..62])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_ids_and_rotation_tokens_have_the_documented_length() {
        assert_eq!(uuid(7).len(), 36);
        assert!((36..=256).contains(&rotation_token(7).len()));
    }
}
