//! Every bound of the client, and why it is where it is.

use std::time::Duration;

/// Observations of one server. A server that observes every object of a device stays far below; what is beyond is
/// answered as a plain Read, as RFC 7641, section 4.1, allows.
pub const OBSERVATIONS: usize = 64;

/// Nodes that a server can attach attributes to. Four per observation are more than any server uses.
pub const ATTRIBUTED_PATHS: usize = 256;

/// Operations that wait for their answer. A server keeps one request under way per client (NSTART), so more than a
/// handful means that it does not wait; what is beyond gets 5.03.
pub const OPERATIONS: usize = 16;

/// How long an operation may wait for its answer: EXCHANGE_LIFETIME of RFC 7252, after which no server expects one.
pub const OPERATION_LIFETIME: Duration = Duration::from_secs(247);

/// Sends under way. CoAP sends one at a time; the others keep the line busy while the caller makes the next.
pub const SENDS: usize = 8;

/// Records of one Send: what fits into the 8 KiB that servers take by default, at 16 bytes a record.
pub const RECORDS: usize = 512;

/// Events of the kinds that foreign bytes can cause at will (malformed, refused) which wait to be polled; what is
/// beyond is dropped, the other kinds never are, because they are bounded by what causes them.
pub const COMPLAINTS: usize = 32;

/// Answers that wait for the disk: as many as requests of the server may be open.
pub const HELD_ANSWERS: usize = 64;

/// How long a notification that is owed may wait for its acknowledgement before it counts as owed: what is owed is
/// kept safe from a power cut, what is under way is not. Two repetitions have gone out by then.
pub const OWED_AFTER: Duration = Duration::from_secs(5);

/// Notifications of one observation that wait behind the one under way; with more of them it is owed at once.
pub const WAITING_NOTIFICATIONS: usize = 16;

/// How long after a late notification the newest value is told again: long enough for the next late one to follow at
/// a round trip of a second.
pub const NEWEST_AFTER_LATE: Duration = Duration::from_secs(1);

/// Parts that a saved client is read from: at its bounds one has about 25.
pub const SAVED_PARTS: usize = 64;

/// Bytes of a part of a saved client: what the gateway's state store takes as one value.
pub const SAVED_PART_BYTES: usize = 4096;

/// Bytes of the values told last that are saved with an observation: a resource or a small instance. Where there is
/// more, the first notification after a restart goes out without a comparison.
pub const SAVED_VALUES_BYTES: usize = 512;

/// Bytes of a location that are saved; servers use some ten. With a longer one a restart ends in a Register.
pub const SAVED_LOCATION_BYTES: usize = 1024;

/// Sequence numbers of notifications that are reserved at once. A restart skips at most one block and a half of the
/// 2^23 that RFC 7641 takes for newer.
pub const SEQUENCE_BLOCK: u64 = 1 << 16;

/// Sequence numbers that are skipped when the last state was lost: half of what RFC 7641 takes for newer.
pub const SEQUENCE_JUMP: u64 = 1 << 22;

/// Bytes of the arguments of an Execute: ten arguments of fifty characters.
pub const ARGUMENTS: usize = 512;

/// Parameters of a query; a Write-Attributes knows seven.
pub const QUERY: usize = 16;

/// The longest wait of the back-off, whatever the retry policy makes of it: a day.
pub const BACK_OFF: Duration = Duration::from_secs(86_400);

/// The longest time without a confirmable notification (RFC 7641, section 4.5).
pub const CONFIRMABLE_AT_LEAST_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long before the end of the lifetime the Update goes out: MAX_TRANSMIT_WAIT of RFC 7252, so that all
/// retransmissions still find the registration alive.
pub const UPDATE_MARGIN: Duration = Duration::from_secs(93);

/// How often refused Sends and rejected notifications may lead to an Update: a server that refuses all of them must
/// not be asked after each.
pub const DOUBT_EVERY: Duration = Duration::from_secs(60);

/// How long an observation waits after a notification that was lost or found no room: ACK_TIMEOUT of RFC 7252.
pub const REPEAT_LOST_AFTER: Duration = Duration::from_secs(2);
