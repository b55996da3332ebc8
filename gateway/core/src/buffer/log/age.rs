//! Readings that grow too old, and those that a person wants forgotten.

use lwm2m_client::Timestamp;

use super::Log;
use super::losses::Loss;
use super::payload::StreamId;
use crate::buffer::{Disk, GapReason};
use crate::limits;

impl<D: Disk> Log<D> {
    /// Gives up blocks that are older than their server's bound allows, of a few segments at a time.
    pub(super) fn evict_old(&mut self) {
        let Some(now) = self.now else {
            return;
        };
        let rests = self.age_checked.is_some_and(|last| {
            (0..limits::AGE_CHECK_MS).contains(&now.unix_ms().saturating_sub(last.unix_ms()))
        });
        let bounds = self.age_bounds(now);
        if rests || bounds.is_empty() {
            return;
        }
        self.age_checked = Some(now);
        let mut segments = std::collections::BTreeSet::new();
        for (account, before_secs) in bounds {
            for (stream, segment) in self.runs_before(account, before_secs) {
                if segments.len() >= limits::MAX_CACHED_SEGMENTS && !segments.contains(&segment) {
                    continue;
                }
                segments.insert(segment);
                self.evict_old_of(stream, segment, account, before_secs);
            }
        }
    }

    /// Forgets what was measured before a time; says how many readings that were, counted once for each server.
    pub(super) fn drop_older(&mut self, than: Timestamp, account: Option<&str>) -> u64 {
        let account = match account.map(|name| self.names.id(name)) {
            Some(None) => return 0,
            Some(known) => known,
            None => None,
        };
        let mut count = 0;
        for (stream, debtor, segment) in self.all_runs() {
            if account.is_none_or(|account| account == debtor) {
                count += self.drop_older_of(stream, debtor, segment, than);
            }
        }
        if self.has_news() {
            // Where that fails it goes with the next commit.
            self.write(super::append::Content::default()).unwrap_or_default();
        }
        self.release();
        count
    }

    fn drop_older_of(&mut self, stream: StreamId, account: u32, segment: u64, than: Timestamp) -> u64 {
        let Ok(seqs) = self.owed_seqs(stream, segment, account, 0, u64::MAX, usize::MAX) else {
            return 0;
        };
        let Ok(records) = self.records_of(stream, segment, &seqs) else {
            return 0;
        };
        let mut dropped = 0;
        // Neighbors that go together are settled together.
        for group in records.chunk_by(|(_, a), (_, b)| is_older(*a, than) == is_older(*b, than)) {
            let (Some((first, from)), Some((last, to))) = (group.first(), group.last()) else {
                continue;
            };
            if !is_older(*from, than) {
                continue;
            }
            dropped += group.len() as u64;
            self.lose(Loss {
                stream,
                account,
                count: group.len() as u64,
                seqs: *first..=*last,
                times: from.zip(*to).map(|(from, to)| from.min(to)..=from.max(to)),
                reason: GapReason::Dropped,
            });
            for seqs in self.without_others(stream, account, segment, *first, *last) {
                self.settle(stream, account, seqs.0, seqs.1);
            }
        }
        dropped
    }

    /// Returns a range without what other segments hold of it that is owed.
    fn without_others(
        &mut self,
        stream: StreamId,
        account: u32,
        segment: u64,
        first: u64,
        last: u64,
    ) -> Vec<(u64, u64)> {
        let mut others = Vec::new();
        for run in self.owed_runs(stream, account, first, last) {
            if run.segment != segment {
                let seqs = self.owed_seqs(stream, run.segment, account, first, last, usize::MAX);
                others.extend(seqs.unwrap_or_default());
            }
        }
        others.sort_unstable();
        let mut ranges = Vec::new();
        let mut from = first;
        for seq in others {
            if from < seq {
                ranges.push((from, seq - 1));
            }
            from = seq + 1;
        }
        if from <= last {
            ranges.push((from, last));
        }
        ranges
    }

