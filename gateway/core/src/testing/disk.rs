//! A disk in memory that loses what was not synced, sector by sector, and fails when it is told to.

use std::cell::Cell;
use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use crate::buffer::{Disk, DiskError};

const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrashDisk {
    files: BTreeMap<String, File>,
    /// The most bytes that all files may have; none is no limit.
    pub(crate) capacity: Option<u64>,
    /// After how many further changes (writes, syncs, creations, removals) the disk does nothing any more.
    pub(crate) power_fails_in: Option<u64>,
    /// Fail one after the other: true fails.
    pub(crate) failing_writes: Vec<bool>,
    /// Fail one after the other: true fails. What was to be synced then looks written and is not durable.
    pub(crate) failing_syncs: Vec<bool>,
    /// How many reads fail before one succeeds again.
    pub(crate) failing_reads: Cell<u32>,
    /// A file and an offset in it: reads that reach over it fail.
    pub(crate) bad_sector: Option<(String, u64)>,
    /// How many writes, syncs, creations and removals there were.
    pub(crate) changes: u64,
    pub(crate) syncs: u64,
    pub(crate) written_bytes: u64,
}

impl CrashDisk {
    /// Returns an empty disk with space for so many bytes of files.
    pub(crate) fn with_capacity(capacity: u64) -> Self {
        Self {
            capacity: Some(capacity),
            ..Self::default()
        }
    }

    /// Cuts the power: of every sector that was not synced, either the old or the new content stays.
    pub(crate) fn crash(&mut self, rng: &mut StdRng) {
        let keep: f64 = [0.0, 0.5, 1.0][rng.random_range(0..3)];
        for file in self.files.values_mut() {
            let sectors = file
                .durable
                .chunks_mut(SECTOR_BYTES)
                .zip(file.seen.chunks(SECTOR_BYTES));
            for (durable, seen) in sectors {
                if rng.random_bool(keep) {
                    durable.copy_from_slice(seen);
                }
            }
            file.seen.clone_from(&file.durable);
        }
        self.restart();
    }

    /// Gives it power again, with everything as it was seen: the process ended, the machine did not.
    pub(crate) fn restart(&mut self) {
        self.power_fails_in = None;
        self.failing_writes.clear();
        self.failing_syncs.clear();
        self.failing_reads.set(0);
    }

    /// Returns the content of a file, to damage it.
    pub(crate) fn bytes(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.files.get_mut(name).expect("the test knows its files").seen
    }

    /// Returns the names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// Puts a file there, durably.
    pub(crate) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        let file = File {
            seen: bytes.clone(),
            durable: bytes,
        };
        self.files.insert(name.to_owned(), file);
    }

    /// Takes a file away.
    pub(crate) fn lose(&mut self, name: &str) {
        self.files.remove(name);
    }

    pub(crate) fn used(&self) -> u64 {
        self.files.values().map(|file| file.seen.len() as u64).sum()
    }

    fn change(&mut self) -> Result<(), DiskError> {
        self.changes += 1;
        match &mut self.power_fails_in {
            Some(0) => Err(DiskError::Failed("no power".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> Result<&mut File, DiskError> {
        self.files
            .get_mut(name)
            .ok_or_else(|| DiskError::Missing(name.to_owned()))
    }
}

fn next(failing: &mut Vec<bool>) -> bool {
    !failing.is_empty() && failing.remove(0)
}

impl Disk for CrashDisk {
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        let files = self.files.iter();
        Ok(files
            .map(|(name, file)| (name.clone(), file.seen.len() as u64))
            .collect())
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        self.change()?;
        if self.capacity.is_some_and(|capacity| self.used() + len > capacity) {
            return Err(DiskError::Full);
        }
        assert!(!self.files.contains_key(name), "{name} is there already");
        self.put(name, vec![0; len as usize]);
        Ok(())
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let is_bad = |(file, at): &(String, u64)| file == name && (offset..offset + len as u64).contains(at);
        if self.bad_sector.as_ref().is_some_and(is_bad) {
            return Err(DiskError::Failed("a bad sector".to_owned()));
        }
        if self.failing_reads.get() > 0 {
            self.failing_reads.set(self.failing_reads.get() - 1);
            return Err(DiskError::Failed("a bad sector".to_owned()));
        }
        let file = self
            .files
            .get(name)
            .ok_or_else(|| DiskError::Missing(name.to_owned()))?;
        let bytes = file.seen.get(offset as usize..).unwrap_or_default();
        Ok(bytes[..len.min(bytes.len())].to_vec())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.change()?;
        if next(&mut self.failing_writes) {
            return Err(DiskError::Failed("a write failed".to_owned()));
        }
        self.written_bytes += bytes.len() as u64;
        let at = offset as usize;
        let seen = &mut self.file(name)?.seen;
        let room = seen.get_mut(at..at + bytes.len());
        room.ok_or_else(|| DiskError::Failed("beyond the end".to_owned()))?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.change()?;
        self.syncs += 1;
        let fails = next(&mut self.failing_syncs);
        let file = self.file(name)?;
        if fails {
            return Err(DiskError::Failed("a sync failed".to_owned()));
        }
        file.durable.clone_from(&file.seen);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.change()?;
        self.files
            .remove(name)
            .map(drop)
            .ok_or_else(|| DiskError::Missing(name.to_owned()))
    }
}
