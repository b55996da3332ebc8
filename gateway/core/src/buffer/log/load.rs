//! Reading back: the oldest owed readings of a stream, and the segments they are in.

use super::Log;
use super::payload::StreamId;
use super::segments::Segment;
use crate::buffer::{Debt, Disk, DiskError, GapReason, Loaded, Record, Stream};
use crate::limits;

impl<D: Disk> Log<D> {
    /// Returns the oldest readings owed from a number on.
    pub(super) fn load(&mut self, debt: &Debt, from: u64, limit: usize) -> Result<Vec<Loaded>, DiskError> {
        let Some((stream, account)) = self.ids(&debt.stream, &debt.account) else {
            return Ok(Vec::new());
        };
        let records = self.oldest(stream, account, from, limit)?;
        Ok(records.into_iter().map(|record| self.loaded(record)).collect())
    }

    /// Returns the numbers that a stream and an account are known by.
    pub(super) fn ids(&self, stream: &Stream, account: &str) -> Option<(StreamId, u32)> {
        let device = self.names.id(&stream.device)?;
        let class = stream.class;
        Some((StreamId { class, device }, self.names.id(account)?))
    }

    /// Returns a stored reading with its time.
    pub(super) fn loaded(&self, record: Record) -> Loaded {
        let (moment, is_estimated) = self.boots.resolve(record.moment);
        Loaded {
            seq: record.seq,
            path: record.path,
            value: record.value,
            moment,
            is_estimated,
        }
    }

    /// Goes through the runs by their first number, until enough is found below the first number of the next one.
    pub(super) fn oldest(
        &mut self,
        stream: StreamId,
        account: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, DiskError> {
        let mut runs = self.owed_runs(stream, account, from, u64::MAX);
        runs.sort_by_key(|run| (run.first, run.segment));
        // Of a reading that is found twice, the later copy counts: it is behind the other one.
        let mut found: Vec<(Record, u64)> = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            match self.oldest_of_run(stream, run.segment, account, from, limit) {
                Ok(more) => found.extend(more),
                Err(_) if self.is_hopeless(run.segment) => {
                    self.give_up_run(stream, run.segment, account, GapReason::Corrupt);
                }
                Err(error) => return Err(error),
            }
            found.sort_by_key(|(record, segment)| (record.seq, std::cmp::Reverse(*segment)));
            let all = found.len();
            found.dedup_by_key(|(record, _)| record.seq);
            self.statistics.duplicates += (all - found.len()) as u64;
            let next = runs.get(at + 1).map_or(u64::MAX, |run| run.first);
            if limit > 0 && found.get(limit - 1).is_some_and(|(record, _)| record.seq < next) {
                break;
            }
        }
        found.truncate(limit);
        Ok(found.into_iter().map(|(record, _)| record).collect())
    }

    fn oldest_of_run(
        &mut self,
        stream: StreamId,
        segment: u64,
        account: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(Record, u64)>, DiskError> {
        self.fetch(segment)?;
        let none = Segment::default();
        let held = self.cache.get(segment).unwrap_or(&none);
        let position = self.index.position(stream, account);
        let is_owed = |seq: u64| seq >= from && !position.is_some_and(|position| position.contains(seq));
        let (mut found, mut unreadable, mut highest) = (Vec::new(), Vec::new(), 0);
        for block in held.blocks(stream) {
            let settled = position.is_some_and(|position| position.covers(block.first, block.last));
            if block.last < from || settled || !held.accounts(block).contains(&account) {
                continue;
            }
            // Blocks may overlap; those that begin behind enough others cannot hold an older reading.
            if found.len() >= limit && highest < block.first {
                break;
            }
            match held.records(block) {
                Some(records) => {
                    let records = records.into_iter().filter(|record| is_owed(record.seq));
                    found.extend(records.map(|record| (record, segment)));
                    highest = highest.max(block.last);
                }
                None => unreadable.push(*block),
            }
        }
        for block in unreadable {
            self.statistics.corrupt_blocks += 1;
            self.give_up(stream, segment, account, block, GapReason::Corrupt);
        }
        Ok(found)
    }

    /// Says whether a segment could not be read so often that what is owed in it counts as lost.
    fn is_hopeless(&self, segment: u64) -> bool {
        let failed = self.files.failed_reads.get(&segment);
        failed.is_some_and(|failed| *failed >= limits::MAX_FAILED_LOADS)
    }

    /// Brings a segment into memory.
    pub(super) fn fetch(&mut self, id: u64) -> Result<(), DiskError> {
        if self.cache.touch(id).is_some() {
            return Ok(());
        }
        let Some(file) = self.files.segments.get(&id) else {
            return Err(DiskError::Missing(format!("segment {id} of the buffer")));
        };
        let end = file.end as usize;
        let bytes = match self.disk.read(&file.name, 0, end) {
            Ok(bytes) => bytes,
            Err(error) => {
                *self.files.failed_reads.entry(id).or_default() += 1;
                return Err(error);
            }
        };
        self.files.failed_reads.remove(&id);
        self.statistics.segment_reads += 1;
        let is_short = bytes.len() < end;
        let (segment, scan) = Segment::read(id, bytes, Some(end), &self.names);
        self.cache.insert(id, segment, self.files.head);
        if is_short || !scan.is_whole() {
            self.statistics.rotten_segments += 1;
            self.reconcile(id);
        }
        Ok(())
    }

    /// Compares what a segment holds with what it held when it was last looked at, and reports what is missing.
    fn reconcile(&mut self, segment: u64) {
        let streams = self.index.streams();
        let runs = streams.flat_map(|(id, stream)| stream.runs.iter().map(|run| (*id, run.clone())));
        let runs: Vec<_> = runs.filter(|(_, run)| run.segment == segment).collect();
        for (stream, run) in runs {
            for (account, owed) in run.owed.iter().filter(|(_, owed)| *owed > 0) {
                let seqs = self.owed_seqs(stream, segment, *account, run.first, run.last, usize::MAX);
                let left = seqs.map_or(*owed, |seqs| seqs.len() as u32);
                if left < *owed {
                    self.index.set_owed(stream, segment, *account, left);
                    self.lose(super::settle::Loss {
                        stream,
                        account: *account,
                        count: u64::from(owed - left),
                        seqs: run.first..=run.last,
                        times: None,
                        reason: GapReason::Corrupt,
                    });
                }
            }
        }
    }
}
