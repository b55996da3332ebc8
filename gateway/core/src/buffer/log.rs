//! The readings owed, on a disk: segments of fixed length, written from the front, used again when nothing is owed in
//! them. It depends on nothing but its own files; see [`Log`].
//!
//! # The bytes
//!
//! Files are named `segment-0000` and so on; the name says nothing of the content. Numbers of fixed length are little
//! endian; a *varint* has seven bits a byte, the lowest first; *time* is a byte 0, or 1 and the zigzag varint of
//! milliseconds since 1970. `crc` is CRC-32C.
//!
//! ```text
//! segment = header  frame × n  (whatever was there before)
//! header  = "uCIFIlog"  version u32 (1)  segment id u64  crc(all before) u32
//! frame   = length u32  check u32  head check u32  payload
//! check     = crc(segment id u64, offset of the frame u64, payload)
//! head check= crc(segment id u64, offset u64, length u32, check u32)
//!
//! payload = next_seq  boot  wall (time)  item × n                      one commit; all varints but the times
//! item    = 1 name      id, length, UTF-8                              before the first use in the segment
//!         | 2 block     flags (class in bits 0 and 1; bit 2: has a time of its own), device (name id),
//!                       accounts (count, name ids), next_seq − first seq, last − first seq, count of readings,
//!                       [when it was stored: time, in seconds], length,
//!                       u16 (crc of the segment id u64 and of this item so far), body (see `records`)
//!         | 3 position  class, device, account, below, ranges (count, then distance and length − 1 of each)
//!         | 4 boot      boot, last time known before (time), anchor (time, [ms since its start]),
//!                       latest ms of its readings without time, end of its numbers
//!         | 5 live      count, (segment id, where it ends) × count      first item of the first frame of a segment
//!         | 6 freed     count, segment ids
//!         | 7 loss      class, device, account, reason (u8: 0 bound, 1 age, 2 disk full, 3 corrupt, 4 dropped), count,
//!                       first seq, last − first seq, times of the first and the last reading (two times)
//!         | 8 frames    how many were known before, gone (count, then distances), new (count × (fingerprint u64,
//!                       0 or 1 + ms from its receipt to the wall of this payload))      the last item
//! ```
//! The first frame of a segment is a *checkpoint*: it names the segments that still count (`live`), all starts of the
//! process and all positions that are needed. Later frames say only what changed. So older segments are needed for
//! their readings only, and a log without any reading is one segment.
//!
//! # What holds
//!
//! 1. A commit is one frame, written by one write and made durable by one sync. It counts wholly or not at all.
//! 2. Segment ids only grow and are part of every checksum, as is the offset: what an earlier use of a file left, or a
//!    commit that failed, is never taken for a frame in its place.
//! 3. The *head* is the segment that was begun last. Only it is written, at its end. Frames stand back to back, so the
//!    sector that holds the end of a durable frame is written again, with the same bytes in front: a disk that writes
//!    sectors of 512 bytes wholly or not at all cannot harm what was durable.
//! 4. After a failed write or sync nothing is known of what was written. The head is closed where its last durable
//!    frame ends, and the next segment begins with the frame that failed; its checkpoint says where the closed one
//!    ends, so that whatever the disk made of the failed frame does not count. The same sync is never tried again.
//! 5. A frame that another process left may not be durable though it can be read. It is written again with the first
//!    commit after opening. Where the disk does not take it, what is owed in that segment is copied to the next one.
//! 6. A file is used for another segment only when nothing in it is owed, and never the head's. What is overwritten
//!    was paid or given up, so a torn beginning loses nothing; the head is still the one before.
//! 7. Numbers never restart: each frame carries the next one, and the head always has one. Where the newest checkpoint
//!    is lost to damage, they go far ahead.
//! 8. A position replaces the one before of its stream and server. Forgetting one only repeats readings. Storing a
//!    number makes it owed, whatever was settled before: where no position is in memory, as of a stream of which
//!    nothing was left, an empty one is written with it, in place of what the disk may still say.
//! 9. A reading stands in one segment. Copying forward writes the copies, the checkpoint or the freeing of the segment
//!    that they come from in one frame: a crash leaves either the one or the other. Only damage can show both; then the
//!    later copy counts.
//! 10. The number of a start of the process is written with its first commit. Two starts of which the first wrote
//!     nothing share one, and nothing on disk can tell them apart because there is nothing.
//! 11. What is lost is told. A loss stands in the frame that makes it durable and in all that follow until whoever asks
//!     for commits knows of it (see `losses`). What the last frame names is told when the log is opened: after a power
//!     cut a loss may be told twice, and never not at all.
//!
//! 12. Frames that may come again (`frames`) are told with the readings that came of them, so that either both are known
//!     or neither. The first item of a segment names all. Each later one says what changed and how many there were
//!     before; where a reader knows another number, something is missing, and it forgets them all: a frame that is not
//!     known again is owed twice, one that is taken for another would be lost. It is the last item because versions that
//!     do not know it read no further.
//!
//! # What a reader does at damage
//!
//! | found | done |
//! |---|---|
//! | no whole frame behind the last one of the head | the end: a commit that never finished, or left from before |
//! | a newest segment without a whole frame | its beginning was torn; the one before is the head |
//! | a frame whose head stands and whose payload does not, and more behind it or before a known end | skipped; the heads of its blocks have checks of their own and tell what is missing (a gap) |
//! | bytes that are no frame before a whole one or a known end | skipped byte by byte up to the next frame head |
//! | a broken header | the segment is known by a whole frame of a number that is missed, else the file is left alone |
//! | a segment that the newest checkpoint does not name | free, unless it is newer |
//! | a checkpoint that cannot be read | the one before counts, with all that follows it |
//! | another version in a sound header | refused, nothing is touched |
//! | bytes that the disk does not give at the start | read again, then as damage, but the file is never overwritten: its segment stays named, a newer one is begun behind it, and all numbers go ahead |
//! | such bytes later | an error, nothing goes unread to make room; after an hour of asking ([`MAX_FAILED_LOADS`](crate::limits::MAX_FAILED_LOADS)) as at the start |
//!
//! No length is believed further than the bytes that are there. One segment is read at a time.
//!
//! # Memory
//!
//! In memory are, for good, about 100 bytes for each stream and segment that holds something of it, and the positions;
//! 1,000 streams in 64 segments take 6 MB. Where blocks are is found out anew for the few segments that are looked into
//! ([`MAX_CACHED_SEGMENTS`](crate::limits::MAX_CACHED_SEGMENTS)): their bytes, and 56 bytes a block.

