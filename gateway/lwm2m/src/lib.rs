//! A LwM2M client as a state machine: no socket, no clock, no thread.
//!
//! What comes in is told with `handle_*` methods, what must go out is asked for with `poll_*` methods, and the
//! clock and the randomness are arguments. The crate knows LwM2M and CoAP; it knows nothing of field devices,
//! profiles or of what a uCIFI object means.
//!
//! | module | what it is for |
//! |---|---|
//! | [`path`], [`value`], [`time`] | the words everything else is said in |
//! | [`object`] | object definitions: the built-in table, OMA's XML files, versions |
//! | [`format`](mod@format) | text, opaque, TLV, SenML JSON, SenML CBOR and CoRE link payloads |
//! | [`coap`] | CoAP messages, exchanges, deduplication and block-wise transfer over one datagram flow |
//! | [`limits`] | every bound, with the reason for it |
//! | [`client`] | registration, device management, observations and Send |

pub mod client;
pub mod coap;
pub mod format;
pub mod limits;
pub mod object;
pub mod path;
pub mod time;
pub mod value;

pub use path::{InstanceId, ObjectId, Path, ResourceId, ResourceInstanceId};
pub use time::Timestamp;
pub use value::{Value, ValueType};
