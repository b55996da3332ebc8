//! Object definitions: what each object of the registry contains, in each of its versions.
//!
//! The table is data, read once; no behaviour of any object is in here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::path::{ObjectId, ResourceId};
use crate::value::ValueType;

/// The version of an object, as in `ver=2.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// A change of it may break readers.
    pub major: u8,
    /// A change of it only adds.
    pub minor: u8,
}

impl Version {
    /// The version of an object whose links carry no `ver`, core objects apart.
    pub const V1_0: Self = Self { major: 1, minor: 0 };

    /// Returns version `major.minor`.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self::new(major.parse().ok()?, minor.parse().ok()?))
        };
        parse().ok_or_else(|| VersionError(text.to_owned()))
    }
}

/// A text that is no object version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no object version: expected two numbers, as in 2.1")]
pub struct VersionError(pub String);

/// What a server may do with a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// It may be read and observed.
    pub read: bool,
    /// It may be written.
    pub write: bool,
    /// It may be executed.
    pub execute: bool,
}

/// One resource of an object, as its definition gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceDefinition {
    /// Its number.
    pub id: ResourceId,
    /// Its name in the registry.
    pub name: String,
    /// What a server may do with it; none of the three for the resources of object 0.
    pub operations: Operations,
    /// Whether it has resource instances.
    pub multiple: bool,
    /// Whether every instance of the object must have it.
    pub mandatory: bool,
    /// Its data type; none for a resource that is only executed.
    pub value_type: Option<ValueType>,
    /// The range or enumeration as the registry words it, often empty.
    pub range: String,
    /// The unit as the registry writes it, often empty.
    pub unit: String,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectDefinition {
    /// Its number.
    pub id: ObjectId,
    /// Its name in the registry.
    pub name: String,
    /// The version described.
    pub version: Version,
    /// Its name as a URN.
    pub urn: String,
    /// Whether there may be more than one instance.
    pub multiple: bool,
    /// Whether the registry calls it mandatory.
    pub mandatory: bool,
    /// Its resources by number.
    pub resources: BTreeMap<ResourceId, ResourceDefinition>,
}

/// The state of the object registry that a server's models were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Model {
    /// Every uCIFI object in version 1.0, as the servers of 2020 know them.
    Y2020,
    /// uCIFI Data Model 2.0: the registry of February 2024.
    Y2023,
    /// The registry of June 2026.
    Y2026,
}

impl Model {
    /// Every model, oldest first.
    pub const ALL: [Self; 3] = [Self::Y2020, Self::Y2023, Self::Y2026];

    /// Returns the name used in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Y2020 => "2020",
            Self::Y2023 => "2023",
            Self::Y2026 => "2026",
        }
    }
}
