//! Reading back: the oldest owed readings of a stream, and the segments they are in.

use super::Log;
use super::losses::Loss;
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
                Err(error) => {
                    let asked = self.files.failed_loads.entry(run.segment).or_default();
                    *asked.entry((stream, account)).or_default() += 1;
                    return Err(error);
                }
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

    /// Says whether somebody asked for a segment so often in vain that what the disk does not give of it counts as lost.
    fn is_hopeless(&self, segment: u64) -> bool {
        let asked = self.files.failed_loads.get(&segment);
        asked.is_some_and(|asked| asked.values().any(|failed| *failed >= limits::MAX_FAILED_LOADS))
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
        let name = file.name.clone();
        let bytes = match self.disk.read(&name, 0, end) {
            Ok(bytes) => {
                self.files.failed_loads.remove(&id);
                bytes
            }
            Err(error) if !self.is_hopeless(id) => return Err(error),
            Err(_) => self.read_through(&name, end as u64).0,
        };
        self.statistics.segment_reads += 1;
        let is_short = bytes.len() < end;
        let (segment, scan) = Segment::read(id, bytes, Some(end), &self.names);
        self.cache.insert(id, segment, self.files.head);
        if is_short || !scan.is_whole() {
            self.statistics.rotten_segments += 1;
            self.reconcile(id);
        }
        self.recount(id);
        Ok(())
    }

    /// Counts what could not be counted while the disk did not give a segment.
    fn recount(&mut self, segment: u64) {
        for (stream, account) in self.files.uncounted.remove(&segment).unwrap_or_default() {
            match self.owed_seqs(stream, segment, account, 0, u64::MAX, usize::MAX) {
                Ok(seqs) => self.index.set_owed(stream, segment, account, seqs.len() as u32),
                Err(_) => self.leave_uncounted(stream, segment, account),
            }
        }
    }

    /// Notes that what is owed of a run is less than was counted, perhaps.
    pub(super) fn leave_uncounted(&mut self, stream: StreamId, segment: u64, account: u32) {
        self.files
            .uncounted
            .entry(segment)
            .or_default()
            .insert((stream, account));
    }

    /// Looks into a segment again that could not be read when something in it was settled, one at a time.
    pub(super) fn count_again(&mut self) {
        if let Some((segment, _)) = self.files.uncounted.first_key_value() {
            // Where it fails again, the next commit tries.
            self.fetch(*segment).unwrap_or_default();
        }
    }

    /// Compares what a segment holds with what it held when it was last looked at, and reports what is missing. That is
    /// settled, so that it is told once, unless the disk may give it another time.
    fn reconcile(&mut self, segment: u64) {
        let file = self.files.segments.get(&segment);
        let is_readable = file.is_some_and(|file| !self.files.unreadable.contains(&file.name));
        let streams = self.index.streams();
        let runs = streams.flat_map(|(id, stream)| stream.runs.iter().map(|run| (*id, run.clone())));
        let runs: Vec<_> = runs.filter(|(_, run)| run.segment == segment).collect();
        for (stream, run) in runs {
            for (account, owed) in run.owed.iter().filter(|(_, owed)| *owed > 0) {
                let seqs = self.owed_seqs(stream, segment, *account, run.first, run.last, usize::MAX);
                let left = seqs.map_or(*owed, |seqs| seqs.len() as u32);
                if left < *owed {
                    self.index.set_owed(stream, segment, *account, left);
                    self.lose(Loss {
                        stream,
                        account: *account,
                        count: u64::from(owed - left),
                        seqs: run.first..=run.last,
                        times: None,
                        reason: GapReason::Corrupt,
                    });
                    if is_readable {
                        self.settle_hole(stream, *account, run.first, run.last);
                    }
                }
            }
        }
    }
}
