//! `check`: everything that is wrong with the configuration, or what it means.

use std::path::Path;

use serde_json::{Value as Json, json};
use ucifi_profiles::document::Diagnostic;

use super::output::{complain, print, print_json};
use super::table::{Align, Table};
use crate::config::{BufferBound, Loaded, Sources, read};
use crate::exit::{ExitStatus, Failure};
use crate::meaning::{BrokerMeaning, BufferMeaning, BusMeaning, LoRaWanMeaning, Meaning, meaning};
use crate::runtime::rehearse;

pub(super) fn check(config: &Path, json: bool) -> Result<(), Failure> {
    let loaded = match Sources::load(config).and_then(|sources| read(&sources)) {
        Ok(loaded) => loaded,
        Err(found) if json => {
            print_json(&json!({ "valid": false, "diagnostics": diagnostics_json(&found) }))?;
            return Err(Failure::said(ExitStatus::Invalid));
        }
        Err(found) => return Err(invalid(found)),
    };
    report(&loaded, json)
}

fn report(loaded: &Loaded, json: bool) -> Result<(), Failure> {
    rehearse(loaded).map_err(|error| Failure::new(ExitStatus::Invalid, error.to_string()))?;
    let meaning = meaning(&loaded.configuration);
    if json {
        let value = json!({
            "valid": true,
            "diagnostics": diagnostics_json(&loaded.warnings),
            "warnings": meaning.warnings,
            "meaning": meaning.to_json(),
        });
        return print_json(&value);
    }
    loaded
        .warnings
        .iter()
        .for_each(|warning| complain(&warning.to_string()));
    meaning
        .warnings
        .iter()
        .for_each(|warning| complain(&format!("warning: {warning}")));
    print(&text(&meaning))
}

/// Prints every diagnostic and returns the failure that ends the command.
pub(super) fn invalid(found: Vec<Diagnostic>) -> Failure {
    let errors = found.iter().filter(|d| d.is_error()).count();
    found
        .iter()
        .for_each(|diagnostic| complain(&diagnostic.to_string()));
    complain(&format!("{errors} error{}", if errors == 1 { "" } else { "s" }));
    Failure::said(ExitStatus::Invalid)
}

pub(super) fn diagnostics_json(found: &[Diagnostic]) -> Vec<Json> {
    let one = |d: &Diagnostic| {
        json!({
            "file": &*d.file,
            "line": d.line,
            "column": d.column,
            "severity": d.severity.to_string(),
            "message": d.message,
            "help": d.help,
        })
    };
    found.iter().map(one).collect()
}

fn text(meaning: &Meaning) -> String {
    let mut servers = Table::new(&[
        ("server", Align::Left),
        ("uri", Align::Left),
        ("model", Align::Left),
        ("endpoints", Align::Right),
        ("buffer", Align::Left),
    ]);
    for server in &meaning.servers {
        let count = meaning.endpoints.len().to_string();
        servers.row(vec![
            server.name.clone(),
            server.uri.clone(),
            server.model.clone(),
            count,
            bound_text(&server.buffer),
        ]);
    }
    let mut endpoints = Table::new(&[
        ("device", Align::Left),
        ("label", Align::Left),
        ("profile", Align::Left),
        ("link", Align::Left),
        ("points", Align::Right),
        ("endpoint", Align::Left),
    ]);
    for device in &meaning.endpoints {
        endpoints.row(vec![
            device.device.clone(),
            device.label.clone(),
            device.profile.clone(),
            device.link.clone(),
            device.points.to_string(),
            device.endpoint.clone(),
        ]);
    }
    let buffer = buffer_text(&meaning.buffer);
    let links: Vec<String> = [buses_text(&meaning.buses)]
        .into_iter()
        .chain([brokers_text(&meaning.brokers)])
        .chain(meaning.lorawan.as_ref().map(lorawan_text))
        .filter(|text| !text.is_empty())
        .collect();
    let links = links.join("\n");
    format!("the configuration is valid\n\n{servers}\n{links}\n{endpoints}\n{buffer}")
}

