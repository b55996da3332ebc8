//! What the gateway tells of its state.

use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::Path;

use crate::Now;
use crate::device::Device;
use crate::field::{PointId, Reachability};
use crate::gateway::{Gateway, endpoints};
use crate::output::EndpointId;
use crate::status::{DeviceStatus, EndpointStatus, PointValue};
use crate::tree::{self, Held, Key};
use crate::view::View;

impl Gateway {
    /// Returns the name of the cabinet.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns every endpoint, server by server.
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        (0..self.endpoints.len())
            .map(|index| self.endpoint_status(index))
            .collect()
    }

    /// Returns one endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<EndpointStatus> {
        self.index(id).map(|index| self.endpoint_status(index))
    }

    /// Returns every device, the cabinet first.
    pub fn devices(&self, now: Now) -> Vec<DeviceStatus> {
        self.devices
            .iter()
            .map(|device| self.device_status(device, now))
            .collect()
    }

    /// Returns the values of a device in the newest model: its points in their order, also those without a value,
    /// then what else it has. None where there is no such device.
    pub fn values(&self, device: &str, now: Now) -> Option<Vec<PointValue>> {
        let device = self.devices.iter().find(|known| &*known.id == device)?;
        let points = device
            .points
            .iter()
            .zip(device.profile.points())
            .map(|(state, point)| {
                let (name, unit) = (Arc::clone(&point.name), Arc::clone(&point.unit));
                point_value(name, unit, state.key, device.tree.get(state.key), now.instant)
            });
        let is_point = |key: Key| device.points.iter().any(|point| point.key == key);
        let others = device
            .tree
            .iter()
            .filter(|(key, _)| !is_point(*key))
            .map(|(key, held)| {
                let (name, unit) = self.registry_names(key);
                point_value(name, unit, key, Some(held), now.instant)
            });
        Some(points.chain(others).collect())
    }

    /// Returns a point of a device by its name, and the resource that it fills.
    pub fn point(&self, device: &str, name: &str) -> Option<(PointId, Path)> {
        let device = self.devices.iter().find(|known| &*known.id == device)?;
        let mut points = (0..).zip(device.profile.points());
        let (id, _) = points.find(|(_, point)| &*point.name == name)?;
        Some((PointId(id), tree::path(device.points.get(usize::from(id))?.key)))
    }

    /// Returns the resources beside `path`, in the same instance, that a command of the device's profile sets.
    pub fn commanded_beside(&self, device: &str, path: Path) -> Vec<Path> {
        let Some(device) = self.devices.iter().find(|known| &*known.id == device) else {
            return Vec::new();
        };
        let Some((object, instance)) = path.object_id().zip(path.instance_id()) else {
            return Vec::new();
        };
        let resources = self
            .table
            .latest(object)
            .into_iter()
            .flat_map(|object| object.resources.keys());
        resources
            .map(|resource| Path::Resource(object, instance, *resource))
            .filter(|path| device.profile.commands(*path))
            .collect()
    }

    pub(super) fn endpoint_status(&self, index: usize) -> EndpointStatus {
        let endpoint = &self.endpoints[index];
        let account = &self.accounts[endpoint.account].config;
        let (waiting, buffered) = (endpoint.outbox.waiting(), endpoint.outbox.backlog.count());
        let totals = endpoint.outbox.totals;
        EndpointStatus {
            id: endpoints::id(index),
            account: Arc::clone(&account.name),
            server_uri: Arc::clone(&account.server_uri),
            name: Arc::clone(&endpoint.name),
            device: Arc::clone(&self.devices[endpoint.device].id),
            state: endpoint.state(),
            location: endpoint.location.clone(),
            last_error: endpoint.last_error.clone(),
            observations: endpoint.client.observed().len(),
            queued: waiting + usize::try_from(buffered).unwrap_or(usize::MAX),
            delivered: totals.delivered_live + totals.delivered_late,
            dropped: totals.dropped,
            waiting,
            buffered,
            oldest: endpoint.outbox.oldest(&self.debts.memory),
            totals,
        }
    }

    fn device_status(&self, device: &Device, now: Now) -> DeviceStatus {
        let (reachable, unreachable_because) = match &device.reachability {
            None => (None, None),
            Some(Reachability::Reachable) => (Some(true), None),
            Some(Reachability::Unreachable(reason)) => (Some(false), Some(reason.clone())),
        };
        let complete = View::complete(device, &self.newest, now.wall);
        let instances = complete
            .into_iter()
            .flat_map(|(object, instances)| instances.into_iter().map(move |i| Path::Instance(object, i)))
            .collect();
        DeviceStatus {
            id: Arc::clone(&device.id),
            label: Arc::clone(&device.label),
            profile: device.profile.id().into(),
            link: device.link.clone(),
            reachable,
            unreachable_because,
            last_frame_age_ms: device.traffic.last_frame.map(|at| age_ms(at, now.instant)),
            frames: device.traffic.frames,
            frames_retained: device.traffic.retained,
            frames_refused: device.traffic.refused,
            faults: device.traffic.faults,
            instances,
        }
    }

    fn registry_names(&self, (object, _, resource, _): Key) -> (Arc<str>, Arc<str>) {
        let definition = self
            .table
            .latest(object)
            .and_then(|object| object.resources.get(&resource));
        definition.map_or_else(Default::default, |d| {
            (d.name.as_str().into(), d.unit.as_str().into())
        })
    }
}

fn point_value(name: Arc<str>, unit: Arc<str>, key: Key, held: Option<&Held>, now: Instant) -> PointValue {
    PointValue {
        name,
        path: tree::path(key),
        value: held.map(|held| held.value.clone()),
        unit,
        time: held.and_then(|held| held.time),
        age_ms: held.and_then(|held| held.received).map(|at| age_ms(at, now)),
        quality: held.map(|held| held.quality),
    }
}

fn age_ms(at: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)
}
