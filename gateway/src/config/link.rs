//! How a device is reached: the options that its kind of profile needs, and none of the others.

use std::sync::Arc;

use ucifi_core::Profile;
use ucifi_core::field::Link;
use ucifi_profiles::CompiledProfile;
use ucifi_profiles::document::Item;

use super::device::suggestion;
use super::lorawan::{Activation, activation_of, eui_of};
use super::secret::Secrets;
use super::section::Section;

/// How a device is reached.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) link: Link,
    pub(super) activation: Option<Activation>,
}

/// What devices may refer to.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) buses: Vec<KnownBus>,
    /// The names of the brokers.
    pub(super) brokers: Vec<Arc<str>>,
    /// Whether there is a radio network.
    pub(super) has_lorawan: bool,
}

/// The field protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Modbus,
    Mqtt,
    LoRaWan,
}

const LORAWAN_OPTIONS: &[&str] = &[
    "dev_eui",
    "join_eui",
    "app_key",
    "app_key_file",
    "dev_addr",
    "nwk_s_key",
    "nwk_s_key_file",
    "app_s_key",
    "app_s_key_file",
];

impl Protocol {
    const ALL: [Self; 3] = [Self::Modbus, Self::Mqtt, Self::LoRaWan];

    fn of(profile: &CompiledProfile) -> Self {
        if profile.lorawan().is_some() {
            Self::LoRaWan
        } else if profile.topics().is_empty() {
            Self::Modbus
        } else {
            Self::Mqtt
        }
    }

    /// Returns the options of its own.
    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Modbus => &["bus", "unit", "intervals_ms"],
            Self::Mqtt => &["broker", "topic"],
            Self::LoRaWan => LORAWAN_OPTIONS,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Modbus => "Modbus",
            Self::Mqtt => "MQTT",
            Self::LoRaWan => "LoRaWAN",
        }
    }

    /// Returns what a device needs to be reached, for whoever forgot it.
    const fn needs(self) -> &'static str {
        match self {
            Self::Modbus => "it needs bus and unit",
            Self::Mqtt => "it needs broker and topic",
            Self::LoRaWan => {
                "it needs dev_eui with join_eui and app_key_file, or with dev_addr and both session keys"
            }
        }
    }

    /// Returns the option that names the device itself.
    const fn address(self) -> &'static str {
        match self {
            Self::Modbus => "unit",
            Self::Mqtt => "topic",
            Self::LoRaWan => "dev_eui",
        }
    }
}

/// Reads how a device is reached, as its profile wants it; where that is not known, as its options look.
pub(super) fn read(
    section: &Section<'_>,
    profile: Option<&CompiledProfile>,
    known: &Known,
    secrets: &Secrets,
) -> Option<Reached> {
    let protocol = match profile {
        Some(profile) => {
            let protocol = Protocol::of(profile);
            refuse_others(section, profile, protocol);
            protocol
        }
        None => guess(section)?,
    };
    match protocol {
        Protocol::Modbus => modbus(section, known),
        Protocol::Mqtt => mqtt(section, known),
        Protocol::LoRaWan => lorawan(section, known, secrets),
    }
}

/// Returns the option that names a device, where another one has the same.
pub(super) fn address_in<'d>(section: &Section<'d>, link: &Link) -> Option<Item<'d>> {
    let protocol = match link {
        Link::Modbus { .. } => Protocol::Modbus,
        Link::Mqtt { .. } => Protocol::Mqtt,
        Link::LoRaWan { .. } => Protocol::LoRaWan,
    };
    section.get(protocol.address())
}

fn guess(section: &Section<'_>) -> Option<Protocol> {
    let has = |protocol: &Protocol| {
        protocol
            .options()
            .iter()
            .filter(|option| section.get(option).is_some())
            .count()
    };
    // All are asked for, so that none counts as unknown.
    Protocol::ALL
        .into_iter()
        .filter(|protocol| has(protocol) > 0)
        .max_by_key(has)
}

