//! CoAP over one datagram flow with one peer: messages, exchanges, deduplication, block-wise transfer, Observe.
//!
//! [`Endpoint`] is a state machine that plays both roles of RFC 7252 on one flow: it sends requests and it answers
//! them. It knows no socket, no address and no clock; one peer, one `Endpoint`. What a path or a payload means is
//! not known here either: observations are kept by the layer above, which hands over each notification.
//!
//! | file | what it does |
//! |---|---|
//! | `endpoint` | takes datagrams and calls, gives each to the part it belongs to |
//! | `message`, `option` | the bytes, on coap-lite's codec; which options are known |
//! | `message_id` | own message ids, never reused within EXCHANGE_LIFETIME |
//! | `dedup` | the peer's message ids, and the replies to replay |
//! | `queue`, `transmission` | what waits for NSTART, what waits for its acknowledgement |
//! | `block` | block-wise bodies, assembled and served |
//! | `outgoing` | our requests: Block1 up, Block2 down |
//! | `incoming` | the peer's requests: Block1 assembled, Block2 served |
//! | `notification` | which notification an acknowledgement or a reset is about |
//! | `limits` | every bound |
//!
//! **NSTART.** Every confirmable message counts: requests, separate responses and notifications share the one
//! budget of RFC 7252, section 4.7. Separate responses go first, then the next block of a running transfer, then
//! requests and notifications in the order they were handed over. A request that was acknowledged and waits for
//! its separate response no longer counts.

mod block;
mod code;
mod dedup;
mod endpoint;
mod exchange;
mod incoming;
pub mod limits;
mod message;
mod message_id;
mod notification;
pub mod option;
mod outgoing;
mod parameters;
mod queue;
mod reservation;
#[cfg(test)]
mod tests;
mod transmission;

pub use code::{Code, Method};
pub(crate) use dedup::fingerprint;
pub use endpoint::{Counters, Endpoint};
pub use exchange::{
    Event, IncomingRequest, Notification, NotificationId, Request, RequestFailure, RequestId, RequestKey,
    Response,
};
pub use message::{Kind, Message, MessageError};
pub use message_id::ReservedIds;
pub use parameters::TransmissionParameters;
pub(crate) use reservation::Reservation;
