//! One file of the simulated disk: what is cached, what is durable, and the writes between the two.

use std::collections::BTreeMap;
use std::ops::Range;

/// A write that no sync has made durable.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Its place among the writes to all files.
    pub(super) order: u64,
    offset: usize,
    bytes: Vec<u8>,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct File {
    cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

/// What becomes of one page of a sync that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailedSync {
    /// It is durable.
    Durable,
    /// It looks written until the power goes.
    Cached,
    /// What was there before is back.
    Gone,
}

/// What a power cut leaves of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    Torn,
    Lost,
}

impl File {
    pub(super) fn zeros(len: usize) -> Self {
        Self {
            cached: vec![0; len],
            durable: vec![0; len],
            pending: Vec::new(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.durable.len()
    }

    pub(super) fn read(&self, offset: usize, len: usize) -> &[u8] {
        let end = offset.saturating_add(len).min(self.cached.len());
        self.cached.get(offset..end).unwrap_or_default()
    }

    /// Takes a write that lies inside the file.
    pub(super) fn write(&mut self, order: u64, offset: usize, bytes: &[u8]) {
        self.cached[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.pending.push(Pending {
            order,
            offset,
            bytes: bytes.to_vec(),
        });
    }

    pub(super) fn sync(&mut self) {
        for write in std::mem::take(&mut self.pending) {
            self.durable[write.range()].copy_from_slice(&write.bytes);
        }
    }

    /// Lets a sync fail; `fate` decides page by page what becomes of what was to be synced.
    pub(super) fn fail_sync(&mut self, page: usize, mut fate: impl FnMut() -> AfterFailedSync) {
        let pages: BTreeMap<usize, AfterFailedSync> = touched(&self.pending, page)
            .into_keys()
            .map(|number| (number, fate()))
            .collect();
        self.pending.clear();
        for (number, fate) in pages {
            let range = number * page..((number + 1) * page).min(self.durable.len());
            match fate {
                AfterFailedSync::Durable => self.durable[range.clone()].copy_from_slice(&self.cached[range]),
                AfterFailedSync::Cached => {}
                AfterFailedSync::Gone => self.cached[range.clone()].copy_from_slice(&self.durable[range]),
            }
        }
    }

    /// Returns the places of the writes that are not durable.
    pub(super) fn pending(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|write| write.order)
    }

    /// Lets the power go: of the writes to each unit of `unit` bytes the first ones survive, as many as `keep` says
    /// when told their places. Says what became of each write.
    pub(super) fn cut(&mut self, unit: usize, mut keep: impl FnMut(&[u64], usize) -> usize) -> Vec<Fate> {
        let mut kept: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for (number, writes) in touched(&self.pending, unit) {
            let orders: Vec<u64> = writes.iter().map(|index| self.pending[*index].order).collect();
            let survive = keep(&orders, number);
            for (place, index) in writes.into_iter().enumerate() {
                let write = &self.pending[index];
                let (whole, of) = kept.entry(write.order).or_default();
                *of += 1;
                if place < survive {
                    *whole += 1;
                    let range = overlap(&write.range(), number * unit..(number + 1) * unit);
                    let from = range.start - write.offset;
                    self.durable[range.clone()].copy_from_slice(&write.bytes[from..from + range.len()]);
                }
            }
        }
        self.pending.clear();
        self.cached.clone_from(&self.durable);
        kept.into_values().map(fate).collect()
    }

    /// Turns over one bit, durably; says whether there is such a byte.
    pub(super) fn flip(&mut self, at: usize, bit: u8) -> bool {
        let mask = 1 << (bit % 8);
        let bytes = [self.cached.get_mut(at), self.durable.get_mut(at)];
        bytes.into_iter().flatten().map(|byte| *byte ^= mask).count() > 0
    }
}

impl Pending {
    fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes.len()
    }
}

fn fate((whole, of): (usize, usize)) -> Fate {
    match whole {
        0 => Fate::Lost,
        whole if whole < of => Fate::Torn,
        _ => Fate::Whole,
    }
}

/// Returns which writes touch which unit of the file, each in the order of the writes.
fn touched(pending: &[Pending], unit: usize) -> BTreeMap<usize, Vec<usize>> {
    let mut touched: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, write) in pending
        .iter()
        .enumerate()
        .filter(|(_, write)| !write.bytes.is_empty())
    {
        let range = write.range();
        for number in range.start / unit..=(range.end - 1) / unit {
            touched.entry(number).or_default().push(index);
        }
    }
    touched
}

fn overlap(a: &Range<usize>, b: Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}
