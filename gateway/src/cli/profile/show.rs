//! `profile show`: what a profile reads and what it takes.

use serde_json::json;
use ucifi_core::Profile;
use ucifi_profiles::CompiledProfile;

use super::super::buffer::class_name;
use super::super::number;
use super::super::output::answer;
use super::super::table::{Align, Table};
use super::summary;
use crate::exit::Failure;

pub(super) fn show(profile: &CompiledProfile, json: bool) -> Result<(), Failure> {
    let mut value = summary(profile);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("sources".to_owned(), profile.sources().into());
        fields.insert("protocol".to_owned(), protocol(profile).into());
        if !profile.topics().is_empty() {
            let topics = profile.topics().iter().map(|known| known.topic.text());
            fields.insert("topics".to_owned(), topics.collect());
        }
        if let Some(traits) = profile.lorawan() {
            let class = traits.class.name();
            let every_secs = traits.uplink_every_secs;
            fields.insert(
                "lorawan".to_owned(),
                json!({ "class": class, "uplink_every_secs": every_secs }),
            );
        }
    }
    answer(json, &value, || text(profile))
}

fn protocol(profile: &CompiledProfile) -> &'static str {
    match (profile.register_reads(), profile.lorawan()) {
        (Some(_), _) => "Modbus",
        (None, Some(_)) => "LoRaWAN",
        (None, None) => "MQTT",
    }
}

fn text(profile: &CompiledProfile) -> String {
    let identity = profile.identity();
    let mut head = format!(
        "{} {} ({}): {} {}, {}\n",
        profile.id(),
        profile.version(),
        profile.status().name(),
        identity.manufacturer,
        identity.model_number,
        protocol(profile)
    );
    for source in profile.sources() {
        head.push_str(&format!("source: {source}\n"));
    }
    if let Some(traits) = profile.lorawan() {
        let (class, secs) = (traits.class.name(), traits.uplink_every_secs);
        head.push_str(&format!("class {class}, sends every {secs} s\n"));
    }
    for known in profile.topics() {
        head.push_str(&format!("topic: {}\n", known.topic.text()));
    }
    let mut points = Table::new(&[
        ("point", Align::Left),
        ("path", Align::Left),
        ("unit", Align::Left),
        ("class", Align::Left),
    ]);
    for point in profile.points() {
        points.row(vec![
            point.name.to_string(),
            point.path.to_string(),
            number::unit(&point.unit).to_owned(),
            class_name(point.class).to_owned(),
        ]);
    }
    let commands: String = profile
        .command_paths()
        .map(|path| format!("takes commands for {path}\n"))
        .collect();
    format!("{head}\n{points}{commands}")
}
