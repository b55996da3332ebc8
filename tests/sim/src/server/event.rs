//! What a server tells about its clients.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lwm2m_client::object::Version;
use lwm2m_client::{ObjectId, Path, Timestamp, Value};
use ucifi_core::Now;

use super::request::{Answer, Code, RequestFailure, RequestId};

/// What happened at the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client registered, or registered anew.
    Registered(ClientView),
    /// A client updated its registration.
    Updated(ClientView),
    /// A client took its leave.
    Deregistered {
        /// The client.
        endpoint: String,
    },
    /// The lifetime of a registration ran out.
    Expired {
        /// The client.
        endpoint: String,
    },
    /// A registration, an Update or a Send was refused.
    Refused {
        /// The client, where it said who it is.
        endpoint: Option<String>,
        /// The code it got.
        code: Code,
        /// Why.
        reason: String,
    },
    /// Values arrived.
    Received {
        /// From this client.
        endpoint: String,
        /// In which way.
        origin: Origin,
        /// These.
        values: Vec<ReceivedValue>,
        /// When.
        at: Now,
    },
    /// A client ended an observation by a notification with an error code.
    ObservationEnded {
        /// The client.
        endpoint: String,
        /// What was observed.
        path: Path,
        /// The code.
        code: Code,
    },
    /// The values of a notification or a Send could not be decoded.
    Undecodable {
        /// The client.
        endpoint: String,
        /// In which way they came.
        origin: Origin,
        /// Why.
        reason: String,
    },
    /// A request came to its end.
    Finished {
        /// The request.
        id: RequestId,
        /// The client it went to.
        endpoint: String,
        /// The answer, or why there is none.
        outcome: Result<Answer, RequestFailure>,
    },
    /// A datagram was no CoAP message, or made no sense.
    Malformed {
        /// Its sender.
        from: SocketAddr,
        /// Why.
        reason: String,
    },
}

impl Event {
    /// Returns the client that this is about.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Registered(view) | Self::Updated(view) => Some(&view.endpoint),
            Self::Deregistered { endpoint }
            | Self::Expired { endpoint }
            | Self::Received { endpoint, .. }
            | Self::ObservationEnded { endpoint, .. }
            | Self::Undecodable { endpoint, .. }
            | Self::Finished { endpoint, .. } => Some(endpoint),
            Self::Refused { endpoint, .. } => endpoint.as_deref(),
            Self::Malformed { .. } => None,
        }
    }

    /// Returns the values that arrived, and in which way, where this is what happened.
    pub fn received(&self) -> Option<(&Origin, &[ReceivedValue])> {
        if let Self::Received { origin, values, .. } = self {
            Some((origin, values))
        } else {
            None
        }
    }
}

/// In which way values came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The answer to a Read.
    Read,
    /// The answer to an Observe.
    Observe {
        /// What is observed.
        path: Path,
    },
    /// A notification.
    Notification {
        /// What is observed.
        path: Path,
        /// Whether it was to be acknowledged.
        confirmable: bool,
        /// Its Observe option: later ones have higher numbers (RFC 7641, section 3.4).
        sequence: u32,
    },
    /// A Send.
    Send,
}

/// One value as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedValue {
    /// What was measured: a resource or a resource instance.
    pub path: Path,
    /// The value.
    pub value: Value,
    /// The time that came with it; relative times count from the server's clock.
    pub time: Option<Timestamp>,
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// Its endpoint name.
    pub endpoint: String,
    /// The location that the server gave it: `rd` and this.
    pub location: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Its lifetime, in seconds; 0 is for ever.
    pub lifetime_secs: u64,
    /// The enabler version it announced.
    pub version: String,
    /// The binding it announced.
    pub binding: String,
    /// The parameters that LwM2M does not define.
    pub additional: BTreeMap<String, String>,
    /// The objects it offers, with their versions.
    pub objects: BTreeMap<ObjectId, Version>,
    /// The object instances it offers.
    pub instances: Vec<Path>,
    /// What the server observes on it.
    pub observed: Vec<Path>,
}
