//! Readings as entries of what a server is told, in its model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lwm2m_client::client::Content;
use lwm2m_client::format::{Entry, Record};
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceInstanceId, Value};

use crate::device::Device;
use crate::model::Shown;
use crate::outbox::{Clock, Item};
use crate::reading::Quality;
use crate::tree::{self, Key};

/// Returns readings as the server is told them. Where a time was estimated, that is told with it.
pub(super) fn records(
    items: &[Item],
    device: &Device,
    shown: &Shown,
    clock: &Clock,
    now: Instant,
) -> Vec<Record> {
    let mut records = Vec::new();
    let mut told: BTreeSet<_> = items
        .iter()
        .map(|item| (item.reading.path, item.reading.moment))
        .collect();
    for item in items {
        let reading = &item.reading;
        let time = Some(clock.tell(reading.moment, now));
        let entry = tree::key(reading.path).and_then(|key| shown_entry(device, shown, key, &reading.value));
        records.extend(entry.map(|entry| Record { entry, time }));
        let is_quality = tree::key(reading.path).is_some_and(|(.., r, _)| tree::is_synthesized(r));
        let instance = instance_of(reading.path).filter(|_| reading.is_estimated && !is_quality);
        let quality = instance
            .into_iter()
            .flat_map(|at| quality_entries(shown, at, Quality::Stale));
        for entry in quality {
            if told.insert((entry.path, reading.moment)) {
                records.push(Record { entry, time });
            }
        }
    }
    records
}

/// Returns the object instance of a path.
pub(super) fn instance_of(path: Path) -> Option<(ObjectId, InstanceId)> {
    Some((path.object_id()?, path.instance_id()?))
}

/// Returns the entries that say how good the values of an instance are.
pub(super) fn quality_entries(
    shown: &Shown,
    (object, instance): (ObjectId, InstanceId),
    quality: Quality,
) -> impl Iterator<Item = Entry> {
    let values = [
        (tree::QUALITY_INDICATOR, quality.indicator()),
        (tree::QUALITY_LEVEL, quality.level()),
    ];
    values
        .into_iter()
        .filter(move |(resource, _)| shown.resource(object, *resource).is_some())
        .map(move |(resource, value)| Entry {
            path: Path::Resource(object, instance, resource),
            value: Value::Integer(value),
        })
}

/// Returns a value of the tree as an entry of the server's model; none where it has no place there.
pub(super) fn shown_entry(
    device: &Device,
    shown: &Shown,
    (o, i, r, ri): Key,
    value: &Value,
) -> Option<Entry> {
    let definition = shown.resource(o, r)?;
    if let (Some(ri), false) = (ri, definition.multiple) {
        // Where the server's version has room for one value, that is the first.
        let first = match device.tree.content(o, i, r) {
            // After a restart a stored reading may be there before the device's first value is.
            None => Some(ri),
            Some(Content::Single(_)) => None,
            Some(Content::Multiple(values)) => values.into_keys().next(),
        };
        first.filter(|first| *first == ri)?;
    }
    let content = match ri {
        None => Content::Single(value.clone()),
        Some(ri) => Content::Multiple(BTreeMap::from([(ri, value.clone())])),
    };
    Some(match shown.show(o, r, content)? {
        Content::Single(value) => Entry {
            path: Path::Resource(o, i, r),
            value,
        },
        Content::Multiple(values) => {
            let (ri, value): (ResourceInstanceId, Value) = values.into_iter().next()?;
            let path = Path::ResourceInstance(o, i, r, ri);
            Entry { path, value }
        }
    })
}
