//! Every bound of the shell, in one place.

use std::time::Duration;

/// Bytes of one request line on the control socket: a Write of the longest value that a device takes fits many
/// times, and eight clients cannot fill the memory.
pub const CONTROL_LINE_BYTES: usize = 16 * 1024;

/// Clients of the control socket at the same time; one more waits until another leaves.
pub const CONTROL_CLIENTS: usize = 8;

/// Bytes of one reply line that a client accepts: a device with a thousand points fits.
pub const CONTROL_REPLY_BYTES: usize = 4 * 1024 * 1024;

/// Requests from control clients that wait for the event loop: one a client.
pub const CONTROL_CALLS: usize = CONTROL_CLIENTS;

/// Lines that wait for one who watches a device; what does not fit is told as skipped.
pub const CONTROL_LINES: usize = 256;

/// Who may watch devices at the same time; each is a control client.
pub const TRACE_WATCHERS: usize = CONTROL_CLIENTS;

/// What one who watches waits for the end of: messages, commands, frames to be acknowledged. The oldest is forgotten.
pub const TRACE_OPEN: usize = 256;

/// Time that a control client has to send its request, and that writing a reply may take.
pub const CONTROL_IDLE: Duration = Duration::from_secs(60);

/// Inputs from buses and servers that wait for the event loop; a full queue slows their readers down.
pub const INPUTS: usize = 256;

/// Orders that wait for one bus; what does not fit is told to the core as expired.
pub const BUS_ORDERS: usize = 256;

/// Orders that wait for one broker: everything that it may wait to acknowledge, and commands.
pub const BROKER_ORDERS: usize = ucifi_adapters::mqtt::limits::RECEIPTS + BUS_ORDERS;

/// Messages that a broker may have under way unacknowledged: as many as are made durable together when none is paid.
pub const BROKER_WINDOW: u16 = 100;

/// Orders that wait for the radio network.
pub const RADIO_ORDERS: usize = 1_024;

/// Senders in the air that nobody configured and that are remembered; the one that was heard of longest ago goes first.
pub const UNKNOWN_SENDERS: usize = 256;

/// Datagrams kept for one endpoint until the server's name is resolved: a Register with its blocks is asked for
/// one by one, so one is usual.
pub const UNRESOLVED_DATAGRAMS: usize = 4;

/// Bytes of one datagram accepted from a server.
pub const DATAGRAM_BYTES: usize = 64 * 1024;

/// Local ports drawn for one endpoint until one is found that no other has: even where a third of all ports is taken,
/// only one of forty million endpoints finds none.
pub const PORT_DRAWS: usize = 16;

/// Bytes of one configuration, profile or object file.
pub const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of the file of a key or a password.
pub const SECRET_BYTES: u64 = 4 * 1024;

/// Files of one kind in a folder beside the configuration: every device may have a file of its own.
pub const FILES: usize = 4096;

/// Devices of one gateway.
pub const DEVICES: usize = 10_000;

/// Time that ending the registrations may take at a stop.
pub const DEREGISTER: Duration = Duration::from_secs(5);

/// Files of the buffer that are kept open: the one that is written, those that are read for a few servers at a time.
pub const OPEN_SEGMENTS: usize = 16;

/// Bytes of all values of the state together: a thousand endpoints with a few values of the largest size each.
pub const STATE_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of the name of a value of the state: what kind it is, a server and a device, each with a name of at most 64.
pub const STATE_NAME_BYTES: usize = 512;

/// Damaged databases of the state that are kept for whoever wants to know what happened.
pub const DAMAGED_DATABASES: u32 = 2;

/// Orders that wait for the thread that writes to disk; what does not fit waits with whoever orders, who bounds it.
pub const STORE_ORDERS: usize = 64;

/// Answers of that thread that wait for the event loop; a full queue lets the thread wait.
pub const STORE_ANSWERS: usize = 64;

/// Time that making everything durable may take at a stop, and the disk for an answer before a configuration is
/// exchanged: a disk that takes longer has failed.
pub const SETTLE: Duration = Duration::from_secs(10);

/// Time that reading what is kept may take for a new configuration: a full buffer on slow flash takes seconds.
pub const READ_AGAIN: Duration = Duration::from_secs(60);

/// Things that happened to a simulated device and wait to be told.
pub const SIMULATED_NEWS: usize = 64;

/// Requests to a simulated unit that are remembered as told; what a gateway asks for is far less.
pub const SIMULATED_REQUESTS: usize = 1_000;
