//! The commands that ask a running gateway.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::arguments::{
    ClientOptions, DeregisterOptions, DevicesOptions, ExecOptions, ReadOptions, WriteOptions,
};
use super::number;
use super::output::answer;
use super::table::{Align, Table};
use crate::config::{DEFAULT_SOCKET, Sources, read as read_configuration};
use crate::control::{Reply, Request, ask};
use crate::exit::{ExitStatus, Failure};

pub(super) fn status(config: &Path, options: &ClientOptions) -> Result<(), Failure> {
    let value = request(config, options, &Request::Status {})?;
    answer(options.json, &value, || status_text(&value))
}

pub(super) fn devices(config: &Path, options: &DevicesOptions) -> Result<(), Failure> {
    let client = &options.client;
    if options.unknown {
        let value = request(config, client, &Request::Unknown {})?;
        return answer(client.json, &value, || unknown_text(&value));
    }
    let value = request(config, client, &Request::Devices {})?;
    answer(client.json, &value, || devices_text(&value))
}

pub(super) fn read(config: &Path, options: &ReadOptions) -> Result<(), Failure> {
    let asked = Request::Read {
        device: options.device.clone(),
        target: options.target.clone(),
    };
    let value = request(config, &options.client, &asked)?;
    answer(options.client.json, &value, || values_text(&value))
}

pub(super) fn write(config: &Path, options: &WriteOptions) -> Result<(), Failure> {
    let asked = Request::Write {
        device: options.device.clone(),
        target: options.target.clone(),
        value: options.value.clone(),
    };
    let value = request(config, &options.client, &asked)?;
    answer(options.client.json, &value, || outcome_text(&value))
}

pub(super) fn exec(config: &Path, options: &ExecOptions) -> Result<(), Failure> {
    let asked = Request::Exec {
        device: options.device.clone(),
        target: options.path.clone(),
        arguments: options.arguments.clone(),
    };
    let value = request(config, &options.client, &asked)?;
    answer(options.client.json, &value, || outcome_text(&value))
}

pub(super) fn deregister(config: &Path, options: &DeregisterOptions) -> Result<(), Failure> {
    let asked = Request::Deregister {
        device: options.device.clone(),
    };
    let value = request(config, &options.client, &asked)?;
    answer(options.client.json, &value, || {
        let names: Vec<String> = rows(&value, "endpoints").iter().map(plain).collect();
        format!("leaving: {}\n", names.join(", "))
    })
}

pub(super) fn request(config: &Path, options: &ClientOptions, request: &Request) -> Result<Json, Failure> {
    let socket = socket(config, options);
    let reply = ask(&socket, request).map_err(|e| Failure::new(ExitStatus::NoGateway, e.to_string()))?;
    match reply {
        Reply::Ok(value) => Ok(value),
        Reply::Error(problem) => Err(problem.into()),
    }
}

/// The socket that is meant.
pub(super) fn socket(config: &Path, options: &ClientOptions) -> PathBuf {
    let named = options.socket.clone();
    named.unwrap_or_else(|| configured_socket(config))
}

/// The socket that the configuration names; the usual one where the configuration cannot be read by this person.
fn configured_socket(config: &Path) -> PathBuf {
    let loaded = Sources::load(config).and_then(|sources| read_configuration(&sources));
    loaded.map_or_else(
        |_| DEFAULT_SOCKET.into(),
        |loaded| loaded.configuration.gateway.control_socket,
    )
}

fn status_text(value: &Json) -> String {
    let mut endpoints = Table::new(&[
        ("server", Align::Left),
        ("endpoint", Align::Left),
        ("state", Align::Left),
        ("observed", Align::Right),
        ("waiting", Align::Right),
        ("buffered", Align::Right),
        ("oldest", Align::Left),
        ("delivered", Align::Right),
        ("dropped", Align::Right),
        ("last error", Align::Left),
    ]);
    fill(
        &mut endpoints,
        rows(value, "endpoints"),
        &[
            "server",
            "endpoint",
            "state",
            "observations",
            "waiting",
            "buffered",
            "oldest",
            "delivered",
            "dropped",
            "last_error",
        ],
    );
    let buses = buses_text(value);
    let brokers = brokers_text(value);
    let radio = radio_text(&value["lorawan"]);
    let clock = if value["clock_set"] == true {
        "set"
    } else {
        "not set"
    };
    let head = format!(
        "{} {}, up {}, clock {clock}\n",
        plain(&value["name"]),
        plain(&value["version"]),
        age(value["uptime_ms"].as_u64()),
    );
    let disk = disk_text(&value["disk"]);
    format!("{head}{disk}\n{endpoints}{buses}{brokers}{radio}")
}

