//! The table of object definitions: what is built in, and what an operator adds.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use super::{EnablerVersion, Model, ObjectDefinition, ResourceDefinition, Version};
use crate::path::{ObjectId, ResourceId};
use crate::value::ValueType;

/// The conditions under which the facts of the built-in table may be passed on.
pub const NOTICE: &str = include_str!("../../data/NOTICE");

const BUILTIN: &str = include_str!("../../data/objects.tsv");

/// Object definitions by object and version.
#[derive(Clone, Debug, Default)]
pub struct ObjectTable {
    definitions: BTreeMap<ObjectId, BTreeMap<Version, Arc<ObjectDefinition>>>,
    /// Which version each model has; no entry for an object that the registry does not hold.
    models: BTreeMap<ObjectId, BTreeMap<Model, Version>>,
}

impl ObjectTable {
    /// Returns the objects of the registry that this crate ships.
    pub fn builtin() -> Self {
        let mut table = Self::default();
        let mut open: Option<ObjectDefinition> = None;
        for line in BUILTIN.lines().filter(|l| !l.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            if line.starts_with('\t') {
                let resource = resource_line(&fields).unwrap_or_else(|| unreadable(line));
                let object = open.as_mut().unwrap_or_else(|| unreadable(line));
                object.resources.insert(resource.id, resource);
            } else {
                let (object, models) = object_line(&fields).unwrap_or_else(|| unreadable(line));
                for model in models {
                    table
                        .models
                        .entry(object.id)
                        .or_default()
                        .insert(model, object.version);
                }
                // An object of the registry has an entry even where no model has this version.
                table.models.entry(object.id).or_default();
                if let Some(complete) = open.replace(object) {
                    table.insert(complete);
                }
            }
        }
        if let Some(complete) = open {
            table.insert(complete);
        }
        table
    }

    /// Returns one version of an object.
    pub fn definition(&self, object: ObjectId, version: Version) -> Option<&Arc<ObjectDefinition>> {
        self.definitions.get(&object)?.get(&version)
    }

    /// Returns the newest version of an object.
    pub fn latest(&self, object: ObjectId) -> Option<&Arc<ObjectDefinition>> {
        self.definitions.get(&object)?.values().next_back()
    }

    /// Returns the versions of an object, oldest first.
    pub fn versions(&self, object: ObjectId) -> Vec<Version> {
        self.definitions
            .get(&object)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect()
    }

    /// Returns every object, ascending.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.definitions.keys().copied()
    }

    /// Returns the version of an object that a model has: none where the model does not know the object, the newest
    /// one for an object that is not of the registry.
    pub fn in_model(&self, object: ObjectId, model: Model) -> Option<&Arc<ObjectDefinition>> {
        match self.models.get(&object) {
            Some(versions) => self.definition(object, *versions.get(&model)?),
            None => self.latest(object),
        }
    }

    /// Returns the version of a core object that an enabler release describes, none for other objects.
    pub fn in_enabler(&self, object: ObjectId, enabler: EnablerVersion) -> Option<&Arc<ObjectDefinition>> {
        self.definition(object, enabler.core_version(object)?)
    }

    /// Adds a definition, or replaces the one of the same object and version. The models stay as they are.
    pub fn insert(&mut self, definition: ObjectDefinition) {
        self.definitions
            .entry(definition.id)
            .or_default()
            .insert(definition.version, Arc::new(definition));
    }
}

/// The built-in table is part of the program, so a line that cannot be read is a mistake of ours.
fn unreadable<T>(line: &str) -> T {
    panic!("the built-in object table has an unreadable line: {line:?}")
}

fn object_line(fields: &[&str]) -> Option<(ObjectDefinition, Vec<Model>)> {
    let &["object", id, name, version, urn, multiple, mandatory, models] = fields else {
        return None;
    };
    let definition = ObjectDefinition {
        id: ObjectId(id.parse().ok()?),
        name: name.to_owned(),
        version: version.parse().ok()?,
        urn: urn.to_owned(),
        multiple: flag(multiple)?,
        mandatory: flag(mandatory)?,
        resources: BTreeMap::new(),
    };
    let models = models.split(',').filter(|m| !m.is_empty()).map(Model::from_str);
    Some((definition, models.collect::<Result<_, _>>().ok()?))
}

