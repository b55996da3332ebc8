//! Every bound of the packet forwarders and of their protocol in one place.

use std::time::Duration;

/// Bytes of the longest datagram: what UDP over IPv4 carries.
pub const DATAGRAM_BYTES: usize = 65_507;

/// Frames that are taken from one datagram: as many as the receive buffer of a concentrator holds.
pub const RXPK_PER_DATAGRAM: usize = 255;

/// Bytes of the longest PHYPayload: the length byte of the radio's header says no more.
pub const PHY_BYTES: usize = 255;

/// Characters that are kept of a forwarder's word for why it refuses a frame.
pub const TX_ERROR_CHARS: usize = 40;

/// Forwarders that are known at a time: a cabinet has one or two, a district a few more.
pub const FORWARDERS: usize = 32;

/// How long a forwarder counts as connected after its last PULL_DATA: three times the slowest keep-alive that is met.
pub const CONNECTED: Duration = Duration::from_secs(90);

/// How long another host cannot take the place of a connected forwarder, after that one was last heard.
pub const HELD: Duration = Duration::from_secs(30);

/// How long copies of a frame are waited for where several forwarders listen, unless configured, in milliseconds.
pub const DEFAULT_WINDOW_MS: u64 = 100;

/// The longest such wait, in milliseconds: the answer must leave for a window that opens after a second.
pub const MAX_WINDOW_MS: u64 = 500;

/// How long after its first copy the same bytes are a late copy: a device that repeats a frame has closed its second
/// window before, two seconds after its end.
pub const LATE_COPY: Duration = Duration::from_millis(1_500);

/// Frames whose copies are waited for or counted: 1,000 a second for the time of a late copy.
pub const FRAMES: usize = 1_500;

/// Frames and outcomes that wait to be taken; frames beyond it are dropped and counted.
pub const EVENTS: usize = 1_024;

/// What is to be told of the socket and of forwarders that come and go; the oldest is forgotten.
pub const NEWS: usize = 64;

/// Frames that wait for a moment to be sent, at all forwarders: half a minute of short ones.
pub const WAITING: usize = 256;

/// Frames that are planned at one forwarder: as many as it keeps itself (`jitqueue.h`: JIT_QUEUE_MAX).
pub const PLANNED: usize = 32;

/// How long before its time a frame must leave: 42.5 ms of the forwarder's own (`jitqueue.c`: TX_JIT_DELAY,
/// TX_START_DELAY and TX_MARGIN_DELAY), and the way there.
pub const LEAD: Duration = Duration::from_millis(50);

/// The furthest ahead that a forwarder plans (`jitqueue.c`: TX_MAX_ADVANCE_DELAY).
pub const MAX_AHEAD: Duration = Duration::from_secs(512);

/// The time that a forwarder needs before each frame, beside its time on air (`jitqueue.c`).
pub const FORWARDER_GAP: Duration = Duration::from_micros(42_500);

/// From the arrival of a frame that is to be sent at once to its first symbol (`jitqueue.c`: twice TX_JIT_DELAY).
pub const SOONEST_DELAY: Duration = Duration::from_millis(80);

/// How long a frame that may go at any time waits for its turn: whoever wants it sent has long been answered then.
pub const SOONEST_WAIT: Duration = Duration::from_secs(30);

/// How long a forwarder may take to say what becomes of a frame.
pub const TX_ACK: Duration = Duration::from_millis(300);

/// The time over which airtime is counted (ETSI EN 300 220-1, clause 5.4.1: one hour).
pub const AIRTIME_SPANS: u64 = 60;

/// The parts in which it is counted.
pub const AIRTIME_SPAN: Duration = Duration::from_secs(60);

/// The share of the airtime that commands may use up, in percent; the rest is for joins and answers.
pub const COMMAND_SHARE_PERCENT: u32 = 80;

/// How far the clocks of two machines run apart, in millionths: 20 each.
pub const CLOCK_DRIFT_PPM: u32 = 40;

/// How far the counter of a forwarder may be behind what was expected before it counts as started anew: longer than a
/// datagram is under way.
pub const CLOCK_BEHIND: Duration = Duration::from_secs(3);
