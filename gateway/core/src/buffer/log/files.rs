//! The files that the segments are in, and which of them are free.

use std::collections::{BTreeMap, BTreeSet};

use super::{Log, Owner};
use crate::buffer::{Disk, DiskError};
use crate::limits;

const PREFIX: &str = "segment-";

/// A file with a segment in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Its name.
    pub(super) name: String,
    /// Its length.
    pub(super) len: u64,
    /// Where the segment ends so far.
    pub(super) end: u64,
}

/// All files of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Those with a segment that is needed, by its number.
    pub(super) segments: BTreeMap<u64, File>,
    /// Names and lengths of those whose content nobody needs.
    pub(super) spare: Vec<(String, u64)>,
    /// Names and lengths of those that are not to be touched.
    pub(super) set_aside: Vec<(String, u64)>,
    /// The segment that was written last: what is true of the log stands in it.
    pub(super) head: Option<u64>,
    /// Whether the head may be written further. Not after a failure: nobody knows what is in the file then.
    pub(super) is_writable: bool,
    /// Where the last frame of the head begins, if another process wrote it: it may not be durable.
    pub(super) doubtful_from: Option<u64>,
    /// The names that the head explains.
    pub(super) explained: BTreeSet<u32>,
    /// The number of the next segment.
    pub(super) next_id: u64,
    /// How often the disk did not give a segment, by its number and who asked for it, until it did.
    pub(super) failed_loads: BTreeMap<u64, BTreeMap<Owner, u32>>,
    /// Runs of which more counts as owed than may be, by the number of the segment: it could not be read.
    pub(super) uncounted: BTreeMap<u64, BTreeSet<Owner>>,
    /// Those of which the disk did not give all: what it may give another time is not overwritten.
    pub(super) unreadable: BTreeSet<String>,
    /// Whether the disk had no space for the last file that was wanted.
    pub(super) is_disk_full: bool,
}

impl Files {
    /// Returns the bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        let segments = self.segments.values().map(|file| file.len);
        let others = self.spare.iter().chain(&self.set_aside).map(|(_, len)| *len);
        segments.chain(others).sum()
    }

    /// Returns the segments beside these, and where they end.
    pub(super) fn live(&self, without: &[u64]) -> Vec<(u64, u64)> {
        let segments = self.segments.iter().filter(|(id, _)| !without.contains(id));
        segments.map(|(id, file)| (*id, file.end)).collect()
    }

    /// Says whether the disk gave all of a segment; one of which it did not is kept, for the next start to try.
    pub(super) fn is_read(&self, id: u64) -> bool {
        let file = self.segments.get(&id);
        file.is_none_or(|file| !self.unreadable.contains(&file.name))
    }

    /// Moves the file of a segment to the spare ones.
    pub(super) fn release(&mut self, id: u64) {
        self.failed_loads.remove(&id);
        self.uncounted.remove(&id);
        if let Some(file) = self.segments.remove(&id) {
            self.spare(file);
        }
    }

    /// Takes a file whose content nobody needs.
    pub(super) fn spare(&mut self, file: File) {
        if self.unreadable.contains(&file.name) {
            self.set_aside.push((file.name, file.len));
        } else {
            self.spare.push((file.name, file.len));
        }
    }

    fn unused_name(&self) -> String {
        let segments = self.segments.values().map(|file| file.name.as_str());
        let others = self
            .spare
            .iter()
            .chain(&self.set_aside)
            .map(|(name, _)| name.as_str());
        let used: BTreeSet<&str> = segments.chain(others).collect();
        let mut names = (0..).map(|n: u32| format!("{PREFIX}{n:04}"));
        names
            .find(|name| !used.contains(name.as_str()))
            .unwrap_or_default()
    }
}

/// Says whether a file has the name of a segment file.
pub(super) fn is_ours(name: &str) -> bool {
    let number = name.strip_prefix(PREFIX);
    number.is_some_and(|number| number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl<D: Disk> Log<D> {
    /// Makes spare files until there are two of a length: one for the next segment, one that stays spare. Returns how
    /// many there are, and why there are not two.
    pub(super) fn provide_spares(&mut self, len: u64) -> (usize, Option<DiskError>) {
        let mut failure = None;
        while self.fitting_spares(len) < 2 && failure.is_none() {
            let room = self.options.max_bytes.max(2 * self.options.segment_bytes);
            if self.files.bytes() + len > room && self.remove_misfit(len).is_none() {
                failure = Some(DiskError::Full);
                break;
            }
            failure = self.create_spare(len).err();
        }
        (self.fitting_spares(len), failure)
    }

    /// Takes a spare file of at least a length.
    pub(super) fn take_spare(&mut self, len: u64) -> Option<(String, u64)> {
        let at = self.files.spare.iter().position(|(_, have)| *have >= len)?;
        Some(self.files.spare.remove(at))
    }

    /// Gives files back to the disk that are not needed: what is spare beyond what is kept, and odd lengths.
    pub(super) fn remove_spares(&mut self) {
        let usual = self.options.segment_bytes;
        for _ in 0..limits::MAX_REMOVALS_PER_COMMIT {
            let odd = self.files.spare.iter().position(|(_, len)| *len != usual);
            let too_many = self.files.spare.len() > limits::MAX_SPARE_SEGMENTS;
            let Some(at) = odd.or_else(|| too_many.then_some(0)) else {
                return;
            };
            if !self.remove_spare(at) {
                return;
            }
        }
    }

    fn remove_spare(&mut self, at: usize) -> bool {
        let Some((name, _)) = self.files.spare.get(at) else {
            return false;
        };
        let is_removed = self.disk.remove(name).is_ok();
        if is_removed {
            self.files.spare.remove(at);
            self.statistics.removed_files += 1;
        } else {
            self.statistics.failed_removals += 1;
        }
        is_removed
    }

    /// Removes a spare file that is too short, where a longer one is wanted.
    fn remove_misfit(&mut self, len: u64) -> Option<()> {
        let at = self.files.spare.iter().position(|(_, have)| *have < len)?;
        self.remove_spare(at).then_some(())
    }

    fn fitting_spares(&self, len: u64) -> usize {
        self.files.spare.iter().filter(|(_, have)| *have >= len).count()
    }

    fn create_spare(&mut self, len: u64) -> Result<(), DiskError> {
        let name = self.files.unused_name();
        let created = self.disk.create(&name, len);
        match &created {
            Ok(()) => {
                self.files.spare.push((name, len));
                self.files.is_disk_full = false;
                self.statistics.created_files += 1;
            }
            Err(DiskError::Full) => {
                self.files.is_disk_full = true;
                self.statistics.disk_full += 1;
            }
            Err(DiskError::Missing(_) | DiskError::Failed(_)) => self.statistics.failed_creates += 1,
        }
        created
    }
}
