//! Entries to TLV.

use std::collections::BTreeMap;

use super::{Item, Kind};
use crate::format::{ContentFormat, Entry, FormatError};
use crate::path::{InstanceId, Path, ResourceId, ResourceInstanceId};
use crate::value::Value;

/// What one resource holds.
enum Content<'a> {
    Single(&'a Value),
    Multiple(BTreeMap<ResourceInstanceId, &'a Value>),
}

type Instances<'a> = BTreeMap<InstanceId, BTreeMap<ResourceId, Content<'a>>>;

/// Writes entries below `base`. No entry below a resource is a multiple one without resource instances.
pub(in crate::format) fn encode(base: Path, entries: &[Entry]) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    match base {
        Path::Root => {
            return Err(FormatError::Unsupported {
                format: ContentFormat::Tlv,
                path: base,
            });
        }
        Path::Resource(.., id) if entries.is_empty() => {
            put(&mut out, base, Kind::MultipleResource, id.0, &[])?;
        }
        Path::Object(_) => {
            for (instance, resources) in &tree(base, entries)? {
                let bytes = put_resources(base, resources)?;
                if instance.0 == u16::MAX {
                    out.extend_from_slice(&bytes);
                } else {
                    put(&mut out, base, Kind::ObjectInstance, instance.0, &bytes)?;
                }
            }
        }
        Path::Instance(..) | Path::Resource(..) => {
            for resources in tree(base, entries)?.values() {
                out.extend_from_slice(&put_resources(base, resources)?);
            }
        }
        Path::ResourceInstance(..) => {
            for content in tree(base, entries)?.values().flat_map(BTreeMap::values) {
                out.extend_from_slice(&content_bytes(base, content)?);
            }
        }
    }
    Ok(out)
}

fn tree(base: Path, entries: &[Entry]) -> Result<Instances<'_>, FormatError> {
    let mut instances = Instances::new();
    for Entry { path, value } in entries {
        let outside = FormatError::OutsideBase { path: *path, base };
        let (Some(instance), Some(resource), true) =
            (path.instance_id(), path.resource_id(), base.contains(path))
        else {
            return Err(outside);
        };
        let resources = instances.entry(instance).or_default();
        match (resources.get_mut(&resource), path.resource_instance_id()) {
            (None, None) => {
                resources.insert(resource, Content::Single(value));
            }
            (None, Some(id)) => {
                resources.insert(resource, Content::Multiple(BTreeMap::from([(id, value)])));
            }
            (Some(Content::Multiple(values)), Some(id)) => {
                if values.insert(id, value).is_some() {
                    return Err(FormatError::Duplicate(*path));
                }
            }
            (Some(Content::Single(_)), None) => return Err(FormatError::Duplicate(*path)),
            (Some(Content::Single(_) | Content::Multiple(_)), _) => {
                return Err(FormatError::WrongMultiplicity(*path));
            }
        }
    }
    Ok(instances)
}

fn put_resources(base: Path, resources: &BTreeMap<ResourceId, Content<'_>>) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    for (id, content) in resources {
        let kind = match content {
            Content::Single(_) => Kind::Resource,
            Content::Multiple(_) => Kind::MultipleResource,
        };
        put(&mut out, base, kind, id.0, &content_bytes(base, content)?)?;
    }
    Ok(out)
}

fn content_bytes(base: Path, content: &Content<'_>) -> Result<Vec<u8>, FormatError> {
    match content {
        Content::Single(value) => Ok(value_bytes(value)),
        Content::Multiple(values) => {
            let mut out = Vec::new();
            for (id, value) in values {
                put(&mut out, base, Kind::ResourceInstance, id.0, &value_bytes(value))?;
            }
            Ok(out)
        }
    }
}

fn put(out: &mut Vec<u8>, base: Path, kind: Kind, id: u16, value: &[u8]) -> Result<(), FormatError> {
    Item { kind, id, value }
        .put(out)
        .ok_or_else(|| FormatError::NotEncodable {
            format: ContentFormat::Tlv,
            path: base,
            reason: format!("{} bytes in one item, 16777215 at most", value.len()),
        })
}

fn value_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) | Value::Corelnk(text) => text.as_bytes().to_vec(),
        Value::Opaque(bytes) => bytes.clone(),
        Value::Integer(number) | Value::Time(number) => signed(*number),
        // The sign bit stays clear below 2^63: readers that take the number for a signed one see the same.
        Value::Unsigned(number) => {
            i64::try_from(*number).map_or_else(|_| number.to_be_bytes().to_vec(), signed)
        }
        Value::Float(number) => float(*number),
        Value::Boolean(flag) => vec![u8::from(*flag)],
        Value::Objlnk(object, instance) => [object.0.to_be_bytes(), instance.0.to_be_bytes()].concat(),
    }
}

fn signed(number: i64) -> Vec<u8> {
    if let Ok(number) = i8::try_from(number) {
        return number.to_be_bytes().to_vec();
    }
    if let Ok(number) = i16::try_from(number) {
        return number.to_be_bytes().to_vec();
    }
    i32::try_from(number).map_or_else(|_| number.to_be_bytes().to_vec(), |n| n.to_be_bytes().to_vec())
}

/// Writes four bytes where they hold the number exactly.
fn float(number: f64) -> Vec<u8> {
    let short = number as f32;
    if f64::from(short) == number {
        short.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}
