//! What a profile says of itself and of the kind of device.

use std::sync::Arc;

use ucifi_core::profile::Identity;

use crate::document::{Item, Table};
use crate::profile::Status;

/// The keys before the first table, and `[identity]`.
pub(super) struct Header<'d> {
    pub(super) id: Arc<str>,
    pub(super) aliases: Vec<Arc<str>>,
    pub(super) version: String,
    pub(super) status: Status,
    pub(super) status_item: Option<Item<'d>>,
    pub(super) sources: Vec<String>,
    pub(super) identity: Identity,
}

pub(super) fn read<'d>(root: &Table<'d>) -> Header<'d> {
    root.require("schema")
        .and_then(|item| match item.integer(0..=u32::MAX)? {
            1 => Some(()),
            other => item.error_with_help(
                format!("schema {other} is unknown"),
                "this version reads schema = 1",
            ),
        });
    let status_item = root.require("status");
    Header {
        id: root.require("id").and_then(|item| id(&item)).unwrap_or_default(),
        aliases: aliases(root),
        version: root
            .require("version")
            .and_then(|item| version(&item))
            .unwrap_or_default(),
        status: status_item
            .and_then(|item| status(&item))
            .unwrap_or(Status::Draft),
        status_item,
        sources: sources(root),
        identity: root
            .require("identity")
            .and_then(|item| item.table())
            .map(|table| identity(&table))
            .unwrap_or_default(),
    }
}

fn id(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.string()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let parts = text.split('.').all(|part| !part.is_empty());
    if parts && text.contains('.') && text.len() <= 64 && text.chars().all(plain) {
        return Some(text.into());
    }
    item.error_with_help(
        format!("{text:?} cannot be an id"),
        "vendor.device, of at most 64 lower case letters, digits and hyphens, as in \"eastron.sdm630\"",
    )
}

fn aliases(root: &Table<'_>) -> Vec<Arc<str>> {
    let items = root
        .get("aliases")
        .and_then(|item| item.items())
        .unwrap_or_default();
    items.iter().filter_map(id).collect()
}

fn version(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    let numbers: Vec<Option<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    if numbers.len() == 3 && numbers.iter().all(Option::is_some) {
        return Some(text.to_owned());
    }
    item.error_with_help(
        format!("{text:?} is no version"),
        "three numbers, as in \"1.0.0\"",
    )
}

fn status(item: &Item<'_>) -> Option<Status> {
    item.one_of(&[Status::Verified, Status::Community, Status::Draft].map(|status| (status.name(), status)))
}

fn sources(root: &Table<'_>) -> Vec<String> {
    let Some(item) = root.require("source") else {
        return Vec::new();
    };
    let texts = if item.is_array() {
        item.strings()
    } else {
        item.string().map(|text| vec![text])
    };
    texts.unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn identity(table: &Table<'_>) -> Identity {
    let text = |item: Option<Item<'_>>| item.and_then(|item| item.string()).unwrap_or_default().into();
    let identity = Identity {
        manufacturer: text(table.require("manufacturer")),
        model_number: text(table.require("model")),
        device_type: text(table.get("device_type")),
        oui: table.get("oui").and_then(|item| oui(&item)).unwrap_or_default(),
    };
    table.finish();
    identity
}

fn oui(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.string()?;
    let is_hex = text.len() == 6
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    if is_hex || text.is_empty() {
        return Some(text.into());
    }
    item.error_with_help(
        format!("{text:?} is no OUI"),
        "six hex digits in upper case, or \"\" where the maker has none",
    )
}
