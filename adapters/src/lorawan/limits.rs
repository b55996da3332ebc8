//! Every bound of the LoRaWAN network server in one place.

/// Bytes of the longest PHYPayload: the length of a LoRa frame is one byte.
pub const PHY_BYTES: usize = 255;

/// Bytes of MAC commands in a frame header: their length is four bits.
pub const F_OPTS_BYTES: usize = 15;

/// Bytes of the longest application payload, at the fastest data rates.
pub const PAYLOAD_BYTES: usize = 242;

/// Sessions with one DevAddr: each costs up to four MICs for a frame that belongs to none.
pub const SESSIONS_PER_ADDRESS: usize = 8;

/// How far an uplink counter may jump (MAX_FCNT_GAP of 1.0.3, section 7.1.3).
pub const F_CNT_GAP: u32 = 16_384;

/// DevNonces that are remembered of a device, the oldest forgotten first: a device that joins once a day repeats none
/// of a year and more.
pub const DEV_NONCES: usize = 512;

/// The first JoinNonce that does not fit its 24 bits.
pub const JOIN_NONCES: u32 = 1 << 24;

/// Downlink counters made durable at once: after a restart the next block begins.
pub const F_CNT_DOWN_BLOCK: u32 = 64;

/// What a join nonce or downlink counter is moved on by when the state comes from an old copy; far below
/// [`F_CNT_GAP`], which a device still follows.
pub const OLD_COPY_JUMP: u32 = 1_000;

/// Uplink counters that may have been taken without being durable: what a replay could hide in after a crash.
pub const F_CNT_UP_WINDOW: u32 = 16;

/// How long an uplink counter may wait for others to be made durable with, in seconds.
pub const COMMIT_SECS: u64 = 120;

/// Values in one save.
pub const CHANGES_PER_SAVE: usize = 64;

/// Pause until a save that failed is tried again, in seconds.
pub const SAVE_RETRY_SECS: u64 = 5;

/// How long the answer to a save is awaited, in seconds.
pub const SAVE_WAIT_SECS: u64 = 60;

/// How long before a receive window its frame must be handed over, in milliseconds: a forwarder needs 43 of them.
pub const WINDOW_LEAD_MS: u64 = 100;

/// How late a timer may be and still be in time for a window, in milliseconds.
pub const TIMER_SLACK_MS: u64 = 40;

/// How long a device that has sent is busy with its own receive windows, in milliseconds.
pub const OWN_WINDOWS_MS: u64 = 3_000;

/// A frame that comes again within this time was not sent again: nobody repeats before the windows are over.
pub const ECHO_MS: u64 = 1_500;

/// How often a repeated uplink is answered: no device repeats more often (NbTrans).
pub const REPEATS: u8 = 15;

/// Confirmed uplinks of a device that are not settled yet; the oldest is given up.
pub const UNSETTLED: usize = 4;

/// Commands that wait for one device: with the longest payloads they fit one saved value.
pub const COMMANDS: usize = 12;

/// How often a command goes out before its end is called unknown.
pub const COMMAND_ATTEMPTS: u8 = 4;

/// Pause until a command for a device that always listens is tried again, in seconds.
pub const COMMAND_RETRY_SECS: u64 = 5;

/// Pause between two commands for a device that always listens, in milliseconds: it has to do the first one.
pub const COMMAND_SPACING_MS: u64 = 1_000;

/// After how long a command for a device that always listens is made durable where it has not come to its end, in
/// milliseconds: whoever wants it is told so before he gives up waiting, 4 s after the command unless configured.
pub const WAITING_KEEP_MS: u64 = 3_000;

/// How long a device that always listens may take to acknowledge, in seconds.
pub const ACK_WAIT_SECS: u64 = 10;

/// How long a forwarder's word on a transmission is awaited, in seconds.
pub const SENT_WAIT_SECS: u64 = 60;

/// How long a command waits for its device, in hours.
pub const COMMAND_HOURS: u64 = 24;

/// Receive intervals without an uplink after which a device counts as unreachable.
pub const SILENT_INTERVALS: u32 = 3;

/// How often a device is asked to change its second receive window in one run.
pub const RX2_REQUESTS: u8 = 8;

/// Events that nobody has fetched: no frame is taken beyond it, so that a slow reader loses frames, not memory.
pub const EVENTS: usize = 256;

/// Senders of frames that were refused or belong to nobody, each told of once in [`NOTICE_SECS`].
pub const NOTICES: usize = 128;

/// How long such a sender is not told of again, in seconds.
pub const NOTICE_SECS: u64 = 60;

/// Random addresses tried for a new session before one in use is taken.
pub const ADDRESS_ATTEMPTS: u8 = 16;
