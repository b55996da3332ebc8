//! Payload formats: bytes to typed entries and back.
//!
//! Foreign bytes enter through the `decode` functions alone; they never panic and allocate no more than a small
//! multiple of what they were given.

mod collect;
mod error;
mod plain;
mod scalar;
mod senml;
#[cfg(test)]
mod test_types;
mod tlv;

pub mod link;

use std::fmt;

pub use error::FormatError;
use senml::Syntax;

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

/// The payload formats of this client, by their CoAP Content-Format numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentFormat {
    /// Plain text: one value (LwM2M Core 1.2, section 7.5.1).
    Text,
    /// CoRE link format (RFC 6690); see [`link`].
    Link,
    /// Raw bytes: one opaque value (section 7.5.2).
    Opaque,
    /// SenML JSON (section 7.5.6, RFC 8428).
    SenmlJson,
    /// SenML CBOR (section 7.5.7, RFC 8428).
    SenmlCbor,
    /// LwM2M TLV (section 7.5.5).
    Tlv,
}

impl ContentFormat {
    /// Every format, by number.
    pub const ALL: [Self; 6] = [
        Self::Text,
        Self::Link,
        Self::Opaque,
        Self::SenmlJson,
        Self::SenmlCbor,
        Self::Tlv,
    ];

    /// Returns the CoAP Content-Format number.
    pub const fn code(self) -> u16 {
        match self {
            Self::Text => 0,
            Self::Link => 40,
            Self::Opaque => 42,
            Self::SenmlJson => 110,
            Self::SenmlCbor => 112,
            Self::Tlv => 11542,
        }
    }

    /// Returns the format of a CoAP Content-Format number, none for one that is not spoken here.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.code() == code)
    }

    /// Returns the name used in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Link => "link format",
            Self::Opaque => "opaque",
            Self::SenmlJson => "SenML JSON",
            Self::SenmlCbor => "SenML CBOR",
            Self::Tlv => "TLV",
        }
    }
}

impl fmt::Display for ContentFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads the values of a Write or Create, or of the answer to a Read.
///
/// `base` is the path of the request; every value lies in it. A Create that leaves the instance number to the client
/// has `base` an object, and yields paths with instance 65535.
pub fn decode(
    format: ContentFormat,
    base: Path,
    payload: &[u8],
    types: &dyn Types,
) -> Result<Vec<Entry>, FormatError> {
    match format {
        ContentFormat::Text => Ok(vec![plain::decode_text(base, payload, types)?]),
        ContentFormat::Opaque => Ok(vec![plain::decode_opaque(base, payload, types)?]),
        ContentFormat::Tlv => tlv::decode(base, payload, types),
        ContentFormat::SenmlJson => senml::decode(Syntax::Json, base, payload, types),
        ContentFormat::SenmlCbor => senml::decode(Syntax::Cbor, base, payload, types),
        ContentFormat::Link => Err(FormatError::Unsupported { format, path: base }),
    }
}

/// Reads SenML records with their times; other formats carry none and yield records without.
pub fn decode_records(
    format: ContentFormat,
    base: Path,
    payload: &[u8],
    types: &dyn Types,
) -> Result<Vec<Record>, FormatError> {
    match format {
        ContentFormat::SenmlJson => senml::decode_records(Syntax::Json, base, payload, types),
        ContentFormat::SenmlCbor => senml::decode_records(Syntax::Cbor, base, payload, types),
        ContentFormat::Text | ContentFormat::Link | ContentFormat::Opaque | ContentFormat::Tlv => {
            let entries = decode(format, base, payload, types)?;
            Ok(entries
                .into_iter()
                .map(|entry| Record { entry, time: None })
                .collect())
        }
    }
}

/// Writes values below `base`, the path of the request.
pub fn encode(format: ContentFormat, base: Path, entries: &[Entry]) -> Result<Vec<u8>, FormatError> {
    match format {
        ContentFormat::Text => plain::encode_text(base, entries),
        ContentFormat::Opaque => plain::encode_opaque(base, entries),
        ContentFormat::Tlv => tlv::encode(base, entries),
        ContentFormat::SenmlJson => senml::encode(Syntax::Json, base, entries),
        ContentFormat::SenmlCbor => senml::encode(Syntax::Cbor, base, entries),
        ContentFormat::Link => Err(FormatError::Unsupported { format, path: base }),
    }
}

/// Writes records with their times, as SenML JSON or SenML CBOR: the formats that carry times.
pub fn encode_records(format: ContentFormat, records: &[Record]) -> Result<Vec<u8>, FormatError> {
    match format {
        ContentFormat::SenmlJson => senml::encode_records(Syntax::Json, records),
        ContentFormat::SenmlCbor => senml::encode_records(Syntax::Cbor, records),
        ContentFormat::Text | ContentFormat::Link | ContentFormat::Opaque | ContentFormat::Tlv => {
            Err(FormatError::Unsupported {
                format,
                path: Path::Root,
            })
        }
    }
}
