//! Every bound of the gateway, and why it is where it is.

use std::time::Duration;

/// Devices times servers. A cabinet serves dozens of devices, a lamp street a thousand; 10,000 clients in one process
/// are the most that its memory and one thread are made for.
pub const MAX_ENDPOINTS: usize = 10_000;

/// Servers: a cabinet reports to its operator, to a test system, perhaps to a city.
pub const MAX_ACCOUNTS: usize = 64;

/// Readings in memory, each counted once for all servers: about 12 MiB.
pub const MAX_QUEUED_READINGS: usize = 65_536;

/// Bytes of the readings in memory, as they are estimated: so many of the usual kind and as much again of long values.
pub const MAX_QUEUED_BYTES: usize = 1024 * 1024;

/// Readings in one commit: a quarter of the memory, so that one that is under way leaves room for what comes.
pub const MAX_READINGS_PER_COMMIT: usize = MAX_QUEUED_READINGS / 4;

/// Frames whose senders wait for an acknowledgement: each has a reading in memory at least, or it would have got it.
pub const MAX_OPEN_RECEIPTS: usize = MAX_QUEUED_READINGS;

/// Frames that wait for one reading to be safe, since they say it again: as many as a broker has under way. Beyond that
/// the oldest is not acknowledged: its connection is long gone.
pub const MAX_RECEIPTS_PER_READING: usize = 2_048;

/// Frames that are known again when they come once more although their readings are durable, of all links: as many as an
/// MQTT broker may have under way before nothing more is read from it. Beyond that the oldest are forgotten, and would
/// be owed twice.
pub const MAX_REPEATABLE: usize = 1_024;

/// How long before an acknowledgement is wanted the commit begins that it waits for: what a slow card takes.
pub const SETTLE_MARGIN: Duration = Duration::from_millis(150);

/// The least time between two commits, where an acknowledgement is wanted sooner than the next one would be.
pub const SETTLE_PAUSE: Duration = Duration::from_millis(50);

/// Bytes after which a commit takes no more readings, as they are estimated: what a slow card writes in a tenth of a
/// second, and a quarter of a segment of the log.
pub const MAX_COMMIT_BYTES: usize = 256 * 1024;

/// About how many bytes a commit takes after one that failed: a disk that takes none of it loses as little of its life as
/// may be, and the next one after a success takes all.
pub const TRIAL_COMMIT_BYTES: usize = 4096;

/// Readings that are loaded out of the buffer at once: one Send. An endpoint holds two of them, so that the next Send
/// is ready when the server has answered.
pub const READINGS_PER_LOAD: usize = MAX_READINGS_PER_SEND;

/// Loads under way, of all endpoints: enough to keep a disk busy, few enough not to hold up the commits behind them.
pub const MAX_LOADS: usize = 32;

/// Readings that are loaded or being loaded, for all endpoints: about 4 MiB.
pub const MAX_LOADED_READINGS: usize = 32_768;

/// How long to wait after the buffer could not be read.
pub const LOAD_RETRY: Duration = Duration::from_secs(5);

/// How far the wall clock may be from where it was expected before the buffer is told of it, in milliseconds.
pub const CLOCK_JUMP_MS: u64 = 1_000;

/// The earliest time that a device's own clock is believed, in milliseconds since 1970: 2010. What says less was never
/// set.
pub const EARLIEST_MEASURED_MS: i64 = 1_262_304_000_000;

/// How far a device's own clock may be ahead of the gateway's, in milliseconds: an hour is a clock that does not know of
/// summer time, more is one that is wrong.
pub const MAX_DEVICE_CLOCK_LEAD_MS: i64 = 3_600_000;

/// Values of one point with times of the device's own that are known again when they come again: two logs of a day.
pub const MAX_DATED_VALUES: usize = 64;

/// How often servers are told how a device on the radio is heard, unless its data rate changes.
pub const RADIO_TOLD_EVERY: Duration = Duration::from_secs(3_600);

/// Bytes of a frame that its profile cannot read and that goes on as it is: twice what the radio carries, and what fits
/// into one message to a server.
pub const MAX_BRIDGED_BYTES: usize = 512;

/// Readings that an endpoint holds of those for whose object instance it waits: beyond that it loads no others to send
/// meanwhile.
pub const MAX_BLOCKED_READINGS: usize = 1_024;

/// Values of a resource that are known to be owed to an observer: what an observation may hold back before it says that
/// it is owed, so that another one that covers the same is found to say it again.
pub const MAX_OWED_LATELY: usize = lwm2m_client::client::limits::WAITING_NOTIFICATIONS + 4;

/// How long an endpoint waits with stored readings of an object instance that its device has not shown yet; after that
/// the server decides whether it takes them.
pub const INSTANCE_RETURNS: Duration = Duration::from_secs(600);

/// Readings in one Send: about 1 KiB in SenML CBOR, what servers of unknown make take without block-wise transfer.
pub const MAX_READINGS_PER_SEND: usize = 64;

/// Readings in one block of the buffer: enough that what each block says of itself weighs nothing, little enough that
/// reading one back takes less than 1 MiB of memory.
pub const MAX_RECORDS_PER_BLOCK: usize = 4096;

/// Commands that wait for a device, of all devices.
pub const MAX_COMMANDS: usize = 256;

/// Commands that wait for one device: a bus that takes a second for each would keep a later one waiting too long.
pub const MAX_COMMANDS_PER_DEVICE: usize = 16;

/// Commands that were answered before their end is known, of all devices: one for each of a street of lamps that listen
/// when they have sent. Of one that is forgotten the audit log knows that it was queued or sent.
pub const MAX_LASTING_COMMANDS: usize = 1_024;

