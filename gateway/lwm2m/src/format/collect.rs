//! Gathers decoded values: the checks that every format with names needs.

use std::collections::BTreeSet;

use super::{Entry, FormatError, Types};
use crate::limits::MAX_ENTRIES;
use crate::path::Path;
use crate::value::{Value, ValueType};

/// Takes values one by one and refuses what does not belong into the payload.
pub(super) struct Collector<'a> {
    base: Path,
    types: &'a dyn Types,
    seen: BTreeSet<Path>,
    entries: Vec<Entry>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(base: Path, types: &'a dyn Types) -> Self {
        Self {
            base,
            types,
            seen: BTreeSet::new(),
            entries: Vec::new(),
        }
    }

    /// Returns the type that a value at this path must have.
    pub(super) fn expected(&self, path: Path) -> Result<ValueType, FormatError> {
        expected_type(self.base, path, self.types)
    }

    pub(super) fn add(&mut self, path: Path, value: Value) -> Result<(), FormatError> {
        if self.entries.len() == MAX_ENTRIES {
            return Err(FormatError::TooManyEntries(MAX_ENTRIES));
        }
        if !self.seen.insert(path) {
            return Err(FormatError::Duplicate(path));
        }
        self.entries.push(Entry { path, value });
        Ok(())
    }

    pub(super) fn entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// Returns the type that a value at this path must have, where the path is one that a payload about `base` may name.
pub(super) fn expected_type(base: Path, path: Path, types: &dyn Types) -> Result<ValueType, FormatError> {
    let (Some(object), Some(resource)) = (path.object_id(), path.resource_id()) else {
        return Err(FormatError::OutsideBase { path, base });
    };
    if !base.contains(&path) {
        return Err(FormatError::OutsideBase { path, base });
    }
    let known = types.resource_type(object, resource);
    let (value_type, multiple) = known.ok_or(FormatError::UnknownResource(path))?;
    if multiple != path.resource_instance_id().is_some() {
        return Err(FormatError::WrongMultiplicity(path));
    }
    Ok(value_type)
}
