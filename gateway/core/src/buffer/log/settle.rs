//! What is paid, and what must count as lost: positions move, and what is owed becomes less.
//!
//! All of it happens in memory at once and goes to disk with the next frame. A crash before that makes readings owed
//! again that were paid; never the other way round.

use std::ops::RangeInclusive;

use lwm2m_client::Timestamp;

use super::Log;
use super::append::Content;
use super::losses::{Loss, widen};
use super::payload::StreamId;
use super::segments::{BlockRef, Segment};
use crate::buffer::{Disk, DiskError, GapReason, Moment, Record};

/// What a segment holds of a stream for one account.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwedRun {
    /// The segment.
    pub(super) segment: u64,
    /// The lowest number stored.
    pub(super) first: u64,
    /// The highest.
    pub(super) last: u64,
    /// How many are owed.
    pub(super) owed: u32,
}

impl<D: Disk> Log<D> {
    /// Settles a range of numbers; says how many readings were owed in it.
    pub(super) fn settle(&mut self, stream: StreamId, account: u32, first: u64, last: u64) -> u64 {
        let last = last.min(self.next_seq.saturating_sub(1));
        let known = self.index.stream(stream).is_some();
        if !known || first > last || self.is_covered(stream, account, first, last) {
            return 0;
        }
        let mut settled = 0;
        for run in self.owed_runs(stream, account, first, last) {
            let owed = run.owed;
            let paid = if first <= run.first && run.last <= last {
                owed
            } else {
                match self.count_owed(stream, run.segment, account, first, last) {
                    Ok(paid) => paid,
                    Err(_) => {
                        self.leave_uncounted(stream, run.segment, account);
                        0
                    }
                }
            };
            settled += u64::from(paid);
            self.index
                .set_owed(stream, run.segment, account, owed.saturating_sub(paid));
        }
        self.index.position_mut(stream, account).insert(first, last);
        self.close_gaps(stream, account, first);
        self.dirty.insert((stream, account));
        settled
    }

    /// Makes numbers owed again that are to be stored (again).
    pub(super) fn unsettle(&mut self, content: &Content) {
        for (stream, accounts, seqs) in &content.seqs {
            for account in accounts {
                self.unsettle_seqs(*stream, *account, seqs);
            }
        }
    }

    fn unsettle_seqs(&mut self, stream: StreamId, account: u32, seqs: &[u64]) {
        let Some((first, last)) = seqs.first().zip(seqs.last()) else {
            return;
        };
        // Where memory knows of no position the disk may: that of a stream of which nothing was left.
        let known = self.index.position(stream, account);
        if known.is_some_and(|position| !position.touches(*first, *last)) {
            return;
        }
        let position = self.index.position_mut(stream, account);
        for seq in seqs {
            position.remove(*seq);
        }
        self.dirty.insert((stream, account));
        self.bound_ranges(stream, account);
    }

    /// Gives up a block for an account.
    pub(super) fn give_up(
        &mut self,
        stream: StreamId,
        segment: u64,
        account: u32,
        block: BlockRef,
        reason: GapReason,
    ) {
        // What the disk does not give now is not given up unread.
        let Ok(records) = self.owed_records(stream, segment, account, block) else {
            return;
        };
        let Some(records) = records else {
            self.give_up_unreadable(stream, segment, account, block);
            return;
        };
        let Some((first, last)) = records.first().zip(records.last()) else {
            return;
        };
        let (first, last) = (first.seq, last.seq);
        self.lose(Loss {
            stream,
            account,
            count: records.len() as u64,
            seqs: first..=last,
            times: self.times(&records),
            reason,
        });
        if self.owed_between(stream, account, first, last) == Ok(records.len() as u64) {
            self.settle(stream, account, first, last);
            return;
        }
        for record in records {
            self.settle(stream, account, record.seq, record.seq);
        }
    }

