//! What the layer above hands to an endpoint and gets from it.

use std::fmt;

use super::code::{Code, Method};
use super::message::MessageError;

/// Names a request of ours until its answer or failure; never used twice by one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a request of the peer until it is answered; never used twice by one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u64);

/// Names a notification of ours; never used twice by one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub u64);

/// A request of ours. It goes out confirmable; a body larger than a block goes block by block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Uri-Path, one segment each.
    pub path: Vec<String>,
    /// Uri-Query, one argument each.
    pub query: Vec<String>,
    /// Accept.
    pub accept: Option<u16>,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// The body.
    pub payload: Vec<u8>,
}

/// A response, ours or the peer's, with its whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The code.
    pub code: Code,
    /// Location-Path, one segment each.
    pub location: Vec<String>,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// Observe: the observation was accepted.
    pub observe: Option<u32>,
    /// Max-Age.
    pub max_age_secs: Option<u32>,
    /// The body, or the diagnostic sentence of an error.
    pub payload: Vec<u8>,
}

impl Response {
    /// Returns a response of only a code.
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            location: Vec::new(),
            content_format: None,
            observe: None,
            max_age_secs: None,
            payload: Vec::new(),
        }
    }
}

/// A notification of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The token of the observe request.
    pub token: Vec<u8>,
    /// Whether it is repeated until acknowledged.
    pub confirmable: bool,
    /// The sequence number; its lower 24 bits are sent (RFC 7641, section 3.4).
    pub observe: u32,
    /// Normally 2.05; an error ends the observation on the other side.
    pub code: Code,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// Max-Age.
    pub max_age_secs: Option<u32>,
    /// The body; what is larger than a block is fetched by the peer.
    pub payload: Vec<u8>,
}

/// A request of the peer, with its whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingRequest {
    /// To be handed back with the response.
    pub key: RequestKey,
    /// The method.
    pub method: Method,
    /// Uri-Path, one segment each, empty ones left out.
    pub path: Vec<String>,
    /// Uri-Query, one argument each, empty ones left out.
    pub query: Vec<String>,
    /// Accept.
    pub accept: Option<u16>,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// Observe: 0 registers, 1 deregisters (RFC 7641, section 2).
    pub observe: Option<u32>,
    /// The token; names the observation that an Observe makes.
    pub token: Vec<u8>,
    /// The body.
    pub payload: Vec<u8>,
    /// Whether the peer repeats it until answered.
    pub confirmable: bool,
}

/// Why a request of ours got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// The peer did not answer in time.
    TimedOut,
    /// The peer rejected the message.
    Reset,
    /// [`Endpoint::cancel`](super::Endpoint::cancel) was called.
    Cancelled,
    /// Too many requests were open already.
    QueueFull,
    /// The request does not fit a message, or its body is over the bound.
    RequestTooLarge,
    /// The body of the answer is over the bound.
    ResponseTooLarge,
    /// The blocks of the answer did not fit together, or it had a critical option that is not known.
    BadResponse,
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the peer did not answer in time",
            Self::Reset => "the peer rejected the message",
            Self::Cancelled => "the request was cancelled",
            Self::QueueFull => "too many requests are open",
            Self::RequestTooLarge => "the request is too large",
            Self::ResponseTooLarge => "the body of the answer is too large",
            Self::BadResponse => "the answer cannot be understood",
        })
    }
}

/// What an endpoint reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer asks something: answer with [`Endpoint::respond`](super::Endpoint::respond).
    Request(IncomingRequest),
    /// The answer to a request of ours.
    Response {
        /// Which request.
        id: RequestId,
        /// The answer, of whatever code.
        response: Response,
    },
    /// A request of ours got no answer.
    Failed {
        /// Which request.
        id: RequestId,
        /// Why.
        reason: RequestFailure,
    },
    /// The peer has a confirmable notification.
    NotificationAcknowledged(NotificationId),
    /// The peer does not want the observation any more.
    NotificationReset {
        /// Which notification it rejected.
        id: NotificationId,
        /// The token of the observation.
        token: Vec<u8>,
    },
    /// A confirmable notification was not acknowledged in time.
    NotificationTimedOut {
        /// Which one.
        id: NotificationId,
    },
    /// A notification was not sent or given up: too many were waiting, it fits no message, the peer is
    /// fetching an earlier body of the resource block by block, or
    /// [`Endpoint::cancel_notifications`](super::Endpoint::cancel_notifications) or
    /// [`Endpoint::drop_notifications`](super::Endpoint::drop_notifications) was called.
    NotificationDropped {
        /// Which one.
        id: NotificationId,
    },
    /// A datagram was not understood.
    Malformed {
        /// What is wrong with it.
        reason: MessageError,
    },
}
