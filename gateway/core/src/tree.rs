//! The values of one device, in the newest model and the registry's units.
//!
//! The tree holds what was measured, derived, commanded or given; what a server is shown of it is `model` and `view`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lwm2m_client::client::Content;
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceId, ResourceInstanceId, Timestamp, Value};

use crate::reading::Quality;

/// Resource 5518, Timestamp: when the values of an instance were measured, in whole seconds.
pub(crate) const TIMESTAMP: ResourceId = ResourceId(5518);
/// Resource 6050, Fractional Timestamp: the fraction of that second.
pub(crate) const FRACTIONAL_TIMESTAMP: ResourceId = ResourceId(6050);
/// Resource 6042, Measurement Quality Indicator.
pub(crate) const QUALITY_INDICATOR: ResourceId = ResourceId(6042);
/// Resource 6049, Measurement Quality Level.
pub(crate) const QUALITY_LEVEL: ResourceId = ResourceId(6049);

/// A full path as the tree sorts it: as a tree walk does, resource by resource.
pub(crate) type Key = (ObjectId, InstanceId, ResourceId, Option<ResourceInstanceId>);

/// Returns the key of a path to a resource or resource instance, none for one that is less deep.
pub(crate) fn key(path: Path) -> Option<Key> {
    match path {
        Path::Resource(o, i, r) => Some((o, i, r, None)),
        Path::ResourceInstance(o, i, r, ri) => Some((o, i, r, Some(ri))),
        Path::Root | Path::Object(_) | Path::Instance(..) => None,
    }
}

/// Returns the path of a key.
pub(crate) fn path(key: Key) -> Path {
    match key {
        (o, i, r, None) => Path::Resource(o, i, r),
        (o, i, r, Some(ri)) => Path::ResourceInstance(o, i, r, ri),
    }
}

/// One value and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// The value.
    pub(crate) value: Value,
    /// When it was measured.
    pub(crate) time: Option<Timestamp>,
    /// When it was received; none for what is given once.
    pub(crate) received: Option<Instant>,
    /// How far it can be trusted.
    pub(crate) quality: Quality,
    /// Whether it is from before a restart, or was kept by somebody else: nobody has measured it in this run.
    pub(crate) is_kept: bool,
}

impl Held {
    /// Says whether it was measured, be it before a restart.
    const fn is_measured(&self) -> bool {
        self.received.is_some() || self.is_kept
    }
}

/// The values of one device.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    values: BTreeMap<Key, Held>,
    /// The instances in which something was put since this was last asked for.
    touched: BTreeSet<(ObjectId, InstanceId)>,
    generation: u64,
}

impl Tree {
    /// Puts a value in its place.
    pub(crate) fn put(&mut self, key: Key, held: Held) {
        self.touched.insert((key.0, key.1));
        if self.values.insert(key, held).is_none() {
            self.generation += 1;
        }
    }

    /// Puts a value that is the same for good.
    pub(crate) fn put_constant(&mut self, key: Key, value: Value) {
        let quality = Quality::Good;
        self.put(
            key,
            Held {
                value,
                time: None,
                received: None,
                quality,
                is_kept: false,
            },
        );
    }

    /// Puts a value that was measured before a restart, unless there is one already.
    pub(crate) fn restore(&mut self, key: Key, value: Value, time: Option<Timestamp>) {
        if self.values.contains_key(&key) {
            return;
        }
        let (received, quality, is_kept) = (None, Quality::Stale, true);
        self.put(
            key,
            Held {
                value,
                time,
                received,
                quality,
                is_kept,
            },
        );
    }

