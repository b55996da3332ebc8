//! What the tests of the formats share: types without definitions, and values to try.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Entry, Types};
use crate::path::{InstanceId, Path};
use crate::value::{Value, ValueType};
use crate::{ObjectId, ResourceId};

/// Every resource has this type and multiplicity.
pub(super) struct Fixed(pub(super) ValueType, pub(super) bool);

impl Types for Fixed {
    fn resource_type(&self, _: ObjectId, _: ResourceId) -> Option<(ValueType, bool)> {
        Some((self.0, self.1))
    }
}

/// Resources that have the types of the values they were built from.
pub(super) struct Known(BTreeMap<(ObjectId, ResourceId), (ValueType, bool)>);

impl Known {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let key = |p: &Path| Some((p.object_id()?, p.resource_id()?));
        let kind = |e: &Entry| (e.value.value_type(), e.path.resource_instance_id().is_some());
        Self(
            entries
                .iter()
                .filter_map(|e| Some((key(&e.path)?, kind(e))))
                .collect(),
        )
    }
}

impl Types for Known {
    fn resource_type(&self, object: ObjectId, resource: ResourceId) -> Option<(ValueType, bool)> {
        self.0.get(&(object, resource)).copied()
    }
}

pub(super) fn any_type() -> impl Strategy<Value = ValueType> {
    finite_value().prop_map(|v| v.value_type())
}

/// Values of every type; floats are finite and not negative zero.
pub(super) fn finite_value() -> impl Strategy<Value = Value> {
    let number = any::<f64>().prop_map(|v| if v.is_finite() { v + 0.0 } else { 1.5 });
    prop_oneof![
        any::<String>().prop_map(Value::String),
        any::<i64>().prop_map(Value::Integer),
        any::<u64>().prop_map(Value::Unsigned),
        number.prop_map(Value::Float),
        any::<bool>().prop_map(Value::Boolean),
        vec(any::<u8>(), 0..40).prop_map(Value::Opaque),
        any::<i64>().prop_map(Value::Time),
        any::<(u16, u16)>().prop_map(|(o, i)| Value::Objlnk(ObjectId(o), InstanceId(i))),
        any::<String>().prop_map(Value::Corelnk),
    ]
}

/// The values of some instances of one object, sorted by path: resource `r` is a multiple one where `r` is odd.
pub(super) fn tree() -> impl Strategy<Value = Vec<Entry>> {
    let resources = proptest::collection::btree_map(0..2000u16, vec(finite_value(), 1..4), 1..8);
    (resources, vec(0..300u16, 1..3)).prop_map(|(resources, mut instances)| {
        instances.sort_unstable();
        instances.dedup();
        let mut entries = Vec::new();
        for instance in instances {
            for (resource, values) in &resources {
                push(&mut entries, instance, *resource, values);
            }
        }
        entries
    })
}

fn push(entries: &mut Vec<Entry>, instance: u16, resource: u16, values: &[Value]) {
    if resource.is_multiple_of(2) {
        entries.push(Entry {
            path: Path::resource(3442, instance, resource),
            value: values[0].clone(),
        });
        return;
    }
    let of_one_type = values.iter().filter(|v| v.value_type() == values[0].value_type());
    for (number, value) in of_one_type.enumerate() {
        let path = Path::from_segments(&[3442, instance, resource, number as u16 * 200]).unwrap();
        entries.push(Entry {
            path,
            value: value.clone(),
        });
    }
}

/// Reads bytes written as hex.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
