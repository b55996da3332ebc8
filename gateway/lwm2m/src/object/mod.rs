//! Object definitions: what each object of the registry contains, in each of its versions.
//!
//! The table is data, read once; no behavior of any object is in here.

mod range;
mod table;

pub mod xml;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::format::Types;
use crate::path::{ObjectId, ResourceId};
use crate::value::ValueType;

pub use table::{NOTICE, ObjectTable};

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
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            plain.then_some(Self::new(major.parse().ok()?, minor.parse().ok()?))
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

impl Operations {
    /// Returns the letters that OMA's object files use, an empty text where nothing is allowed.
    pub const fn letters(self) -> &'static str {
        match (self.read, self.write, self.execute) {
            (true, true, _) => "RW",
            (true, false, _) => "R",
            (false, true, _) => "W",
            (false, false, true) => "E",
            (false, false, false) => "",
        }
    }
}

impl FromStr for Operations {
    type Err = UnknownOperations;

    fn from_str(letters: &str) -> Result<Self, Self::Err> {
        let (read, write, execute) = match letters {
            "RW" => (true, true, false),
            "R" => (true, false, false),
            "W" => (false, true, false),
            "E" => (false, false, true),
            "" => (false, false, false),
            _ => return Err(UnknownOperations(letters.to_owned())),
        };
        Ok(Self { read, write, execute })
    }
}

/// A text that is not one of R, W, RW, E or empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown operations {0:?}: expected R, W, RW, E or nothing")]
pub struct UnknownOperations(pub String);

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

impl Types for BTreeMap<ObjectId, Arc<ObjectDefinition>> {
    fn resource_type(&self, object: ObjectId, resource: ResourceId) -> Option<(ValueType, bool)> {
        let definition = self.get(&object)?.resources.get(&resource)?;
        Some((definition.value_type?, definition.multiple))
    }
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

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|m| m.name() == name)
            .ok_or_else(|| UnknownModel(name.to_owned()))
    }
}

/// A text that names no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown model {0:?}: expected 2020, 2023 or 2026")]
pub struct UnknownModel(pub String);

/// The version of the LwM2M enabler that a client registers with, as in `lwm2m=1.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnablerVersion {
    /// LwM2M 1.0.
    V1_0,
    /// LwM2M 1.1.
    V1_1,
}

impl EnablerVersion {
    /// Returns the text of the registration parameter `lwm2m`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
        }
    }

    /// Returns the version of a core object that this enabler release describes, none for other objects.
    ///
    /// A registration names the version of a core object only where it differs from this one.
    pub const fn core_version(self, object: ObjectId) -> Option<Version> {
        let minor = match (self, object.0) {
            (Self::V1_1, 0 | 1 | 3) => 1,
            (Self::V1_1, 4) => 2,
            (Self::V1_0 | Self::V1_1, 0..=7 | 9 | 19) => 0,
            (Self::V1_0 | Self::V1_1, _) => return None,
        };
        Some(Version::new(1, minor))
    }
}

impl fmt::Display for EnablerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_are_written() {
        for model in Model::ALL {
            assert_eq!(model.to_string().parse(), Ok(model));
        }
        for letters in ["", "R", "W", "RW", "E"] {
            assert_eq!(letters.parse::<Operations>().unwrap().letters(), letters);
        }
        assert_eq!("2.1".parse(), Ok(Version::new(2, 1)));
        assert_eq!(Version::new(2, 1).to_string(), "2.1");
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "1", "1.", "+1.0", "1.0.0", "256.0", "one.two"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert_eq!(
            "2024".parse::<Model>().unwrap_err().to_string(),
            "unknown model \"2024\": expected 2020, 2023 or 2026"
        );
        assert!("WR".parse::<Operations>().is_err());
    }

    #[test]
    fn definitions_tell_types() {
        let table = ObjectTable::builtin();
        let lamp = ObjectId(3416);
        let known: BTreeMap<_, _> = [(lamp, table.latest(lamp).unwrap().clone())].into();
        let of = |object, resource| known.resource_type(ObjectId(object), ResourceId(resource));
        assert_eq!(of(3416, 1), Some((ValueType::Integer, false)));
        assert_eq!(of(3416, 35), Some((ValueType::Integer, true)));
        assert_eq!(of(3416, 16), None, "executed only");
        assert_eq!((of(3416, 999), of(3417, 1)), (None, None));
    }
}
