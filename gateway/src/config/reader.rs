//! From texts to a configuration, or to everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lwm2m_client::object::ObjectTable;
use ucifi_core::field::Link;
use ucifi_profiles::Catalogue;
use ucifi_profiles::document::{Diagnostic, Document, Place, Table};

use super::link::{Known, KnownBus, address_in};
use super::section::{Options, Section};
use super::{
    Broker, Bus, Configuration, Device, LoRaWan, Override, Secrets, Server, Sources, broker, buffer, bus,
    device, gateway, lorawan, server,
};
use crate::limits::DEVICES;
use crate::profiles::catalogue_of;

/// A configuration with what it refers to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the gateway is to do.
    pub configuration: Configuration,
    /// Every object that is known, those of `objects.d` among them.
    pub objects: ObjectTable,
    /// Every profile that is known, those of `profiles.d` among them.
    pub catalogue: Catalogue,
    /// What is usable and yet worth a look.
    pub warnings: Vec<Diagnostic>,
    /// Every option that was looked for, as `section.key`.
    pub options: BTreeSet<String>,
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn read(sources: &Sources) -> Result<Loaded, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let (objects, catalogue) = catalogue_of(sources, &mut found);
    let overrides: Vec<(&str, &str)> = sources
        .overrides
        .iter()
        .map(|o| (o.variable.as_str(), o.line.as_str()))
        .collect();
    let files: Vec<(&str, &str)> = sources
        .options
        .iter()
        .map(|f| (f.name.as_str(), f.text.as_str()))
        .collect();
    let files = parse_all(&files, &mut found);
    let overrides = parse_all(&overrides, &mut found);
    if found.iter().any(Diagnostic::is_error) {
        // Half of the files would make half of the names unknown, and each of them an error of its own.
        return Err(found);
    }
    let options = Options::default();
    let reader = Reader::new(&files, &overrides, sources, &options);
    let configuration = reader.configuration(&catalogue);
    drop(reader);
    for document in files.into_iter().chain(overrides) {
        found.extend(document.finish().unwrap_or_else(|errors| errors));
    }
    match configuration {
        Some(configuration) if !found.iter().any(Diagnostic::is_error) => Ok(Loaded {
            configuration,
            objects,
            catalogue,
            warnings: found,
            options: options.into_inner(),
        }),
        Some(_) | None => Err(found),
    }
}

fn parse_all<'t>(texts: &[(&str, &'t str)], found: &mut Vec<Diagnostic>) -> Vec<Document<'t>> {
    let mut documents = Vec::new();
    for (name, text) in texts {
        match Document::parse(name, text) {
            Ok(document) => documents.push(document),
            Err(errors) => found.extend(errors),
        }
    }
    documents
}

/// The parsed texts, sorted into sections.
struct Reader<'d> {
    first: &'d Document<'d>,
    gateway: Vec<Table<'d>>,
    buffer: Vec<Table<'d>>,
    servers: Vec<Table<'d>>,
    buses: Vec<Table<'d>>,
    brokers: Vec<Table<'d>>,
    lorawan: Vec<Table<'d>>,
    devices: Vec<Table<'d>>,
    overrides: Vec<(&'d Override, Table<'d>)>,
    used: std::cell::RefCell<BTreeSet<&'d str>>,
    options: &'d Options,
    secrets: &'d Secrets,
}