fn refuse_others(section: &Section<'_>, profile: &CompiledProfile, own: Protocol) {
    for other in Protocol::ALL.into_iter().filter(|other| *other != own) {
        for item in other.options().iter().filter_map(|option| section.get(option)) {
            let (id, kind) = (profile.id(), own.name());
            let message = format!(
                "{} is for {} devices, and {id} is a {kind} device",
                item.key(),
                other.name()
            );
            item.error_with_help::<()>(message, own.needs());
        }
    }
}

fn modbus(section: &Section<'_>, known: &Known) -> Option<Reached> {
    let bus = section.require("bus").and_then(|item| known.bus(item));
    let highest = bus.as_ref().map_or(HIGHEST_UNIT_OVER_TCP, |bus| bus.highest_unit);
    let unit = section.require("unit").and_then(|item| item.integer(1..=highest));
    let link = Link::Modbus {
        bus: bus?.name,
        unit: unit?,
    };
    Some(Reached {
        link,
        activation: None,
    })
}

fn mqtt(section: &Section<'_>, known: &Known) -> Option<Reached> {
    let broker = section.require("broker").and_then(|item| known.broker(item));
    let device = section.require("topic").and_then(topic_of);
    let link = Link::Mqtt {
        broker: broker?,
        device: device?,
    };
    Some(Reached {
        link,
        activation: None,
    })
}

/// MQTT 3.1.1, section 4.7: wildcards and NUL have no place in the name of a topic.
fn topic_of(item: Item<'_>) -> Option<Arc<str>> {
    let text = item.string()?;
    let is_odd =
        text.is_empty() || text.len() > 256 || text.contains(['+', '#', '\0']) || text.contains("{device}");
    if is_odd {
        return item.error_with_help(
            format!("topic cannot be {text:?}"),
            "only what stands for the device in its topics, as plug-1 in tele/plug-1/SENSOR, without + and #",
        );
    }
    Some(text.into())
}

fn lorawan(section: &Section<'_>, known: &Known, secrets: &Secrets) -> Option<Reached> {
    let eui = section.require("dev_eui");
    if let (Some(item), false) = (eui, known.has_lorawan) {
        item.error_with_help::<()>("there is no [lorawan]", "[lorawan]\n        region = \"EU868\"");
    }
    let dev_eui = eui.and_then(eui_of);
    let activation = activation_of(section, secrets);
    let link = Link::LoRaWan { dev_eui: dev_eui? };
    Some(Reached {
        link,
        activation: Some(activation?),
    })
}

/// The highest unit address on a serial line (Modbus serial line 1.02, section 2.2).
const HIGHEST_UNIT: u8 = 247;

/// The highest unit address over TCP.
const HIGHEST_UNIT_OVER_TCP: u8 = 255;

/// A bus as far as its devices need to know it; one with mistakes of its own is known too, so that its devices are not
/// blamed for them.
#[derive(Clone, Debug)]
pub(super) struct KnownBus {
    name: Arc<str>,
    highest_unit: u8,
}

impl KnownBus {
    /// Returns the bus of a section, whatever else is wrong with it.
    pub(super) fn of(section: &Section<'_>) -> Option<Self> {
        let name = section.get("name")?.if_string()?.into();
        let over_tcp = section
            .get("port")?
            .if_string()
            .is_some_and(|port| port.starts_with("tcp://"));
        Some(Self {
            name,
            highest_unit: if over_tcp {
                HIGHEST_UNIT_OVER_TCP
            } else {
                HIGHEST_UNIT
            },
        })
    }
}

impl Known {
    fn bus(&self, item: Item<'_>) -> Option<KnownBus> {
        let name = item.string()?;
        if let Some(bus) = self.buses.iter().find(|bus| &*bus.name == name) {
            return Some(bus.clone());
        }
        let names = self.buses.iter().map(|bus| &*bus.name);
        item.error_with_help(
            format!("there is no bus {name:?}"),
            suggestion(name, names, "no [[bus]] is configured"),
        )
    }

    fn broker(&self, item: Item<'_>) -> Option<Arc<str>> {
        let name = item.string()?;
        if let Some(broker) = self.brokers.iter().find(|broker| &***broker == name) {
            return Some(broker.clone());
        }
        let names = self.brokers.iter().map(|broker| &**broker);
        item.error_with_help(
            format!("there is no broker {name:?}"),
            suggestion(name, names, "no [[broker]] is configured"),
        )
    }
}
