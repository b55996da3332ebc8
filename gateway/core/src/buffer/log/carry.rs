//! Blocks on their way into a frame: new ones, and old ones that are copied forward.

use std::sync::Arc;

use super::Log;
use super::index::NewBlock;
use super::names::Names;
use super::payload::{BlockHead, Head, StreamId, put_block};
use super::segments::Segment;
use crate::buffer::{Batch, Disk, DiskError, Record, records};
use crate::limits;

/// A block that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// What is said of it; the place of the body is not known yet.
    pub(super) head: BlockHead,
    /// The readings, encoded.
    pub(super) body: Vec<u8>,
    /// How many of them are owed, by account.
    pub(super) owed: Vec<(u32, u32)>,
}

impl Parcel {
    /// Appends it to a payload.
    pub(super) fn put(&self, out: &mut Vec<u8>, segment: u64, frame: &Head) {
        put_block(out, segment, frame, &self.head, &self.body);
    }

    /// Returns what it adds to the index.
    pub(super) fn block(&self) -> NewBlock {
        NewBlock {
            first: self.head.first,
            last: self.head.last,
            count: self.head.count,
            bytes: self.body.len() as u32,
            stored_secs: self.head.stored_secs,
            owed: self.owed.clone(),
        }
    }

    /// Returns about how many bytes it takes in a frame.
    pub(super) const fn bytes(&self) -> u64 {
        self.body.len() as u64 + 40 + 5 * self.head.accounts.len() as u64
    }
}

/// Encodes the batches of a commit, each as as many blocks as it takes.
pub(super) fn pack(batches: &[Batch], names: &mut Names, stored_secs: Option<i64>) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    for batch in batches {
        let stream = StreamId {
            class: batch.stream.class,
            device: names.intern(&batch.stream.device),
        };
        let accounts: Vec<u32> = batch.accounts.iter().map(|name| names.intern(name)).collect();
        for records in batch.records.chunks(limits::MAX_RECORDS_PER_BLOCK) {
            let count = records.len() as u32;
            let owed = accounts.iter().map(|account| (*account, count)).collect();
            parcels.extend(parcel(stream, accounts.clone(), records, stored_secs, owed));
        }
    }
    parcels
}

/// Returns the numbers of the readings of batches.
pub(super) fn numbers(batches: &[Batch], names: &mut Names) -> Vec<(StreamId, Vec<u32>, Vec<u64>)> {
    let numbers = batches.iter().map(|batch| {
        let stream = StreamId {
            class: batch.stream.class,
            device: names.intern(&batch.stream.device),
        };
        let accounts = batch.accounts.iter().map(|name| names.intern(name)).collect();
        (
            stream,
            accounts,
            batch.records.iter().map(|record| record.seq).collect(),
        )
    });
    numbers.collect()
}

/// Returns batches as they can be stored: with servers, each once, and readings whose numbers rise.
pub(super) fn sound(mut batches: Vec<Batch>) -> Vec<Batch> {
    for batch in &mut batches {
        batch.records.sort_by_key(|record| record.seq);
        batch.records.dedup_by_key(|record| record.seq);
        batch.records.retain(|record| record.seq < u64::MAX);
        batch.accounts.sort_unstable();
        batch.accounts.dedup_by(|a, b| Arc::ptr_eq(a, b) || a == b);
    }
    batches.retain(|batch| !batch.records.is_empty() && !batch.accounts.is_empty());
    batches
}

fn parcel(
    stream: StreamId,
    accounts: Vec<u32>,
    records: &[Record],
    stored_secs: Option<i64>,
    owed: Vec<(u32, u32)>,
) -> Option<Parcel> {
    let head = BlockHead {
        stream,
        accounts,
        first: records.first()?.seq,
        last: records.last()?.seq,
        count: records.len() as u32,
        stored_secs,
        body: 0..0,
    };
    let body = records::encode(records);
    Some(Parcel { head, body, owed })
}

/// Readings of one stream, owed to the same accounts, that are gathered for a block.
struct Gathering {
    stream: StreamId,
    accounts: Vec<u32>,
    stored_secs: Option<i64>,
    records: Vec<Record>,
}

/// Says whether blocks were stored so close together that they may count as stored at the same time.
fn are_close(a: Option<i64>, b: Option<i64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.abs_diff(b) <= limits::MAX_MERGED_SECS,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl<D: Disk> Log<D> {
    /// Returns what a segment holds that is owed, small blocks merged to larger ones.
    pub(super) fn carry(&mut self, segment: u64) -> Result<Vec<Parcel>, DiskError> {
        self.fetch(segment)?;
        let none = Segment::default();
        let held = self.cache.get(segment).unwrap_or(&none);
        let mut parcels = Vec::new();
        let mut gathering: Option<Gathering> = None;
        for (stream, block) in held.all() {
            let records = held.records(block).unwrap_or_default();
            let accounts = held.accounts(block);
            let owed: Vec<Record> = records
                .into_iter()
                .filter(|record| {
                    accounts
                        .iter()
                        .any(|account| self.is_owed(stream, *account, record.seq))
                })
                .collect();
            let Some(first) = owed.first() else {
                continue;
            };
            let joins = gathering.as_ref().is_some_and(|gathering| {
                gathering.stream == stream
                    && gathering.accounts == accounts
                    && are_close(gathering.stored_secs, block.stored_secs)
                    && gathering.records.len() + owed.len() <= limits::MAX_MERGED_RECORDS
                    && gathering.records.last().is_some_and(|last| last.seq < first.seq)
            });
            if !joins {
                parcels.extend(gathering.take().and_then(|done| self.wrap(done)));
            }
            let into = gathering.get_or_insert_with(|| Gathering {
                stream,
                accounts: accounts.to_vec(),
                stored_secs: block.stored_secs,
                records: Vec::new(),
            });
            into.records.extend(owed);
            self.statistics.copied_blocks += 1;
        }
        parcels.extend(gathering.and_then(|done| self.wrap(done)));
        Ok(parcels)
    }

    fn wrap(&self, done: Gathering) -> Option<Parcel> {
        let owed = done.accounts.iter().map(|account| {
            let is_owed = |record: &&Record| self.is_owed(done.stream, *account, record.seq);
            (*account, done.records.iter().filter(is_owed).count() as u32)
        });
        let owed = owed.collect();
        parcel(done.stream, done.accounts, &done.records, done.stored_secs, owed)
    }

    fn is_owed(&self, stream: StreamId, account: u32, seq: u64) -> bool {
        let position = self.index.position(stream, account);
        !position.is_some_and(|position| position.contains(seq))
    }
}