    fn records_of(
        &mut self,
        stream: StreamId,
        segment: u64,
        seqs: &[u64],
    ) -> Result<Vec<(u64, Option<Timestamp>)>, crate::buffer::DiskError> {
        self.fetch(segment)?;
        let Some(held) = self.cache.get(segment) else {
            return Ok(Vec::new());
        };
        let blocks = held.blocks(stream).iter();
        let records = blocks.flat_map(|block| held.records(block).unwrap_or_default());
        let wanted = records.filter(|record| seqs.binary_search(&record.seq).is_ok());
        let mut times: Vec<_> = wanted
            .map(|record| (record.seq, self.wall(record.moment)))
            .collect();
        times.sort_unstable();
        times.dedup_by_key(|(seq, _)| *seq);
        Ok(times)
    }

    fn evict_old_of(&mut self, stream: StreamId, segment: u64, account: u32, before_secs: i64) {
        if self.fetch(segment).is_err() {
            return;
        }
        let Some(held) = self.cache.get(segment) else {
            return;
        };
        let old = held.blocks(stream).iter().filter(|block| {
            let is_old = block.stored_secs.is_some_and(|secs| secs < before_secs);
            is_old && held.accounts(block).contains(&account)
        });
        let old: Vec<_> = old.copied().collect();
        let owed = self.owed_runs(stream, account, 0, u64::MAX);
        let before: u64 = owed.iter().map(|run| u64::from(run.owed)).sum();
        for block in old {
            self.give_up(stream, segment, account, block, GapReason::Age);
        }
        let owed = self.owed_runs(stream, account, 0, u64::MAX);
        let after: u64 = owed.iter().map(|run| u64::from(run.owed)).sum();
        self.statistics.aged_records += before.saturating_sub(after);
        let oldest = self.oldest_secs(stream, segment);
        self.index.change(stream, segment, |run| run.oldest_secs = oldest);
    }

    /// Returns when the oldest block of a run was stored of which something may be owed.
    fn oldest_secs(&self, stream: StreamId, segment: u64) -> i64 {
        let held = self.cache.get(segment);
        let blocks = held
            .into_iter()
            .flat_map(|held| held.blocks(stream).iter().map(move |block| (held, block)));
        let owed = blocks.filter(|(held, block)| {
            held.accounts(block).iter().any(|account| {
                let position = self.index.position(stream, *account);
                !position.is_some_and(|position| position.covers(block.first, block.last))
            })
        });
        let stored = owed.filter_map(|(_, block)| block.stored_secs);
        stored.min().unwrap_or(i64::MAX)
    }

    /// Returns the accounts with a bound of age, and the time that is too old for each.
    fn age_bounds(&self, now: Timestamp) -> Vec<(u32, i64)> {
        let bounds = self.index.accounts().filter_map(|(account, _)| {
            let bound = self
                .options
                .accounts
                .get(self.names.name(account)?)
                .copied()
                .unwrap_or_default();
            let age_ms = i64::try_from(bound.max_age_ms?).unwrap_or(i64::MAX);
            Some((account, now.unix_ms().saturating_sub(age_ms).div_euclid(1000)))
        });
        bounds.collect()
    }

    fn runs_before(&self, account: u32, secs: i64) -> Vec<(StreamId, u64)> {
        let streams = self.index.streams();
        let runs = streams.flat_map(|(id, stream)| stream.runs.iter().map(|run| (*id, run)));
        let old = runs.filter(|(_, run)| run.oldest_secs < secs && run.owed_to(account) > 0);
        let mut old: Vec<_> = old.map(|(id, run)| (id, run.segment)).collect();
        old.sort_by_key(|(_, segment)| *segment);
        old
    }

    fn all_runs(&self) -> Vec<(StreamId, u32, u64)> {
        let streams = self.index.streams();
        let runs = streams.flat_map(|(id, stream)| stream.runs.iter().map(|run| (*id, run)));
        let debts = runs.flat_map(|(id, run)| {
            let owed = run.owed.iter().filter(|(_, owed)| *owed > 0);
            owed.map(move |(account, _)| (id, *account, run.segment))
        });
        let mut debts: Vec<_> = debts.collect();
        // Segment by segment, so that each is read once.
        debts.sort_unstable_by_key(|(id, account, segment)| (*segment, *id, *account));
        debts
    }
}

fn is_older(time: Option<Timestamp>, than: Timestamp) -> bool {
    time.is_some_and(|time| time < than)
}
