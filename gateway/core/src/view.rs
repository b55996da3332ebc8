//! What one server sees of one device: the device's tree through the glasses of the server's model.

use std::collections::{BTreeMap, BTreeSet};

use lwm2m_client::client::{Content, Objects};
use lwm2m_client::object::ObjectDefinition;
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceId, ResourceInstanceId, Timestamp, Value};

use crate::device::Device;
use crate::identity::CURRENT_TIME;
use crate::model::Shown;
use crate::tree;

/// The object instances that a server is told of.
pub(crate) type Listing = BTreeMap<ObjectId, BTreeSet<InstanceId>>;

/// One device as one server sees it at one moment.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The device.
    pub(crate) device: &'a Device,
    /// The object versions of the server's model.
    pub(crate) shown: &'a Shown,
    /// The instances that the server is told of.
    pub(crate) listing: &'a Listing,
    /// The gateway's wall clock.
    pub(crate) wall: Option<Timestamp>,
}

impl View<'_> {
    /// Returns the instances that can be listed: of an object that the model knows, and with a value for everything
    /// that every instance of it must have.
    pub(crate) fn complete(device: &Device, shown: &Shown, wall: Option<Timestamp>) -> Listing {
        let none = Listing::new();
        let view = View {
            device,
            shown,
            listing: &none,
            wall,
        };
        let mut listing = Listing::new();
        for (object, instance) in device.tree.instances() {
            if view.is_complete(object, instance) {
                listing.entry(object).or_default().insert(instance);
            }
        }
        listing
    }

    fn is_complete(&self, object: ObjectId, instance: InstanceId) -> bool {
        let Some(definition) = self.shown.definition(object) else {
            return false;
        };
        let has = |id: &ResourceId| self.value(object, instance, *id).is_some();
        let mut mandatory = definition
            .resources
            .values()
            .filter(|r| r.mandatory && r.operations.read);
        mandatory.all(|r| has(&r.id)) && definition.resources.keys().any(has)
    }

    fn value(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Content> {
        let content = if (object, instance, resource) == CURRENT_TIME {
            Content::Single(Value::Time(self.wall?.unix_secs()))
        } else {
            self.device.tree.content(object, instance, resource)?
        };
        self.shown.show(object, resource, content)
    }

    fn is_listed(&self, object: ObjectId, instance: InstanceId) -> bool {
        self.listing
            .get(&object)
            .is_some_and(|instances| instances.contains(&instance))
    }
}

impl Objects for View<'_> {
    fn definition(&self, object: ObjectId) -> Option<&ObjectDefinition> {
        self.listing
            .get(&object)
            .and_then(|_| self.shown.definition(object))
    }

    fn objects(&self) -> Vec<ObjectId> {
        self.listing.keys().copied().collect()
    }

    fn instances(&self, object: ObjectId) -> Vec<InstanceId> {
        self.listing.get(&object).into_iter().flatten().copied().collect()
    }

    fn resources(&self, object: ObjectId, instance: InstanceId) -> Vec<ResourceId> {
        let Some(definition) = self
            .definition(object)
            .filter(|_| self.is_listed(object, instance))
        else {
            return Vec::new();
        };
        let present = definition.resources.values().filter(|resource| {
            // What must be there and is only executed or written is there, if only to say that it cannot be done.
            (resource.mandatory && !resource.operations.read)
                || self.accepts(object, instance, resource.id)
                || self.value(object, instance, resource.id).is_some()
        });
        present.map(|resource| resource.id).collect()
    }

    fn read(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Content> {
        self.is_listed(object, instance)
            .then(|| self.value(object, instance, resource))?
    }

    fn accepts(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> bool {
        let Some(definition) = self.shown.resource(object, resource) else {
            return false;
        };
        let commands = |path| self.device.profile.commands(path);
        let first = ResourceInstanceId(0);
        (definition.operations.write || definition.operations.execute)
            && (commands(Path::Resource(object, instance, resource))
                || commands(Path::ResourceInstance(object, instance, resource, first)))
    }

    fn measured_at(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Timestamp> {
        if (object, instance, resource) == CURRENT_TIME {
            return self.wall;
        }
        self.device.tree.measured_at(object, instance, resource)
    }

    fn may_create(&self, _object: ObjectId) -> bool {
        false
    }

    fn may_delete(&self, _object: ObjectId, _instance: InstanceId) -> bool {
        false
    }
}

/// Returns the paths of an instance that change with any measurement in it, beside the value itself.
pub(crate) fn measurement_paths(object: ObjectId, instance: InstanceId) -> [Path; 2] {
    [tree::TIMESTAMP, tree::FRACTIONAL_TIMESTAMP].map(|r| Path::Resource(object, instance, r))
}

/// Returns the paths of an instance that tell of its quality.
pub(crate) fn quality_paths(object: ObjectId, instance: InstanceId) -> [Path; 2] {
    [tree::QUALITY_INDICATOR, tree::QUALITY_LEVEL].map(|r| Path::Resource(object, instance, r))
}
