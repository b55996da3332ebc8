//! A disk that counts what a real one below it would have to write.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use ucifi_core::buffer::{Disk, DiskError};

/// What a file system writes at least.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// What was written so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// As the log wrote it.
    pub(crate) bytes: u64,
    /// Pages that a sync had to write, in bytes.
    pub(crate) page_bytes: u64,
    /// The least that the syncs could have written: each the larger of a page and what was new.
    pub(crate) least_bytes: u64,
    pub(crate) syncs: u64,
    /// Zeros of new files.
    pub(crate) created_bytes: u64,
}

impl Counts {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            bytes: self.bytes - earlier.bytes,
            page_bytes: self.page_bytes - earlier.page_bytes,
            least_bytes: self.least_bytes - earlier.least_bytes,
            syncs: self.syncs - earlier.syncs,
            created_bytes: self.created_bytes - earlier.created_bytes,
        }
    }
}

/// A disk with a counter, which whoever made it can read.
pub(crate) struct Counted<D> {
    disk: D,
    counts: Rc<Cell<Counts>>,
    dirty: BTreeSet<(String, u64)>,
    unsynced: u64,
}

impl<D> Counted<D> {
    pub(crate) fn new(disk: D) -> (Self, Rc<Cell<Counts>>) {
        let counts = Rc::new(Cell::new(Counts::default()));
        let counted = Self {
            disk,
            counts: Rc::clone(&counts),
            dirty: BTreeSet::new(),
            unsynced: 0,
        };
        (counted, counts)
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }
}

impl<D: Disk> Disk for Counted<D> {
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        self.disk.list()
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        self.disk.create(name, len)?;
        self.count(|counts| counts.created_bytes += len);
        Ok(())
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.disk.read(name, offset, len)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.write(name, offset, bytes)?;
        let len = bytes.len() as u64;
        let pages = offset / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES);
        self.dirty.extend(pages.map(|page| (name.to_owned(), page)));
        self.unsynced += len;
        self.count(|counts| counts.bytes += len);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.sync(name)?;
        let before = self.dirty.len();
        self.dirty.retain(|(dirty, _)| dirty != name);
        let pages = (before - self.dirty.len()) as u64;
        let least = std::mem::take(&mut self.unsynced).max(PAGE_BYTES);
        self.count(|counts| {
            counts.syncs += 1;
            counts.page_bytes += pages * PAGE_BYTES;
            counts.least_bytes += least;
        });
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }
}
