//! A set of numbers, mostly in long runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Numbers as ranges that neither touch nor overlap: the last of each by its first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range.
    pub(crate) fn insert(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        // Whatever begins inside it, or directly behind it, or before it and reaches it, becomes part of it.
        while let Some((&start, &end)) = self.0.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.0.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.0.insert(first, last);
    }

    /// Adds all of another set.
    pub(crate) fn extend(&mut self, other: Self) {
        for (first, last) in other.0 {
            self.insert(first..=last);
        }
    }

    /// Says whether a number is in it.
    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.0
            .range(..=seq)
            .next_back()
            .is_some_and(|(_, last)| *last >= seq)
    }

    /// Returns the ranges, rising.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.0.iter().map(|(first, last)| *first..=*last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut ranges = Ranges::default();
        for range in [5..=7, 1..=2, 9..=9, 3..=4, 8..=8] {
            ranges.insert(range);
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [1..=9]);
        ranges.insert(u64::MAX..=u64::MAX);
        assert!(ranges.contains(u64::MAX) && !ranges.contains(10));
    }

    proptest! {
        #[test]
        fn a_number_is_in_it_if_it_was_put_in(inserted in prop::collection::vec((0u64..60, 0u64..6), 0..20)) {
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            for (first, more) in inserted {
                ranges.insert(first..=first + more);
                plain.extend(first..=first + more);
            }
            for seq in 0..70 {
                prop_assert_eq!(ranges.contains(seq), plain.contains(&seq));
            }
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
        }
    }
}