impl<'d> Reader<'d> {
    fn new(
        files: &'d [Document<'d>],
        overrides: &'d [Document<'d>],
        sources: &'d Sources,
        options: &'d Options,
    ) -> Self {
        let first = files.first().expect("the main file was read");
        let roots: Vec<Table<'d>> = files.iter().map(Document::root).collect();
        let tables = |key: &str| -> Vec<Table<'d>> {
            let found = roots.iter().filter_map(|root| root.get(key));
            found.filter_map(|item| item.tables()).flatten().collect()
        };
        let (servers, buses, brokers) = (tables("server"), tables("bus"), tables("broker"));
        let devices = tables("device");
        let single = |key: &str| -> Vec<Table<'d>> {
            let found = roots.iter().filter_map(|root| root.get(key)?.table());
            found.collect()
        };
        let (gateway, buffer, lorawan) = (single("gateway"), single("buffer"), single("lorawan"));
        roots.iter().for_each(Table::finish);
        let overrides = sources
            .overrides
            .iter()
            .zip(overrides.iter().map(Document::root))
            .collect();
        Self {
            first,
            gateway,
            buffer,
            servers,
            buses,
            brokers,
            lorawan,
            devices,
            overrides,
            used: Default::default(),
            options,
            secrets: &sources.secrets,
        }
    }

    fn configuration(&self, catalogue: &Catalogue) -> Option<Configuration> {
        let gateway = self.gateway_options();
        let buffer = self.buffer_options();
        let servers = self.servers();
        let (buses, known_buses) = self.buses();
        let (brokers, known_brokers) = self.brokers();
        let lorawan = self.lorawan();
        let known = Known {
            buses: known_buses,
            brokers: known_brokers,
            has_lorawan: !self.lorawan.is_empty(),
        };
        let devices = self.devices(&known, catalogue);
        self.check_uses();
        Some(Configuration {
            gateway: gateway?,
            buffer,
            servers,
            buses,
            brokers,
            lorawan,
            devices,
        })
    }

    fn gateway_options(&self) -> Option<super::GatewayOptions> {
        if self.gateway.is_empty() {
            return self
                .first
                .root()
                .error_with_help("there is no [gateway]", "[gateway]\n        name = \"cab-17\"");
        }
        let mut layers = self.gateway.clone();
        layers.extend(self.overrides_for(|o| o.section == "gateway"));
        gateway::read(&Section::new("gateway", layers, self.options))
    }

    fn buffer_options(&self) -> super::BufferOptions {
        let mut layers = self.buffer.clone();
        layers.extend(self.overrides_for(|o| o.section == "buffer"));
        buffer::read(&Section::new("buffer", layers, self.options))
    }

    fn servers(&self) -> Vec<Server> {
        let mut unique = Unique::default();
        let mut servers = Vec::new();
        for (table, count) in self.servers.iter().zip(1..) {
            let section = self.section("server", "name", table);
            unique.check(&section, "name", "server");
            servers.extend(server::read(&section, count, self.devices.len() + 1));
        }
        if self.servers.is_empty() {
            let message = "there is no [[server]]: nothing would be told to anybody";
            self.first
                .report(Diagnostic::warning(self.first.root().place(), message));
        }
        servers
    }

    /// Returns the buses that are right, and all that devices may name.
    fn buses(&self) -> (Vec<Bus>, Vec<KnownBus>) {
        let mut unique = Unique::default();
        let (mut buses, mut known) = (Vec::new(), Vec::new());
        for table in &self.buses {
            let section = self.section("bus", "name", table);
            unique.check(&section, "name", "bus");
            known.extend(KnownBus::of(&section));
            buses.extend(bus::read(&section));
        }
        (buses, known)
    }

    /// Returns the brokers that are right, and the names of all.
    fn brokers(&self) -> (Vec<Broker>, Vec<Arc<str>>) {
        let mut unique = Unique::default();
        let (mut brokers, mut known) = (Vec::new(), Vec::new());
        for table in &self.brokers {
            let section = self.section("broker", "name", table);
            unique.check(&section, "name", "broker");
            known.extend(name_in(table, "name").map(Arc::from));
            brokers.extend(broker::read(&section, self.secrets));
        }
        (brokers, known)
    }

    fn lorawan(&self) -> Option<LoRaWan> {
        if self.lorawan.is_empty() {
            return None;
        }
        let mut layers = self.lorawan.clone();
        layers.extend(self.overrides_for(|o| o.section == "lorawan"));
        lorawan::read(&Section::new("lorawan", layers, self.options))
    }

    fn devices(&self, known: &Known, catalogue: &Catalogue) -> Vec<Device> {
        if let Some(excess) = self.devices.get(DEVICES) {
            excess.error::<()>(format!("more than {DEVICES} devices"));
            return Vec::new();
        }
        let (mut unique, mut endpoints) = (Unique::default(), Unique::default());
        let mut links: BTreeMap<Link, (Place, String)> = BTreeMap::new();
        let mut devices = Vec::new();
        for table in &self.devices {
            let section = self.section("device", "id", table);
            unique.check(&section, "id", "device");
            endpoints.check(&section, "endpoint", "device");
            let Some(device) = device::read(&section, known, catalogue, self.secrets) else {
                continue;
            };
            if let Some((place, first)) = links.get(&device.link)
                && let Some(item) = address_in(&section, &device.link)
            {
                let help = format!("{first} has it, at {place}");
                item.error_with_help::<()>(format!("{} is taken", device.link), help);
            } else if let Some(place) = section.place() {
                links.insert(device.link.clone(), (place, device.id.to_string()));
            }
            devices.push(device);
        }
        devices
    }

    fn section(&self, name: &'static str, key: &str, table: &Table<'d>) -> Section<'d> {
        let own = name_in(table, key).unwrap_or_default();
        let mut layers = vec![table.clone()];
        layers.extend(self.overrides_for(|o| o.is_for(name, own)));
        Section::new(name, layers, self.options)
    }

    fn overrides_for(&self, wanted: impl Fn(&Override) -> bool) -> Vec<Table<'d>> {
        let found: Vec<_> = self.overrides.iter().filter(|(o, _)| wanted(o)).collect();
        self.used
            .borrow_mut()
            .extend(found.iter().map(|(o, _)| o.variable.as_str()));
        found.into_iter().map(|(_, table)| table.clone()).collect()
    }

    /// A variable for a server, bus or device that is not configured is a mistake.
    fn check_uses(&self) {
        let used = self.used.borrow();
        for (unused, table) in self
            .overrides
            .iter()
            .filter(|(o, _)| !used.contains(o.variable.as_str()))
        {
            let entry = unused.entry.as_deref().unwrap_or_default();
            if unused.entry.is_none() {
                table.error_with_help::<()>(
                    format!("there is no [{}]", unused.section),
                    format!(
                        "a file must have [{}] before the environment changes it",
                        unused.section
                    ),
                );
                continue;
            }
            table.error_with_help::<()>(
                format!("there is no {} {entry:?}", unused.section),
                "the name in lower case, with _ for everything but letters and digits",
            );
        }
    }
}

fn name_in<'d>(table: &Table<'d>, key: &str) -> Option<&'d str> {
    table.get(key)?.if_string()
}

/// Names that must differ.
#[derive(Default)]
struct Unique {
    places: BTreeMap<String, Place>,
}

impl Unique {
    fn check(&mut self, section: &Section<'_>, key: &str, what: &str) {
        let Some(item) = section.get(key) else { return };
        let Some(name) = item.if_string() else { return };
        match self.places.get(name) {
            Some(first) => {
                let help = format!("the first one is at {first}");
                item.error_with_help::<()>(format!("another {what} has the {key} {name:?}"), help);
            }
            None => {
                self.places.insert(name.to_owned(), item.place());
            }
        }
    }
}
