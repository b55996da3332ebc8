//! What the counter of a forwarder says, as far as can be told from the frames that it reports.
//!
//! A report is late by an unknown time, never early. So the report that puts the counter furthest ahead is the best; it
//! is kept until another is as good, with what the clocks may have run apart since.

use std::time::{Duration, Instant};

use super::limits;

/// The counter of a forwarder: microseconds in 32 bits, so that it wraps every 71 minutes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// What it said, and when that was known here.
    best: Option<(u32, Instant)>,
}

impl Clock {
    /// Takes a report: the counter was at `tmst` not after `at`.
    pub(super) fn observe(&mut self, tmst: u32, at: Instant) {
        let Some((best, then)) = self.best else {
            self.best = Some((tmst, at));
            return;
        };
        let age = at.saturating_duration_since(then);
        let ahead = signed(tmst.wrapping_sub(advanced(best, age)));
        let apart = micros(age * limits::CLOCK_DRIFT_PPM / 1_000_000);
        if ahead + apart >= 0 || ahead < -micros(limits::CLOCK_BEHIND) {
            self.best = Some((tmst, at));
        }
    }

    /// Returns how many microseconds it is until the counter is at `tmst`, negative when it was; none when nothing is
    /// known of it.
    pub(super) fn until(&self, tmst: u32, now: Instant) -> Option<i64> {
        let (best, then) = self.best?;
        let expected = advanced(best, now.saturating_duration_since(then));
        Some(signed(tmst.wrapping_sub(expected)))
    }
}

fn advanced(tmst: u32, by: Duration) -> u32 {
    // The counter wraps as this does.
    tmst.wrapping_add(by.as_micros() as u32)
}

fn signed(difference: u32) -> i64 {
    i64::from(difference.cast_signed())
}

/// Returns a duration in microseconds, as forwarders count.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lorawan::forwarders::tests::start;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_late_report_does_not_set_the_counter_back() {
        let mut clock = Clock::default();
        assert_eq!(clock.until(5, start()), None);
        clock.observe(1_000_000, start() + ms(5));
        // Sent a second after the first, and under way 400 ms longer.
        clock.observe(2_000_000, start() + ms(1_405));
        assert_eq!(clock.until(3_000_000, start() + ms(1_405)), Some(600_000));
        // A faster one sets it forward.
        clock.observe(2_500_000, start() + ms(1_501));
        assert_eq!(clock.until(3_000_000, start() + ms(1_501)), Some(500_000));
    }

    #[test]
    fn the_counter_wraps() {
        let mut clock = Clock::default();
        clock.observe(u32::MAX - 99, start());
        assert_eq!(clock.until(999_900, start()), Some(1_000_000));
        clock.observe(900, start() + ms(1));
        assert_eq!(clock.until(900, start() + ms(1)), Some(0));
        assert_eq!(clock.until(u32::MAX - 99, start() + ms(1)), Some(-1_000));
    }

    #[test]
    fn a_forwarder_that_starts_anew_is_followed() {
        let mut clock = Clock::default();
        clock.observe(500_000_000, start());
        clock.observe(7_000_000, start() + ms(1_000));
        assert_eq!(clock.until(8_000_000, start() + ms(1_000)), Some(1_000_000));
    }

    #[test]
    fn clocks_that_run_apart_are_followed() {
        let mut clock = Clock::default();
        clock.observe(0, start());
        // Slower by 20 millionths over an hour: 72 ms behind.
        for minute in 1..=60_u32 {
            clock.observe(
                minute * 60_000_000 - minute * 1_200,
                start() + ms(60_000) * minute,
            );
        }
        let now = start() + ms(3_600_000);
        assert_eq!(clock.until(3_600_000_000 - 72_000, now), Some(0));
    }
}
