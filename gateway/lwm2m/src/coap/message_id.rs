//! Our own message ids: one after the other, and so slow that none comes again within EXCHANGE_LIFETIME.
//!
//! A peer answers a reused id from its cache, and what the message carried would be lost. Ids are counted without
//! end, their lower 16 bits are sent; so an id comes again 65,536 numbers later. Every number costs its share of
//! EXCHANGE_LIFETIME, whether it is sent or skipped, and what is spent ahead is bounded: between two uses of one id
//! more than EXCHANGE_LIFETIME has been paid. After a restart counting goes on behind all that may have been used,
//! and all of it counts as used at that moment ([`ReservedIds`]).

use std::time::{Duration, Instant};

use super::reservation::Reservation;

/// Ids that may be taken at once after a pause: more than a restart skips, so that it need not wait.
const BURST: u32 = 4_300;
/// Ids per EXCHANGE_LIFETIME beside the burst; together they stay below 65,536.
const SUSTAINED: u32 = 61_200;
/// Ids that are reserved at once: at first, and in the end.
const BLOCKS: (u64, u64) = (128, 2_048);
/// Ids unpaid with which a restart need not wait, whatever it skips.
const SETTLED: u32 = 1_000;
/// How much slower ids are given out in the first EXCHANGE_LIFETIME after a jump: the ids of that time reach less
/// than half the space, so they do not meet those from before.
const SLOWER_AFTER_JUMP: u32 = 4;
/// What is counted ahead when the last state is lost: half of all ids.
const JUMP: u64 = 32_768;
/// What is counted ahead when that has happened within EXCHANGE_LIFETIME before: all of it again would be once around.
const JUMP_AGAIN: u64 = 4_096;
/// No counter gets there at 265 ids a second in a billion years; so sums with it do not overflow.
const LARGEST: u64 = 1 << 60;

/// Which message ids may have been used: what must outlive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedIds {
    /// All that were used lie below this.
    pub(crate) end: u64,
    /// How many of them may have been used just now.
    pub(crate) recent: u32,
    /// Whether `end` was guessed.
    pub(crate) jumped: bool,
}

impl ReservedIds {
    /// Begins at an id that was not used within EXCHANGE_LIFETIME.
    pub fn starting_at(first: u16) -> Self {
        Self {
            end: first.into(),
            recent: 0,
            jumped: false,
        }
    }

    /// Returns the same for when later ones may have been used since, unknown to this.
    pub(crate) fn after_loss(self) -> Self {
        let jump = if self.jumped { JUMP_AGAIN } else { JUMP };
        Self {
            end: self.end.min(LARGEST) + jump,
            jumped: true,
            ..self
        }
    }

    /// Says whether a counter can have got there.
    pub(crate) const fn is_possible(&self) -> bool {
        self.end <= LARGEST
    }
}

/// Gives out message ids.
#[derive(Debug)]
pub(super) struct MessageIds {
    numbers: Reservation,
    interval: Duration,
    /// When the ids taken so far would have been used up at the sustained rate.
    paid_until: Option<Instant>,
    slow_until: Option<Instant>,
    /// What a restart would take as used just now.
    durable_recent: u32,
}

impl MessageIds {
    pub(super) fn new(first: u16, exchange_lifetime: Duration) -> Self {
        Self {
            numbers: Reservation::new(first.into(), BLOCKS, false),
            interval: interval(exchange_lifetime),
            paid_until: None,
            slow_until: None,
            durable_recent: 0,
        }
    }

    /// Goes on behind what was reserved before; new ones are reserved before they are taken.
    pub(super) fn resume(reserved: ReservedIds, exchange_lifetime: Duration, now: Instant) -> Self {
        let interval = interval(exchange_lifetime);
        // More than that is paid when EXCHANGE_LIFETIME is over, whatever it was.
        let recent = reserved.recent.min(BURST + SUSTAINED);
        Self {
            numbers: Reservation::new(reserved.end.min(LARGEST), BLOCKS, true),
            interval,
            paid_until: Some(now + interval * recent),
            slow_until: reserved.jumped.then_some(now + exchange_lifetime),
            durable_recent: recent,
        }
    }

    /// Needs no reservation from here on.
    pub(super) const fn stop_reserving(&mut self) {
        self.numbers.stop();
    }

    /// Returns what to make durable: with it come the ids up to its end.
    pub(super) fn reserved(&self, now: Instant) -> ReservedIds {
        let end = self.numbers.wanted_end();
        let unpaid = self
            .paid_until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let unpaid = unpaid.as_nanos().div_ceil(self.interval.as_nanos());
        let recent = unpaid + u128::from(end - self.numbers.next());
        ReservedIds {
            end,
            recent: u32::try_from(recent).unwrap_or(u32::MAX),
            jumped: self.slow_until.is_some_and(|until| now < until),
        }
    }

