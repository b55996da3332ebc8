//! What is owed, by stream and segment: the part of the log that is always in memory.
//!
//! A *run* is what one segment holds of one stream. It costs about 100 bytes however many readings it has; which of
//! them are owed follows from the [`Position`] of each server, and where they are is found in the segment itself.

use std::collections::BTreeMap;

use super::payload::StreamId;
use super::positions::Position;

/// What a segment holds of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The segment.
    pub(super) segment: u64,
    /// The lowest number stored.
    pub(super) first: u64,
    /// The highest.
    pub(super) last: u64,
    /// How many readings are stored.
    pub(super) count: u32,
    /// How many that makes, once for each account that they were stored for.
    pub(super) shares: u64,
    /// Their encoded bytes.
    pub(super) bytes: u32,
    /// When the oldest of them was stored, in seconds since 1970; the highest number where no time is known.
    pub(super) oldest_secs: i64,
    /// How many are owed, by account.
    pub(super) owed: Vec<(u32, u32)>,
}

impl Run {
    /// Returns how many are owed to an account.
    pub(super) fn owed_to(&self, account: u32) -> u32 {
        let of = self.owed.iter().find(|(id, _)| *id == account);
        of.map_or(0, |(_, count)| *count)
    }

    /// Says whether anything is owed.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.iter().any(|(_, count)| *count > 0)
    }

    /// Says whether it reaches into a range of numbers.
    pub(super) const fn overlaps(&self, first: u64, last: u64) -> bool {
        self.first <= last && first <= self.last
    }

    fn weight(&self, owed: u32) -> u64 {
        (u64::from(self.bytes) * u64::from(owed)).div_ceil(u64::from(self.count.max(1)))
    }

    fn live_bytes(&self) -> u64 {
        let weights = || self.owed.iter().map(|(_, owed)| self.weight(*owed));
        // Readings of several accounts stand there once: the sum counts each as often as it is shared.
        let count = u64::from(self.count.max(1));
        let shared = (weights().sum::<u64>() * count).div_ceil(self.shares.max(count));
        let largest = weights().max().unwrap_or_default();
        largest.max(shared).min(u64::from(self.bytes))
    }
}

/// One stream.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamIndex {
    /// What the segments hold of it, by the number of the segment.
    pub(super) runs: Vec<Run>,
    /// What of it is settled, by account.
    pub(super) positions: BTreeMap<u32, Position>,
}

/// What a segment is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// How many readings are owed, once for each account.
    pub(super) owed: u64,
    /// The encoded bytes of what is owed.
    pub(super) live_bytes: u64,
}

/// A block that comes to a segment.
#[derive(Clone, Debug)]
pub(super) struct NewBlock {
    /// The lowest number.
    pub(super) first: u64,
    /// The highest.
    pub(super) last: u64,
    /// How many readings.
    pub(super) count: u32,
    /// How many bytes.
    pub(super) bytes: u32,
    /// When it was stored.
    pub(super) stored_secs: Option<i64>,
    /// How many are owed, by account.
    pub(super) owed: Vec<(u32, u32)>,
}

/// Everything that is stored, by stream and segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    streams: BTreeMap<StreamId, StreamIndex>,
    segments: BTreeMap<u64, Use>,
    accounts: BTreeMap<u32, u64>,
    live_bytes: u64,
}

impl Index {
    /// Returns all streams.
    pub(super) fn streams(&self) -> impl Iterator<Item = (&StreamId, &StreamIndex)> {
        self.streams.iter()
    }

    /// Returns a stream.
    pub(super) fn stream(&self, id: StreamId) -> Option<&StreamIndex> {
        self.streams.get(&id)
    }

    /// Returns what is settled of a stream for an account.
    pub(super) fn position(&self, id: StreamId, account: u32) -> Option<&Position> {
        self.streams.get(&id)?.positions.get(&account)
    }

    /// Returns what is settled of a stream for an account, to change it.
    pub(super) fn position_mut(&mut self, id: StreamId, account: u32) -> &mut Position {
        let stream = self.streams.entry(id).or_default();
        stream.positions.entry(account).or_default()
    }

