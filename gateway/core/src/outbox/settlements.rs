//! What the disk is to be told that it is owed no more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Instant;

use super::ranges::Ranges;
use crate::profile::PointClass;

/// Numbers that are owed no more, by the place of the endpoint in the gateway and the class.
#[derive(Debug, Default)]
pub(crate) struct Settlements {
    waiting: BTreeMap<(usize, PointClass), Ranges>,
    since: Option<Instant>,
    /// Those that the commit under way tells.
    told: BTreeMap<(usize, PointClass), Ranges>,
}

impl Settlements {
    /// Notes that readings are owed no more.
    pub(crate) fn insert(
        &mut self,
        endpoint: usize,
        class: PointClass,
        seqs: RangeInclusive<u64>,
        now: Instant,
    ) {
        self.waiting.entry((endpoint, class)).or_default().insert(seqs);
        self.since.get_or_insert(now);
    }

    /// Returns since when one waits to be told.
    pub(crate) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Says whether a reading is owed no more, though the disk may not know it yet.
    pub(crate) fn contains(&self, endpoint: usize, class: PointClass, seq: u64) -> bool {
        let key = (endpoint, class);
        let of = |settled: &BTreeMap<_, Ranges>| settled.get(&key).is_some_and(|ranges| ranges.contains(seq));
        of(&self.waiting) || of(&self.told)
    }

    /// Takes what is to be told with the next commit.
    pub(crate) fn tell(&mut self) -> impl Iterator<Item = (usize, PointClass, Vec<RangeInclusive<u64>>)> {
        self.since = None;
        self.told = std::mem::take(&mut self.waiting);
        self.told
            .iter()
            .map(|((endpoint, class), ranges)| (*endpoint, *class, ranges.iter().collect()))
    }

    /// Notes that the disk knows what it was told.
    pub(crate) fn told(&mut self) {
        self.told.clear();
    }

    /// Has it told again with the next commit.
    pub(crate) fn not_told(&mut self, now: Instant) {
        for (key, ranges) in std::mem::take(&mut self.told) {
            self.waiting.entry(key).or_default().extend(ranges);
            self.since.get_or_insert(now);
        }
    }
}