fn buses_text(all: &[BusMeaning]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut buses = Table::new(&[
        ("bus", Align::Left),
        ("port", Align::Left),
        ("writes", Align::Left),
        ("devices", Align::Right),
        ("requests/s", Align::Right),
        ("load", Align::Right),
    ]);
    for bus in all {
        buses.row(vec![
            bus.name.clone(),
            bus.port.clone(),
            writes_text(bus.writes),
            bus.devices.to_string(),
            format!("{:.1}", bus.load.requests_per_sec),
            bus.load
                .busy_share
                .map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
        ]);
    }
    buses.to_string()
}

/// What a broker repeats until it is acknowledged, and what it only keeps, is worth knowing where readings are owed.
fn brokers_text(all: &[BrokerMeaning]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut brokers = Table::new(&[
        ("broker", Align::Left),
        ("uri", Align::Left),
        ("mqtt", Align::Left),
        ("user", Align::Left),
        ("client id", Align::Left),
        ("writes", Align::Left),
        ("devices", Align::Right),
    ]);
    let mut topics = Table::new(&[
        ("broker", Align::Left),
        ("topic", Align::Left),
        ("qos", Align::Right),
        ("device", Align::Left),
    ]);
    for broker in all {
        brokers.row(vec![
            broker.name.clone(),
            broker.uri.clone(),
            broker.version.to_owned(),
            broker.username.clone().unwrap_or_else(|| "-".to_owned()),
            broker.client_id.clone(),
            writes_text(broker.writes),
            broker.devices.to_string(),
        ]);
        for topic in &broker.topics {
            topics.row(vec![
                broker.name.clone(),
                topic.topic.clone(),
                topic.qos.to_string(),
                topic.device.clone(),
            ]);
        }
    }
    format!(
        "{brokers}\n{topics}a message of QoS 1 or 2 is acknowledged when every server has its readings or they are on \
         disk; a retained one fills\nvalues that are missing, marked as old, and is sent to no server as a reading\n"
    )
}

fn lorawan_text(lorawan: &LoRaWanMeaning) -> String {
    let forwarders = if lorawan.forwarders.is_empty() {
        "any".to_owned()
    } else {
        lorawan.forwarders.join(" ")
    };
    let mut network = Table::new(&[
        ("lorawan", Align::Left),
        ("listen", Align::Left),
        ("forwarders", Align::Left),
        ("writes", Align::Left),
        ("devices", Align::Right),
    ]);
    network.row(vec![
        lorawan.region.to_owned(),
        lorawan.listen.clone(),
        forwarders,
        writes_text(lorawan.writes),
        lorawan.devices.len().to_string(),
    ]);
    let mut devices = Table::new(&[
        ("dev eui", Align::Left),
        ("device", Align::Left),
        ("activation", Align::Left),
        ("class", Align::Left),
        ("away after", Align::Right),
    ]);
    for device in &lorawan.devices {
        devices.row(vec![
            device.dev_eui.clone(),
            device.device.clone(),
            device.activation.to_owned(),
            device.class.to_owned(),
            format!("{} s", u64::from(device.uplink_every_secs) * 3),
        ]);
    }
    format!("{network}\n{devices}")
}

fn writes_text(writes: bool) -> String {
    if writes { "allow" } else { "deny" }.to_owned()
}

fn bound_text(bound: &BufferBound) -> String {
    let mb = bound.max_mb;
    bound.max_age_days.map_or_else(
        || format!("{mb} MiB"),
        |days| format!("{mb} MiB, {days} day{}", if days == 1 { "" } else { "s" }),
    )
}

fn buffer_text(buffer: &BufferMeaning) -> String {
    let BufferMeaning {
        folder,
        max_mb,
        power_cut_ms,
    } = buffer;
    let secs = *power_cut_ms as f64 / 1_000.0;
    format!(
        "while a server is away, its readings wait in {folder}, which takes at most {max_mb} MiB\n\
         a power cut costs at most the readings of the last {secs} s that no server has got (hold_ms + commit_ms); \
         nothing of what its\nsender repeats until it is acknowledged: MQTT of QoS 1 and 2, confirmed LoRaWAN uplinks\n"
    )
}
