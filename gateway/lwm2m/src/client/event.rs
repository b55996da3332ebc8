//! What the client tells whoever runs it.

use super::{Operation, OperationId};
use crate::Path;
use crate::coap::Code;
use crate::format::Record;

/// Names one Send; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// Something that happened, in the order in which it did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server accepted a Register.
    Registered {
        /// Where the registration lives, without a leading slash.
        location: String,
    },
    /// A Register failed.
    RegistrationFailed {
        /// Why, for a person.
        reason: String,
        /// Seconds until the next attempt; none when the client has given up.
        retry_after_secs: Option<u64>,
    },
    /// The server accepted an Update.
    Updated,
    /// The server accepted the first Update after a restart: registration and observations go on.
    Resumed {
        /// Where the registration lives, without a leading slash.
        location: String,
    },
    /// The registration is gone; the client registers again by itself.
    Lost {
        /// Why, for a person.
        reason: String,
    },
    /// The client has left the server, by request of either side.
    Deregistered,
    /// The server wants something done; to be answered with [`Client::respond`](super::Client::respond).
    Operation {
        /// Names it in the answer.
        id: OperationId,
        /// What is wanted.
        operation: Operation,
    },
    /// A Send or a late notification is over.
    SendFinished {
        /// Which one.
        id: SendId,
        /// How it ended.
        outcome: SendOutcome,
    },
    /// What [`Client::save`](super::Client::save) gives has changed in a way that must be durable; told only where
    /// [`reserves_message_ids`](super::ClientConfig::reserves_message_ids) is set. Message ids wait for it.
    SaveDue,
    /// What was to be notified and was not acknowledged, or could not go out: it is owed, and may go by
    /// [`Client::notify_late`](super::Client::notify_late). Told once for each notification, and in their order for
    /// each observation; only where [`Client::set_owes_notifications`](super::Client::set_owes_notifications) and
    /// /1/x/6 are true.
    NotificationOwed {
        /// The values as they were to be told, with the times at which they were measured.
        records: Vec<Record>,
    },
    /// The server has written /1/x/23.
    SendMuted(
        /// Whether Send is muted from here on.
        bool,
    ),
    /// What the server observes, or how often, has changed; see [`Client::observed`](super::Client::observed).
    ObservationsChanged,
    /// A datagram was no valid CoAP message, or a message was no valid request.
    Malformed {
        /// What was wrong with it.
        reason: String,
    },
    /// The client itself refused a request of the server.
    Refused {
        /// The method, for example `PUT`.
        method: String,
        /// The path as it came.
        path: String,
        /// The code that the server got.
        code: Code,
        /// The diagnostic that the server got.
        reason: String,
    },
}

/// How a Send or a late notification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The server has it (2.04).
    Delivered,
    /// The server answered with an error. After a 4.00 or 4.04 the client sends an Update, because servers say so
    /// where they have no such registration; it registers again by itself where that was meant.
    Rejected(Code),
    /// No answer came in time.
    TimedOut,
    /// It was given up because the registration was lost or given back; the server may have it or not.
    Lost,
}

/// Why a Send was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// There is no registration.
    #[error("not registered at the server")]
    NotRegistered,
    /// The server has muted Send.
    #[error("the server has muted Send (/1/0/23 is true)")]
    Muted,
    /// As many Sends as may be are under way.
    #[error("too many Sends are under way, wait for one to finish")]
    Busy,
    /// The registration is one of LwM2M 1.0, which has no Send.
    #[error("the server speaks LwM2M 1.0, which has no Send")]
    NotInVersion,
    /// The records cannot be encoded.
    #[error("the records cannot be encoded: {0}")]
    Invalid(String),
}

/// Why a late notification was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyRefused {
    /// There is no registration.
    #[error("not registered at the server")]
    NotRegistered,
    /// The server does not observe all of the paths by one observation.
    #[error("the server does not observe this")]
    NotObserved,
    /// The server observes in a format that carries no time.
    #[error("the server observes this in a format without times")]
    NoTime,
    /// A notification of the observation is under way.
    #[error("a notification of this is under way, wait for its end")]
    Busy,
    /// The records cannot be encoded, or are too many for one notification.
    #[error("the records cannot be notified: {0}")]
    Invalid(String),
}

/// How the client stands with its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegistrationState {
    /// Not started.
    Idle,
    /// A Register is under way.
    Registering,
    /// The last Register failed, the next one waits.
    Waiting,
    /// Registered.
    Registered,
    /// A De-register is under way.
    Deregistering,
    /// The server has disabled the client for a while (/1/0/4).
    Disabled,
    /// De-registered by request, or given up; only `start` goes on from here.
    Stopped,
}

/// One observation of the server, for `status` and for whoever decides how often to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What is observed.
    pub path: Path,
    /// The shortest time between two notifications.
    pub pmin_secs: u32,
    /// The longest time between two notifications, where there is one.
    pub pmax_secs: Option<u32>,
    /// The shortest time between two evaluations, where there is one.
    pub epmin_secs: Option<u32>,
    /// The longest time between two evaluations, where there is one.
    pub epmax_secs: Option<u32>,
}
