//! A small LwM2M server: registrations, requests, observations, Send.
//!
//! It is real enough to judge a client by the bytes without being one: it keeps
//! nothing, and knows no security and no bootstrap.

pub mod event;
pub mod request;

pub use event::{ClientView, Event, Origin, ReceivedValue};
pub use request::{Answer, Code, RawRequest, RequestFailure, RequestId, ServerRequest, content_format};
