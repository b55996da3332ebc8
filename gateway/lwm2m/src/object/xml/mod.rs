//! Object definitions in OMA's XML files: read for objects that the built-in table lacks, and written for a server's
//! model folder.
//!
//! Reading is tolerant where published files are known to stray: elements that are not known are passed over, and an
//! `Item` counts wherever it stands in its object (3457 1.1 has four of them outside `Resources`). Descriptions are
//! not kept.

mod build;
mod read;
mod write;

pub use read::parse;
pub use write::write;

/// Why an object definition file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct XmlError {
    /// The line, counted from 1, at which it was found.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

#[cfg(test)]
mod tests;
