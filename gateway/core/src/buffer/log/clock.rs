//! When something was measured before the clock was set, found out later.
//!
//! A start of the process whose clock was set sooner or later has an *anchor*, and its readings get their true time.
//! Starts that never had one are placed: after the last time known before them and before the start of the first one
//! behind them that has an anchor, in their order, close before that start because a power cut is followed by one.

use std::collections::{BTreeMap, BTreeSet};

use lwm2m_client::Timestamp;

use crate::buffer::{Anchor, Moment};
use crate::limits;

/// What is known of the times of one start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BootTimes {
    /// The last time that was known before it.
    pub(super) before: Option<Timestamp>,
    /// What the wall clock showed, the last time that it was set.
    pub(super) anchor: Option<Anchor>,
    /// The latest of its readings without a time, in milliseconds since its beginning.
    pub(super) last_ms: u64,
    /// The numbers of its readings are below.
    pub(super) end_seq: u64,
}

impl BootTimes {
    fn began(&self) -> Option<i64> {
        self.anchor.map(|anchor| wall(anchor, 0))
    }
}

/// All starts that some reading owed may stem from.
#[derive(Clone, Debug, Default)]
pub(super) struct Boots {
    /// The present one.
    pub(super) current: u32,
    times: BTreeMap<u32, BootTimes>,
    changed: BTreeSet<u32>,
}

impl Boots {
    /// Begins a start of the process, or goes on with one.
    pub(super) fn begin(&mut self, boot: u32, before: Option<Timestamp>) {
        self.current = boot;
        let new = BootTimes {
            before,
            ..BootTimes::default()
        };
        if self.times.insert(boot, new).is_none() {
            self.changed.insert(boot);
        }
        while self.times.len() > limits::MAX_BOOTS {
            self.times.pop_first();
        }
    }

    /// Takes what the log says of a start.
    pub(super) fn learn(&mut self, boot: u32, times: BootTimes) {
        // What frames showed of it stands: it may be more than it said of itself then.
        let seen = self.times.get(&boot).map_or(0, |seen| seen.end_seq);
        let end_seq = times.end_seq.max(seen);
        self.times.insert(boot, BootTimes { end_seq, ..times });
        while self.times.len() > limits::MAX_BOOTS {
            self.times.pop_first();
        }
    }

    /// Takes what a frame shows: that a start was at work then.
    pub(super) fn see(&mut self, boot: u32, next_seq: u64, before: Option<Timestamp>) {
        self.current = self.current.max(boot);
        if let Some(times) = self.times.get_mut(&boot) {
            times.end_seq = times.end_seq.max(next_seq);
        } else {
            self.learn(
                boot,
                BootTimes {
                    before,
                    end_seq: next_seq,
                    ..BootTimes::default()
                },
            );
        }
    }

    /// Takes what the wall clock shows.
    pub(super) fn anchor(&mut self, anchor: Anchor) {
        if let Some(times) = self.times.get_mut(&self.current)
            && times.anchor.replace(anchor) != Some(anchor)
        {
            self.changed.insert(self.current);
        }
    }

    /// Takes the moment of a reading that is to be stored.
    pub(super) fn note(&mut self, moment: Moment) {
        if let Moment::Boot { boot, ms } = moment
            && let Some(times) = self.times.get_mut(&boot)
            && times.last_ms < ms
        {
            times.last_ms = ms;
            self.changed.insert(boot);
        }
    }

    /// Forgets starts whose readings all have numbers below; those that others are placed by stay.
    pub(super) fn forget_before(&mut self, seq: u64) {
        let first_needed = self.times.iter().find(|(_, times)| times.end_seq > seq);
        let mut from = first_needed
            .map_or(self.current, |(boot, _)| *boot)
            .min(self.current);
        for (boot, times) in self.times.range(..from).rev() {
            if times.anchor.is_some() {
                break;
            }
            from = *boot;
        }
        self.times = self.times.split_off(&from);
    }

    /// Returns all starts.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &BootTimes)> {
        self.times.iter().map(|(boot, times)| (*boot, times))
    }

    /// Returns the starts of which something changed since they were last written.
    pub(super) fn changed(&self) -> impl Iterator<Item = (u32, &BootTimes)> {
        self.changed
            .iter()
            .filter_map(|boot| Some((*boot, self.times.get(boot)?)))
    }

    /// Takes note that all of it is durable.
    pub(super) fn handle_written(&mut self) {
        self.changed.clear();
    }

    /// Returns when something was measured, as well as is known, and whether that was placed and not measured.
    pub(super) fn resolve(&self, moment: Moment) -> (Moment, bool) {
        let Moment::Boot { boot, ms } = moment else {
            return (moment, false);
        };
        let anchor = self.times.get(&boot).and_then(|times| times.anchor);
        let (time, is_estimated) = match anchor {
            Some(anchor) => (Some(wall(anchor, ms)), false),
            None if boot >= self.current => (None, false),
            None => (self.place(boot, ms), true),
        };
        match time {
            Some(time) => (Moment::Wall(Timestamp::from_unix_ms(time)), is_estimated),
            None => (moment, false),
        }
    }

    /// Places a moment of a start that never had a clock; starts like it beside it share the time there is.
    fn place(&self, boot: u32, ms: u64) -> Option<i64> {
        let unanchored = |(_, times): &(&u32, &BootTimes)| times.anchor.is_none();
        let earlier: Vec<_> = self.times.range(..boot).rev().take_while(unanchored).collect();
        let later: Vec<_> = self.times.range(boot + 1..).take_while(unanchored).collect();
        let lasted = |(_, times): &(&u32, &BootTimes)| times.last_ms.saturating_add(1);
        let own = self.times.get(&boot).copied().unwrap_or_default();
        let ahead = earlier.iter().map(lasted).fold(0, u64::saturating_add);
        let behind = later
            .iter()
            .map(lasted)
            .fold(own.last_ms.max(ms) - ms, u64::saturating_add);
        let first = earlier.last().map_or(own, |(_, times)| **times);
        let after = self.times.range(boot + 1..).find_map(|(_, times)| times.began());
        let offset = signed(ahead.saturating_add(ms));
        match (first.before.map(Timestamp::unix_ms), after) {
            (Some(before), Some(after)) if before < after.saturating_sub(1) => {
                Some(between(before, after, offset, signed(behind)))
            }
            (None, Some(after)) => Some(after.saturating_sub(1).saturating_sub(signed(behind))),
            (Some(before), _) => Some(before.saturating_add(1).saturating_add(offset)),
            (None, None) => None,
        }
    }
}

