//! Object definitions in OMA's XML files: read for objects that the built-in table lacks, and written for a server's
//! model folder.

mod write;

pub use write::write;