    /// Takes that ids are reserved.
    pub(super) fn confirm(&mut self, reserved: &ReservedIds) {
        self.numbers.confirm(reserved.end);
        self.durable_recent = reserved.recent;
    }

    /// Says whether ids are to be reserved soon, or what is durable would make a restart wait for nothing.
    pub(super) fn is_reservation_due(&self, now: Instant) -> bool {
        self.numbers.is_due() || self.settles_at().is_some_and(|at| at <= now)
    }

    /// Returns when so much is paid of what counted as used at the last restart that the next one need not wait for
    /// it, provided that this is made durable.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        let paid_until = self.paid_until.filter(|_| self.durable_recent > BURST)?;
        paid_until.checked_sub(self.interval * SETTLED)
    }

    /// Returns the next id, none while all are taken or none is reserved.
    pub(super) fn take(&mut self, now: Instant) -> Option<u16> {
        if self.paid_at().is_some_and(|at| at > now) {
            return None;
        }
        let id = self.numbers.take()?;
        let slow = self.slow_until.is_some_and(|until| now < until);
        let price = if slow {
            self.interval * SLOWER_AFTER_JUMP
        } else {
            self.interval
        };
        self.paid_until = Some(self.paid_until.map_or(now, |until| until.max(now)) + price);
        let [.., high, low] = id.to_be_bytes();
        Some(u16::from_be_bytes([high, low]))
    }

    /// Returns when the next id is there, none where that is at once or not a matter of time.
    pub(super) fn available_at(&self) -> Option<Instant> {
        self.paid_at().filter(|_| !self.numbers.is_exhausted())
    }

    fn paid_at(&self) -> Option<Instant> {
        self.paid_until
            .and_then(|until| until.checked_sub(self.interval * BURST))
    }
}

