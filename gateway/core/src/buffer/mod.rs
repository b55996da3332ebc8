//! The readings that a server has not got, on disk: what is asked of the buffer and what it answers.
//!
//! The gateway says what is to be made durable and what has been paid ([`Request`]); whoever owns the disk carries that
//! out, one request after the other, and says what came of it ([`Reply`]). Neither side waits for the other.
//!
//! A *stream* is one class of readings of one device. Every reading has a number of its own, [`Record::seq`], given
//! when it was taken; numbers only grow, also across restarts, and within a stream they are the order of delivery.
//! A reading is stored once, with the servers that it is owed to.

pub mod disk;
pub mod log;
pub mod records;

use std::ops::RangeInclusive;
use std::sync::Arc;

use lwm2m_client::{Path, Timestamp, Value};

pub use crate::field::Fingerprint;
pub use crate::profile::PointClass;
pub use disk::{Disk, DiskError};
pub use log::{AccountBound, Log, OpenError, Options, Statistics};

/// What stands for the cabinet in the place of a device: its id is the gateway's name, which may change.
pub const CABINET: &str = "~";

/// One class of readings of one device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// The id of the device; [`CABINET`] for the cabinet itself.
    pub device: Arc<str>,
    /// How much the readings matter.
    pub class: PointClass,
}

/// A stream as it is owed to one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Debt {
    /// The name of the server.
    pub account: Arc<str>,
    /// The readings.
    pub stream: Stream,
}

/// When something was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// By the wall clock.
    Wall(Timestamp),
    /// Before the clock was set: milliseconds since the start of the process, which is known by its number.
    Boot {
        /// The number of the start, from [`Contents::boot`].
        boot: u32,
        /// Milliseconds since then.
        ms: u64,
    },
}

/// A reading, in the newest model and the registry's units.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// The resource or resource instance.
    pub path: Path,
    /// The value.
    pub value: Value,
    /// When it was measured.
    pub moment: Moment,
}

/// Readings of one stream that are owed to the same servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The stream.
    pub stream: Stream,
    /// The names of the servers, sorted; at least one.
    pub accounts: Vec<Arc<str>>,
    /// The readings, their numbers rising; at least one.
    pub records: Vec<Record>,
}

/// Numbers that are owed no more: paid, or set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// To whom.
    pub debt: Debt,
    /// Which, rising and apart; numbers in them that were never stored do not matter.
    pub seqs: Vec<RangeInclusive<u64>>,
}

/// What the wall clock showed when a start of the process had lasted for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Milliseconds since the start.
    pub ms: u64,
    /// The time then.
    pub wall: Timestamp,
}

/// A frame whose readings are durable, and whose sender may send it again because the acknowledgement got lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// When it was received first, where that is known.
    pub received: Option<Timestamp>,
}

/// What goes to disk with one sync.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// Its name, for the answer.
    pub id: u64,
    /// The number that the next reading gets.
    pub next_seq: u64,
    /// The time now, for the age of readings; none while the clock is not set.
    pub wall: Option<Timestamp>,
    /// Said once a start, as soon as the clock is set, and again when it was set anew.
    pub anchor: Option<Anchor>,
    /// What is to be stored.
    pub batches: Vec<Batch>,
    /// What is owed no more.
    pub settled: Vec<Settled>,
    /// All frames that may come again once this is durable, the newest last; of more than
    /// [`MAX_REPEATABLE`](crate::limits::MAX_REPEATABLE) the newest. None leaves those that are known.
    pub repeatable: Option<Vec<Repeatable>>,
}

/// What the gateway wants of its buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Make this durable; answered by [`Reply::Committed`].
    Commit(Commit),
    /// Give the oldest owed readings; answered by [`Reply::Loaded`].
    Load {
        /// Of which stream, for whom.
        debt: Debt,
        /// From which number on.
        from: u64,
        /// At most how many.
        limit: usize,
    },
    /// Forget what was measured before a time, of one server or of all; answered by gaps and [`Reply::Dropped`].
    DropOlder {
        /// The time.
        than: Timestamp,
        /// The server; none is all.
        account: Option<Arc<str>>,
    },
}

/// A stored reading on its way to a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Its number.
    pub seq: u64,
    /// The resource or resource instance.
    pub path: Path,
    /// The value.
    pub value: Value,
    /// When it was measured.
    pub moment: Moment,
    /// Whether the time was not measured but placed between its neighbors: the clock was never set while the process
    /// that took it ran.
    pub is_estimated: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A commit is durable, or is not.
    Committed {
        /// Which.
        id: u64,
        /// After an error nothing of the commit is stored, and it may be asked for again.
        result: Result<(), DiskError>,
    },
    /// The oldest owed readings from the number asked for on; fewer than asked for when there are no more.
    Loaded {
        /// Of which stream, for whom.
        debt: Debt,
        /// The number that was asked for.
        from: u64,
        /// The readings, their numbers rising.
        result: Result<Vec<Loaded>, DiskError>,
    },
    /// Readings that were owed had to go.
    Gap(Gap),
    /// Old readings were forgotten as wanted.
    Dropped {
        /// How many, over all servers.
        count: u64,
    },
}

/// Readings that a server will never get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which stream, at whom.
    pub debt: Debt,
    /// How many.
    pub count: u64,
    /// The lowest and the highest number among them.
    pub seqs: RangeInclusive<u64>,
    /// When the first and the last of them were measured, where that is known.
    pub times: Option<RangeInclusive<Timestamp>>,
    /// Why.
    pub reason: GapReason,
}

/// Why readings had to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// The buffer of the server is as large as it may be.
    Bound,
    /// They were older than the buffer may hold.
    Age,
    /// There was no space left on the disk.
    DiskFull,
    /// The disk does not give them back as they were written.
    Corrupt,
    /// A person dropped them.
    Dropped,
}

/// What a buffer holds when it is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The number of this start of the process, one more than that of the last one.
    pub boot: u32,
    /// The number that the next reading gets.
    pub next_seq: u64,
    /// What is owed.
    pub debts: Vec<Owing>,
    /// What was found to be missing.
    pub gaps: Vec<Gap>,
    /// The frames that may come again.
    pub repeatable: Vec<Repeatable>,
}

/// How much of a stream is owed to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owing {
    /// The stream and the server.
    pub debt: Debt,
    /// How many readings.
    pub count: u64,
    /// The lowest number among them.
    pub first: u64,
    /// When the oldest of them was measured, where that is known.
    pub oldest: Option<Timestamp>,
}