fn buses_text(value: &Json) -> String {
    if rows(value, "buses").is_empty() {
        return String::new();
    }
    let mut buses = Table::new(&[
        ("bus", Align::Left),
        ("port", Align::Left),
        ("state", Align::Left),
        ("load %", Align::Right),
        ("requests", Align::Right),
        ("answered", Align::Right),
        ("timeouts", Align::Right),
        ("corrupt", Align::Right),
        ("exceptions", Align::Right),
    ]);
    fill(
        &mut buses,
        rows(value, "buses"),
        &[
            "name",
            "port",
            "state",
            "load_percent",
            "requests",
            "ok",
            "timeouts",
            "crc_errors",
            "exceptions",
        ],
    );
    format!("\n{buses}")
}

fn radio_text(value: &Json) -> String {
    if value.is_null() {
        return String::new();
    }
    let mut forwarders = Table::new(&[
        ("forwarder", Align::Left),
        ("address", Align::Left),
        ("heard", Align::Right),
        ("frames", Align::Right),
        ("corrupt", Align::Right),
        ("sent", Align::Right),
        ("refused", Align::Right),
    ]);
    for row in rows(value, "forwarders") {
        forwarders.row(vec![
            plain(&row["eui"]),
            plain(&row["address"]),
            age(row["heard_age_ms"].as_u64()),
            plain(&row["frames"]),
            plain(&row["crc_errors"]),
            plain(&row["sent"]),
            plain(&row["refused"]),
        ]);
    }
    let counted = |key: &str| plain(&value[key]);
    format!(
        "\nlorawan: {}; uplinks {}, joins {}, commands {}, refused frames {}, unknown senders {}\n{forwarders}",
        counted("state"),
        counted("uplinks"),
        counted("joins"),
        counted("commands"),
        counted("refused"),
        counted("unknown"),
    )
}

fn brokers_text(value: &Json) -> String {
    let all = rows(value, "brokers");
    if all.is_empty() {
        return String::new();
    }
    let mut brokers = Table::new(&[
        ("broker", Align::Left),
        ("uri", Align::Left),
        ("state", Align::Left),
        ("messages", Align::Right),
        ("acked", Align::Right),
        ("waiting", Align::Right),
        ("repeated", Align::Right),
        ("retained", Align::Right),
        ("published", Align::Right),
        ("refused", Align::Right),
    ]);
    fill(
        &mut brokers,
        all,
        &[
            "name",
            "uri",
            "state",
            "messages",
            "acknowledged",
            "unsettled",
            "repeated",
            "retained",
            "published",
            "publishes_refused",
        ],
    );
    format!("\n{brokers}")
}

/// Says what cannot be written to disk, where anything cannot.
fn disk_text(disk: &Json) -> String {
    let rows = [
        (
            "buffer_failure",
            "the buffer cannot be written, readings wait in memory only",
        ),
        ("state_failure", "the state cannot be written"),
    ];
    let failures = rows.iter().filter_map(|(key, what)| {
        let reason = disk[*key].as_str()?;
        Some(format!("{what}: {reason}\n"))
    });
    failures.collect()
}

fn devices_text(value: &Json) -> String {
    let mut table = Table::new(&[
        ("device", Align::Left),
        ("label", Align::Left),
        ("profile", Align::Left),
        ("link", Align::Left),
        ("state", Align::Left),
        ("last frame", Align::Right),
        ("faults", Align::Right),
        ("objects", Align::Left),
    ]);
    for device in rows(value, "devices") {
        let objects: Vec<String> = rows(device, "instances").iter().map(plain).collect();
        table.row(vec![
            plain(&device["id"]),
            plain(&device["label"]),
            plain(&device["profile"]),
            plain(&device["link"]),
            plain(&device["state"]),
            age(device["last_frame_age_ms"].as_u64()),
            plain(&device["faults"]),
            objects.join(" "),
        ]);
    }
    table.to_string()
}

