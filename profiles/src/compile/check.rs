//! What can only be seen when everything has been read.

use std::collections::{BTreeMap, BTreeSet};

use lwm2m_client::object::ResourceDefinition;
use lwm2m_client::{InstanceId, ObjectId, Path};
use ucifi_core::field::RegisterPoint;

use super::header::Header;
use super::{Draft, Speaks};
use crate::document::{Diagnostic, Place, Table};
use crate::profile::Status;

/// Objects that the gateway fills for every device: what a profile adds need not be complete.
const FILLED_BY_GATEWAY: [ObjectId; 2] = [ObjectId(3), ObjectId(3410)];

impl Draft<'_> {
    pub(super) fn check(&self, root: &Table<'_>, header: &Header<'_>) {
        if self.points.is_empty() && self.commands.is_empty() && !self.document.has_errors() {
            let points = match self.speaks {
                Speaks::Modbus => "[points]",
                Speaks::LoRaWan => "[[uplink]]",
                Speaks::Mqtt => "[[topic]]",
            };
            root.error_with_help::<()>(
                "the profile maps nothing",
                format!("write {points} or [[command]]"),
            );
        }
        self.check_overlaps();
        self.check_limits();
        // A point with a mistake would only be complained of twice.
        if !self.document.has_errors() {
            self.check_mandatory();
        }
        if header.status == Status::Verified
            && self.tests.is_empty()
            && let Some(item) = &header.status_item
        {
            item.error_with_help::<()>(
                "a verified profile has golden frames",
                "add a [[test]], or write status = \"community\"",
            );
        }
    }

    fn placed(&self) -> impl Iterator<Item = (&RegisterPoint, &Place, &str)> {
        let names = self.points.iter().map(|point| &*point.name);
        let places = self.registers.iter().zip(&self.point_places);
        places
            .zip(names)
            .map(|((register, place), name)| (register, place, name))
    }

    /// Two points may read the same registers, but not overlap: one of them would split a number.
    fn check_overlaps(&self) {
        let mut sorted: Vec<_> = self.placed().collect();
        sorted.sort_by_key(|(register, ..)| (register.table, register.address, register.count));
        for pair in sorted.windows(2) {
            let [(first, _, first_name), (second, place, name)] = pair else {
                continue;
            };
            let same = first.address == second.address && first.count == second.count;
            let end = u32::from(first.address) + u32::from(first.count);
            if first.table == second.table && u32::from(second.address) < end && !same {
                let message = format!(
                    "{name} at {:#06x} overlaps {first_name}, which takes {:#06x} to {:#06x}",
                    second.address,
                    first.address,
                    end - 1
                );
                self.document
                    .report_once(Diagnostic::error((*place).clone(), message));
            }
        }
    }

    fn check_limits(&self) {
        let limits = &self.modbus.limits;
        for (register, place, name) in self.placed() {
            if !register.table.is_bits() && register.count > limits.max_registers {
                let message = format!(
                    "{name} takes {} registers, more than the {} of one read",
                    register.count, limits.max_registers
                );
                self.document
                    .report_once(Diagnostic::error(place.clone(), message));
            }
            let inside = |border: &&u16| {
                let offset = border.checked_sub(register.address);
                offset.is_some_and(|offset| offset > 0 && offset < register.count)
            };
            if let Some(border) = limits.no_cross.iter().find(inside) {
                let message = format!("{name} crosses {border:#06x}, which no read may cross");
                self.document
                    .report_once(Diagnostic::error(place.clone(), message));
            }
        }
    }

    /// An instance is listed once every mandatory resource has a value, so each needs a source.
    fn check_mandatory(&self) {
        let mut instances: BTreeMap<(ObjectId, InstanceId), &Place> = BTreeMap::new();
        for (path, place) in self.filled.iter().chain(&self.commanded) {
            if let Some(instance) = path.object_id().zip(path.instance_id()) {
                instances.entry(instance).or_insert(place);
            }
        }
        let sourced: BTreeSet<Path> = self
            .filled
            .keys()
            .chain(self.commanded.keys())
            .filter_map(|path| {
                let segments = path.segments();
                Path::from_segments(segments.get(..3)?)
            })
            .collect();
        for ((object, instance), place) in instances {
            let missing = self.missing(object, instance, &sourced);
            if !missing.is_empty() && !FILLED_BY_GATEWAY.contains(&object) {
                let path = Path::Instance(object, instance);
                let diagnostic = Diagnostic::error(
                    place.clone(),
                    format!("{path} lacks mandatory resources: {}", missing.join(", ")),
                );
                self.document
                    .report_once(diagnostic.with_help("give each a point, a constant or a derivation"));
            }
        }
    }

    fn missing(&self, object: ObjectId, instance: InstanceId, sourced: &BTreeSet<Path>) -> Vec<String> {
        let Some(definition) = self.objects.latest(object) else {
            return Vec::new();
        };
        let lacks = |resource: &&ResourceDefinition| {
            resource.mandatory && !sourced.contains(&Path::Resource(object, instance, resource.id))
        };
        definition
            .resources
            .values()
            .filter(lacks)
            .map(|resource| format!("{} {}", resource.id, resource.name))
            .collect()
    }
}