fn resource_line(fields: &[&str]) -> Option<ResourceDefinition> {
    let &[
        "",
        id,
        name,
        operations,
        multiple,
        mandatory,
        value_type,
        range,
        unit,
    ] = fields
    else {
        return None;
    };
    Some(ResourceDefinition {
        id: ResourceId(id.parse().ok()?),
        name: name.to_owned(),
        operations: none_is_empty(operations).parse().ok()?,
        multiple: flag(multiple)?,
        mandatory: flag(mandatory)?,
        value_type: value_type_of(none_is_empty(value_type))?,
        range: range.to_owned(),
        unit: unit.to_owned(),
    })
}

fn none_is_empty(text: &str) -> &str {
    if text == "none" { "" } else { text }
}

fn value_type_of(name: &str) -> Option<Option<ValueType>> {
    if name.is_empty() {
        return Some(None);
    }
    name.parse().ok().map(Some)
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_in(table: &ObjectTable, object: u16, model: Model) -> Option<String> {
        Some(table.in_model(ObjectId(object), model)?.version.to_string())
    }

    #[test]
    fn the_table_holds_every_object_of_the_registry() {
        let table = ObjectTable::builtin();
        assert_eq!(table.objects().count(), 118);
        let definitions = table.objects().map(|o| table.versions(o).len()).sum::<usize>();
        assert_eq!(definitions, 172);
        let latest = |o| table.latest(ObjectId(o)).unwrap();
        assert_eq!(
            latest(3457).resources.len(),
            21,
            "with the four items that stand outside its resources"
        );
        assert_eq!(latest(3416).version, Version::new(3, 0));
        assert_eq!(latest(3416).resources.len(), 66);
    }

    #[test]
    fn a_model_has_its_own_version_of_an_object() {
        let table = ObjectTable::builtin();
        let rows: [(u16, [Option<&str>; 3]); 6] = [
            (3416, [Some("1.0"), Some("2.0"), Some("3.0")]),
            (3418, [Some("1.0"), Some("2.0"), Some("2.1")]),
            (3303, [Some("1.1"), Some("1.1"), Some("1.1")]),
            (3422, [Some("1.0"), Some("1.0"), Some("1.0")]),
            (600, [None, None, Some("1.0")]),
            (3440, [None, None, None]),
        ];
        for (object, expected) in rows {
            let found = Model::ALL.map(|m| version_in(&table, object, m));
            assert_eq!(found, expected.map(|v| v.map(str::to_owned)), "/{object}");
        }
    }

    #[test]
    fn a_core_object_follows_the_enabler() {
        let table = ObjectTable::builtin();
        let version = |o, e| table.in_enabler(ObjectId(o), e).map(|d| d.version.to_string());
        assert_eq!(version(3, EnablerVersion::V1_0).as_deref(), Some("1.0"));
        assert_eq!(version(3, EnablerVersion::V1_1).as_deref(), Some("1.1"));
        assert_eq!(version(4, EnablerVersion::V1_1).as_deref(), Some("1.2"));
        assert_eq!(version(5, EnablerVersion::V1_1).as_deref(), Some("1.0"));
        assert_eq!(version(3303, EnablerVersion::V1_1), None);
    }

    #[test]
    fn an_added_object_is_found_and_does_not_move_a_model() {
        let mut table = ObjectTable::builtin();
        let mut lamp = ObjectDefinition::clone(table.latest(ObjectId(3416)).unwrap());
        lamp.version = Version::new(3, 1);
        table.insert(lamp.clone());
        assert_eq!(table.latest(ObjectId(3416)).unwrap().version, Version::new(3, 1));
        assert_eq!(version_in(&table, 3416, Model::Y2026).as_deref(), Some("3.0"));
        lamp.id = ObjectId(30000);
        table.insert(lamp);
        assert_eq!(version_in(&table, 30000, Model::Y2020).as_deref(), Some("3.1"));
    }
}
