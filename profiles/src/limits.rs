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

/// Seconds since 1970 at the beginning of 2016: a device whose clock shows less never had it set.
pub const EARLIEST_DEVICE_TIME: i64 = 1_451_606_400;

/// Seconds since 1970 at the beginning of 2100: a device whose clock shows more has lost it.
pub const LATEST_DEVICE_TIME: i64 = 4_102_444_800;

/// Former values in one frame: a water meter sends sixteen.
pub const MAX_SAMPLES: usize = 1000;

/// Kinds of uplinks or messages of one profile, and sections or tags of one of them: a luminaire has five.
pub const MAX_SOURCES: usize = 256;

/// Bytes of a LoRaWAN payload: what fits at the highest data rates of LoRaWAN Regional Parameters RP002-1.0.4.
pub const MAX_LORAWAN_PAYLOAD: usize = 242;

/// Bytes of an MQTT payload that is looked into: a meter's full status has two thousand.
pub const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Keys and places of one JSON path: devices nest four deep.
pub const MAX_JSON_PATH: usize = 16;

/// Bytes of a text that becomes a value: a name or a version.
pub const MAX_TEXT_BYTES: usize = 255;