    /// Takes the instances in which something was put since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<(ObjectId, InstanceId)> {
        std::mem::take(&mut self.touched)
    }

    /// Returns the instances in which something was measured, be it before a restart.
    pub(crate) fn measured(&self) -> BTreeSet<(ObjectId, InstanceId)> {
        let measured = self.values.iter().filter(|(_, held)| held.is_measured());
        measured.map(|((o, i, ..), _)| (*o, *i)).collect()
    }

    /// Changes the quality of a value that is there; says whether that made a difference.
    pub(crate) fn set_quality(&mut self, key: Key, quality: Quality) -> bool {
        let Some(held) = self.values.get_mut(&key) else {
            return false;
        };
        std::mem::replace(&mut held.quality, quality) != quality
    }

    /// Returns one value.
    pub(crate) fn get(&self, key: Key) -> Option<&Held> {
        self.values.get(&key)
    }

    /// Returns all values in the order of a tree walk.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Held)> {
        self.values.iter().map(|(key, held)| (*key, held))
    }

    /// Returns a number that changes whenever a value appears where none was.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the object instances that have a value.
    pub(crate) fn instances(&self) -> BTreeSet<(ObjectId, InstanceId)> {
        self.values.keys().map(|(o, i, ..)| (*o, *i)).collect()
    }

    /// Returns the content of a resource: what was put there, else what its siblings tell of their measurement.
    pub(crate) fn content(
        &self,
        object: ObjectId,
        instance: InstanceId,
        resource: ResourceId,
    ) -> Option<Content> {
        self.stored(object, instance, resource)
            .or_else(|| self.synthesized(object, instance, resource))
    }

    /// Returns when a resource was measured; of a multiple one, the newest time.
    pub(crate) fn measured_at(
        &self,
        object: ObjectId,
        instance: InstanceId,
        resource: ResourceId,
    ) -> Option<Timestamp> {
        if is_synthesized(resource) && self.stored(object, instance, resource).is_none() {
            return self.newest(object, instance);
        }
        self.range(object, instance, resource, resource)
            .filter_map(|(_, held)| held.time)
            .max()
    }

    /// Returns the newest measurement time of an instance.
    pub(crate) fn newest(&self, object: ObjectId, instance: InstanceId) -> Option<Timestamp> {
        self.instance(object, instance)
            .filter_map(|(_, held)| held.time)
            .max()
    }

    /// Returns the worst quality in an instance, none where nothing was measured.
    pub(crate) fn worst(&self, object: ObjectId, instance: InstanceId) -> Option<Quality> {
        self.instance(object, instance)
            .filter(|(_, held)| held.is_measured())
            .map(|(_, held)| held.quality)
            .min()
    }

    fn stored(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Content> {
        let mut multiple = BTreeMap::new();
        for ((.., ri), held) in self.range(object, instance, resource, resource) {
            match ri {
                None => return Some(Content::Single(held.value.clone())),
                Some(ri) => multiple.insert(ri, held.value.clone()),
            };
        }
        (!multiple.is_empty()).then_some(Content::Multiple(multiple))
    }

    fn synthesized(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Content> {
        let newest = || self.newest(object, instance);
        let worst = || self.worst(object, instance);
        let value = match resource {
            TIMESTAMP => Value::Time(newest()?.unix_secs()),
            FRACTIONAL_TIMESTAMP => Value::Float(newest()?.subsec_ms() as f64 / 1000.0),
            QUALITY_INDICATOR => Value::Integer(worst()?.indicator()),
            QUALITY_LEVEL => Value::Integer(worst()?.level()),
            _ => return None,
        };
        Some(Content::Single(value))
    }

    /// Returns the values of an instance.
    pub(crate) fn instance(
        &self,
        object: ObjectId,
        instance: InstanceId,
    ) -> impl Iterator<Item = (Key, &Held)> {
        self.range(object, instance, ResourceId(0), ResourceId(u16::MAX))
    }

    fn range(
        &self,
        object: ObjectId,
        instance: InstanceId,
        first: ResourceId,
        last: ResourceId,
    ) -> impl Iterator<Item = (Key, &Held)> {
        let start = (object, instance, first, None);
        let end = (object, instance, last, Some(ResourceInstanceId(u16::MAX)));
        self.values.range(start..=end).map(|(key, held)| (*key, held))
    }
}

/// Says whether a resource tells of the measurement of its siblings.
pub(crate) fn is_synthesized(resource: ResourceId) -> bool {
    [TIMESTAMP, FRACTIONAL_TIMESTAMP, QUALITY_INDICATOR, QUALITY_LEVEL].contains(&resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: ObjectId = ObjectId(3421);
    const FIRST: InstanceId = InstanceId(0);

    fn measured(value: f64, unix_ms: i64, quality: Quality, received: Instant) -> Held {
        Held {
            value: Value::Float(value),
            time: Some(Timestamp::from_unix_ms(unix_ms)),
            received: Some(received),
            quality,
            is_kept: false,
        }
    }

    fn read(tree: &Tree, resource: u16) -> Option<Content> {
        tree.content(OBJECT, FIRST, ResourceId(resource))
    }

    #[test]
    fn an_instance_tells_its_newest_time_and_its_worst_quality() {
        let (mut tree, start) = (Tree::default(), crate::testing::start().instant);
        tree.put(
            (OBJECT, FIRST, ResourceId(1), None),
            measured(230.1, 5_250, Quality::Good, start),
        );
        tree.put(
            (OBJECT, FIRST, ResourceId(6), None),
            measured(1.5, 4_000, Quality::Derived, start),
        );
        tree.put_constant((OBJECT, FIRST, ResourceId(54), None), Value::Float(1.0));
        assert_eq!(read(&tree, 5518), Some(Content::Single(Value::Time(5))));
        assert_eq!(read(&tree, 6050), Some(Content::Single(Value::Float(0.25))));
        assert_eq!(read(&tree, 6042), Some(Content::Single(Value::Integer(3))));
        assert_eq!(read(&tree, 6049), Some(Content::Single(Value::Integer(60))));
    }

    #[test]
    fn what_was_never_measured_has_neither_time_nor_quality() {
        let mut tree = Tree::default();
        tree.put_constant((OBJECT, FIRST, ResourceId(54), None), Value::Float(1.0));
        assert_eq!(read(&tree, 5518), None);
        assert_eq!(read(&tree, 6042), None);
    }

    #[test]
    fn a_time_that_the_device_gave_is_not_replaced() {
        let (mut tree, start) = (Tree::default(), crate::testing::start().instant);
        tree.put(
            (OBJECT, FIRST, ResourceId(1), None),
            measured(230.1, 5_250, Quality::Good, start),
        );
        tree.put_constant((OBJECT, FIRST, TIMESTAMP, None), Value::Time(77));
        assert_eq!(read(&tree, 5518), Some(Content::Single(Value::Time(77))));
    }

    #[test]
    fn resource_instances_make_a_multiple_resource() {
        let mut tree = Tree::default();
        for (ri, value) in [(0, 4), (2, 6)] {
            tree.put_constant(
                (OBJECT, FIRST, ResourceId(9), Some(ResourceInstanceId(ri))),
                Value::Integer(value),
            );
        }
        let expected = [(0, 4), (2, 6)].map(|(ri, v)| (ResourceInstanceId(ri), Value::Integer(v)));
        assert_eq!(read(&tree, 9), Some(Content::Multiple(BTreeMap::from(expected))));
    }

    #[test]
    fn a_value_where_none_was_makes_a_new_generation() {
        let mut tree = Tree::default();
        let key = (OBJECT, FIRST, ResourceId(1), None);
        let before = tree.generation();
        tree.put_constant(key, Value::Float(1.0));
        let first = tree.generation();
        tree.put_constant(key, Value::Float(2.0));
        assert_ne!(before, first);
        assert_eq!(first, tree.generation());
    }
}
