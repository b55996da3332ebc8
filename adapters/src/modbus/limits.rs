//! Every bound of the Modbus client in one place.

/// Words in one read: the PDU holds no more (Modbus Application Protocol 1.1b3, section 6.3).
pub const READ_REGISTERS: u16 = 125;

/// Bits in one read (section 6.1).
pub const READ_BITS: u16 = 2000;

/// Words in one write (section 6.12).
pub const WRITE_REGISTERS: u16 = 123;

/// Bits in one write (section 6.11).
pub const WRITE_BITS: u16 = 1968;

/// Bytes of the longest PDU (section 4.1).
pub const PDU_BYTES: usize = 253;

/// Received bytes that are kept while a frame is looked for: two of the longest frames, since the first may be
/// a late one in front of the answer.
pub const RECEIVE_BYTES: usize = 520;

/// Points of one unit: the planner weighs pairs of them, so that the work stays small on a cabinet's processor.
pub const POINTS_PER_UNIT: usize = 512;

/// Commands that wait or are being read back on one bus: more than a person or a server can mean at once.
pub const COMMANDS: usize = 64;

/// How long a command may wait for its turn, in milliseconds: whoever sent it has long been answered then.
pub const COMMAND_WAIT_MS: u64 = 10_000;

/// Events that nobody has fetched: no poll starts beyond it, so that a slow reader slows the bus, not the memory.
pub const EVENTS: usize = 256;

/// Times a write goes out before its end is called unknown.
pub const WRITE_ATTEMPTS: u8 = 2;

/// Pause between two looks at a write that has not taken yet, in milliseconds.
pub const READ_BACK_PAUSE_MS: u64 = 100;

/// Times a point is asked for before it waits for its next turn.
pub const READ_ATTEMPTS: u8 = 2;

/// Requests in a row without an answer after which a unit counts as unreachable, once three time-outs have passed.
pub const FAILURES: u32 = 3;

/// Pauses between the probes of an unreachable unit, in seconds; the last one stays.
pub const PROBE_PAUSES_SECS: [u64; 4] = [5, 10, 30, 60];

/// How long an address that a unit refuses is left alone, in seconds: a new firmware or setting may bring it.
pub const EXCLUSION_SECS: u64 = 3_600;

/// Addresses and boundaries that are remembered of one unit: one of each for every point, since lessons that push
/// each other out are learned for ever, at line speed.
pub const EXCLUSIONS: usize = POINTS_PER_UNIT;

/// Longest pause for a unit that says it is busy, in milliseconds; the first is 500 and each doubles.
pub const BUSY_PAUSE_MS: u64 = 30_000;

/// Shapes of requests whose answer may still come; beyond it the unit waits until the first is forgotten.
pub const OWED_ANSWERS: usize = 16;

/// How long an answer is waited out at least before its shape is used again without proof, in milliseconds.
pub const OWED_MIN_MS: u64 = 10_000;

/// The longest such wait, in milliseconds.
pub const OWED_MAX_MS: u64 = 60_000;

/// How long a line may be noisy before a request goes out all the same, in milliseconds: the units on it shall be
/// found unreachable, not forgotten.
pub const NOISE_MS: u64 = 2_000;
