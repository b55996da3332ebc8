//! Every bound of the simulated server and lines, and why it is what it is.

/// The longest body that is put together from blocks: enough for the registration of 4,000 instances, and no more
/// memory than a hostile client should cost.
pub const MAX_BODY: usize = 65_536;

/// Registered clients: ten times what one gateway serves.
pub const MAX_CLIENTS: usize = 10_000;

/// Message ids remembered for deduplication, over all clients: four messages a second from each of a hundred clients
/// for the 247 s of EXCHANGE_LIFETIME.
pub const MAX_SEEN: usize = 100_000;

/// Bodies that are coming in block by block at the same time.
pub const MAX_ASSEMBLIES: usize = 1_000;

/// Requests that are open or waiting, over all clients.
pub const MAX_REQUESTS: usize = 10_000;

/// Bytes on their way over a serial line in one direction: a few frames of the longest kind.
pub const MAX_LINE_BYTES: usize = 4_096;

/// Datagrams on their way through the simulated network.
pub const MAX_DATAGRAMS: usize = 100_000;

/// Events of a running server or radio field that wait to be taken: some seconds of a thousand clients.
pub const MAX_EVENTS: usize = 10_000;

/// Exchanges of a unit that wait for whoever follows them; the oldest goes first.
pub const MAX_EXCHANGES: usize = 1_000;

/// Faults of a run that the ledger tells: one is enough to fail, and a few more help to see why.
pub const MAX_FAULTS: usize = 20;

/// Downlinks of forwarders whose counters are remembered: a day of one a second.
pub const MAX_COUNTERS: usize = 86_400;

/// Messages that a broker keeps for one client: a night of a busy house.
pub const MAX_QUEUED: usize = 100_000;

/// Bytes of an MQTT packet.
pub const MAX_PACKET: usize = 1_048_576;

/// Packets that a connection to a broker may be behind before it is cut off.
pub const MAX_UNSENT: usize = 10_000;

/// Messages of a gadget at a foreign broker that wait to be written; one that says more at once begins anew.
pub const MAX_GADGET_MESSAGES: usize = 256;
