//! How a log is kept, why it cannot be opened, and what it counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::buffer::DiskError;

/// How a log is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The length of a segment file.
    pub segment_bytes: u64,
    /// The most that all segment files together may take; never less than two of them. Three quarters of it hold
    /// readings, the rest is room to move them.
    pub max_bytes: u64,
    /// What may be kept for each server; others have [`AccountBound::default`].
    pub accounts: BTreeMap<Arc<str>, AccountBound>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 20,
            max_bytes: 64 << 20,
            accounts: BTreeMap::new(),
        }
    }
}

/// How much may be kept for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountBound {
    /// In bytes as they are encoded.
    pub max_bytes: u64,
    /// How old a reading may grow, counted from when it was stored; looked after whenever something is committed.
    pub max_age_ms: Option<u64>,
}

impl Default for AccountBound {
    fn default() -> Self {
        Self {
            max_bytes: 48 << 20,
            max_age_ms: None,
        }
    }
}

/// Why a log cannot be opened. Damage is no reason: it is reported as gaps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk cannot be read at all.
    #[error("the buffer cannot be read: {0}")]
    Disk(DiskError),
    /// Another version of the gateway wrote it.
    #[error(
        "{file} has buffer format {version}, this gateway reads format 1: use the version that wrote it, or move the file away"
    )]
    Version {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
    },
}

/// What a log holds, what it has done since it was opened, and what it met when it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Segments that hold something owed, and the one that is written.
    pub segments: u64,
    /// Files that are kept for further segments.
    pub spare_files: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Encoded bytes of what is owed.
    pub live_bytes: u64,

    /// Commits that succeeded, those among them that had nothing to say.
    pub commits: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Segments that were begun.
    pub begun_segments: u64,
    /// Files that were made.
    pub created_files: u64,
    /// Files that were given back to the disk.
    pub removed_files: u64,
    /// Files that were written over from their beginning.
    pub recycled_files: u64,
    /// Segments that were read again after they had left memory.
    pub segment_reads: u64,
    /// Segments that were emptied by copying what is owed in them forward.
    pub emptied_segments: u64,
    /// Blocks that were copied forward for that.
    pub copied_blocks: u64,
    /// Readings that had to go for a bound, once for each server.
    pub evicted_records: u64,
    /// Readings that had to go for their age, once for each server.
    pub aged_records: u64,
    /// Readings that were lost for any reason, once for each server.
    pub lost_records: u64,
    /// Ranges of settled readings that were forgotten because there were too many.
    pub forgotten_ranges: u64,

    /// Files that the disk had no space for.
    pub disk_full: u64,
    /// Files that could not be made for another reason.
    pub failed_creates: u64,
    /// Files that could not be removed.
    pub failed_removals: u64,
    /// Writes that failed.
    pub failed_writes: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Segments that were closed because of that.
    pub abandoned_segments: u64,
    /// Segments that were not what they had been when they were read again.
    pub rotten_segments: u64,
    /// Blocks that could not be decoded.
    pub corrupt_blocks: u64,

    /// At opening: segments that were taken in.
    pub recovered_segments: u64,
    /// Segments with an unfinished frame at their end.
    pub torn_tails: u64,
    /// Segments whose first frame was not finished.
    pub torn_beginnings: u64,
    /// Segments that do not count any more, as their files were not written over yet.
    pub stale_segments: u64,
    /// Segments that should be there and are not.
    pub missing_segments: u64,
    /// Files that are left alone because nobody knows what they are.
    pub set_aside_files: u64,
    /// Segments without a readable header that were known by their frames.
    pub known_by_frames: u64,
    /// Segments without a readable checkpoint.
    pub lost_checkpoints: u64,
    /// Frames with a readable head and a damaged payload.
    pub damaged_frames: u64,
    /// Stretches of bytes that are no frames.
    pub lost_stretches: u64,
    /// Blocks that nobody knows the names of.
    pub unknown_blocks: u64,
    /// Readings that were found twice; the later copy counts.
    pub duplicates: u64,
    /// Stretches that the disk did not give.
    pub unreadable_chunks: u64,
}
