//! How long a forwarder was on the air in each sub-band in the last hour, and how long it still may be.
//!
//! Forwarders keep to no duty cycle themselves. The hour is counted in minutes and the one that began it counts whole,
//! so that what is allowed here is never more than what the standard allows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::limits;
use crate::lorawan::Purpose;
use crate::lorawan::region::{SUB_BANDS, SubBand, sub_band_place};

/// Names a sub-band: its place in [`SUB_BANDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band(usize);

impl Band {
    /// Returns the sub-band of a frequency; none where nobody may send.
    pub(super) fn of(frequency_hz: u32) -> Option<Self> {
        sub_band_place(frequency_hz).map(Self)
    }

    /// Returns the sub-band itself.
    pub(super) fn sub_band(self) -> &'static SubBand {
        SUB_BANDS.get(self.0).expect("made from a place in it")
    }
}

/// Airtime that was taken, so that it can be given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    band: Band,
    span: u64,
    airtime: Duration,
}

/// The airtime of one forwarder.
#[derive(Clone, Debug)]
pub(super) struct Airtime {
    begin: Instant,
    /// For each sub-band the minutes of the last hour in which there was a transmission, the oldest first.
    spans: [VecDeque<(u64, Duration)>; SUB_BANDS.len()],
}

impl Airtime {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begin: now,
            spans: std::array::from_fn(|_| VecDeque::new()),
        }
    }

    /// Takes airtime.
    ///
    /// # Errors
    /// When there is not so much left: the time until there is.
    pub(super) fn take(
        &mut self,
        band: Band,
        airtime: Duration,
        purpose: Purpose,
        now: Instant,
    ) -> Result<Taken, Duration> {
        let span = self.span(now);
        let left = allowed(band, purpose).saturating_sub(airtime);
        let spans = self.spans.get_mut(band.0).expect("one for each sub-band");
        while spans
            .front()
            .is_some_and(|(old, _)| old + limits::AIRTIME_SPANS < span)
        {
            spans.pop_front();
        }
        let mut used: Duration = spans.iter().map(|(_, used)| *used).sum();
        if used <= left && airtime <= allowed(band, purpose) {
            match spans.back_mut() {
                Some((last, used)) if *last == span => *used += airtime,
                Some(_) | None => spans.push_back((span, airtime)),
            }
            return Ok(Taken { band, span, airtime });
        }
        let free = spans.iter().find(|(_, of_span)| {
            used = used.saturating_sub(*of_span);
            used <= left
        });
        let from = free.map_or(span, |(old, _)| *old) + limits::AIRTIME_SPANS + 1;
        let at = self.begin + limits::AIRTIME_SPAN * u32::try_from(from).unwrap_or(u32::MAX);
        Err(at.saturating_duration_since(now))
    }

    /// Gives back what was not used after all.
    pub(super) fn give_back(&mut self, taken: Taken) {
        let spans = self.spans.get_mut(taken.band.0).expect("one for each sub-band");
        if let Some((_, used)) = spans.iter_mut().find(|(span, _)| *span == taken.span) {
            *used = used.saturating_sub(taken.airtime);
        }
    }

    /// Returns for each sub-band the time that was used in the last hour, and the time that may be.
    pub(super) fn report(&self, now: Instant) -> Vec<BandAirtime> {
        let span = self.span(now);
        let used = |spans: &VecDeque<(u64, Duration)>| {
            let in_hour = spans
                .iter()
                .filter(|(old, _)| old + limits::AIRTIME_SPANS >= span);
            in_hour.map(|(_, used)| *used).sum()
        };
        let bands = SUB_BANDS.iter().zip(&self.spans).enumerate();
        bands
            .map(|(index, (band, spans))| BandAirtime {
                from_hz: band.from_hz,
                to_hz: band.to_hz,
                used: used(spans),
                allowed: allowed(Band(index), Purpose::Join),
            })
            .collect()
    }

    fn span(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_secs() / limits::AIRTIME_SPAN.as_secs()
    }
}