    /// Returns how many readings of a stream are owed to an account.
    pub(super) fn owed(&self, id: StreamId, account: u32) -> u64 {
        let runs = self.streams.get(&id).into_iter().flat_map(|stream| &stream.runs);
        runs.map(|run| u64::from(run.owed_to(account))).sum()
    }

    /// Returns what a segment is good for.
    pub(super) fn segment(&self, segment: u64) -> Use {
        self.segments.get(&segment).copied().unwrap_or_default()
    }

    /// Returns the encoded bytes of all that is owed.
    pub(super) const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Returns the encoded bytes of what is owed, by account.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (u32, u64)> {
        self.accounts.iter().map(|(account, bytes)| (*account, *bytes))
    }

    /// Returns the lowest number below which nothing is owed to anybody.
    pub(super) fn first_owed(&self) -> Option<u64> {
        let runs = self.streams.values().flat_map(|stream| &stream.runs);
        runs.filter(|run| run.is_owed()).map(|run| run.first).min()
    }

    /// Adds a block to a segment.
    pub(super) fn add(&mut self, id: StreamId, segment: u64, block: &NewBlock) {
        let runs = &mut self.streams.entry(id).or_default().runs;
        let at = runs.partition_point(|run| run.segment < segment);
        if runs.get(at).is_none_or(|run| run.segment != segment) {
            let run = Run {
                segment,
                first: block.first,
                last: block.last,
                count: 0,
                shares: 0,
                bytes: 0,
                oldest_secs: i64::MAX,
                owed: Vec::with_capacity(block.owed.len()),
            };
            runs.insert(at, run);
        }
        self.change(id, segment, |run| {
            run.first = run.first.min(block.first);
            run.last = run.last.max(block.last);
            run.count = run.count.saturating_add(block.count);
            run.shares += u64::from(block.count) * block.owed.len() as u64;
            run.bytes = run.bytes.saturating_add(block.bytes);
            run.oldest_secs = run.oldest_secs.min(block.stored_secs.unwrap_or(i64::MAX));
            for (account, owed) in &block.owed {
                match run.owed.iter_mut().find(|(id, _)| id == account) {
                    Some((_, sum)) => *sum = sum.saturating_add(*owed),
                    None => run.owed.push((*account, *owed)),
                }
            }
        });
    }

    /// Sets how many readings of a run are owed to an account.
    pub(super) fn set_owed(&mut self, id: StreamId, segment: u64, account: u32, owed: u32) {
        self.change(id, segment, |run| {
            let count = run.count;
            if let Some((_, sum)) = run.owed.iter_mut().find(|(id, _)| *id == account) {
                *sum = owed.min(count);
            }
        });
    }

    /// Changes a run, and the sums that it is part of.
    pub(super) fn change(&mut self, id: StreamId, segment: u64, change: impl FnOnce(&mut Run)) {
        let runs = self.streams.get_mut(&id).map(|stream| &mut stream.runs);
        let Some(run) = runs.and_then(|runs| runs.iter_mut().find(|run| run.segment == segment)) else {
            return;
        };
        let before = run.clone();
        change(run);
        let after = run.clone();
        self.count(&after, u64::saturating_add);
        self.count(&before, u64::saturating_sub);
    }

    /// Forgets a segment, and streams of which nothing is left.
    pub(super) fn remove_segment(&mut self, segment: u64) {
        let mut gone = Vec::new();
        for stream in self.streams.values_mut() {
            gone.extend(stream.runs.extract_if(.., |run| run.segment == segment));
        }
        self.streams.retain(|_, stream| !stream.runs.is_empty());
        for run in gone {
            self.count(&run, u64::saturating_sub);
        }
        self.segments.remove(&segment);
        self.accounts.retain(|_, bytes| *bytes > 0);
    }

    fn count(&mut self, run: &Run, sum: fn(u64, u64) -> u64) {
        let live = run.live_bytes();
        self.live_bytes = sum(self.live_bytes, live);
        let used = self.segments.entry(run.segment).or_default();
        used.live_bytes = sum(used.live_bytes, live);
        for (account, owed) in &run.owed {
            used.owed = sum(used.owed, u64::from(*owed));
            let bytes = self.accounts.entry(*account).or_default();
            *bytes = sum(*bytes, run.weight(*owed));
        }
    }
}
