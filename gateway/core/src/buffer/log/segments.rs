//! Segments that are looked into: their bytes, and where the blocks are in them.
//!
//! Only a few are kept in memory ([`limits::MAX_CACHED_SEGMENTS`]), the active one always among them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::frame::{Piece, Scan, scan};
use super::names::Names;
use super::payload::{BlockHead, Item, Items, StreamId};
use crate::buffer::{Record, records};
use crate::limits;

/// Where a block is, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockRef {
    /// The lowest number.
    pub(super) first: u64,
    /// The highest.
    pub(super) last: u64,
    /// How many readings.
    pub(super) count: u32,
    /// When it was stored.
    pub(super) stored_secs: Option<i64>,
    /// How long its readings are.
    pub(super) len: u32,
    at: u32,
    accounts: u32,
}

/// A segment in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    /// Sets of accounts that blocks are owed to; there are few.
    accounts: Vec<Vec<u32>>,
    blocks: BTreeMap<StreamId, Vec<BlockRef>>,
    /// How many blocks have names that nobody knows; they are left out.
    pub(super) unknown: u64,
}

impl Segment {
    /// Takes a segment apart, and says what was found of it.
    pub(super) fn read(id: u64, bytes: Vec<u8>, end: Option<usize>, names: &Names) -> (Self, Scan) {
        let scan = scan(id, &bytes, end);
        let mut segment = Self {
            bytes,
            ..Self::default()
        };
        segment.bytes.truncate(scan.end);
        for piece in &scan.pieces {
            if let Piece::Whole { payload } = piece {
                segment.index(id, payload.clone(), names);
            }
        }
        (segment, scan)
    }

    /// Appends what was written at the end.
    pub(super) fn append(&mut self, id: u64, at: usize, bytes: &[u8], payload: Range<usize>, names: &Names) {
        self.bytes.truncate(at);
        self.bytes.extend(bytes);
        self.index(id, payload, names);
    }

    /// Returns the blocks of a stream, by their first number.
    pub(super) fn blocks(&self, stream: StreamId) -> &[BlockRef] {
        self.blocks.get(&stream).map_or(&[], Vec::as_slice)
    }

    /// Returns all blocks.
    pub(super) fn all(&self) -> impl Iterator<Item = (StreamId, &BlockRef)> {
        let streams = self.blocks.iter();
        streams.flat_map(|(stream, blocks)| blocks.iter().map(|block| (*stream, block)))
    }

    /// Returns the accounts that a block is owed to.
    pub(super) fn accounts(&self, block: &BlockRef) -> &[u32] {
        self.accounts
            .get(block.accounts as usize)
            .map_or(&[], Vec::as_slice)
    }

    /// Returns the readings of a block; none where they are not what the block says.
    pub(super) fn records(&self, block: &BlockRef) -> Option<Vec<Record>> {
        let at = block.at as usize;
        let body = self.bytes.get(at..at + block.len as usize)?;
        let records = records::decode(body).ok()?;
        let ends = (records.first()?.seq, records.last()?.seq);
        let is_as_said = ends == (block.first, block.last) && records.len() == block.count as usize;
        is_as_said.then_some(records)
    }

    fn index(&mut self, id: u64, payload: Range<usize>, names: &Names) {
        let bytes = self.bytes.get(payload.clone()).unwrap_or_default();
        let mut found = Vec::new();
        for item in Items::new(id, bytes).into_iter().flatten() {
            if let Item::Block(head) = item {
                let known = resolve(head, names);
                self.unknown += u64::from(known.is_none());
                found.extend(known);
            }
        }
        for head in found {
            self.add(payload.start, head);
        }
    }

    fn add(&mut self, payload: usize, head: BlockHead) {
        let known = self.accounts.iter().position(|set| *set == head.accounts);
        let accounts = known.unwrap_or(self.accounts.len());
        let block = BlockRef {
            first: head.first,
            last: head.last,
            count: head.count,
            stored_secs: head.stored_secs,
            len: head.body.len() as u32,
            at: (payload + head.body.start) as u32,
            accounts: accounts as u32,
        };
        if known.is_none() {
            self.accounts.push(head.accounts);
        }
        let blocks = self.blocks.entry(head.stream).or_default();
        let at = blocks.partition_point(|other| other.first <= block.first);
        blocks.insert(at, block);
    }
}

/// Returns a block with the numbers that its names are known by.
pub(super) fn resolve(mut head: BlockHead, names: &Names) -> Option<BlockHead> {
    head.stream.device = names.resolve(head.stream.device)?;
    head.accounts = head.accounts.iter().filter_map(|id| names.resolve(*id)).collect();
    (!head.accounts.is_empty()).then_some(head)
}

/// The segments in memory, the one used last at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    segments: Vec<(u64, Segment)>,
}

impl Cache {
    /// Returns a segment if it is in memory, and keeps it there.
    pub(super) fn touch(&mut self, id: u64) -> Option<&mut Segment> {
        let at = self.segments.iter().position(|(other, _)| *other == id)?;
        let found = self.segments.remove(at);
        self.segments.push(found);
        self.segments.last_mut().map(|(_, segment)| segment)
    }

    /// Returns a segment if it is in memory.
    pub(super) fn get(&self, id: u64) -> Option<&Segment> {
        let found = self.segments.iter().find(|(other, _)| *other == id);
        found.map(|(_, segment)| segment)
    }

    /// Puts a segment in; the one that was not used for the longest time, and is not the active one, goes.
    pub(super) fn insert(&mut self, id: u64, segment: Segment, active: Option<u64>) {
        self.remove(id);
        self.segments.push((id, segment));
        if self.segments.len() > limits::MAX_CACHED_SEGMENTS {
            let oldest = self.segments.iter().position(|(other, _)| Some(*other) != active);
            self.segments.remove(oldest.unwrap_or_default());
        }
    }

    /// Takes a segment out.
    pub(super) fn remove(&mut self, id: u64) {
        self.segments.retain(|(other, _)| *other != id);
    }
}
