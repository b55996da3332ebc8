//! `[[device]]`: a field device, what kind it is and where it hangs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ucifi_core::Profile;
use ucifi_core::field::{Link, PointId};
use ucifi_profiles::document::{Item, nearest};
use ucifi_profiles::{Catalogue, CompiledProfile};

use super::link::{self, Known};
use super::lorawan::Activation;
use super::secret::Secrets;
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
    /// How a LoRaWAN device comes to its session; none for others.
    pub activation: Option<Activation>,
    /// What people call it.
    pub label: Option<String>,
    /// Its serial number, where it does not tell it by itself.
    pub serial: Option<String>,
    /// Its endpoint name, where it is not to be the one that follows from how it is reached.
    pub endpoint: Option<String>,
    /// How often single points are read, where the profile's interval does not suit.
    pub intervals_ms: BTreeMap<PointId, u64>,
}

impl Device {
    /// Returns the name under which it registers.
    pub fn endpoint_name(&self, gateway: &str) -> String {
        self.endpoint
            .clone()
            .unwrap_or_else(|| self.link.endpoint_name(gateway, &self.id))
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
            &self.activation,
            &self.label,
            &self.serial,
            &self.endpoint,
        );
        let theirs = (
            &other.id,
            other.profile.id(),
            &other.link,
            &other.activation,
            &other.label,
            &other.serial,
            &other.endpoint,
        );
        own == theirs && self.intervals_ms == other.intervals_ms
    }
}

pub(super) fn read(
    section: &Section<'_>,
    known: &Known,
    catalogue: &Catalogue,
    secrets: &Secrets,
) -> Option<Device> {
    let id = section.require("id").and_then(name_of);
    let profile = section
        .require("profile")
        .and_then(|item| profile_of(item, catalogue));
    let reached = link::read(section, profile.as_deref(), known, secrets);
    let text = |key: &str| section.get(key).and_then(short_text);
    let (label, serial) = (text("label"), text("serial"));
    let endpoint = section.get("endpoint").and_then(endpoint_of);
    let intervals = section.get("intervals_ms");
    section.finish();
    let (profile, reached) = (profile?, reached?);
    let intervals_ms = intervals.map_or_else(Default::default, |item| intervals_of(item, &profile));
    Some(Device {
        id: id?,
        profile,
        link: reached.link,
        activation: reached.activation,
        label,
        serial,
        endpoint,
        intervals_ms,
    })
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
