//! Times and ages as people write them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use lwm2m_client::Timestamp;

/// Reads an age such as `7d` or `1d 12h`.
pub(in crate::cli) fn age(text: &str) -> Result<Duration, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "expected an age such as 7d, 12h or 30m".to_owned())?;
    let exact = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years differ in length: say it in days".to_owned())?;
    Duration::try_from(exact).map_err(|_| "an age is not below zero".to_owned())
}

/// Returns a time as RFC 3339 has it, in UTC with milliseconds; one beyond its years as seconds since 1970.
pub(in crate::cli) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.unix_ms())
        .map_or_else(|_| time.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_read_as_people_write_it() {
        const HOUR: u64 = 3_600;
        let rows = [
            ("7d", 168 * HOUR),
            ("12h", 12 * HOUR),
            ("30m", HOUR / 2),
            ("90 min", 90 * 60),
            ("1d 12h", 36 * HOUR),
            ("2 weeks", 336 * HOUR),
            ("PT15M", 15 * 60),
            ("0s", 0),
        ];
        for (text, secs) in rows {
            assert_eq!(age(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "7", "d", "1 month", "2y", "-1h", "1h ago", "99999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_told_to_the_millisecond() {
        let rows = [
            (1_790_000_000_123, "2026-09-21T14:13:20.123Z"),
            (1_790_000_000_000, "2026-09-21T14:13:20.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9223372036854775.807"),
        ];
        for (unix_ms, text) in rows {
            assert_eq!(rfc3339(Timestamp::from_unix_ms(unix_ms)), text);
        }
    }
}
