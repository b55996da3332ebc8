//! `[[device]]`: a field device, what kind it is and where it hangs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ucifi_core::Profile;
use ucifi_core::field::{Link, PointId};
use ucifi_profiles::document::{Item, nearest};
use ucifi_profiles::{Catalogue, CompiledProfile};

use super::section::{Section, name_of};

/// One field device.
#[derive(Clone)]
pub struct Device {
    /// Its id, part of its endpoint name.
    pub id: Arc<str>,
    /// What kind it is.
    pub profile: Arc<CompiledProfile>,
    /// How it is reached.
    pub link: Link,
    /// What people call it.
    pub label: Option<String>,
    /// Its serial number, where it does not tell it by itself.
    pub serial: Option<String>,
    /// Its endpoint name, where it is not to be `<gateway>-<id>`.
    pub endpoint: Option<String>,
    /// How often single points are read, where the profile's interval does not suit.
    pub intervals_ms: BTreeMap<PointId, u64>,
}

impl Device {
    /// Returns the name under which it registers.
    pub fn endpoint_name(&self, gateway: &str) -> String {
        self.endpoint
            .clone()
            .unwrap_or_else(|| format!("{gateway}-{}", self.id))
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {} ({}, {})", self.id, self.profile.id(), self.link)
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        let own = (
            &self.id,
            self.profile.id(),
            &self.link,
            &self.label,
            &self.serial,
            &self.endpoint,
        );
        let theirs = (
            &other.id,
            other.profile.id(),
            &other.link,
            &other.label,
            &other.serial,
            &other.endpoint,
        );
        own == theirs && self.intervals_ms == other.intervals_ms
    }
}

pub(super) fn read(section: &Section<'_>, buses: &Buses, catalogue: &Catalogue) -> Option<Device> {
    let id = section.require("id").and_then(name_of);
    let profile = section
        .require("profile")
        .and_then(|item| profile_of(item, catalogue));
    let bus = section.require("bus").and_then(|item| buses.find(item));
    let highest = bus.as_ref().map_or(HIGHEST_UNIT_OVER_TCP, |bus| bus.highest_unit);
    let unit = section.require("unit").and_then(|item| item.integer(1..=highest));
    let text = |key: &str| section.get(key).and_then(short_text);
    let (label, serial) = (text("label"), text("serial"));
    let endpoint = section.get("endpoint").and_then(endpoint_of);
    let intervals = section.get("intervals_ms");
    section.finish();
    let (profile, bus) = (profile?, bus?);
    let intervals_ms = intervals.map_or_else(Default::default, |item| intervals_of(item, &profile));
    let link = Link::Modbus {
        bus: bus.name,
        unit: unit?,
    };
    Some(Device {
        id: id?,
        profile,
        link,
        label,
        serial,
        endpoint,
        intervals_ms,
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

/// The buses that devices may name.
#[derive(Debug)]
pub(super) struct Buses(pub(super) Vec<KnownBus>);

impl Buses {
    fn find(&self, item: Item<'_>) -> Option<KnownBus> {
        let name = item.string()?;
        if let Some(bus) = self.0.iter().find(|bus| &*bus.name == name) {
            return Some(bus.clone());
        }
        let names = self.0.iter().map(|bus| &*bus.name);
        item.error_with_help(
            format!("there is no bus {name:?}"),
            suggestion(name, names, "no [[bus]] is configured"),
        )
    }
}

/// Returns a help line with the nearest of the known names, or with all of them.
pub(super) fn suggestion<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone, none: &str) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean {near:?}?");
    }
    let all: Vec<&str> = known.take(12).collect();
    if all.is_empty() {
        none.to_owned()
    } else {
        format!("there are {}", all.join(", "))
    }
}

fn profile_of(item: Item<'_>, catalogue: &Catalogue) -> Option<Arc<CompiledProfile>> {
    let id = item.string()?;
    if let Some(profile) = catalogue.find(id) {
        return Some(profile.clone());
    }
    let ids: Vec<&str> = catalogue.ids().collect();
    item.error_with_help(
        format!("there is no profile {id:?}"),
        suggestion(id, ids.iter().copied(), "see `ucifi-gateway profile list`"),
    )
}

fn short_text(item: Item<'_>) -> Option<String> {
    let text = item.string()?;
    if text.len() > 256 {
        return item.error(format!(
            "{} has {} bytes, at most 256 fit",
            item.key(),
            text.len()
        ));
    }
    Some(text.to_owned())
}

/// Returns an endpoint name, which goes into the query of a Register.
pub(super) fn endpoint_of(item: Item<'_>) -> Option<String> {
    let text = short_text(item)?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '&' | '?' | '#' | '/' | '"');
    if text.is_empty() || text.contains(odd) {
        return item.error_with_help(
            format!("endpoint cannot be {text:?}"),
            "no blanks, quotes, slashes, `&`, `?` or `#`, as in urn:dev:os:32473-123456",
        );
    }
    Some(text)
}

fn intervals_of(item: Item<'_>, profile: &CompiledProfile) -> BTreeMap<PointId, u64> {
    let entries = item.table().map(|table| table.entries()).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| interval_of(entry, profile))
        .collect()
}

fn interval_of(entry: Item<'_>, profile: &CompiledProfile) -> Option<(PointId, u64)> {
    let names = profile.points().iter().map(|point| &*point.name);
    let Some(index) = names.clone().position(|name| name == entry.key()) else {
        let message = format!("{} has no point {:?}", profile.id(), entry.key());
        return entry.error_with_help(
            message,
            suggestion(entry.key(), names, "the profile has no points"),
        );
    };
    let every_ms = entry.integer(100..=86_400_000)?;
    Some((PointId(u16::try_from(index).ok()?), every_ms))
}
