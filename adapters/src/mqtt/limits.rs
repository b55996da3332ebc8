//! Every bound of the MQTT client in one place.

/// Bytes of a topic: the longest that a profile and a device make together, far below the 65,535 of the protocol.
pub const TOPIC_BYTES: usize = 1_024;

/// Bytes of a payload that is looked at; a longer one is acknowledged and counted. Reports of meters and lamps have a
/// few hundred.
pub const PAYLOAD_BYTES: usize = 65_536;

/// Bytes of a packet that is received at all. MQTT 3.1.1 has no way to say so to the broker: a longer one ends the
/// connection each time it comes.
pub const PACKET_BYTES: usize = 1_048_576;

/// Devices behind one broker.
pub const DEVICES: usize = 10_000;

/// Topics in one SUBSCRIBE, and one SUBSCRIBE at a time.
pub const FILTERS: usize = 64;

/// Templates under which unknown devices are looked for.
pub const DISCOVERIES: usize = 16;

/// Unknown devices that are remembered: as many as a person reads.
pub const UNKNOWN: usize = 256;

/// How long the broker may take to answer a SUBSCRIBE, in milliseconds.
pub const SUBACK_MS: u64 = 10_000;

/// Messages that are not acknowledged yet: a broker that has more of them under way is out of step, and the connection
/// begins anew. Reading stops long before.
pub const RECEIPTS: usize = 2_048;

/// Messages that are not acknowledged yet beyond which no more are read from the connection.
pub const RECEIPTS_READ: usize = 1_024;

/// How long after an acknowledgement went out the broker has it for sure, in milliseconds, where the same connection
/// still brings messages.
pub const ACKNOWLEDGED_MS: u64 = 5_000;

/// Unsettled messages from which on the newest is in a hurry, where the receive window is not smaller: brokers stop at
/// 10 (HiveMQ), 20 (mosquitto) or 32 (EMQX) unless they are told otherwise, and 3.1.1 does not say at how many.
pub const PRESSURE: usize = 10;

/// How long a message in a hurry may wait to be settled, in milliseconds: long enough for a server that is there to
/// acknowledge first, which spares the disk.
pub const PRESSURE_MS: u64 = 300;

/// Events that nobody has fetched: beyond it no more is read, and what comes only once is dropped and counted.
pub const EVENTS: usize = 256;

/// Bytes of payloads among them.
pub const EVENT_BYTES: usize = 1_048_576;

/// Publishes that the broker has not acknowledged yet.
pub const PUBLISHES: usize = 4;

/// Commands that wait for their turn: more than a person or a server can mean at once.
pub const COMMANDS: usize = 64;

/// How long a command may wait for its turn, in milliseconds: whoever sent it has long been answered then.
pub const COMMAND_WAIT_MS: u64 = 10_000;

/// How long the broker may take to acknowledge a publish, in milliseconds.
pub const PUBACK_MS: u64 = 10_000;

/// First pause before a lost connection is made again, in milliseconds; each doubles.
pub const FIRST_PAUSE_MS: u64 = 1_000;

/// Longest such pause, in milliseconds: short enough that nobody waits long beside a broker that was just switched on.
pub const LAST_PAUSE_MS: u64 = 30_000;

/// How long a connection lasts at least that was a good one, in milliseconds: after a shorter one the pauses go on
/// growing, as when two gateways use one client identifier and push each other out.
pub const GOOD_CONNECTION_MS: u64 = 10_000;

/// How long a connection attempt may take, in milliseconds.
pub const CONNECT_MS: u64 = 10_000;

/// How long the broker may be away before its devices count as unreachable, in milliseconds: a restart takes less.
pub const AWAY_MS: u64 = 30_000;