    /// Gives up all of a run for an account without looking into it. Its position stays: what cannot be read today may
    /// be found at the next start.
    pub(super) fn give_up_run(&mut self, stream: StreamId, segment: u64, account: u32, reason: GapReason) {
        let runs = self.owed_runs(stream, account, 0, u64::MAX);
        let Some(run) = runs.into_iter().find(|run| run.segment == segment) else {
            return;
        };
        self.lose(Loss {
            stream,
            account,
            count: u64::from(run.owed),
            seqs: run.first..=run.last,
            times: None,
            reason,
        });
        self.index.set_owed(stream, segment, account, 0);
    }

    /// Gives up a block whose readings cannot be read.
    fn give_up_unreadable(&mut self, stream: StreamId, segment: u64, account: u32, block: BlockRef) {
        let runs = self.owed_runs(stream, account, block.first, block.last);
        let owed = runs.iter().find(|run| run.segment == segment);
        let owed = owed.map_or(0, |run| run.owed);
        let Ok(readable) = self.count_owed(stream, segment, account, 0, u64::MAX) else {
            return;
        };
        let count = owed.saturating_sub(readable).min(block.count);
        if count > 0 {
            self.index.set_owed(stream, segment, account, owed - count);
            self.lose(Loss {
                stream,
                account,
                count: u64::from(count),
                seqs: block.first..=block.last,
                times: None,
                reason: GapReason::Corrupt,
            });
        }
        self.settle_hole(stream, account, block.first, block.last);
    }

    /// Settles the numbers of a range under which no reading is found, so that their loss is told once.
    pub(super) fn settle_hole(&mut self, stream: StreamId, account: u32, first: u64, last: u64) {
        let mut owed = Vec::new();
        for run in self.owed_runs(stream, account, first, last) {
            match self.owed_seqs(stream, run.segment, account, first, last, usize::MAX) {
                Ok(seqs) => owed.extend(seqs),
                Err(_) => return,
            }
        }
        owed.sort_unstable();
        let mut from = first;
        for seq in owed {
            if from < seq {
                self.settle(stream, account, from, seq - 1);
            }
            from = seq + 1;
        }
        self.settle(stream, account, from, last);
    }

    /// Returns the runs of a stream in which something of a range may be owed to an account.
    pub(super) fn owed_runs(&self, stream: StreamId, account: u32, first: u64, last: u64) -> Vec<OwedRun> {
        let runs = self
            .index
            .stream(stream)
            .into_iter()
            .flat_map(|stream| &stream.runs);
        let runs = runs.filter(|run| run.overlaps(first, last)).map(|run| OwedRun {
            segment: run.segment,
            first: run.first,
            last: run.last,
            owed: run.owed_to(account),
        });
        runs.filter(|run| run.owed > 0).collect()
    }