/// The longest time that a device may take to show that it has done a command: one that sends twice a day.
pub const MAX_WATCH: Duration = Duration::from_secs(24 * 3_600);

/// Values in one Write: the longest object has 66 resources.
pub const MAX_WRITES_PER_COMMAND: usize = 128;

/// How long after its answer a command still hears what became of its downlink; nobody is waiting by then, but the
/// audit log wants to know.
pub const LATE_DELIVERY: Duration = Duration::from_secs(60);

/// Seconds after which a server may try again when too many commands are open.
pub const BUSY_RETRY_SECS: u32 = 2;

/// How long changes of the object list are gathered before servers are told: a meter's first values come in several
/// frames, and one Update is enough for all of them.
pub const LISTING_SETTLES: Duration = Duration::from_millis(500);

/// Readings that are set aside, one after the other, because a server refuses each of them alone: a server that takes
/// nothing at all has another trouble, and readings are kept for when that is over.
pub const MAX_SET_ASIDE_IN_ROW: usize = 4;

/// How long after a Send its server counts as away when it has not answered: a confirmable message is repeated for the
/// first time after two to three seconds (RFC 7252, section 4.8).
pub const ANSWER_OVERDUE: Duration = Duration::from_secs(3);

/// The first pause after a Send that a server did not take, doubled at each further one.
pub const SEND_BACKOFF: Duration = Duration::from_secs(5);

/// The longest such pause.
pub const MAX_SEND_BACKOFF: Duration = Duration::from_secs(300);

/// How often one endpoint tries again at a server that none of its endpoints reaches, while each of them waits longer
/// and longer: when it is back, all the others follow.
pub const SERVER_PROBE: Duration = Duration::from_secs(60);

/// How long losses are gathered before they are reported: a full buffer lets go of many devices' readings at once.
pub const LOSSES_SETTLE: Duration = Duration::from_secs(10);

/// The least time between two reports of losses: a report is a reading too, and needs room in the buffer.
pub const LOSS_REPORT_PAUSE: Duration = Duration::from_secs(600);

/// Changes in one request to save: a power cut may cost all of them together, and a store takes a second or so for
/// them on slow flash.
pub const MAX_CHANGES_PER_SAVE: usize = 512;

/// Bytes of names and values after which a request to save takes no more changes: what flash writes in a moment.
pub const MAX_SAVE_BYTES: usize = 48 * 1024;

/// How long a request to save may take before the gateway goes on without it: flash that tidies up takes seconds.
pub const SAVE_ANSWER: Duration = Duration::from_secs(15);

/// The first pause after a request to save has failed, doubled at each further one.
pub const SAVE_BACKOFF: Duration = Duration::from_secs(1);

/// The longest such pause.
pub const MAX_SAVE_BACKOFF: Duration = Duration::from_secs(60);

/// Command numbers that are reserved at a time, so that hardly any command costs a write.
pub const COMMANDS_RESERVED: u64 = 1_024;

/// The highest command number that is believed: beyond it a saved number is damaged, not used up.
pub const MAX_COMMAND: u64 = 1 << 53;

/// Bytes of an endpoint name that is believed: with `ep=` it has to fit into one option of CoAP, which has 255.
pub const MAX_ENDPOINT_NAME: usize = 252;

/// How often the latest values of a device are saved: flash wears, and what a restart shows may be that old.
pub const VALUES_SAVED_EVERY: Duration = Duration::from_secs(15 * 60);

/// At how many times within that the devices have their turn: as few syncs of a disk as that, however many devices.
pub const VALUES_TURNS: u32 = 15;

/// How far the command numbers go ahead where what was saved may be old: more than anybody commands in the minutes
/// between two copies.
pub const COMMANDS_JUMP: u64 = 1_000_000;

/// Ranges of settled readings that the buffer keeps of one stream and server beyond the position below which all is
/// settled. Each is an island of live readings that overtook the backlog; a forgotten one costs repeats.
pub const MAX_SETTLED_RANGES: usize = 64;

/// Starts of the process whose times the buffer keeps: a gateway without a clock that restarts every day for most of a
/// year and delivers nothing.
pub const MAX_BOOTS: usize = 256;

/// Segments of the buffer that are kept in memory, the active one among them: those that are written, drained and
/// evicted from.
pub const MAX_CACHED_SEGMENTS: usize = 4;

/// Readings of one stream in a block of the buffer that was merged of smaller ones: beyond that merging saves nothing.
pub const MAX_MERGED_RECORDS: usize = 512;

/// How far apart blocks may have been stored that are merged: the merged one counts as old as its first.
pub const MAX_MERGED_SECS: u64 = 3_600;

/// How often the buffer looks for readings that have grown too old, in milliseconds.
pub const AGE_CHECK_MS: i64 = 10_000;

/// How often a part of the buffer is read that the disk does not give, before it is left alone.
pub const MAX_READ_ATTEMPTS: usize = 3;

/// How often one debtor asks for a segment of the buffer in vain before what the disk does not give of it counts as lost:
/// an hour of asking again after [`LOAD_RETRY`]. A disk that is away for a moment costs nothing.
pub const MAX_FAILED_LOADS: u32 = 720;

/// Losses that the buffer writes down one by one because nobody may know of them; beyond that those of one stream, server
/// and reason are one. A buffer that is opened again and again without two commits in between gathers them.
pub const MAX_UNKNOWN_LOSSES: usize = 1_024;

/// Segment files of the buffer that are kept although nothing is owed in them.
pub const MAX_SPARE_SEGMENTS: usize = 2;

/// Segments that one commit gives back to the disk at most.
pub const MAX_REMOVALS_PER_COMMIT: usize = 4;
