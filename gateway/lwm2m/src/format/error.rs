//! Why a payload could not be read or written.

use crate::format::ContentFormat;
use crate::path::Path;
use crate::value::ValueType;

/// A payload that could not be decoded, or values that a format cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are not of the format.
    #[error("malformed {format} payload: {reason}")]
    Malformed {
        /// The format they should be of.
        format: ContentFormat,
        /// What is wrong with them.
        reason: String,
    },
    /// The format cannot say anything about such a path: text about an instance, links about a value.
    #[error("{format} cannot carry {path}, expected a single value")]
    Unsupported {
        /// The format asked for.
        format: ContentFormat,
        /// The path asked for.
        path: Path,
    },
    /// No definition names the resource, so its type is not known.
    #[error("{0} is not a resource of the object")]
    UnknownResource(Path),
    /// The value is not of the resource's type.
    #[error("{path} takes a value of type {expected}")]
    WrongType {
        /// The resource or resource instance.
        path: Path,
        /// The type that its definition gives.
        expected: ValueType,
    },
    /// A single resource was given resource instances, or a multiple one a value of its own.
    #[error("{0} has resource instances where the definition has none, or the reverse")]
    WrongMultiplicity(Path),
    /// A value lies outside the path that the payload is about.
    #[error("{path} is outside {base}")]
    OutsideBase {
        /// Where the value would go.
        path: Path,
        /// What the payload is about.
        base: Path,
    },
    /// One path occurs twice.
    #[error("{0} occurs twice")]
    Duplicate(Path),
    /// There are more values than [`crate::limits::MAX_ENTRIES`].
    #[error("more than {0} values in one payload")]
    TooManyEntries(usize),
    /// The format has no way to write this value.
    #[error("{path} cannot be written as {format}: {reason}")]
    NotEncodable {
        /// The format asked for.
        format: ContentFormat,
        /// The path of the value.
        path: Path,
        /// What the format lacks.
        reason: String,
    },
}
