//! What the buffer needs of a disk: files of a fixed name, written at an offset, made durable by a sync.
//!
//! The seam has two sides: files in a folder in the gateway, and a simulated disk that loses un-synced writes, tears
//! pages and fills up in tests. It knows nothing of segments or records.

use std::fmt;

/// A disk, or a folder of one. Nothing is durable before [`sync`](Self::sync) has returned.
pub trait Disk {
    /// Returns the names and lengths of all files, in the order of the names.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError>;

    /// Makes a file of `len` zero bytes whose blocks are really allotted, so that writing into it later neither needs
    /// space nor changes metadata; durable with its name when this returns. What was made of it is removed on failure.
    ///
    /// # Errors
    /// When there is no space, or the disk fails.
    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskError>;

    /// Reads up to `len` bytes from an offset, fewer at the end of the file.
    ///
    /// # Errors
    /// When there is no such file, or the disk fails.
    fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError>;

    /// Writes bytes at an offset inside a file.
    ///
    /// # Errors
    /// When there is no such file, the bytes reach beyond its end, or the disk fails.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes what was written to a file durable.
    ///
    /// # Errors
    /// When the disk fails: then nothing is known of what was written since the last sync.
    fn sync(&mut self, name: &str) -> Result<(), DiskError>;

    /// Removes a file; durable when this returns.
    ///
    /// # Errors
    /// When the disk fails.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;
}

/// Why a disk did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// There is no space left.
    Full,
    /// There is no such file.
    Missing(String),
    /// Anything else, as the system says it.
    Failed(String),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the disk is full"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::Failed(reason) => write!(f, "the disk fails: {reason}"),
        }
    }
}
