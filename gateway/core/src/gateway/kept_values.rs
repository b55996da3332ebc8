//! Which values of the devices are saved, and when: a new instance at once, so that a restart lists it, everything else
//! now and then and at the end.

use std::sync::Arc;

use lwm2m_client::{InstanceId, ObjectId};

use crate::Now;
use crate::gateway::Gateway;
use crate::gateway::saving::Subject;
use crate::limits;
use crate::output::{Event, StateEvent};
use crate::state::{Name, values};
use crate::timer::Timer;
use crate::tree::{self, Key};
use crate::view::{Listing, View};

/// What was saved of one device.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Those that can be listed, as they were last looked for.
    complete: Listing,
    /// The generation of the device's tree at that time.
    generation: Option<u64>,
}

impl Gateway {
    /// Begins to save the values of all devices, each when it is its turn.
    pub(super) fn begin_saving_values(&mut self, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        let turn = limits::VALUES_SAVED_EVERY / limits::VALUES_TURNS;
        for (turns, device) in (1..=limits::VALUES_TURNS).cycle().zip(&self.devices) {
            let place = saving.instances.len();
            saving.instances.push(Instances {
                complete: View::complete(device, &self.newest, now.wall),
                generation: Some(device.tree.generation()),
            });
            let due = now.instant + turn * turns;
            self.timers.set(Timer::Values(place), Some(due));
        }
    }

    /// Saves the instances of a device that have just got everything that they must have.
    pub(super) fn save_new_instances(&mut self, device: usize, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        let generation = Some(self.devices[device].tree.generation());
        let instances = &mut saving.instances[device];
        if instances.generation == generation {
            return;
        }
        let complete = View::complete(&self.devices[device], &self.newest, now.wall);
        let known = std::mem::replace(&mut instances.complete, complete.clone());
        instances.generation = generation;
        let is_new = |(o, i): &(ObjectId, InstanceId)| known.get(o).is_none_or(|known| !known.contains(i));
        let all = complete
            .into_iter()
            .flat_map(|(o, all)| all.into_iter().map(move |i| (o, i)));
        for (object, instance) in all.filter(is_new) {
            self.note_values(device, object, instance);
        }
        self.save_next(now);
    }

    /// Saves what has been measured of a device since the last time.
    pub(super) fn values_are_due(&mut self, device: usize, now: Now) {
        for (object, instance) in self.devices[device].tree.take_touched() {
            self.note_values(device, object, instance);
        }
        let due = now.instant + limits::VALUES_SAVED_EVERY;
        self.timers.set(Timer::Values(device), Some(due));
        self.save_next(now);
    }

    /// Notes what has been measured since the last time; says whether there is something.
    pub(super) fn note_touched(&mut self) -> bool {
        let mut is_any = false;
        for device in 0..self.devices.len() {
            for (object, instance) in self.devices[device].tree.take_touched() {
                is_any |= self.note_values(device, object, instance);
            }
        }
        is_any
    }

    /// Notes that all values of all devices are to be saved.
    pub(super) fn note_all_values(&mut self) {
        for device in 0..self.devices.len() {
            self.devices[device].tree.take_touched();
            for (object, instance) in self.devices[device].tree.measured() {
                self.note_values(device, object, instance);
            }
        }
    }

    /// Returns what is to stand under the names of an instance.
    pub(super) fn present_values(
        &mut self,
        device: usize,
        object: ObjectId,
        instance: InstanceId,
        now: Now,
    ) -> (String, Vec<(String, Vec<u8>)>) {
        let is_stopping = self.saving.as_ref().is_some_and(|saving| saving.is_stopping);
        let device = &self.devices[device];
        let told_at = is_stopping.then_some(now);
        let encoded = values::encode(device.kept_values(object, instance, told_at));
        let name = |part| Name::Values {
            owner: device.owner.clone(),
            object,
            instance,
            part,
        };
        let named = (0..=u8::MAX)
            .map(|part| name(part).to_string())
            .zip(encoded.parts);
        let present = (
            Name::values_prefix(&device.owner, object, instance),
            named.collect(),
        );
        let id = Arc::clone(&device.id);
        self.tell_too_long(&id, encoded.too_long);
        present
    }

    /// Tells once of each value that is too long to be saved.
    fn tell_too_long(&mut self, device: &Arc<str>, too_long: Vec<(Key, usize)>) {
        for (key, bytes) in too_long {
            let (device, path) = (Arc::clone(device), tree::path(key));
            let told = self.saving.as_mut().map(|saving| &mut saving.too_long);
            if told.is_some_and(|told| told.insert((Arc::clone(&device), path))) {
                self.event(Event::State(StateEvent::ValueTooLong { device, path, bytes }));
            }
        }
    }

    /// Notes that an instance is to be saved, where something was measured in it; says whether there was.
    fn note_values(&mut self, device: usize, object: ObjectId, instance: InstanceId) -> bool {
        let is_measured = self.devices[device].tree.worst(object, instance).is_some();
        if let Some(saving) = self.saving.as_mut().filter(|_| is_measured) {
            saving.note(Subject::Values(device, object, instance));
        }
        is_measured
    }
}
