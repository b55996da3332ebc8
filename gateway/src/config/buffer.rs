//! `[buffer]`: the readings that a server has not taken yet, in memory and on disk.

use super::section::Section;

/// The options of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferOptions {
    /// How long a reading waits in memory for a server to take it before it is written to disk.
    pub hold_ms: u64,
    /// How long what is to be written waits for more, so that one write does for all.
    pub commit_ms: u64,
    /// The largest size on disk, over all servers, in MiB.
    pub max_mb: u32,
}

/// The readings of one server in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferBound {
    /// The largest size on disk, in MiB.
    pub max_mb: u32,
    /// The greatest age, in days; none is without limit.
    pub max_age_days: Option<u32>,
}

pub(super) fn read(section: &Section<'_>) -> BufferOptions {
    let options = BufferOptions {
        hold_ms: section.integer("hold_ms", 0..=600_000, 5_000),
        commit_ms: section.integer("commit_ms", 50..=60_000, 1_000),
        max_mb: section.integer("max_mb", 8..=1_048_576, 256),
    };
    section.finish();
    options
}

/// Reads what a server's section says of its part of the buffer.
pub(super) fn read_bound(section: &Section<'_>) -> BufferBound {
    BufferBound {
        max_mb: section.integer("buffer_max_mb", 1..=1_048_576, 64),
        max_age_days: Some(section.integer("buffer_max_age_days", 0..=3_650, 30)).filter(|days| *days != 0),
    }
}
