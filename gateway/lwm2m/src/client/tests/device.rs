//! The objects of the tests: the Device of the standard's examples, a thermometer, lamps.

use std::collections::BTreeMap;

use crate::client::{Content, Objects};
use crate::object::{ObjectDefinition, Operations, ResourceDefinition, Version};
use crate::{InstanceId, ObjectId, Path, ResourceId, ResourceInstanceId, Timestamp, Value, ValueType};

/// Objects in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Device {
    definitions: BTreeMap<ObjectId, ObjectDefinition>,
    values: BTreeMap<(ObjectId, InstanceId), BTreeMap<ResourceId, Content>>,
    pub(super) measured_at: Option<Timestamp>,
}

/// One resource: number, operations, type ("+" for a multiple one), range.
type Row = (u16, &'static str, &'static str, &'static str);

impl Device {
    /// Object 3 with the values of the examples in LwM2M Core 1.1, section 7.4; 3303/0 at 21.5 °C; lamps 3311/0 and
    /// 3311/1; object 3340 without an instance.
    pub(super) fn new() -> Self {
        let mut device = Self {
            definitions: BTreeMap::new(),
            values: BTreeMap::new(),
            measured_at: None,
        };
        device.define(3, Version::V1_0, DEVICE);
        device.define(3303, Version::new(1, 1), THERMOMETER);
        device.define(3311, Version::V1_0, LAMP);
        device.define(3340, Version::V1_0, &[(5850, "RW", "Boolean", "")]);
        device.set("/3/0/0", Value::String("Open Mobile Alliance".to_owned()));
        device.set("/3/0/9", Value::Integer(100));
        device.set("/3/0/7/0", Value::Integer(3800));
        device.set("/3/0/7/1", Value::Integer(5000));
        device.set("/3303/0/5700", Value::Float(21.5));
        for lamp in ["/3311/0", "/3311/1"] {
            device.set(&format!("{lamp}/5850"), Value::Boolean(false));
            device.set(&format!("{lamp}/5851"), Value::Integer(50));
        }
        device.set("/3311/0/30", Value::Opaque(vec![0xCA, 0xFE]));
        device
    }

    fn define(&mut self, id: u16, version: Version, rows: &[Row]) {
        let resources: BTreeMap<_, _> = rows
            .iter()
            .map(|row| (ResourceId(row.0), resource(*row)))
            .collect();
        let definition = ObjectDefinition {
            id: ObjectId(id),
            name: format!("Object {id}"),
            version,
            urn: String::new(),
            multiple: true,
            mandatory: false,
            resources,
        };
        self.definitions.insert(ObjectId(id), definition);
    }

    /// Sets a resource or a resource instance, and makes what is missing above it.
    pub(super) fn set(&mut self, path: &str, value: Value) -> Path {
        let path: Path = path.parse().unwrap();
        let (o, i, r) = (
            path.object_id().unwrap(),
            path.instance_id().unwrap(),
            path.resource_id().unwrap(),
        );
        let instance = self.values.entry((o, i)).or_default();
        match path.resource_instance_id() {
            None => {
                instance.insert(r, Content::Single(value));
            }
            Some(ri) => {
                let entry = instance
                    .entry(r)
                    .or_insert_with(|| Content::Multiple(BTreeMap::new()));
                if let Content::Multiple(all) = entry {
                    all.insert(ri, value);
                }
            }
        }
        path
    }

    pub(super) fn remove(&mut self, object: u16, instance: u16) {
        self.values.remove(&(ObjectId(object), InstanceId(instance)));
    }

    pub(super) fn clear(&mut self, path: &str) {
        let path: Path = path.parse().unwrap();
        let (o, i, r) = (
            path.object_id().unwrap(),
            path.instance_id().unwrap(),
            path.resource_id().unwrap(),
        );
        self.values.get_mut(&(o, i)).unwrap().remove(&r);
    }
}

const DEVICE: &[Row] = &[
    (0, "R", "String", ""),
    (4, "E", "", ""),
    (7, "R", "Integer+", ""),
    (9, "R", "Integer", "0..100"),
    (14, "RW", "String", ""),
];
const THERMOMETER: &[Row] = &[
    (5605, "E", "", ""),
    (5700, "R", "Float", ""),
    (5701, "R", "String", ""),
];
/// 5852 is defined and writable, but nothing is behind it.
const LAMP: &[Row] = &[
    (30, "RW", "Opaque", ""),
    (31, "RW", "Objlnk", ""),
    (32, "RW", "String+", ""),
    (33, "W", "String", ""),
    (5850, "RW", "Boolean", ""),
    (5851, "RW", "Integer", "0..100"),
    (5852, "RW", "Integer", ""),
];

fn resource((id, operations, kind, range): Row) -> ResourceDefinition {
    let value_type: Option<ValueType> = kind.trim_end_matches('+').parse().ok();
    ResourceDefinition {
        id: ResourceId(id),
        name: format!("Resource {id}"),
        operations: Operations {
            read: operations.contains('R'),
            write: operations.contains('W'),
            execute: operations.contains('E'),
        },
        multiple: kind.ends_with('+'),
        mandatory: id == 5850,
        value_type,
        range: range.to_owned(),
        unit: String::new(),
    }
}

impl Objects for Device {
    fn definition(&self, object: ObjectId) -> Option<&ObjectDefinition> {
        self.definitions.get(&object)
    }

    fn objects(&self) -> Vec<ObjectId> {
        self.definitions.keys().copied().collect()
    }

    fn instances(&self, object: ObjectId) -> Vec<InstanceId> {
        self.values
            .keys()
            .filter(|(o, _)| *o == object)
            .map(|(_, i)| *i)
            .collect()
    }

    fn resources(&self, object: ObjectId, instance: InstanceId) -> Vec<ResourceId> {
        let Some(values) = self.values.get(&(object, instance)) else {
            return Vec::new();
        };
        let executable = self.definitions[&object]
            .resources
            .values()
            .filter(|d| d.operations.execute);
        let mut resources: Vec<_> = values.keys().copied().chain(executable.map(|d| d.id)).collect();
        resources.sort();
        resources
    }

    fn read(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Content> {
        self.values.get(&(object, instance))?.get(&resource).cloned()
    }

    fn accepts(&self, _: ObjectId, _: InstanceId, resource: ResourceId) -> bool {
        resource != ResourceId(5852)
    }

    fn measured_at(&self, _: ObjectId, _: InstanceId, _: ResourceId) -> Option<Timestamp> {
        self.measured_at
    }

    fn may_create(&self, object: ObjectId) -> bool {
        object == ObjectId(3311)
    }

    fn may_delete(&self, object: ObjectId, instance: InstanceId) -> bool {
        object == ObjectId(3311) && instance != InstanceId(0)
    }
}

/// Returns an instance of a multiple resource.
pub(super) const fn instance_of(resource: u16, instance: u16, value: u16, at: u16) -> Path {
    Path::ResourceInstance(
        ObjectId(resource),
        InstanceId(instance),
        ResourceId(value),
        ResourceInstanceId(at),
    )
}
