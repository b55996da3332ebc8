//! What of a stream is owed to a server no more: all numbers below one, and ranges beyond it.
//!
//! Ranges come of live readings that overtake the backlog. They are few: a range grows over every neighboring number
//! that is not owed, so that two of them always have something owed in between.

use super::wire::{Reader, put};
use crate::limits;

/// The numbers of one stream that are owed to one server no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything below is settled.
    pub(super) below: u64,
    /// Settled numbers beyond it: first and last, rising, apart.
    pub(super) beyond: Vec<(u64, u64)>,
}

impl Position {
    /// Says whether a number is settled.
    pub(super) fn contains(&self, seq: u64) -> bool {
        let after = self.beyond.partition_point(|(_, last)| *last < seq);
        seq < self.below || self.beyond.get(after).is_some_and(|(first, _)| *first <= seq)
    }

    /// Says whether all numbers of a range are settled.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        let first = first.max(self.below);
        let after = self.beyond.partition_point(|(_, end)| *end < first);
        last < first
            || self
                .beyond
                .get(after)
                .is_some_and(|(start, end)| *start <= first && *end >= last)
    }

    /// Returns how many numbers of a range are not settled.
    pub(super) fn count_open(&self, first: u64, last: u64) -> u64 {
        let first = first.max(self.below);
        if last < first {
            return 0;
        }
        let settled = self.beyond.iter().filter_map(|(start, end)| {
            let (start, end) = ((*start).max(first), (*end).min(last));
            (start <= end).then(|| end - start + 1)
        });
        (last - first + 1) - settled.sum::<u64>()
    }

    /// Says whether some number of a range is settled.
    pub(super) fn touches(&self, first: u64, last: u64) -> bool {
        let after = self.beyond.partition_point(|(_, end)| *end < first);
        first < self.below || self.beyond.get(after).is_some_and(|(start, _)| *start <= last)
    }

    /// Settles a range.
    pub(super) fn insert(&mut self, first: u64, last: u64) {
        if last < first || last < self.below {
            return;
        }
        if first <= self.below {
            self.below = last.saturating_add(1);
            self.absorb();
            return;
        }
        // The ranges that overlap or touch the new one, merged with it.
        let from = self
            .beyond
            .partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self
            .beyond
            .partition_point(|(start, _)| *start <= last.saturating_add(1));
        let mut merged = (first, last);
        for (start, end) in self.beyond.drain(from..to) {
            merged = (merged.0.min(start), merged.1.max(end));
        }
        self.beyond.insert(from, merged);
    }

    /// Makes a number owed again.
    pub(super) fn remove(&mut self, seq: u64) {
        if seq < self.below {
            let below = std::mem::replace(&mut self.below, seq);
            if seq + 1 < below {
                self.beyond.insert(0, (seq + 1, below - 1));
            }
            return;
        }
        let at = self.beyond.partition_point(|(_, last)| *last < seq);
        let Some((first, last)) = self.beyond.get(at).copied().filter(|(first, _)| *first <= seq) else {
            return;
        };
        let parts = [(first, seq), (seq + 1, last.saturating_add(1))];
        let parts = parts
            .into_iter()
            .filter(|(from, to)| from < to)
            .map(|(from, to)| (from, to - 1));
        self.beyond.splice(at..=at, parts);
    }

    /// Returns the numbers between the settled ones next to a settled number: before its range and behind it.
    pub(super) fn gaps_round(&self, seq: u64) -> [Option<(u64, u64)>; 2] {
        let at = self.beyond.partition_point(|(_, last)| *last < seq);
        let after = |end: u64, next: usize| {
            let next = self.beyond.get(next).map_or(u64::MAX, |(first, _)| *first);
            Some((end.saturating_add(1), next - 1))
        };
        if seq < self.below {
            return [None, after(self.below.saturating_sub(1), 0)];
        }
        let Some((first, last)) = self.beyond.get(at) else {
            return [None, None];
        };
        let previous = match at.checked_sub(1).and_then(|before| self.beyond.get(before)) {
            Some((_, end)) => end + 1,
            None => self.below,
        };
        [Some((previous, first - 1)), after(*last, at + 1)]
    }

    /// Takes the smallest range away where there are more than may be kept: its numbers are owed again.
    pub(super) fn forget_smallest(&mut self) -> Option<(u64, u64)> {
        if self.beyond.len() <= limits::MAX_SETTLED_RANGES {
            return None;
        }
        let ranges = self.beyond.iter().enumerate();
        let (at, _) = ranges.min_by_key(|(_, (first, last))| last - first)?;
        Some(self.beyond.remove(at))
    }

    /// Appends its bytes.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put(out, self.below);
        put(out, self.beyond.len() as u64);
        let mut at = self.below;
        for (first, last) in &self.beyond {
            put(out, first.saturating_sub(at));
            put(out, last.saturating_sub(*first));
            at = *last;
        }
    }

    /// Reads it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut position = Self {
            below: reader.number()?,
            beyond: Vec::new(),
        };
        let mut at = position.below;
        let count = reader.number()?;
        if count > limits::MAX_SETTLED_RANGES as u64 {
            return None;
        }
        for _ in 0..count {
            let first = at.checked_add(reader.number()?)?;
            at = first.checked_add(reader.number()?)?;
            position.insert(first, at);
        }
        Some(position)
    }

    fn absorb(&mut self) {
        let below = &mut self.below;
        self.beyond.retain(|(first, last)| {
            let joins = *first <= *below;
            if joins {
                *below = (*below).max(last.saturating_add(1));
            }
            !joins
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Insert(u64, u64),
        Remove(u64),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let insert = (0..60u64, 0..8u64).prop_map(|(first, more)| Change::Insert(first, first + more));
        let change = prop_oneof![3 => insert, 1 => (0..64u64).prop_map(Change::Remove)];
        prop::collection::vec(change, 0..40)
    }

    proptest! {
        #[test]
        fn a_position_is_a_set_of_numbers(changes in changes()) {
            let mut position = Position::default();
            let mut model = BTreeSet::new();
            for change in changes {
                match change {
                    Change::Insert(first, last) => {
                        position.insert(first, last);
                        model.extend(first..=last);
                    }
                    Change::Remove(seq) => {
                        position.remove(seq);
                        model.remove(&seq);
                    }
                }
                let settled = Vec::from_iter((0..70).map(|seq| model.contains(&seq)));
                for seq in 0..70 {
                    prop_assert_eq!(position.contains(seq), settled[seq as usize]);
                    let last = (seq + seq % 9).min(69);
                    let range = &settled[seq as usize..=last as usize];
                    prop_assert_eq!(position.covers(seq, last), range.iter().all(|settled| *settled));
                    prop_assert_eq!(position.touches(seq, last), range.contains(&true));
                    let open = range.iter().filter(|settled| !**settled).count();
                    prop_assert_eq!(position.count_open(seq, last), open as u64);
                }
                let mut out = Vec::new();
                position.put(&mut out);
                prop_assert_eq!(Position::read(&mut Reader::new(&out)), Some(position.clone()));
            }
        }
    }

    #[test]
    fn there_are_no_more_ranges_than_may_be_kept_and_the_smallest_goes_first() {
        let mut position = Position::default();
        for n in 1..=limits::MAX_SETTLED_RANGES as u64 {
            position.insert(n * 100, n * 100 + 50);
        }
        assert_eq!(position.forget_smallest(), None);
        position.insert(5, 6);
        assert_eq!(position.forget_smallest(), Some((5, 6)));
        assert_eq!(position.beyond.len(), limits::MAX_SETTLED_RANGES);
    }
}
