//! Every bound of this crate, and why it is there.

/// Bytes of one TOML text: a configuration of some thousand devices fits; more is a mistake or an attack.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Levels that brackets and dotted keys may nest: a profile needs five; the stack must hold them.
pub const MAX_DOCUMENT_NESTING: usize = 64;

/// Diagnostics of one text: nobody reads more at once.
pub const MAX_DIAGNOSTICS: usize = 100;
