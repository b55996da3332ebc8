//! From text to a checked profile. Every mistake is reported, with the place a person has to look at.
//!
//! The compiler knows the language and the object table; it knows no device and opens no file.

mod check;
mod command;
mod derive;
mod header;
mod lorawan;
mod measure;
mod modbus;
mod mqtt;
mod payload;
mod point;
mod resource;
mod send;
mod test;

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::object::ObjectTable;
use lwm2m_client::{Path, Value};
use ucifi_core::field::{PointId, RegisterPoint};
use ucifi_core::profile::{Derivation, Point};

use crate::command::Command;
use crate::document::{Diagnostic, Document, Item, Place, Table, nearest};
use crate::expression::Scope;
use crate::golden::Test;
use crate::layout::Layout;
use crate::limits::{MAX_ENTRIES, MAX_POINTS, MAX_PROFILE_BYTES, MAX_TEMPLATE_COPIES, MAX_TEMPLATES};
use crate::message::Messages;
use crate::payload::Payload;
use crate::profile::{CompiledProfile, Medium, Probe, Registers, Uplinks};
use lorawan::LoRaWan;
use modbus::Modbus;
use mqtt::Mqtt;

/// Compiles a profile; `file` is the name that diagnostics show.
///
/// # Errors
/// Everything that is wrong with it, warnings among it.
pub fn compile(file: &str, text: &str, table: &ObjectTable) -> Result<CompiledProfile, Vec<Diagnostic>> {
    if text.len() > MAX_PROFILE_BYTES {
        let message = format!(
            "{} bytes are too many for a profile: at most {MAX_PROFILE_BYTES}",
            text.len()
        );
        return Err(vec![Diagnostic::error(Place::start(file), message)]);
    }
    let document = Document::parse(file, text)?;
    let profile = read(&document, table);
    let warnings = document.finish()?;
    Ok(CompiledProfile { warnings, ..profile })
}

fn read(document: &Document<'_>, objects: &ObjectTable) -> CompiledProfile {
    let root = document.root();
    let header = header::read(&root);
    let mut draft = Draft::new(document, objects);
    draft.medium(&root);
    draft.sources(&root, Scope::default());
    draft.templates(&root);
    draft.results(&root, Scope::default());
    draft.tests(&root);
    let probe = draft.probe();
    draft.check(&root, &header);
    root.finish();
    draft.into_profile(header, probe)
}

/// Which protocol the device speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Modbus,
    LoRaWan,
    Mqtt,
}

impl Speaks {
    const TABLES: [(&'static str, Self); 3] = [
        ("modbus", Self::Modbus),
        ("lorawan", Self::LoRaWan),
        ("mqtt", Self::Mqtt),
    ];
}

/// A profile in the making.
struct Draft<'d> {
    document: &'d Document<'d>,
    objects: &'d ObjectTable,
    speaks: Speaks,
    modbus: Modbus<'d>,
    lorawan: LoRaWan,
    mqtt: Mqtt,
    /// What a LoRaWAN device sends on each port.
    uplinks: Vec<(u8, Payload)>,
    /// What an MQTT device publishes.
    messages: Messages,
    points: Vec<Point>,
    registers: Vec<RegisterPoint>,
    layouts: Vec<Layout>,
    /// Where each point stands, in the order of the points.
    point_places: Vec<Place>,
    names: BTreeMap<Arc<str>, PointId>,
    constants: Vec<(Path, Value)>,
    derivations: Vec<Derivation>,
    commands: BTreeMap<Path, Command>,
    tests: Vec<Test>,
    /// Which resources have a value, and the place that says so.
    filled: BTreeMap<Path, Place>,
    /// Which resources have a command, and the place that says so.
    commanded: BTreeMap<Path, Place>,
}

impl<'d> Draft<'d> {
    fn new(document: &'d Document<'d>, objects: &'d ObjectTable) -> Self {
        Self {
            document,
            objects,
            speaks: Speaks::Modbus,
            modbus: Modbus::default(),
            lorawan: LoRaWan::default(),
            mqtt: Mqtt::default(),
            uplinks: Vec::new(),
            messages: Messages::default(),
            points: Vec::new(),
            registers: Vec::new(),
            layouts: Vec::new(),
            point_places: Vec::new(),
            names: BTreeMap::new(),
            constants: Vec::new(),
            derivations: Vec::new(),
            commands: BTreeMap::new(),
            tests: Vec::new(),
            filled: BTreeMap::new(),
            commanded: BTreeMap::new(),
        }
    }

    /// Reads the table of the protocol.
    fn medium(&mut self, root: &Table<'d>) {
        let found: Vec<_> = Speaks::TABLES
            .iter()
            .filter_map(|(key, speaks)| Some((root.get(key)?, *speaks)))
            .collect();
        let [(item, speaks), rest @ ..] = found.as_slice() else {
            root.error_with_help::<()>(
                "[modbus], [lorawan] or [mqtt] is missing",
                "the table says which protocol the device speaks",
            );
            return;
        };
        for (other, _) in rest {
            other.error::<()>(format!(
                "[{}] is there already: a device has one protocol",
                item.key()
            ));
        }
        self.speaks = *speaks;
        let Some(table) = item.table() else {
            return;
        };
        match speaks {
            Speaks::Modbus => self.modbus = modbus::read(&table),
            Speaks::LoRaWan => self.lorawan = lorawan::read(&table),
            Speaks::Mqtt => self.mqtt(&table),
        }
    }

