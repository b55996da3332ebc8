//! A disk that loses what was not synced, tears writes, fills up, fails and rots, the same way on every run with one
//! seed.
//!
//! [`SimulatedDisk`] is a handle: the disk itself outlives the process that wrote to it, as a real one does. A file has
//! a cached content, which is read, and a durable one, which is what a power cut leaves. `Medium` keeps both.
//!
//! The power can go in the middle of an operation ([`SimulatedDisk::fail_power_in`]): whoever is at work then sees
//! every further operation fail, and no answer of his counts any more.

mod file;
mod medium;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};

use ucifi_core::buffer::{Disk, DiskError};

use medium::Medium;

/// The unit that a disk writes wholly or not at all, in bytes.
pub const SECTOR_BYTES: u64 = 512;

/// The unit in which an operating system writes its cache back, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// What a power cut leaves of what was written since the last sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PowerCut {
    /// All of it.
    KeepAll,
    /// None of it.
    DropAll,
    /// Some sectors or some pages, and of those some writes.
    Subset,
    /// The first writes, and of the next one the first sectors.
    Prefix,
}

impl PowerCut {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::KeepAll, Self::DropAll, Self::Subset, Self::Prefix];
}

/// How the disk fails; the shares are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The share of writes that fail; some of the sectors may be written.
    pub writes: f64,
    /// The share of syncs that fail. What was to be synced may be durable, may only look written, or may be gone, page
    /// by page; another sync makes none of it durable.
    pub syncs: f64,
    /// The share of reads that fail.
    pub reads: f64,
    /// The share of creations and removals that fail and change nothing.
    pub names: f64,
}

/// What the disk did and suffered so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Files made.
    pub creates: u64,
    /// Files removed.
    pub removes: u64,
    /// Reads that gave something.
    pub reads: u64,
    /// Writes that were taken.
    pub writes: u64,
    /// The bytes of them.
    pub bytes_written: u64,
    /// Syncs that made something durable or had nothing to do.
    pub syncs: u64,
    /// Files that there was no space for.
    pub full: u64,
    /// Writes that failed.
    pub failed_writes: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Creations and removals that failed.
    pub failed_names: u64,
    /// Power cuts, by [`PowerCut`] in its order.
    pub cuts: [u64; 4],
    /// Power cuts in the middle of a write.
    pub cuts_in_write: u64,
    /// Power cuts in the middle of a sync.
    pub cuts_in_sync: u64,
    /// Power cuts in the middle of a creation.
    pub cuts_in_create: u64,
    /// Power cuts in the middle of a removal.
    pub cuts_in_remove: u64,
    /// Writes of which a power cut left something and not everything.
    pub torn_writes: u64,
    /// Writes of which a power cut left nothing.
    pub lost_writes: u64,
    /// Bits that changed by themselves.
    pub rotten_bits: u64,
}

/// A handle to a disk; its clones are handles to the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    medium: Arc<Mutex<Medium>>,
}

impl SimulatedDisk {
    /// Makes an empty disk for so many bytes of files.
    pub fn new(capacity: u64, seed: u64) -> Self {
        Self {
            medium: Arc::new(Mutex::new(Medium::new(capacity, seed))),
        }
    }

    /// Sets how many bytes of files there is space for; files that are there stay, even if they are more.
    pub fn set_capacity(&self, capacity: u64) {
        self.lock().capacity = capacity;
    }

    /// Returns how many bytes its files have.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Sets how it fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Returns how it fails.
    pub fn faults(&self) -> Faults {
        self.lock().faults
    }

    /// Lets the power go in the middle of a change, after so many whole ones: 0 is the next write, sync, creation or
    /// removal.
    pub fn fail_power_in(&self, changes: u64) {
        self.lock().power_fails_in = Some(changes);
    }

    /// Says whether it has power.
    pub fn has_power(&self) -> bool {
        self.lock().has_power
    }

    /// Cuts the power, if it has not gone already, and settles what survives of what was not synced.
    pub fn cut_power(&self, cut: PowerCut) {
        self.lock().cut_power(cut);
    }

    /// Gives it power again.
    pub fn power_on(&self) {
        let mut medium = self.lock();
        medium.has_power = true;
        medium.power_fails_in = None;
    }

    /// Turns over one bit of a file, durably; says whether there is such a byte.
    pub fn flip_bit(&self, name: &str, at: u64, bit: u8) -> bool {
        self.lock().flip_bit(name, at, bit)
    }

    /// Returns what it did and suffered so far.
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    fn lock(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().expect("no operation on the disk panics")
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        self.lock().list()
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        self.lock().create(name, len)
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.lock().read(name, offset, len)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.lock().write(name, offset, bytes)
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.lock().sync(name)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.lock().remove(name)
    }
}
