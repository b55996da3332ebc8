//! When a device says that it measured: the ways in which devices write a time.
//!
//! A time without a zone is not taken: nobody knows when it was.

use lwm2m_client::Timestamp;

use crate::limits::{EARLIEST_DEVICE_TIME, LATEST_DEVICE_TIME};

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// Seconds since 1970, UTC.
    UnixSecs,
    /// Milliseconds since 1970, UTC.
    UnixMs,
    /// RFC 3339 with `Z` or an offset.
    Rfc3339,
}

impl TimeFormat {
    pub(crate) const WORDS: [(&'static str, Self); 3] = [
        ("unix_s", Self::UnixSecs),
        ("unix_ms", Self::UnixMs),
        ("rfc3339", Self::Rfc3339),
    ];
}

/// Returns the time of so many seconds; none where a clock that shows it was never set.
pub(crate) fn from_unix_secs(secs: f64) -> Option<Timestamp> {
    from_unix_ms(secs * 1000.0)
}

/// Returns the time of so many milliseconds; none where a clock that shows it was never set.
pub(crate) fn from_unix_ms(unix_ms: f64) -> Option<Timestamp> {
    let range = EARLIEST_DEVICE_TIME as f64 * 1000.0..=LATEST_DEVICE_TIME as f64 * 1000.0;
    range
        .contains(&unix_ms)
        .then(|| Timestamp::from_unix_ms(unix_ms.round() as i64))
}

/// Reads a time as RFC 3339, section 5.6, has it.
pub(crate) fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let is_real = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_real {
        return None;
    }
    let secs = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let secs = secs - offset_secs(zone)?;
    from_unix_ms(secs as f64 * 1000.0 + millis(fraction)? as f64)
}

fn offset_secs(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, clock) = match zone.strip_prefix('+') {
        Some(clock) => (1, clock),
        None => (-1, zone.strip_prefix('-')?),
    };
    let [hours, minutes] = numbers(clock, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn millis(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || fraction.len() > 18 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let three: String = fraction.chars().chain("000".chars()).take(3).collect();
    three.parse().ok()
}

/// Returns numbers of so many digits each, with one character between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = |years: i64| years / 4 - years / 100 + years / 400;
    let days_before_year = (year - 1970) * 365 + leap_days(before) - leap_days(1969);
    let days_before_month: i64 = (1..month).map(|month| days_in(year, month)).sum();
    days_before_year + days_before_month + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_a_zone_are_read() {
        // RFC 3339, section 5.8, moved into our time; the numbers are those of `date -d`.
        for (text, unix_ms) in [
            ("2026-04-12T23:20:50.52Z", 1_776_036_050_520),
            ("2026-12-19T16:39:57-08:00", 1_797_727_197_000),
            ("2024-02-29T00:00:00+01:00", 1_709_161_200_000),
            ("2020-01-16 15:23:31z", 1_579_188_211_000),
        ] {
            let read = from_rfc3339(text).map(Timestamp::unix_ms);
            assert_eq!(read, Some(unix_ms), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_none_and_so_is_one_that_never_was() {
        for text in [
            "2026-03-02T18:25:03",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-1-01T00:00:00Z",
            "1970-01-01T00:00:17Z",
            "",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn the_time_of_a_clock_that_was_never_set_is_none() {
        assert_eq!(from_unix_secs(17.0), None);
        assert_eq!(from_unix_secs(f64::NAN), None);
        assert_eq!(from_unix_secs(f64::from(u32::MAX)), None);
        let set = from_unix_secs(1_579_188_211.0).map(Timestamp::unix_ms);
        assert_eq!(set, Some(1_579_188_211_000));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "[0-9TZ:.+ -]{0,40}") {
            let _time = from_rfc3339(&text);
        }
    }
}