mod age;
mod append;
mod candidates;
mod carry;
mod clock;
mod files;
mod frame;
mod index;
mod inspect;
mod load;
mod losses;
mod names;
mod options;
mod payload;
mod positions;
mod recovery;
mod repeatable;
mod room;
mod segments;
mod settle;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use lwm2m_client::Timestamp;

use super::{Contents, Debt, Disk, Owing, Reply, Request, Stream};
use clock::Boots;
use files::Files;
use index::Index;
use losses::Losses;
use names::Names;
use payload::StreamId;
use repeatable::Frames;
use segments::Cache;

pub use inspect::{Inspection, inspect, visit};
pub use options::{AccountBound, OpenError, Options, Statistics};

/// A stream and the account that it is owed to.
type Owner = (StreamId, u32);

/// The readings owed, on a disk.
///
/// [`handle`](Self::handle) carries out one request after the other; a commit is asked for only when the one before is
/// answered. What is settled or has to go is so in memory at once, even if the commit fails then, and reaches the disk
/// with the next frame; a commit's readings count only when they are durable.
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    options: Options,
    statistics: Statistics,
    names: Names,
    boots: Boots,
    index: Index,
    cache: Cache,
    files: Files,
    /// The number that the next reading gets.
    next_seq: u64,
    /// That number as it was last written.
    written_seq: u64,
    /// The time of the commit that is carried out.
    now: Option<Timestamp>,
    age_checked: Option<Timestamp>,
    /// Positions that changed since they were last written.
    dirty: BTreeSet<Owner>,
    /// Segments that were freed and of which that was not written yet.
    files_freed: Vec<u64>,
    /// Losses that somebody may not know of.
    losses: Losses,
    /// The frames that may come again, as the disk has them.
    frames: Frames,
}