fn unknown_text(value: &Json) -> String {
    let all = rows(value, "unknown");
    if all.is_empty() {
        return "nothing was heard of devices that are not configured\n".to_owned();
    }
    let mut table = Table::new(&[
        ("link", Align::Left),
        ("device", Align::Left),
        ("heard", Align::Left),
        ("times", Align::Right),
        ("last", Align::Right),
    ]);
    for row in all {
        table.row(vec![
            plain(&row["link"]),
            plain(&row["device"]),
            plain(&row["heard"]),
            plain(&row["count"]),
            age(row["age_ms"].as_u64()),
        ]);
    }
    let options = all.iter().filter_map(|row| row["add"].as_str());
    let commands: Vec<String> = options
        .map(|options| format!("ucifi-gateway device add ID --profile PROFILE {options}\n"))
        .collect();
    if commands.is_empty() {
        return table.to_string();
    }
    format!("{table}\nnext: {}", commands.join("      "))
}

fn values_text(value: &Json) -> String {
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("path", Align::Left),
        ("value", Align::Right),
        ("unit", Align::Left),
        ("age", Align::Right),
        ("quality", Align::Left),
    ]);
    for row in rows(value, "values") {
        table.row(vec![
            plain(&row["name"]),
            plain(&row["path"]),
            plain(&row["value"]),
            number::unit(&plain(&row["unit"])).to_owned(),
            age(row["age_ms"].as_u64()),
            plain(&row["quality"]),
        ]);
    }
    table.to_string()
}

fn outcome_text(value: &Json) -> String {
    format!(
        "{} {}: {}\n",
        plain(&value["device"]),
        plain(&value["path"]),
        plain(&value["outcome"])
    )
}

fn rows<'v>(value: &'v Json, key: &str) -> &'v [Json] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn fill(table: &mut Table, rows: &[Json], keys: &[&str]) {
    for row in rows {
        table.row(keys.iter().map(|key| plain(&row[*key])).collect());
    }
}

fn plain(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) if text.is_empty() => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(number) => number::text(number),
        Json::Bool(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}

fn age(ms: Option<u64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms @ 0..=9_999) => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        Some(ms @ 10_000..=119_999) => format!("{} s", ms / 1_000),
        Some(ms @ 120_000..=7_199_999) => format!("{} min", ms / 60_000),
        Some(ms @ 7_200_000..=172_799_999) => format!("{} h", ms / 3_600_000),
        Some(ms) => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        let rows = [
            (0, "0.0 s"),
            (1_250, "1.2 s"),
            (61_000, "61 s"),
            (600_000, "10 min"),
            (10_800_000, "3 h"),
        ];
        for (ms, text) in rows {
            assert_eq!(age(Some(ms)), text);
        }
        assert_eq!(age(None), "-");
    }

    #[test]
    fn values_stand_in_columns_and_what_is_missing_is_a_dash() {
        let value = json!({ "values": [
            { "name": "u_l1", "path": "/3421/0/1", "value": 230.5, "unit": "V", "age_ms": 800, "quality": "good" },
            { "name": "imp", "path": "/3421/0/25", "value": null, "unit": "Wh", "age_ms": null, "quality": null },
            { "name": "dim", "path": "/3416/0/1", "value": 40, "unit": "/100", "age_ms": 100, "quality": "good" },
        ]});
        let text = "NAME  PATH        VALUE  UNIT    AGE  QUALITY\n\
                    u_l1  /3421/0/1   230.5  V     0.8 s  good\n\
                    imp   /3421/0/25      -  Wh        -  -\n\
                    dim   /3416/0/1      40  %     0.1 s  good\n";
        assert_eq!(values_text(&value), text);
    }
}
