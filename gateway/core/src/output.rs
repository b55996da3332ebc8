//! What the gateway wants done and wants known.

use std::fmt;
use std::sync::Arc;

use lwm2m_client::{Path, Value};

use crate::buffer;
use crate::field::{Downlink, Link, PointId, ReceiptId};
use crate::state::SaveRequest;

/// One thing to do, or to know. They are to be carried out in the order in which they are polled.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this datagram to the server of the endpoint, from the endpoint's own port.
    Transmit {
        /// The endpoint.
        endpoint: EndpointId,
        /// The datagram.
        datagram: Vec<u8>,
    },
    /// Tell a device something; `Gateway::handle_delivery` is to be told what became of it.
    Downlink(Downlink),
    /// A point is wanted at this interval from here on.
    Interest {
        /// The device.
        link: Link,
        /// The point.
        point: PointId,
        /// The interval, in milliseconds; 0 is once, at each connection.
        every_ms: u64,
    },
    /// Something for the buffer on disk; `Gateway::handle_buffer` is to be told what came of it, in order.
    Buffer(buffer::Request),
    /// Something to be made durable; `Gateway::handle_saved` is to be told whether it is.
    Save(SaveRequest),
    /// A frame may be acknowledged to whoever sent it: nothing of it can be lost any more.
    Settled(ReceiptId),
    /// Something happened.
    Event(Event),
}

/// Names one device at one server; the numbers are dense, from 0, and the same as long as the gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointId(pub u32);

/// Names one command; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// Something that happened, for the log, the audit log and the person who waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An endpoint is registered.
    Registered {
        /// The endpoint.
        endpoint: EndpointId,
        /// The location that the server gave, for example `/rd/5a3f`.
        location: String,
    },
    /// An endpoint could not be registered and tries again by itself.
    RegistrationFailed {
        /// The endpoint.
        endpoint: EndpointId,
        /// Why.
        reason: String,
    },
    /// An endpoint is not registered any more and tries again by itself.
    RegistrationLost {
        /// The endpoint.
        endpoint: EndpointId,
        /// Why.
        reason: String,
    },
    /// An endpoint has said goodbye.
    Deregistered {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// A server sent something that cannot be read or is not allowed.
    ServerMessageRefused {
        /// The endpoint that got it.
        endpoint: EndpointId,
        /// What was wrong.
        reason: String,
    },
    /// A device answers, after it did not or for the first time.
    DeviceReachable {
        /// The device.
        device: Arc<str>,
    },
    /// A device does not answer.
    DeviceUnreachable {
        /// The device.
        device: Arc<str>,
        /// Why, as the link says it.
        reason: String,
    },
    /// A frame came from a link that no device has.
    FrameOfStranger {
        /// The link.
        link: Link,
    },
    /// A frame says nothing that the profile of the device knows.
    FrameRefused {
        /// The device.
        device: Arc<str>,
        /// What was wrong.
        reason: String,
    },
    /// A device gave a value that cannot be; the last good one stays.
    PointFault {
        /// The device.
        device: Arc<str>,
        /// The name of the point.
        point: Arc<str>,
        /// What was wrong.
        reason: String,
    },
    /// A command is done, or is not going to be: the line of the audit log.
    ///
    /// A command whose sender was answered before its end was known has a second one when it is: one that was
    /// [`CommandOutcome::Queued`], one that was [`CommandOutcome::Sent`] over the radio and is to be seen in what the
    /// device says next, and one that was [`CommandOutcome::Unconfirmed`] because its sender waited long enough.
    CommandFinished(CommandRecord),
    /// Readings of the buffer on disk will never reach their server.
    Gap {
        /// The endpoint; none where the configuration has no such device or server any more.
        endpoint: Option<EndpointId>,
        /// Which, and why.
        gap: buffer::Gap,
    },
    /// The buffer cannot be written: what servers have not got stays in memory, as much as there is room for. Said once
    /// until it works again.
    BufferFailed {
        /// Why, in words.
        reason: String,
    },
    /// The buffer can be written again.
    BufferWorks,
    /// Readings that a server has not got were dropped from its queue in memory.
    ReadingsDropped {
        /// The endpoint.
        endpoint: EndpointId,
        /// How many.
        count: usize,
        /// Why.
        reason: DropReason,
    },
    /// What is to outlive a restart cannot be saved and is tried again; told once, until it works again. After a crash
    /// meanwhile the gateway would know what was saved last, and message numbers may be used twice.
    StateFailed {
        /// Why.
        reason: String,
    },
    /// What is to outlive a restart can be saved again.
    StateWorks,
    /// Something about what outlives a restart that a person should know.
    State(StateEvent),
}