impl<D: Disk> Log<D> {
    /// Opens the log on a disk, whatever state it is in, and says what it holds. Nothing is written.
    ///
    /// # Errors
    /// When the disk cannot be read, or another version of the gateway wrote the log.
    pub fn open(disk: D, options: Options) -> Result<(Self, Contents), OpenError> {
        let mut log = Self {
            disk,
            frames: Frames::new(options.segment_bytes),
            options,
            statistics: Statistics::default(),
            names: Names::default(),
            boots: Boots::default(),
            index: Index::default(),
            cache: Cache::default(),
            files: Files::default(),
            next_seq: 1,
            written_seq: 1,
            now: None,
            age_checked: None,
            dirty: BTreeSet::new(),
            files_freed: Vec::new(),
            losses: Losses::default(),
        };
        log.recover()?;
        log.written_seq = log.next_seq;
        let debts = log.debts();
        let contents = Contents {
            boot: log.boots.current,
            next_seq: log.next_seq,
            debts,
            gaps: log.take_gaps(),
            repeatable: log.frames.all().to_vec(),
        };
        Ok((log, contents))
    }

    /// Carries out a request.
    pub fn handle(&mut self, request: Request) -> Vec<Reply> {
        let is_commit = matches!(request, Request::Commit(_));
        let reply = match request {
            Request::Commit(commit) => Reply::Committed {
                id: commit.id,
                result: self.commit(commit),
            },
            Request::Load { debt, from, limit } => {
                let result = self.load(&debt, from, limit);
                Reply::Loaded { debt, from, result }
            }
            Request::DropOlder { than, account } => Reply::Dropped {
                count: self.drop_older(than, account.as_deref()),
            },
        };
        let gaps = self.take_gaps().into_iter().map(Reply::Gap);
        let replies = gaps.chain([reply]).collect();
        if is_commit {
            self.losses.end_commit();
        }
        replies
    }

    /// Returns what it holds, and what it has done and met so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            segments: self.files.segments.len() as u64,
            spare_files: self.files.spare.len() as u64,
            file_bytes: self.files.bytes(),
            live_bytes: self.index.live_bytes(),
            ..self.statistics
        }
    }

    /// Returns the disk.
    pub const fn disk(&self) -> &D {
        &self.disk
    }

    /// Gives the disk back.
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// Returns what is owed to whom.
    fn debts(&mut self) -> Vec<Owing> {
        let mut owners: Vec<(u64, Owner)> = Vec::new();
        for (id, stream) in self.index.streams() {
            let mut accounts = BTreeMap::new();
            for run in stream.runs.iter().rev() {
                accounts.extend(
                    run.owed
                        .iter()
                        .filter(|(_, owed)| *owed > 0)
                        .map(|(account, _)| (*account, run.segment)),
                );
            }
            owners.extend(
                accounts
                    .into_iter()
                    .map(|(account, segment)| (segment, (*id, account))),
            );
        }
        // In the order of the segments, so that each is read once.
        owners.sort_unstable();
        let mut debts: Vec<Owing> = owners
            .into_iter()
            .filter_map(|(_, owner)| self.owing(owner))
            .collect();
        debts.sort_unstable_by(|a, b| a.debt.cmp(&b.debt));
        debts
    }

    fn owing(&mut self, (stream, account): Owner) -> Option<Owing> {
        let oldest = self
            .oldest(stream, account, 0, 1)
            .unwrap_or_default()
            .into_iter()
            .next();
        let count = self.index.owed(stream, account);
        let runs = self.owed_runs(stream, account, 0, u64::MAX);
        let first = oldest.as_ref().map(|record| record.seq);
        Some(Owing {
            debt: Debt {
                account: self.names.name(account)?.clone(),
                stream: Stream {
                    device: self.names.name(stream.device)?.clone(),
                    class: stream.class,
                },
            },
            count: (count > 0).then_some(count)?,
            first: first.or_else(|| runs.iter().map(|run| run.first).min())?,
            oldest: oldest.and_then(|record| self.wall(record.moment)),
        })
    }
}