    /// Reads what needs nothing else: constants, then points, since a constant may name the unit of an instance.
    fn sources(&mut self, table: &Table<'d>, scope: Scope) {
        if let Some(constants) = table.get("constants").and_then(|item| item.table()) {
            for item in constants.entries() {
                if self.constants.len() >= MAX_ENTRIES {
                    item.error::<()>(format!("a profile has at most {MAX_ENTRIES} constants"));
                    return;
                }
                self.constant(item, scope);
            }
        }
        match self.speaks {
            Speaks::Modbus => self.register_points(table, scope),
            Speaks::LoRaWan => self.read_uplinks(table, scope),
            Speaks::Mqtt => self.read_topics(table, scope),
        }
    }

    fn register_points(&mut self, table: &Table<'d>, scope: Scope) {
        if let Some(points) = table.get("points").and_then(|item| item.table()) {
            for item in points.entries() {
                if self.points.len() >= MAX_POINTS {
                    item.error::<()>(format!("a profile has at most {MAX_POINTS} points"));
                    return;
                }
                self.point(item, scope);
            }
        }
    }

    /// Reads what refers to the former: derivations and commands.
    fn results(&mut self, table: &Table<'d>, scope: Scope) {
        for derive in tables(table, "derive") {
            if self.derivations.len() >= MAX_ENTRIES {
                derive.error::<()>(format!("a profile has at most {MAX_ENTRIES} derivations"));
                return;
            }
            self.derivation(&derive, scope);
        }
        for command in tables(table, "command") {
            if self.commands.len() >= MAX_ENTRIES {
                command.error::<()>(format!("a profile has at most {MAX_ENTRIES} commands"));
                return;
            }
            self.command(&command, scope);
        }
    }

    fn templates(&mut self, root: &Table<'d>) {
        for (index, template) in tables(root, "template").into_iter().enumerate() {
            if index >= MAX_TEMPLATES {
                template.error::<()>(format!("a profile has at most {MAX_TEMPLATES} templates"));
                return;
            }
            let noted = self.document.noted();
            let copies = template
                .require("n")
                .and_then(|item| copies(&item))
                .unwrap_or_default();
            for n in copies {
                let scope = Scope { n: Some(n) };
                self.sources(&template, scope);
                self.results(&template, scope);
                // The other copies would only repeat what is wrong with this one.
                if self.document.noted() > noted {
                    break;
                }
            }
            template.accept(&["constants", "derive", "command"]);
            template.accept(match self.speaks {
                Speaks::Modbus => &["points"],
                Speaks::LoRaWan => &["uplink"],
                Speaks::Mqtt => &["topic"],
            });
            template.finish();
        }
    }

    fn probe(&self) -> Option<Probe> {
        let table = self.modbus.probe?.table()?;
        let point = table.require("point").and_then(|item| {
            let name = item.string()?;
            match self.names.get(name) {
                Some(id) => Some(*id),
                None => self.unknown_point(&item, name),
            }
        });
        let range = table.require("range").and_then(|item| {
            let bounds: Vec<f64> = item.items()?.iter().map(Item::float).collect::<Option<_>>()?;
            match bounds.as_slice() {
                &[low, high] if low <= high => Some((low, high)),
                _ => item.error("range must be [lowest, highest]"),
            }
        });
        table.finish();
        let (point, (low, high)) = (point?, range?);
        Some(Probe { point, low, high })
    }

    fn unknown_point<T>(&self, item: &Item<'_>, name: &str) -> Option<T> {
        let message = format!("no point is called {name:?}");
        if self.document.is_full() {
            return None;
        }
        match nearest(name, self.names.keys().map(|known| &**known)) {
            Some(near) => item.error_with_help(message, format!("did you mean {near:?}?")),
            None => item.error(message),
        }
    }

    fn into_profile(self, header: header::Header<'_>, probe: Option<Probe>) -> CompiledProfile {
        let medium = match self.speaks {
            Speaks::Modbus => Medium::Modbus(Registers {
                points: self.registers,
                layouts: self.layouts,
                limits: self.modbus.limits,
                serial: self.modbus.serial,
                probe,
            }),
            Speaks::LoRaWan => Medium::LoRaWan(Uplinks {
                traits: self.lorawan.traits,
                payloads: self.uplinks,
            }),
            Speaks::Mqtt => Medium::Mqtt(self.messages),
        };
        CompiledProfile {
            id: header.id,
            aliases: header.aliases,
            version: header.version,
            status: header.status,
            sources: header.sources,
            identity: header.identity,
            points: self.points,
            medium,
            constants: self.constants,
            derivations: self.derivations,
            commands: self.commands,
            tests: self.tests,
            warnings: Vec::new(),
        }
    }
}

/// Returns the tables of `[[key]]`, none where the key is missing.
fn tables<'d>(table: &Table<'d>, key: &str) -> Vec<Table<'d>> {
    table.get(key).and_then(|item| item.tables()).unwrap_or_default()
}

fn copies(item: &Item<'_>) -> Option<Vec<i64>> {
    let numbers = item.items()?;
    if numbers.is_empty() || numbers.len() > MAX_TEMPLATE_COPIES {
        return item.error(format!(
            "n lists 1 to {MAX_TEMPLATE_COPIES} numbers, one for each copy"
        ));
    }
    numbers.iter().map(|number| number.integer(0..=65_534)).collect()
}

/// Returns a text with its braces replaced.
fn expanded(item: &Item<'_>, scope: Scope) -> Option<String> {
    match scope.text(item.string()?) {
        Ok(text) => Some(text),
        Err(reason) => item.error(reason),
    }
}

/// Returns an integer, or the value of an expression in a text.
fn number(item: &Item<'_>, scope: Scope) -> Option<i64> {
    match item.if_string() {
        None => item.integer(0..=i64::from(u32::MAX)),
        Some(text) => match scope.number(text) {
            Ok(number) => Some(number),
            Err(reason) => item.error(reason),
        },
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod sent;
#[cfg(test)]
mod tests;