/// The airtime of a forwarder in one sub-band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandAirtime {
    /// The lower edge of the sub-band, in Hz.
    pub from_hz: u32,
    /// Its upper edge, in Hz.
    pub to_hz: u32,
    /// The time on air in the last hour.
    pub used: Duration,
    /// The time on air that an hour allows.
    pub allowed: Duration,
}

fn allowed(band: Band, purpose: Purpose) -> Duration {
    let hour = limits::AIRTIME_SPAN * u32::try_from(limits::AIRTIME_SPANS).unwrap_or(u32::MAX);
    let all = hour * band.sub_band().duty_permille / 1000;
    match purpose {
        Purpose::Join | Purpose::Answer => all,
        Purpose::Command => all * limits::COMMAND_SHARE_PERCENT / 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lorawan::forwarders::tests::start;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn rx1_band() -> Band {
        Band::of(868_100_000).expect("a channel")
    }

    #[test]
    fn one_percent_is_36_seconds_an_hour_of_which_commands_get_a_part() {
        let mut airtime = Airtime::new(start());
        for _ in 0..28 {
            assert!(
                airtime
                    .take(rx1_band(), secs(1), Purpose::Command, start())
                    .is_ok()
            );
        }
        // 28.8 s are for commands.
        let refused = airtime.take(rx1_band(), secs(1), Purpose::Command, start());
        assert_eq!(refused.err(), Some(secs(3_660)));
        for _ in 0..8 {
            assert!(
                airtime
                    .take(rx1_band(), secs(1), Purpose::Answer, start())
                    .is_ok()
            );
        }
        assert!(airtime.take(rx1_band(), secs(1), Purpose::Join, start()).is_err());
        // Another sub-band has its own.
        let rx2 = Band::of(869_525_000).expect("the second window");
        assert!(airtime.take(rx2, secs(1), Purpose::Command, start()).is_ok());
        let report = airtime.report(start());
        let used: Vec<_> = report
            .iter()
            .map(|band| (band.used.as_secs(), band.allowed))
            .collect();
        assert_eq!(used[2], (36, secs(36)));
        assert_eq!(used[4], (1, secs(360)));
    }

    #[test]
    fn airtime_is_free_again_after_an_hour_and_never_earlier() {
        let mut airtime = Airtime::new(start());
        for minute in 0..36 {
            let at = start() + secs(60 * minute + 59);
            assert!(airtime.take(rx1_band(), secs(1), Purpose::Join, at).is_ok());
        }
        let at = start() + secs(3_540);
        let refused = airtime.take(rx1_band(), secs(2), Purpose::Join, at);
        // The first two are an hour old at 3,659 and 3,719 seconds.
        assert_eq!(refused.err(), Some(secs(180)));
        assert!(
            airtime
                .take(rx1_band(), secs(2), Purpose::Join, at + secs(179))
                .is_err()
        );
        assert!(
            airtime
                .take(rx1_band(), secs(2), Purpose::Join, at + secs(180))
                .is_ok()
        );
    }

    #[test]
    fn what_was_refused_costs_nothing() {
        let mut airtime = Airtime::new(start());
        for _ in 0..100 {
            let taken = airtime.take(rx1_band(), secs(30), Purpose::Join, start());
            airtime.give_back(taken.expect("it was given back"));
        }
        assert_eq!(airtime.report(start())[2].used, Duration::ZERO);
    }

    #[test]
    fn a_frame_longer_than_all_the_airtime_is_never_sent() {
        let mut airtime = Airtime::new(start());
        let band = Band::of(868_800_000).expect("a sub-band of a thousandth");
        assert!(airtime.take(band, secs(4), Purpose::Join, start()).is_err());
        assert_eq!(Band::of(868_650_000), None);
    }

    #[test]
    fn the_record_of_a_sub_band_is_bounded() {
        let mut airtime = Airtime::new(start());
        for minute in 0..10_000 {
            let at = start() + secs(60 * minute);
            assert!(airtime.take(rx1_band(), secs(0), Purpose::Join, at).is_ok());
        }
        assert_eq!(airtime.spans[2].len(), 61);
    }
}