/// Returns the time so far behind one and ahead of another, strictly between them.
fn between(before: i64, after: i64, offset: i64, behind: i64) -> i64 {
    let room = i128::from(after) - i128::from(before) - 2;
    let lasted = i128::from(offset) + i128::from(behind);
    let time = if lasted <= room {
        i128::from(after) - 1 - i128::from(behind)
    } else {
        i128::from(before) + 1 + i128::from(offset) * room / lasted
    };
    i64::try_from(time).unwrap_or(before)
}

fn wall(anchor: Anchor, ms: u64) -> i64 {
    let began = anchor.wall.unix_ms().saturating_sub(signed(anchor.ms));
    began.saturating_add(signed(ms))
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn boots(before: Option<i64>, lasted: &[u64], anchor: Option<(u64, i64)>) -> Boots {
        let mut boots = Boots::default();
        for (boot, last_ms) in (1..).zip(lasted) {
            boots.begin(boot, before.map(at));
            boots.note(Moment::Boot { boot, ms: *last_ms });
        }
        boots.begin(lasted.len() as u32 + 1, before.map(at));
        if let Some((ms, wall)) = anchor {
            boots.anchor(Anchor { ms, wall: at(wall) });
        }
        boots
    }

    fn placed(boots: &Boots, boot: u32, ms: u64) -> Option<i64> {
        let (moment, is_estimated) = boots.resolve(Moment::Boot { boot, ms });
        match moment {
            Moment::Wall(time) => {
                assert_eq!(is_estimated, boot != boots.current);
                Some(time.unix_ms())
            }
            Moment::Boot { .. } => {
                assert!(!is_estimated);
                None
            }
        }
    }

    #[test]
    fn an_anchor_gives_true_times_before_and_after_it() {
        let boots = boots(None, &[], Some((5_000, 1_000_000)));
        assert_eq!(placed(&boots, 1, 3_000), Some(998_000));
        assert_eq!(placed(&boots, 1, 6_000), Some(1_001_000));
    }

    #[test]
    fn the_present_start_has_no_time_until_the_clock_is_set() {
        assert_eq!(placed(&boots(Some(7), &[], None), 1, 3_000), None);
    }

    #[test]
    fn a_start_without_a_clock_ends_where_the_next_one_begins() {
        let boots = boots(Some(0), &[1_000], Some((500, 100_500)));
        assert_eq!(placed(&boots, 1, 1_000), Some(99_999));
        assert_eq!(placed(&boots, 1, 0), Some(98_999));
    }

    #[test]
    fn starts_without_a_clock_keep_their_order_and_stay_strictly_between_their_neighbors() {
        for after in [2, 3, 10, 500, 5_000, 1_000_000] {
            let boots = boots(Some(0), &[1_000, 30, 2_000], Some((0, after)));
            let moments = [(1, 0), (1, 500), (1, 1_000), (2, 0), (2, 30), (3, 0), (3, 2_000)];
            let times = moments.map(|(boot, ms)| placed(&boots, boot, ms).expect("both ends are known"));
            assert!(times.is_sorted(), "{after}: {times:?}");
            assert!(
                times.iter().all(|time| 0 < *time && *time < after),
                "{after}: {times:?}"
            );
        }
    }

    #[test]
    fn one_known_neighbor_is_enough_and_without_any_there_is_no_time() {
        assert_eq!(placed(&boots(Some(50), &[9], None), 1, 4), Some(55));
        assert_eq!(placed(&boots(None, &[9], Some((0, 100))), 1, 4), Some(94));
        assert_eq!(placed(&boots(None, &[9], None), 1, 4), None);
    }

    #[test]
    fn starts_are_forgotten_with_their_readings_but_not_those_that_others_are_placed_by() {
        let mut boots = Boots::default();
        for boot in 1..=6 {
            boots.begin(boot, None);
            if boot == 2 {
                boots.anchor(Anchor { ms: 0, wall: at(9) });
            }
            boots.see(boot, u64::from(boot) * 10, None);
        }
        boots.forget_before(45);
        let left: Vec<u32> = boots.all().map(|(boot, _)| boot).collect();
        assert_eq!(left, [3, 4, 5, 6]);
        boots.forget_before(1_000);
        assert!(boots.all().any(|(boot, _)| boot == 6), "the present one stays");
    }

    #[test]
    fn no_more_starts_are_kept_than_may_be() {
        let mut boots = Boots::default();
        for boot in 1..2_000 {
            boots.begin(boot, None);
        }
        assert_eq!(boots.all().count(), limits::MAX_BOOTS);
    }
}