    /// Returns the numbers of a range that a segment holds and that are owed to an account, `limit` at most.
    pub(super) fn owed_seqs(
        &mut self,
        stream: StreamId,
        segment: u64,
        account: u32,
        first: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<u64>, DiskError> {
        self.fetch(segment)?;
        let none = Segment::default();
        let held = self.cache.get(segment).unwrap_or(&none);
        let position = self.index.position(stream, account);
        let mut seqs = Vec::new();
        for block in held.blocks(stream) {
            if block.first > last || seqs.len() >= limit {
                break;
            }
            let settled = position.is_some_and(|position| position.covers(block.first, block.last));
            if block.last < first || settled || !held.accounts(block).contains(&account) {
                continue;
            }
            let records = held
                .records(block)
                .unwrap_or_default()
                .into_iter()
                .map(|record| record.seq);
            let is_owed = |seq: &u64| !position.is_some_and(|position| position.contains(*seq));
            seqs.extend(records.filter(|seq| (first..=last).contains(seq) && is_owed(seq)));
        }
        seqs.sort_unstable();
        seqs.dedup();
        Ok(seqs)
    }

    /// Returns the readings of a block that are owed to an account; none where they cannot be decoded.
    fn owed_records(
        &mut self,
        stream: StreamId,
        segment: u64,
        account: u32,
        block: BlockRef,
    ) -> Result<Option<Vec<Record>>, DiskError> {
        self.fetch(segment)?;
        let records = self.cache.get(segment).and_then(|held| held.records(&block));
        let position = self.index.position(stream, account);
        let is_owed = |record: &Record| !position.is_some_and(|position| position.contains(record.seq));
        Ok(records.map(|records| records.into_iter().filter(is_owed).collect()))
    }

    fn count_owed(
        &mut self,
        stream: StreamId,
        segment: u64,
        account: u32,
        first: u64,
        last: u64,
    ) -> Result<u32, DiskError> {
        let seqs = self.owed_seqs(stream, segment, account, first, last, usize::MAX)?;
        Ok(seqs.len() as u32)
    }

    fn owed_between(
        &mut self,
        stream: StreamId,
        account: u32,
        first: u64,
        last: u64,
    ) -> Result<u64, DiskError> {
        let runs = self.owed_runs(stream, account, first, last);
        let counts = runs.iter().map(|run| {
            self.count_owed(stream, run.segment, account, first, last)
                .map(u64::from)
        });
        counts.sum()
    }

    fn is_covered(&self, stream: StreamId, account: u32, first: u64, last: u64) -> bool {
        let position = self.index.position(stream, account);
        position.is_some_and(|position| position.covers(first, last))
    }

    /// Lets the range round a settled number grow over neighbors of which none is owed.
    fn close_gaps(&mut self, stream: StreamId, account: u32, seq: u64) {
        let gaps = self.index.position_mut(stream, account).gaps_round(seq);
        for (first, last) in gaps.into_iter().flatten() {
            let last = last.min(self.next_seq.saturating_sub(1));
            if first <= last && !self.is_any_owed(stream, account, first, last) {
                self.index.position_mut(stream, account).insert(first, last);
            }
        }
        self.bound_ranges(stream, account);
    }

    fn is_any_owed(&mut self, stream: StreamId, account: u32, first: u64, last: u64) -> bool {
        let runs = self.owed_runs(stream, account, first, last);
        let inside = runs.iter().any(|run| first <= run.first && run.last <= last);
        inside
            || runs.iter().any(|run| {
                let seqs = self.owed_seqs(stream, run.segment, account, first, last, 1);
                seqs.map_or(true, |seqs| !seqs.is_empty())
            })
    }

    /// Forgets the smallest ranges where there are too many: a repeat is better than a list without end.
    fn bound_ranges(&mut self, stream: StreamId, account: u32) {
        while let Some((first, last)) = self.index.position_mut(stream, account).forget_smallest() {
            self.statistics.forgotten_ranges += 1;
            let runs = self
                .index
                .stream(stream)
                .map_or(Vec::new(), |stream| stream.runs.clone());
            for run in runs.iter().filter(|run| run.overlaps(first, last)) {
                let again = self.count_owed(stream, run.segment, account, first, last);
                let again = again.unwrap_or_else(|_| {
                    self.leave_uncounted(stream, run.segment, account);
                    run.count
                });
                let owed = run.owed_to(account).saturating_add(again);
                self.index.set_owed(stream, run.segment, account, owed);
            }
        }
    }

    fn times(&self, records: &[Record]) -> Option<RangeInclusive<Timestamp>> {
        let times = records.iter().filter_map(|record| self.wall(record.moment));
        times.fold(
            None,
            |range: Option<RangeInclusive<Timestamp>>, time| match range {
                Some(range) => Some(widen(&range, &(time..=time))),
                None => Some(time..=time),
            },
        )
    }

    /// Returns the time of a moment where it is known or can be placed.
    pub(super) fn wall(&self, moment: Moment) -> Option<Timestamp> {
        match self.boots.resolve(moment).0 {
            Moment::Wall(time) => Some(time),
            Moment::Boot { .. } => None,
        }
    }
}
