//! Every bound of this crate, and why it is there.

/// Bytes of one TOML text: a configuration of some thousand devices fits; more is a mistake or an attack.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Levels that brackets and dotted keys may nest: a profile needs five; the stack must hold them.
pub const MAX_DOCUMENT_NESTING: usize = 64;

/// Diagnostics of one text: nobody reads more at once.
pub const MAX_DIAGNOSTICS: usize = 100;

/// Bytes of an expression in a template: addresses need twenty.
pub const MAX_EXPRESSION_BYTES: usize = 64;

/// Bytes of one profile: the largest meter has a tenth of it.
pub const MAX_PROFILE_BYTES: usize = 256 << 10;

/// Copies that one template makes: relay boards have up to 64 channels.
pub const MAX_TEMPLATE_COPIES: usize = 64;

/// Templates of one profile: each may be read once for every copy.
pub const MAX_TEMPLATES: usize = 64;

/// Points of one profile: each takes memory per device.
pub const MAX_POINTS: usize = 1000;

/// Commands, constants, derivations and tests of one profile, each: as with the points.
pub const MAX_ENTRIES: usize = 1000;
