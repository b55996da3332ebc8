//! What outlives a restart, and its bytes.
//!
//! A [`Saved`] goes to the disk in parts that a store can keep under names, each a CBOR map with the same numbered
//! fields of which it has some:
//!
//! | field | what | in part |
//! |---|---|---|
//! | 0 | the version of the format, 1 | all |
//! | 1 | the counters: which message ids and sequence numbers are reserved | `counters` |
//! | 2 | for which server and endpoint name this is, a fingerprint | `registration` |
//! | 3 | the registration: location, version, what the server was told | `registration` |
//! | 4 | object 1 | `registration` |
//! | 5 | observations | `observations.0` and on |
//! | 6 | attributes | `attributes.0` and on |
//!
//! Fields keep their numbers for ever; one that is not known is passed over. What the parts say is made a client of
//! in [`resume`](super::resume).

mod parts;
mod value;

use minicbor::{Decode, Encode};

pub use parts::SavedError;
pub(super) use value::SavedValue;

use super::limits;
use crate::coap::ReservedIds;

/// What a client must find again after a restart: made by [`Client::save`](super::Client::save), taken by
/// [`Client::resume`](super::Client::resume).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    pub(super) content: Content,
    /// How many changes of the client it knows; means nothing after a restart.
    pub(super) revision: u64,
}

impl Saved {
    /// Returns the same for when it comes from a copy that may be minutes old: what may have been used since is
    /// jumped over.
    pub fn after_loss(self) -> Self {
        let counters = self.content.counters.map(Counters::after_loss);
        let content = Content {
            counters,
            ..self.content
        };
        Self { content, ..self }
    }
}

/// All fields.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Content {
    #[n(0)]
    pub(super) version: Option<u8>,
    #[n(1)]
    pub(super) counters: Option<Counters>,
    #[n(2)]
    pub(super) account: Option<u64>,
    #[n(3)]
    pub(super) registration: Option<SavedRegistration>,
    #[n(4)]
    pub(super) server: Option<SavedServer>,
    #[n(5)]
    pub(super) observations: Option<Vec<SavedObservation>>,
    #[n(6)]
    pub(super) attributes: Option<Vec<SavedAttributes>>,
}

/// What must not be used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Counters {
    #[n(0)]
    ids_end: u64,
    #[n(1)]
    ids_recent: u32,
    #[n(2)]
    ids_jumped: bool,
    #[n(3)]
    pub(super) sequence_end: u64,
}

impl Counters {
    pub(super) const fn new(ids: ReservedIds, sequence_end: u64) -> Self {
        Self {
            ids_end: ids.end,
            ids_recent: ids.recent,
            ids_jumped: ids.jumped,
            sequence_end,
        }
    }

    pub(super) const fn ids(self) -> ReservedIds {
        ReservedIds {
            end: self.ids_end,
            recent: self.ids_recent,
            jumped: self.ids_jumped,
        }
    }

    fn after_loss(self) -> Self {
        let sequence_end = self.sequence_end.saturating_add(limits::SEQUENCE_JUMP);
        Self::new(self.ids().after_loss(), sequence_end)
    }
}

/// A registration that the server may still know.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct SavedRegistration {
    #[n(0)]
    pub(super) location: Vec<String>,
    /// The minor number of the enabler version 1.x.
    #[n(1)]
    pub(super) version: u8,
    #[n(2)]
    pub(super) lifetime_secs: u32,
    /// A fingerprint of the list of objects that the server was told.
    #[n(3)]
    pub(super) objects: u64,
    /// A fingerprint of what only a Register can tell.
    #[n(4)]
    pub(super) announced: u64,
}

/// Object 1, and what else was learned of the server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct SavedServer {
    /// What is in force.
    #[n(0)]
    pub(super) present: ServerValues,
    /// What was configured: a value that is configured differently by now holds over the present one.
    #[n(1)]
    pub(super) configured: ServerValues,
    /// Whether the server takes Sends in SenML JSON only.
    #[n(2)]
    pub(super) sends_json: bool,
}

/// The writable resources of object 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct ServerValues {
    #[n(0)]
    pub(super) lifetime_secs: u32,
    #[n(1)]
    pub(super) default_pmin_secs: Option<u32>,
    #[n(2)]
    pub(super) default_pmax_secs: Option<u32>,
    #[n(3)]
    pub(super) disable_timeout_secs: u32,
    #[n(4)]
    pub(super) notification_storing: bool,
    #[n(5)]
    pub(super) mute_send: bool,
}

/// An observation.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct SavedObservation {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) token: Vec<u8>,
    #[n(1)]
    pub(super) path: Vec<u16>,
    #[n(2)]
    pub(super) format: u16,
    /// The values told last; none where they are too many.
    #[n(3)]
    pub(super) sent: Option<Vec<SavedEntry>>,
}

/// A value at a path.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct SavedEntry {
    #[n(0)]
    pub(super) path: Vec<u16>,
    #[n(1)]
    pub(super) value: SavedValue,
}

/// The attributes of a node.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct SavedAttributes {
    #[n(0)]
    pub(super) path: Vec<u16>,
    #[n(1)]
    pub(super) pmin: Option<u32>,
    #[n(2)]
    pub(super) pmax: Option<u32>,
    #[n(3)]
    pub(super) epmin: Option<u32>,
    #[n(4)]
    pub(super) epmax: Option<u32>,
    #[n(5)]
    pub(super) gt: Option<f64>,
    #[n(6)]
    pub(super) lt: Option<f64>,
    #[n(7)]
    pub(super) st: Option<f64>,
}
