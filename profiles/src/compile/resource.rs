//! Paths and values, held against the object table.

use std::sync::Arc;

use lwm2m_client::object::{ObjectDefinition, ResourceDefinition};
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceId, Value, ValueType};

use super::{Draft, expanded};
use crate::document::{Item, nearest};
use crate::expression::Scope;
use crate::golden;
use crate::layout;

/// What a profile wants of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Fill,
    Write,
    Execute,
}

/// 5701, Sensor Units.
const SENSOR_UNITS: ResourceId = ResourceId(5701);

/// The unit that values of a resource must be in.
pub(super) enum UnitOf {
    /// This one; none where it is empty.
    Fixed(String),
    /// The one that a constant for this path would name.
    Unnamed(Path),
}

/// A resource that exists and can be used as wanted.
pub(super) struct Target<'d> {
    pub(super) path: Path,
    pub(super) definition: &'d ResourceDefinition,
}

impl<'d> Draft<'d> {
    /// Returns the resource that an item names.
    pub(super) fn target(&self, item: &Item<'d>, scope: Scope, usage: Use) -> Option<Target<'d>> {
        let text = expanded(item, scope)?;
        self.target_of(item, &text, usage)
    }

    /// Returns the resource that a text names; what is wrong is reported at the item.
    pub(super) fn target_of(&self, item: &Item<'_>, text: &str, usage: Use) -> Option<Target<'d>> {
        let path: Path = match text.parse() {
            Ok(path) => path,
            Err(error) => return item.error(error.to_string()),
        };
        let (Some(object), Some(instance), Some(resource)) =
            (path.object_id(), path.instance_id(), path.resource_id())
        else {
            return item.error(format!(
                "{path} is no resource: object, instance and resource are needed"
            ));
        };
        let Some(definition) = self.objects.latest(object) else {
            return item.error(format!("object {object} is not in the registry"));
        };
        let Some(resource) = definition.resources.get(&resource) else {
            return item.error_with_help(
                format!("object {object} ({}) has no resource {resource}", definition.name),
                resources_of(definition),
            );
        };
        check_instances(item, path, instance, definition, resource)?;
        check_use(item, path, resource, usage)?;
        Some(Target {
            path,
            definition: resource,
        })
    }

    /// Returns the value of an item, as the resource wants it.
    pub(super) fn value(
        &self,
        item: &Item<'_>,
        definition: &ResourceDefinition,
        scope: Scope,
    ) -> Option<Value> {
        let Some(value_type) = definition.value_type else {
            return item.error(format!("{} holds no value", definition.name));
        };
        let value = typed_value(item, value_type, scope)?;
        match definition.check(&value) {
            Ok(()) => Some(value),
            Err(reason) => item.error(reason),
        }
    }

    /// Reads one entry of `[constants]`.
    pub(super) fn constant(&mut self, item: Item<'d>, scope: Scope) {
        let text = match scope.text(item.key()) {
            Ok(text) => text,
            Err(reason) => {
                item.error::<()>(reason);
                return;
            }
        };
        let Some(target) = self.target_of(&item, &text, Use::Fill) else {
            return;
        };
        let Some(value) = self.value(&item, target.definition, scope) else {
            return;
        };
        if self.fill(&item, target.path) {
            self.constants.push((target.path, value));
        }
    }

    /// Returns the unit that a resource is in: that of the registry, or the one which the instance names in 5701, as
    /// the IPSO objects do.
    pub(super) fn unit_of(&self, target: &Target<'_>) -> UnitOf {
        let registry = &target.definition.unit;
        let (Some(object), Some(instance)) = (target.path.object_id(), target.path.instance_id()) else {
            return UnitOf::Fixed(registry.clone());
        };
        let names_unit =
            |definition: &Arc<ObjectDefinition>| definition.resources.contains_key(&SENSOR_UNITS);
        if !registry.is_empty() || !self.objects.latest(object).is_some_and(names_unit) {
            return UnitOf::Fixed(registry.clone());
        }
        let path = Path::Resource(object, instance, SENSOR_UNITS);
        match self.constants.iter().find(|(constant, _)| *constant == path) {
            Some((_, unit)) => UnitOf::Fixed(unit.to_string()),
            None => UnitOf::Unnamed(path),
        }
    }

    /// Notes that a resource has a value; twice is an error.
    pub(super) fn fill(&mut self, item: &Item<'_>, path: Path) -> bool {
        match self.filled.get(&path) {
            Some(first) => {
                let message = format!("{path} has a value already, from line {}", first.line);
                item.error::<()>(message);
                false
            }
            None => {
                self.filled.insert(path, item.place());
                true
            }
        }
    }
}

fn resources_of(definition: &ObjectDefinition) -> String {
    let all: Vec<String> = definition
        .resources
        .values()
        .take(8)
        .map(|resource| format!("{} {}", resource.id, resource.name))
        .collect();
    let more = if definition.resources.len() > all.len() {
        ", …"
    } else {
        ""
    };
    format!("it has {}{more}", all.join(", "))
}

fn check_instances(
    item: &Item<'_>,
    path: Path,
    instance: InstanceId,
    definition: &ObjectDefinition,
    resource: &ResourceDefinition,
) -> Option<()> {
    let is_deep = path.resource_instance_id().is_some();
    if !definition.multiple && instance.0 != 0 {
        return item.error(format!(
            "object {} ({}) has instance 0 only",
            definition.id, definition.name
        ));
    }
    match (resource.multiple, is_deep) {
        (true, false) => item.error_with_help(
            format!("{} of {path} has several instances", resource.name),
            format!("name one of them, as in \"{path}/0\""),
        ),
        (false, true) => item.error(format!("{} of {path} has no instances", resource.name)),
        (true, true) | (false, false) => Some(()),
    }
}

fn check_use(item: &Item<'_>, path: Path, resource: &ResourceDefinition, usage: Use) -> Option<()> {
    let operations = resource.operations;
    let (possible, what) = match usage {
        Use::Fill => (operations.read, "read, so nothing shows its value"),
        Use::Write => (operations.write, "written"),
        Use::Execute => (operations.execute, "executed"),
    };
    if possible {
        return Some(());
    }
    item.error(format!("{path} ({}) cannot be {what}", resource.name))
}

/// Returns the value of an item as a value of a type.
pub(super) fn typed_value(item: &Item<'_>, value_type: ValueType, scope: Scope) -> Option<Value> {
    match value_type {
        ValueType::String => Some(Value::String(expanded(item, scope)?)),
        ValueType::Corelnk => Some(Value::Corelnk(expanded(item, scope)?)),
        ValueType::Boolean => item.boolean().map(Value::Boolean),
        ValueType::Float => item.float().map(Value::Float),
        ValueType::Integer => integer(item, scope).map(Value::Integer),
        ValueType::Time => integer(item, scope).map(Value::Time),
        ValueType::Unsigned => item.integer(0..=u64::MAX).map(Value::Unsigned),
        ValueType::Opaque => match golden::from_hex(item.string()?) {
            Some(bytes) => Some(Value::Opaque(bytes)),
            None => item.error("opaque values are written as pairs of hex digits"),
        },
        ValueType::Objlnk => match object_link(&expanded(item, scope)?) {
            Some((object, instance)) => Some(Value::Objlnk(object, instance)),
            None => item.error("a link is written as \"object:instance\""),
        },
    }
}

fn integer(item: &Item<'_>, scope: Scope) -> Option<i64> {
    match item.if_string() {
        None => item.integer(i64::MIN..=i64::MAX),
        Some(text) => match scope.number(text) {
            Ok(number) => Some(number),
            Err(reason) => item.error(reason),
        },
    }
}

fn object_link(text: &str) -> Option<(ObjectId, InstanceId)> {
    let (object, instance) = text.split_once(':')?;
    Some((ObjectId(object.parse().ok()?), InstanceId(instance.parse().ok()?)))
}

/// Returns the value that a map's text or number stands for, of a resource's type.
pub(super) fn value_from_key(text: &str, value_type: ValueType) -> Option<Value> {
    match value_type {
        ValueType::Boolean => text.parse().ok().map(Value::Boolean),
        ValueType::String => Some(Value::String(text.to_owned())),
        ValueType::Integer | ValueType::Unsigned | ValueType::Time | ValueType::Float => {
            layout::typed(text.parse().ok()?, value_type)
        }
        ValueType::Opaque | ValueType::Objlnk | ValueType::Corelnk => None,
    }
}

/// Returns help for a unit that is not convertible: the ones that are, the nearest first.
pub(super) fn unit_help(given: &str, registry: &str) -> String {
    let units = crate::units::convertible_to(registry);
    match nearest(given, units.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if units.is_empty() => "the resource has no unit: leave the unit out".to_owned(),
        None => format!("known are {}", units.join(", ")),
    }
}