/// Something about what outlives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateEvent {
    /// A saved value cannot be read, and counts as never saved.
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A device keeps the endpoint name that it was given first, though the names of gateway and device make another
    /// one now; `endpoint` changes it.
    NameKept {
        /// The device.
        device: Arc<str>,
        /// The name that it keeps.
        name: Arc<str>,
        /// The name that a new device would get.
        derived: Arc<str>,
    },
    /// A device has the endpoint name of a removed one, as the configuration says.
    NameTaken {
        /// The device.
        device: Arc<str>,
        /// The removed one.
        removed: Arc<str>,
        /// The endpoint name.
        name: Arc<str>,
    },
    /// Something cannot be saved though everything else can; it is tried again now and then. Told once, until it is
    /// saved: until then a restart finds what was saved of it before.
    NotSaved {
        /// The names under which it is to be saved; the first one, where there are several.
        name: String,
        /// Why.
        reason: String,
    },
    /// A device is configured no more, and keeps its endpoints until its readings are delivered.
    RemovedOwes {
        /// The device.
        device: Arc<str>,
        /// How many readings, over all servers.
        readings: u64,
    },
    /// A removed device owes nothing more: its values and registrations are forgotten.
    RemovedForgotten {
        /// The device.
        device: Arc<str>,
    },
    /// A value is too long to be saved: after a restart it is absent until it is measured again.
    ValueTooLong {
        /// The device.
        device: Arc<str>,
        /// The resource.
        path: Path,
        /// How long it is.
        bytes: usize,
    },
}

/// Why readings were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full: these were the oldest.
    QueueFull,
    /// The server refuses this record under a fresh registration, and alone.
    Poison,
    /// The server's model has no place for them.
    NotInModel,
    /// A person dropped them.
    Command,
}

/// One command, from whom it came to what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRecord {
    /// Its name.
    pub id: CommandId,
    /// Who wanted it.
    pub origin: CommandOrigin,
    /// The device.
    pub device: Arc<str>,
    /// What was to be set, in order, in the newest model; the values of an Execute are its arguments as text.
    pub writes: Vec<(Path, Value)>,
    /// How many of these were done, from the first on.
    pub done: usize,
    /// What became of it, of the first one that was not done where there is one.
    pub outcome: CommandOutcome,
}

/// Who wants a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOrigin {
    /// A server.
    Server {
        /// Its name in the configuration.
        account: Arc<str>,
    },
    /// A person at the cabinet.
    Local,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The device was read back and has it, or has said so.
    Confirmed,
    /// It was sent, and the device confirms nothing beyond its echo, or not yet.
    Sent,
    /// It is durably queued and goes out when the device listens next.
    Queued,
    /// The profile maps no command to the resource, or the site forbids writes.
    NotAllowed(String),
    /// The value does not fit.
    Unfit(String),
    /// The device said no.
    Refused(String),
    /// It was sent, and nothing tells whether it was done.
    Unconfirmed(String),
    /// It was not sent: the device does not answer.
    Unreachable {
        /// Seconds until the device is tried again.
        retry_after_secs: u32,
    },
    /// It waited too long and was not sent.
    Expired,
    /// It was not sent: a later write to the same resource took its place while it waited.
    Superseded,
    /// Too many commands are open.
    Busy,
}

impl CommandOutcome {
    /// Says whether the command was done, as far as can be known.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Confirmed | Self::Sent)
    }
}

impl fmt::Display for CommandOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed => f.write_str("done, as the device shows"),
            Self::Sent => f.write_str("sent, the device has not shown whether it was done"),
            Self::Queued => f.write_str("queued, it goes out when the device listens next"),
            Self::NotAllowed(why) | Self::Unfit(why) => f.write_str(why),
            Self::Refused(why) => write!(f, "the device refused: {why}"),
            Self::Unconfirmed(why) => write!(f, "sent, but not confirmed: {why}"),
            Self::Unreachable { retry_after_secs } => {
                write!(
                    f,
                    "not sent, the device does not answer: it is tried again in {retry_after_secs} s"
                )
            }
            Self::Expired => f.write_str("not sent, it waited too long"),
            Self::Superseded => f.write_str("not sent, replaced by a later write to the same resource"),
            Self::Busy => f.write_str("not sent, too many commands are open: try again in a moment"),
        }
    }
}
