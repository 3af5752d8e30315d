//! `metadata.created_at`: writes and reads times in RFC 3339.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::controls::CreatedAt;
use crate::state::State;

/// Tolerance for a clock that is ahead of Confluent's.
const MAX_FUTURE_SECONDS: i64 = 5 * 60;

/// The start of 2026, in seconds since 1970.
pub(crate) const START_OF_2026: i64 = 1_767_225_600;

/// Returns the time `seconds_from_now`, which may be negative, in the format of `metadata.created_at`.
#[must_use]
pub fn timestamp(seconds_from_now: i64) -> String {
    rfc3339(now() + seconds_from_now)
}

/// Returns the current time, in seconds since 1970.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs().cast_signed())
}

impl State {
    /// Returns the creation time of an arranged key: early in 2026, and after that of the key before.
    pub(crate) fn arranged_created_at(&mut self) -> String {
        self.last_created_at += 1;
        rfc3339(self.last_created_at)
    }

    /// Returns the creation time of a new key.
    ///
    /// Without a [`CreatedAt`] that says otherwise, it is at least one second after that of the owner's other keys. A rotation takes
    /// minutes, but tests run several within a second.
    pub(super) fn next_created_at(&mut self, owner: &str) -> Option<String> {
        match &self.controls.created_at {
            CreatedAt::Now => {
                let keys = self.keys.values().chain(self.deleted_keys.values());
                let keys = keys.filter(|key| key.owner.as_deref() == Some(owner));
                let last = keys.filter_map(|key| known_time(key.created_at.as_deref()));
                let created_at = now().max(1 + last.max().unwrap_or_default());
                self.last_created_at = self.last_created_at.max(created_at);
                Some(rfc3339(created_at))
            }
            CreatedAt::Absent => None,
            CreatedAt::At(time) => Some(time.clone()),
        }
    }
}

/// Returns the time in whole seconds since 1970; `None` if it is unknown: absent, not RFC 3339, the zero value of Go's
/// `time.Time`, or in the future.
///
/// <https://pkg.go.dev/time#Time.IsZero>
pub(crate) fn known_time(created_at: Option<&str>) -> Option<i64> {
    let time = parse(created_at?)?;
    (time > 0 && time <= now() + MAX_FUTURE_SECONDS).then_some(time)
}

/// Returns a time that is `seconds` earlier, in the same format; `None` if it is not RFC 3339, or the zero value of Go's
/// `time.Time`.
pub(crate) fn earlier(created_at: &str, seconds: i64) -> Option<String> {
    const DATE: Range<usize> = 0..10;
    const CLOCK: Range<usize> = 11..19;
    parse(created_at).filter(|time| *time > 0)?;
    // The local time, because the offset does not change.
    let local = parse(&format!("{}Z", created_at.get(..CLOCK.end)?))?;
    let shifted = rfc3339(local - seconds);
    let mut earlier = created_at.to_owned();
    for range in [DATE, CLOCK] {
        earlier.replace_range(range.clone(), shifted.get(range)?);
    }
    Some(earlier)
}

/// Parses a time, and returns whole seconds since 1970.
///
/// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>
fn parse(time: &str) -> Option<i64> {
    let (date, rest) = time.split_once(['T', 't'])?;
    let clock = rest.get(..8)?;
    let rest = rest.get(8..)?;
    let fraction = rest.strip_prefix('.').map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (digits, rest.get(digits..).unwrap_or_default())
    });
    let offset = match fraction {
        Some((0, _)) => return None,
        Some((_, offset)) => offset,
        None => rest,
    };
    let [year, month, day] = numbers(date, '-', &[4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', &[2, 2, 2])?;
    let is_valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    is_valid.then_some(seconds - offset_seconds(offset)?)
}

fn offset_seconds(offset: &str) -> Option<i64> {
    if offset.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, offset) = match offset.split_at_checked(1)? {
        ("+", offset) => (1, offset),
        ("-", offset) => (-1, offset),
        _ => return None,
    };
    let [hours, minutes] = numbers(offset, ':', &[2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Splits a string into numbers with these lengths.
fn numbers<const N: usize>(
    string: &str,
    separator: char,
    lengths: &[usize; N],
) -> Option<[i64; N]> {
    let mut parts = string.split(separator);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next()?;
        let is_number = part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let next = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    days_since_1970(next.0, next.1, 1) - days_since_1970(year, month, 1)
}

/// <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that a leap day is the last day of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
pub(crate) fn rfc3339(seconds_since_1970: i64) -> String {
    let (days, second) = (
        seconds_since_1970.div_euclid(86_400),
        seconds_since_1970.rem_euclid(86_400),
    );
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000000Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_was_written() {
        for days in (0..40_000).step_by(13) {
            let time = days * 86_400 + 86_399;
            assert_eq!(parse(&rfc3339(time)), Some(time), "{}", rfc3339(time));
        }
    }

    #[test]
    fn an_offset_is_subtracted() {
        let utc = parse("2026-03-01T00:30:00Z");
        assert!(utc.is_some());
        assert_eq!(parse("2026-03-01T02:30:00+02:00"), utc);
        assert_eq!(parse("2026-02-28T19:00:00.123456789-05:30"), utc);
    }

    #[test]
    fn an_earlier_time_has_the_same_format() {
        for (time, expected) in [
            ("2026-03-01T00:30:00Z", Some("2026-02-28T23:30:00Z")),
            (
                "2026-03-01t12:00:00.5+02:00",
                Some("2026-03-01t11:00:00.5+02:00"),
            ),
            (
                "2026-01-01T00:59:59.123456-05:30",
                Some("2025-12-31T23:59:59.123456-05:30"),
            ),
            ("0001-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(earlier(time, 3600).as_deref(), expected, "{time}");
        }
    }

    #[test]
    fn the_zero_time_a_future_time_and_other_formats_are_unknown() {
        let future = timestamp(MAX_FUTURE_SECONDS + 60);
        for time in [
            "0001-01-01T00:00:00Z",
            "yesterday",
            "",
            "2026-02-29T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T24:00:00Z",
            "1767225600",
            &future,
        ] {
            assert_eq!(known_time(Some(time)), None, "{time}");
        }
        assert_eq!(known_time(None), None);
        assert!(known_time(Some(&timestamp(MAX_FUTURE_SECONDS - 60))).is_some());
    }
}
