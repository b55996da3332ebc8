//! One look at all objects that the server may see: the client's own object 1 and those behind [`Objects`].

use std::collections::BTreeMap;

use super::objects::{Content, Objects};
use super::server_object::{self, ServerObject};
use crate::format::{Entry, Types};
use crate::object::{ObjectDefinition, ResourceDefinition};
use crate::{InstanceId, ObjectId, Path, ResourceId, ResourceInstanceId, ValueType};

/// Object 0, 21 and 23 hold keys; a server never sees them.
pub(super) const SECRET: [ObjectId; 3] = [ObjectId(0), ObjectId(21), ObjectId(23)];

/// All objects as they are at this moment.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    objects: &'a dyn Objects,
    server: &'a ServerObject,
}

impl<'a> View<'a> {
    pub(super) const fn new(objects: &'a dyn Objects, server: &'a ServerObject) -> Self {
        Self { objects, server }
    }

    /// Returns the definition of an object that is offered.
    pub(super) fn definition(&self, object: ObjectId) -> Option<&'a ObjectDefinition> {
        if object == server_object::ID {
            return Some(self.server.definition());
        }
        if SECRET.contains(&object) {
            return None;
        }
        self.objects.definition(object)
    }

    /// Returns the definition of a resource of an object that is offered.
    pub(super) fn resource(&self, object: ObjectId, resource: ResourceId) -> Option<&'a ResourceDefinition> {
        self.definition(object)?.resources.get(&resource)
    }

    /// Returns the objects offered, ascending.
    pub(super) fn objects(&self) -> Vec<ObjectId> {
        let mut objects = self.objects.objects();
        objects.retain(|o| !SECRET.contains(o) && *o != server_object::ID);
        let at = objects.partition_point(|o| *o < server_object::ID);
        objects.insert(at, server_object::ID);
        objects
    }

    pub(super) fn instances(&self, object: ObjectId) -> Vec<InstanceId> {
        if object == server_object::ID {
            return vec![server_object::INSTANCE];
        }
        self.objects.instances(object)
    }

    pub(super) fn has_instance(&self, object: ObjectId, instance: InstanceId) -> bool {
        self.definition(object).is_some() && self.instances(object).contains(&instance)
    }

    pub(super) fn resources(&self, object: ObjectId, instance: InstanceId) -> Vec<ResourceId> {
        if object == server_object::ID {
            return self.server.resources();
        }
        self.objects.resources(object, instance)
    }

    pub(super) fn read(
        &self,
        object: ObjectId,
        instance: InstanceId,
        resource: ResourceId,
    ) -> Option<Content> {
        if object == server_object::ID {
            return self.server.read(resource).map(Content::Single);
        }
        self.objects.read(object, instance, resource)
    }

    pub(super) fn accepts(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> bool {
        if object == server_object::ID {
            return self.server.resources().contains(&resource);
        }
        self.objects.accepts(object, instance, resource)
    }

    pub(super) fn may_create(&self, object: ObjectId) -> bool {
        object != server_object::ID && self.objects.may_create(object)
    }

    pub(super) fn may_delete(&self, object: ObjectId, instance: InstanceId) -> bool {
        object != server_object::ID && self.objects.may_delete(object, instance)
    }

    /// Says whether a node is there, with or without a value.
    pub(super) fn exists(&self, path: Path) -> bool {
        match path {
            Path::Root => true,
            Path::Object(o) => self.definition(o).is_some(),
            Path::Instance(o, i) => self.has_instance(o, i),
            Path::Resource(o, i, r) => self.has_instance(o, i) && self.resources(o, i).contains(&r),
            Path::ResourceInstance(o, i, r, ri) => {
                self.has_instance(o, i)
                    && self
                        .resource_instances(o, i, r)
                        .is_some_and(|all| all.contains_key(&ri))
            }
        }
    }

    fn resource_instances(
        &self,
        object: ObjectId,
        instance: InstanceId,
        resource: ResourceId,
    ) -> Option<BTreeMap<ResourceInstanceId, crate::Value>> {
        match self.read(object, instance, resource)? {
            Content::Multiple(all) => Some(all),
            Content::Single(_) => None,
        }
    }

    /// Returns the readable values at and below a node, in the order of their paths.
    pub(super) fn entries(&self, path: Path) -> Vec<Entry> {
        match path {
            Path::Root => self
                .objects()
                .into_iter()
                .flat_map(|o| self.entries(Path::Object(o)))
                .collect(),
            Path::Object(o) => {
                let instances = self.instances(o).into_iter();
                instances
                    .flat_map(|i| self.entries(Path::Instance(o, i)))
                    .collect()
            }
            Path::Instance(o, i) => {
                let resources = self.resources(o, i).into_iter();
                resources.flat_map(|r| self.resource_entries(o, i, r)).collect()
            }
            Path::Resource(o, i, r) => self.resource_entries(o, i, r),
            Path::ResourceInstance(o, i, r, _) => {
                let mut entries = self.resource_entries(o, i, r);
                entries.retain(|e| e.path == path);
                entries
            }
        }
    }

    fn resource_entries(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Vec<Entry> {
        let readable = self.resource(object, resource).is_some_and(|d| d.operations.read);
        if !readable {
            return Vec::new();
        }
        match self.read(object, instance, resource) {
            None => Vec::new(),
            Some(Content::Single(value)) => vec![Entry {
                path: Path::Resource(object, instance, resource),
                value,
            }],
            Some(Content::Multiple(all)) => all
                .into_iter()
                .map(|(ri, value)| Entry {
                    path: Path::ResourceInstance(object, instance, resource, ri),
                    value,
                })
                .collect(),
        }
    }

    /// Returns when the value of a resource was measured.
    pub(super) fn measured_at(&self, path: Path) -> Option<crate::Timestamp> {
        let (o, i, r) = (path.object_id()?, path.instance_id()?, path.resource_id()?);
        if o == server_object::ID {
            return None;
        }
        self.objects.measured_at(o, i, r)
    }
}

impl Types for View<'_> {
    fn resource_type(&self, object: ObjectId, resource: ResourceId) -> Option<(ValueType, bool)> {
        let definition = self.resource(object, resource)?;
        Some((definition.value_type?, definition.multiple))
    }
}
