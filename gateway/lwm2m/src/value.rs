//! Typed resource values (LwM2M Core 1.2, Appendix C "Data Types").

use std::fmt;
use std::str::FromStr;

use crate::path::{InstanceId, ObjectId};

/// The data type of a resource, as its object definition names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueType {
    /// UTF-8 text.
    String,
    /// A signed integer of up to 64 bits.
    Integer,
    /// An unsigned integer of up to 64 bits (since LwM2M 1.1).
    Unsigned,
    /// A 32- or 64-bit IEEE 754 number; held here as 64 bits.
    Float,
    /// True or false.
    Boolean,
    /// Any bytes.
    Opaque,
    /// Seconds since 1970-01-01T00:00:00Z.
    Time,
    /// A link to an object instance.
    Objlnk,
    /// A list of CoRE links as text (since LwM2M 1.1).
    Corelnk,
}

impl ValueType {
    /// Returns the name that OMA's object files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Integer => "Integer",
            Self::Unsigned => "Unsigned Integer",
            Self::Float => "Float",
            Self::Boolean => "Boolean",
            Self::Opaque => "Opaque",
            Self::Time => "Time",
            Self::Objlnk => "Objlnk",
            Self::Corelnk => "Corelnk",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ValueType {
    type Err = UnknownValueType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [
            Self::String,
            Self::Integer,
            Self::Unsigned,
            Self::Float,
            Self::Boolean,
            Self::Opaque,
            Self::Time,
            Self::Objlnk,
            Self::Corelnk,
        ];
        all.into_iter()
            .find(|t| t.name() == name)
            .ok_or_else(|| UnknownValueType(name.to_owned()))
    }
}

/// A data type name that no LwM2M version knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown data type {0:?}")]
pub struct UnknownValueType(pub String);

/// One value of a resource or of a resource instance.
///
/// `PartialEq` compares floats by value, so a NaN differs from itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// See [`ValueType::String`].
    String(String),
    /// See [`ValueType::Integer`].
    Integer(i64),
    /// See [`ValueType::Unsigned`].
    Unsigned(u64),
    /// See [`ValueType::Float`].
    Float(f64),
    /// See [`ValueType::Boolean`].
    Boolean(bool),
    /// See [`ValueType::Opaque`].
    Opaque(Vec<u8>),
    /// See [`ValueType::Time`]: whole seconds.
    Time(i64),
    /// See [`ValueType::Objlnk`]; 65535 in both halves is the null link.
    Objlnk(ObjectId, InstanceId),
    /// See [`ValueType::Corelnk`].
    Corelnk(String),
}

impl Value {
    /// Returns the type of this value.
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::String(_) => ValueType::String,
            Self::Integer(_) => ValueType::Integer,
            Self::Unsigned(_) => ValueType::Unsigned,
            Self::Float(_) => ValueType::Float,
            Self::Boolean(_) => ValueType::Boolean,
            Self::Opaque(_) => ValueType::Opaque,
            Self::Time(_) => ValueType::Time,
            Self::Objlnk(..) => ValueType::Objlnk,
            Self::Corelnk(_) => ValueType::Corelnk,
        }
    }

    /// Returns the value as a number, where its type is one that attributes such as `gt` apply to.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(v) | Self::Time(v) => Some(*v as f64),
            Self::Unsigned(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            Self::String(_) | Self::Boolean(_) | Self::Opaque(_) | Self::Objlnk(..) | Self::Corelnk(_) => {
                None
            }
        }
    }
}

impl fmt::Display for Value {
    /// Writes the value for a person: opaque bytes as hex, links as `object:instance`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(v) | Self::Corelnk(v) => f.write_str(v),
            Self::Integer(v) | Self::Time(v) => write!(f, "{v}"),
            Self::Unsigned(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v}"),
            Self::Boolean(v) => write!(f, "{v}"),
            Self::Opaque(bytes) => bytes.iter().try_for_each(|b| write!(f, "{b:02x}")),
            Self::Objlnk(object, instance) => write!(f, "{object}:{instance}"),
        }
    }
}
