//! Payload formats: bytes to typed entries and back.
//!
//! Foreign bytes enter through the `decode` functions alone; they never panic and allocate no more than a small
//! multiple of what they were given.

use crate::path::Path;
use crate::time::Timestamp;
use crate::value::{Value, ValueType};
use crate::{ObjectId, ResourceId};

/// One value at a full path: of a resource, or of a resource instance where the resource is a multiple one.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// A resource or a resource instance, never less deep.
    pub path: Path,
    /// Its value.
    pub value: Value,
}

/// An entry with the time at which it was measured, as Send and stored notifications carry it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was measured.
    pub entry: Entry,
    /// When it was measured, where that is known.
    pub time: Option<RecordTime>,
}

/// The time of a SenML record (RFC 8428, section 4.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordTime {
    /// Wall time.
    Absolute(Timestamp),
    /// Milliseconds before (negative) or after the moment of sending, for a sender without a clock.
    RelativeMs(i64),
}

/// Tells a decoder the type of a resource, which most formats do not carry.
pub trait Types {
    /// Returns the data type of a resource and whether it is a multiple one; none where it is unknown.
    fn resource_type(&self, object: ObjectId, resource: ResourceId) -> Option<(ValueType, bool)>;
}
