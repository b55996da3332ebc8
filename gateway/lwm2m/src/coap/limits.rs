//! Every bound of the CoAP engine. All are per endpoint, so a thousand endpoints stay small unless all are busy.

use std::time::Duration;

/// Bytes of a datagram that is accepted; a peer that sends more ignores every block size there is.
/// Bounds what coap-lite allocates for a datagram of nothing but empty options.
pub const DATAGRAM_MAX_BYTES: usize = 4096;

/// Bytes of a datagram that is sent: a 1024 byte block and its options fit, and an Ethernet frame takes it whole.
pub const DATAGRAM_SENT_MAX_BYTES: usize = 1400;

/// Datagrams waiting to be polled; beyond, the oldest is lost like one on the wire.
pub const TRANSMITS_MAX: usize = 256;

/// Events waiting to be polled before requests are refused with 5.03 and malformed datagrams only counted.
pub const EVENTS_MAX: usize = 256;

/// Requests of ours that are queued or open; the next one fails at once.
pub const REQUESTS_MAX: usize = 64;

/// Requests of the peer that are not answered yet; the next one gets 5.03.
pub const INCOMING_MAX: usize = 64;

/// Separate responses that wait for their turn; the next one is dropped, and the peer asks again.
pub const SEPARATE_RESPONSES_MAX: usize = 64;

/// Notifications and non-confirmable responses that wait for their turn; the next one is dropped and reported.
pub const NOTIFICATIONS_MAX: usize = 256;

/// Message ids of the peer that are remembered; beyond, the oldest is forgotten, and a very late repetition of it
/// would be taken for a request of its own. Those of GET and FETCH go first, which do no harm twice.
pub const DEDUP_ENTRIES_MAX: usize = 512;

/// Bytes of replies kept for replay; beyond, the oldest are forgotten with their message ids.
pub const DEDUP_BYTES_MAX: usize = 64 * 1024;

/// Seconds after which the peer may try again when it was refused for want of room.
pub const RETRY_AFTER_SECS: u32 = 5;

/// Bytes of a body that is sent, taken or served, over all its blocks.
pub const BODY_MAX_BYTES: usize = 64 * 1024;

/// Bodies of the peer that arrive block by block at once; beyond, the oldest is given up and gets 4.08.
pub const ASSEMBLIES_MAX: usize = 4;

/// Bodies kept for the peer to fetch block by block; beyond, the oldest is asked for anew when wanted.
pub const SERVED_BODIES_MAX: usize = 8;

/// Bytes of all bodies kept for the peer.
pub const SERVED_BODIES_MAX_BYTES: usize = 2 * BODY_MAX_BYTES;

/// How long after a block large notifications wait for the peer to ask for the next one of the same resource: a
/// repetition of its question comes within ACK_TIMEOUT * ACK_RANDOM_FACTOR, 3 s.
pub const FETCH_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often one block-wise transfer begins anew, because the peer lost blocks or its value changed meanwhile.
pub const TRANSFER_RESTARTS_MAX: u32 = 3;

/// Observations whose path is remembered, so that a large notification can be fetched; beyond, the layer above is
/// asked for the later blocks of the oldest.
pub const OBSERVED_MAX: usize = 256;

/// Non-confirmable notifications that a reset can still be matched with; beyond, the oldest cannot.
pub const TRACKED_NOTIFICATIONS_MAX: usize = 64;
