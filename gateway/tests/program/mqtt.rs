//! MQTT devices and the daemon: from the broker to the server and back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use lwm2m_client::{Path, Value};
use serde_json::Value as Json;

use crate::broker::{Broker, Seen};
use crate::site::{PATIENCE, Site};
use crate::{path_of, program};

const SENSOR: &str = "tele/plug-1/SENSOR";
const ENERGY: Path = Path::resource(3421, 0, 25);

/// What a plug with metering says of itself: the example in Tasmota's documentation, with another total.
fn sensor(total: f64) -> String {
    let meter = r#""Yesterday":0.5,"Today":0.1,"Period":1,"Power":11,"ApparentPower":20,"ReactivePower":17,"Factor":0.55"#;
    format!(
        r#"{{"Time":"2026-01-11T15:03:04","ENERGY":{{"Total":{total},{meter},"Voltage":230,"Current":0.05}}}}"#
    )
}

/// Waits until the server has the energy that a plug with this total shows.
fn wait_for_energy(site: &mut Site, watt_hours: f64) {
    site.wait_for(|event| {
        let values = event.received().map_or(&[][..], |(_, values)| values);
        values
            .iter()
            .any(|value| value.path == ENERGY && value.value == Value::Float(watt_hours))
    });
}

/// Starts a site with a plug behind a broker.
fn start(broker: &Broker) -> Site {
    let site = Site::start_with(&format!(
        "[[broker]]\nname = \"local\"\nuri = \"mqtt://{}\"\nwrites = \"allow\"\n\n[[device]]\nid = \"plug\"\n\
         profile = \"tasmota.plug\"\nbroker = \"local\"\ntopic = \"plug-1\"\n",
        broker.address
    ));
    broker.wait_for(&Seen::Connected("cab-1-local".to_owned()));
    broker.wait_for_topics(&["tele/plug-1/SENSOR", "stat/plug-1/RESULT", "tele/plug-1/LWT"]);
    site
}

#[test]
fn a_message_is_acknowledged_when_the_server_has_its_readings() {
    let broker = Broker::start();
    let mut site = start(&broker);
    broker.send(SENSOR, &sensor(12.5), 7, false);
    wait_for_energy(&mut site, 12_500.0);
    broker.wait_for(&Seen::Acknowledged(7));
    let read = site.ask_json(&["read", "plug", "energy"]);
    assert_eq!(read["values"][0]["value"], 12_500.0, "{read}");

    let status = site.ask_json(&["status"]);
    assert_eq!(status["brokers"][0]["state"], "connected", "{status}");
    assert_eq!(status["brokers"][0]["acknowledged"], 1, "{status}");
    assert!(site.ask(&["status"]).1.contains("mqtt://"), "no broker in status");
    assert_eq!(site.terminate(), Some(0));
    broker.wait_for(&Seen::Gone);
}

#[test]
fn while_the_server_is_away_a_message_is_acknowledged_when_it_is_on_disk_and_outlives_a_kill() {
    let broker = Broker::start();
    let mut site = start(&broker);
    site.wait_for_value(Path::resource(3421, 0, 1));
    site.change(|manners| manners.silent = true);
    broker.send(SENSOR, &sensor(99.5), 8, false);
    broker.wait_for(&Seen::Acknowledged(8));
    site.kill();
    site.change(|manners| manners.silent = false);
    site.start_again();
    wait_for_energy(&mut site, 99_500.0);
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn what_is_taken_at_a_stop_is_acknowledged_before_the_end_or_comes_again() {
    let broker = Broker::start();
    let mut site = start(&broker);
    site.change(|manners| manners.silent = true);
    broker.send(SENSOR, &sensor(1.5), 9, false);
    broker.wait_for(&Seen::Acknowledged(9));
    assert_eq!(site.terminate(), Some(0));
    broker.wait_for(&Seen::Gone);
}

#[test]
fn a_relay_behind_a_broker_is_switched_and_what_it_then_says_confirms_it() {
    let broker = Broker::start();
    let mut site = start(&broker);
    let mut writing = spawn(&site, &["write", "plug", "/3413/0/3", "100"]);
    broker.wait_for(&Seen::Published("cmnd/plug-1/POWER".to_owned(), b"ON".to_vec()));
    broker.send("stat/plug-1/RESULT", r#"{"POWER":"ON"}"#, 10, false);
    assert_eq!(writing.wait().unwrap().code(), Some(0));
    let read = site.ask_json(&["read", "plug", "/3413/0/2"]);
    assert_eq!(read["values"][0]["value"], 100, "{read}");
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn a_device_that_is_not_configured_is_shown_as_unknown() {
    let broker = Broker::start();
    let mut site = start(&broker);
    broker.send("tele/plug-9/SENSOR", &sensor(1.0), 11, false);
    broker.wait_for(&Seen::Acknowledged(11));
    let unknown = site.ask_json(&["devices", "--unknown"]);
    assert_eq!(unknown["unknown"][0]["device"], "plug-9", "{unknown}");
    assert!(site.ask(&["devices", "--unknown"]).1.contains("device add"));
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn a_trace_shows_a_frame_its_readings_and_their_way_to_the_server() {
    let broker = Broker::start();
    let mut site = start(&broker);
    site.wait_for_value(Path::resource(3421, 0, 1));
    let mut tracing = spawn(&site, &["trace", "plug", "--json"]);
    let mut lines = BufReader::new(tracing.stdout.take().unwrap()).lines();
    // Who watches is known before a status that is asked after it.
    let watching = |site: &Site| site.ask_json(&["status"])["watchers"] == 1;
    let end = Instant::now() + PATIENCE;
    while !watching(&site) {
        assert!(Instant::now() < end, "nobody watches");
    }
    broker.send(SENSOR, &sensor(12.5), 7, false);
    let mut wanted = vec![
        ("frame", "tele/plug-1/SENSOR {\"Time\""),
        ("reading", "/3421/0/25 energy = 12500 Wh"),
        ("sent", "test Send"),
        ("acknowledged", "test 2.04"),
    ];
    while !wanted.is_empty() {
        let line: Json = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let text = line["text"].as_str().unwrap();
        wanted.retain(|(step, part)| line["step"] != *step || !text.contains(part));
    }
    tracing.kill().unwrap();
    tracing.wait().unwrap();
    let (code, _, complained) = site.ask(&["trace", "plux"]);
    assert_eq!(code, 7, "{complained}");
    assert_eq!(site.terminate(), Some(0));
}

fn spawn(site: &Site, arguments: &[&str]) -> Child {
    let mut command: Command = program(arguments);
    command
        .args(["--socket", path_of(&site.socket())])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// No secret stands in what `check` says or in a diagnostic.
#[test]
fn a_password_is_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(folder.path().join("pw"), "hunter2\n").unwrap();
    fs::write(
        &file,
        "[gateway]\nname = \"c\"\n[[broker]]\nname = \"b\"\nuri = \"mqtt://127.0.0.1\"\nusername = \"lamplighter\"\n\
         password_file = \"pw\"\n",
    )
    .unwrap();
    for arguments in [&["check"][..], &["check", "--json"]] {
        let output = program(arguments)
            .args(["--config", path_of(&file)])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        let said = format!("{}{}", crate::stdout(&output), crate::stderr(&output));
        assert!(
            said.contains("lamplighter") && !said.contains("hunter2"),
            "{said}"
        );
    }
}