/// Rounded up, so that the rate is never exceeded.
fn interval(exchange_lifetime: Duration) -> Duration {
    exchange_lifetime / SUSTAINED + Duration::from_nanos(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coap::tests::start;

    #[test]
    fn no_id_comes_again_within_the_exchange_lifetime() {
        let lifetime = Duration::from_secs(247);
        let start = start();
        let mut ids = MessageIds::new(65_000, lifetime);
        let mut last_use = vec![None; 65_536];
        let mut now = start;
        while now < start + lifetime * 3 {
            while let Some(id) = ids.take(now) {
                let before: Option<Instant> = last_use[usize::from(id)].replace(now);
                assert!(before.is_none_or(|at| now - at >= lifetime), "id {id} came again");
            }
            now = ids.available_at().unwrap().max(now + Duration::from_millis(1));
        }
    }

    /// What a client and its store do: ids are wanted at some rate, blocks are saved with some delay, and now and
    /// then all is lost but what was saved.
    struct Flow {
        ids: MessageIds,
        durable: ReservedIds,
        /// What the store is writing, and when it has it.
        saving: Option<(ReservedIds, Instant)>,
        last_use: Vec<Option<Instant>>,
        now: Instant,
        used: u32,
    }

    const LIFETIME: Duration = Duration::from_secs(247);

    impl Flow {
        fn new(first: u16) -> Self {
            let durable = ReservedIds::starting_at(first);
            Self {
                ids: MessageIds::resume(durable, LIFETIME, start()),
                durable,
                saving: None,
                last_use: vec![None; 65_536],
                now: start(),
                used: 0,
            }
        }

        /// Runs for a while with a message each `every_us`; says which id came again too soon.
        fn run(&mut self, (every_us, ms): (u64, u64), save_ms: u64) -> Result<(), u16> {
            let end = self.now + Duration::from_millis(ms);
            while self.now < end {
                self.store(save_ms);
                if let Some(id) = self.ids.take(self.now) {
                    self.used += 1;
                    let before = self.last_use[usize::from(id)].replace(self.now);
                    if before.is_some_and(|at| self.now - at < LIFETIME) {
                        return Err(id);
                    }
                }
                self.now += Duration::from_micros(every_us);
            }
            Ok(())
        }

        fn store(&mut self, save_ms: u64) {
            if let Some((saved, _)) = self.saving.take_if(|(_, done)| *done <= self.now) {
                self.durable = saved;
                self.ids.confirm(&saved);
            }
            if self.saving.is_none() && self.ids.is_reservation_due(self.now) {
                let done = self.now + Duration::from_millis(save_ms);
                self.saving = Some((self.ids.reserved(self.now), done));
            }
        }

        /// Loses all but what is durable; what was being written may be or not.
        fn crash(&mut self, written: bool, down_ms: u64) {
            if let Some((saving, _)) = self.saving.take().filter(|_| written) {
                self.durable = saving;
            }
            self.now += Duration::from_millis(down_ms);
            self.ids = MessageIds::resume(self.durable, LIFETIME, self.now);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_id_comes_again_within_the_exchange_lifetime_whenever_it_crashes(
            first in any::<u16>(),
            save_ms in prop::sample::select(vec![0u64, 10, 1_000]),
            lives in prop::collection::vec(
                (
                    prop::sample::select(vec![500u64, 3_700, 4_100, 20_000, 1_000_000]),
                    1u64..200_000,
                    any::<bool>(),
                    prop::sample::select(vec![1u64, 100, 5_000, 300_000]),
                ),
                1..8,
            ),
        ) {
            let mut flow = Flow::new(first);
            for (every_us, ms, written, down_ms) in lives {
                prop_assert_eq!(flow.run((every_us, ms), save_ms), Ok(()));
                flow.crash(written, down_ms);
            }
        }

        #[test]
        fn no_id_comes_again_after_a_loss_at_moderate_rates(
            every_us in 25_000u64..1_000_000,
            age_ms in 1u64..600_000,
            after_us in prop::sample::select(vec![500u64, 5_000, 100_000]),
        ) {
            let mut flow = Flow::new(0);
            prop_assert_eq!(flow.run((every_us, 300_000), 10), Ok(()));
            let copy = flow.durable;
            prop_assert_eq!(flow.run((every_us, age_ms), 10), Ok(()));
            flow.durable = copy.after_loss();
            flow.crash(false, 1);
            prop_assert_eq!(flow.run((after_us, 600_000), 10), Ok(()));
        }

        // Until everything else is new too, every start takes what it has for old.
        #[test]
        fn no_id_comes_again_over_several_starts_after_a_loss(
            every_us in prop::sample::select(vec![25_000u64, 50_000, 1_000_000]),
            age_ms in 1u64..300_000,
            starts in prop::collection::vec((5_000u64..1_000_000, 1u64..60_000, any::<bool>()), 1..=3),
        ) {
            let mut flow = Flow::new(0);
            prop_assert_eq!(flow.run((every_us, 300_000), 10), Ok(()));
            let copy = flow.durable;
            prop_assert_eq!(flow.run((every_us, age_ms), 10), Ok(()));
            flow.crash(false, 1);
            flow.durable = copy;
            for (after_us, ms, written) in starts {
                flow.durable = flow.durable.after_loss();
                flow.ids = MessageIds::resume(flow.durable, LIFETIME, flow.now);
                prop_assert_eq!(flow.run((after_us, ms), 10), Ok(()));
                flow.crash(written, 1);
            }
            prop_assert_eq!(flow.run((every_us, 300_000), 10), Ok(()));
        }
    }

    #[test]
    fn a_restart_at_a_moderate_rate_need_not_wait() {
        let mut flow = Flow::new(7);
        for _ in 0..20 {
            assert_eq!(flow.run((100_000, 60_000), 10), Ok(()));
            flow.crash(true, 1_000);
            flow.store(0);
            flow.store(0);
            assert!(flow.ids.take(flow.now).is_some());
        }
    }

    #[test]
    fn a_crash_at_the_highest_rate_costs_the_time_of_the_ids_it_skips() {
        let mut flow = Flow::new(7);
        assert_eq!(flow.run((500, 60_000), 10), Ok(()));
        flow.crash(true, 1);
        let used = flow.used;
        let begin = flow.now;
        while flow.used == used {
            assert_eq!(flow.run((1_000, 100), 10), Ok(()));
        }
        assert!(
            flow.now - begin < Duration::from_secs(15),
            "{:?}",
            flow.now - begin
        );
    }

    #[test]
    fn the_sustained_rate_is_over_nine_tenths_of_265_a_second() {
        let start = start();
        let mut ids = MessageIds::new(0, Duration::from_secs(247));
        let mut taken = |range: std::ops::Range<u64>| {
            let moments = range.map(|ms| start + Duration::from_millis(ms));
            moments.filter(|now| ids.take(*now).is_some()).count()
        };
        taken(0..100_000);
        let sustained = taken(100_000..200_000);
        assert!((24_000..=26_500).contains(&sustained), "{sustained} in 100 s");
    }
}
