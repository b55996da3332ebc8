//! TLV to entries. Each level is a loop of its own, so the nesting is that of the data model and no deeper.

use super::{Item, Kind};
use crate::format::collect::Collector;
use crate::format::{ContentFormat, Entry, FormatError, Types};
use crate::path::{InstanceId, ObjectId, Path, ResourceId, ResourceInstanceId};
use crate::value::{Value, ValueType};

/// Reads items below `base`. Also taken are an object instance around the resources of an instance or resource, and
/// bare resource instances below a resource: some servers send them so.
pub(in crate::format) fn decode(
    base: Path,
    payload: &[u8],
    types: &dyn Types,
) -> Result<Vec<Entry>, FormatError> {
    let format = ContentFormat::Tlv;
    let object = base
        .object_id()
        .ok_or(FormatError::Unsupported { format, path: base })?;
    // LwM2M Core 1.2, section 6.3.6: a Create without an instance number carries bare resources.
    let instance = base.instance_id().unwrap_or(InstanceId(u16::MAX));
    let mut found = Collector::new(base, types);
    for item in items(payload)? {
        match item.kind {
            Kind::ObjectInstance => {
                for inner in items(item.value)? {
                    resource(&mut found, object, InstanceId(item.id), inner)?;
                }
            }
            Kind::MultipleResource | Kind::Resource => resource(&mut found, object, instance, item)?,
            Kind::ResourceInstance => {
                let resource = base.resource_id().ok_or_else(|| misplaced(item))?;
                resource_instance(&mut found, object, instance, resource, item)?;
            }
        }
    }
    Ok(found.entries())
}

fn resource(
    found: &mut Collector<'_>,
    object: ObjectId,
    instance: InstanceId,
    item: Item<'_>,
) -> Result<(), FormatError> {
    let id = ResourceId(item.id);
    match item.kind {
        Kind::Resource => add(found, Path::Resource(object, instance, id), item.value),
        Kind::MultipleResource => {
            for inner in items(item.value)? {
                resource_instance(found, object, instance, id, inner)?;
            }
            Ok(())
        }
        Kind::ObjectInstance | Kind::ResourceInstance => Err(misplaced(item)),
    }
}

fn resource_instance(
    found: &mut Collector<'_>,
    object: ObjectId,
    instance: InstanceId,
    resource: ResourceId,
    item: Item<'_>,
) -> Result<(), FormatError> {
    if item.kind != Kind::ResourceInstance {
        return Err(misplaced(item));
    }
    let id = ResourceInstanceId(item.id);
    add(
        found,
        Path::ResourceInstance(object, instance, resource, id),
        item.value,
    )
}

fn add(found: &mut Collector<'_>, path: Path, bytes: &[u8]) -> Result<(), FormatError> {
    let expected = found.expected(path)?;
    let value = value(bytes, expected).ok_or(FormatError::WrongType { path, expected })?;
    found.add(path, value)
}

fn value(bytes: &[u8], value_type: ValueType) -> Option<Value> {
    Some(match value_type {
        ValueType::String => Value::String(text(bytes)?),
        ValueType::Corelnk => Value::Corelnk(text(bytes)?),
        ValueType::Opaque => Value::Opaque(bytes.to_vec()),
        ValueType::Integer => Value::Integer(signed(bytes)?),
        ValueType::Time => Value::Time(signed(bytes)?),
        ValueType::Unsigned => Value::Unsigned(unsigned(bytes)?),
        ValueType::Float => Value::Float(float(bytes)?),
        ValueType::Boolean => match bytes {
            [0] => Value::Boolean(false),
            [1] => Value::Boolean(true),
            _ => return None,
        },
        ValueType::Objlnk => {
            let &[a, b, c, d] = bytes else { return None };
            Value::Objlnk(
                ObjectId(u16::from_be_bytes([a, b])),
                InstanceId(u16::from_be_bytes([c, d])),
            )
        }
    })
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn signed(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [a] => Some(i64::from(i8::from_be_bytes([a]))),
        [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        _ => bytes.try_into().ok().map(i64::from_be_bytes),
    }
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    match *bytes {
        [a] => Some(u64::from(a)),
        [a, b] => Some(u64::from(u16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
        _ => bytes.try_into().ok().map(u64::from_be_bytes),
    }
}

fn float(bytes: &[u8]) -> Option<f64> {
    match *bytes {
        [a, b, c, d] => Some(f64::from(f32::from_be_bytes([a, b, c, d]))),
        _ => bytes.try_into().ok().map(f64::from_be_bytes),
    }
}

fn items(mut bytes: &[u8]) -> Result<Vec<Item<'_>>, FormatError> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (item, rest) = Item::take(bytes).ok_or_else(|| FormatError::Malformed {
            format: ContentFormat::Tlv,
            reason: format!("an item of {} bytes ends too early", bytes.len()),
        })?;
        items.push(item);
        bytes = rest;
    }
    Ok(items)
}

fn misplaced(item: Item<'_>) -> FormatError {
    let what = match item.kind {
        Kind::ObjectInstance => "object instance",
        Kind::ResourceInstance => "resource instance",
        Kind::MultipleResource => "multiple resource",
        Kind::Resource => "resource",
    };
    FormatError::Malformed {
        format: ContentFormat::Tlv,
        reason: format!("{what} {} stands at the wrong level", item.id),
    }
}
