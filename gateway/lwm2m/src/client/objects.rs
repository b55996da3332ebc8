//! What the client reads: the objects, instances and values that it shows to its server.

use std::collections::BTreeMap;

use crate::object::ObjectDefinition;
use crate::{InstanceId, ObjectId, ResourceId, ResourceInstanceId, Timestamp, Value};

/// The content of one resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Of a single resource.
    Single(Value),
    /// Of a multiple resource, by resource instance; may be empty.
    Multiple(BTreeMap<ResourceInstanceId, Value>),
}

/// The objects behind a client.
///
/// Everything is read from memory and is there at once; a Read never waits for a device. Objects 0 and 1 are the
/// client's own and never asked for here.
pub trait Objects {
    /// Returns the definition, in the version announced, of an object that is offered.
    fn definition(&self, object: ObjectId) -> Option<&ObjectDefinition>;

    /// Returns the objects offered, ascending, also those without an instance.
    fn objects(&self) -> Vec<ObjectId>;

    /// Returns the instances of an object, ascending.
    fn instances(&self, object: ObjectId) -> Vec<InstanceId>;

    /// Returns the resources that an instance has, ascending: those with a value, and those that can be written or
    /// executed.
    fn resources(&self, object: ObjectId, instance: InstanceId) -> Vec<ResourceId>;

    /// Returns the value of a resource, none where there is none yet.
    fn read(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Content>;

    /// Says whether an offered, defined and writable (or executable) resource is really backed by something: the
    /// client answers 4.05 for one that is not.
    fn accepts(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> bool;

    /// Returns when the value of a resource was measured.
    fn measured_at(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Timestamp>;

    /// Says whether the server may create an instance of this object.
    fn may_create(&self, object: ObjectId) -> bool;

    /// Says whether the server may delete this instance.
    fn may_delete(&self, object: ObjectId, instance: InstanceId) -> bool;
}
