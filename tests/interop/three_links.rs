//! One cabinet with all three kinds of links at a Leshan server: a relay board behind Modbus, a class C luminaire behind
//! a packet forwarder with a LoRaWAN stack that is not ours, a lamp behind mosquitto.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use ucifi_sim::radio::gadgets::{Luminaire, Street, StreetPlan};
use ucifi_sim::radio::{Forwarder, NodeConfig};

use crate::cabinet::{
    Process, START_WITHIN, export_models, free_port, start_gateway, start_leshan, start_units,
};
use crate::json_process::JsonProcess;
use crate::mosquitto::Mosquitto;

const DEV_EUI: [u8; 8] = [0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0, 0, 0x17];
const JOIN_EUI: [u8; 8] = [0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0, 0, 0];
const STREET_LAMP: &str = "urn:dev:eui64:70b3d57ed0000017";
const HALL_LAMP: &str = "three-hall";
/// The broker lets nobody tell it anything.
const ATTIC_LAMP: &str = "three-attic";
const RELAYS: &str = "three-relays";

/// Everything that runs; dropping it ends all processes.
struct Cabinet {
    leshan: JsonProcess,
    units: JsonProcess,
    hall: HallLamp,
    street: Street,
    _gateway: Process,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Cabinet {
    /// Starts everything, the broker being spoken to in this version.
    fn start(version: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let bus = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let units = start_units(&bus.to_string())?;
        let models = folder.path().join("models");
        export_models(&models, "2026")?;
        let (server, radio) = (free_port()?, free_port()?);
        let leshan = start_leshan(server, &models)?;
        let hall = HallLamp::start(Mosquitto::start_denying()?)?;
        let ports = [server, bus, hall.broker.address.port(), radio];
        let text = configuration(&folder.path().display().to_string(), version, ports);
        std::fs::write(folder.path().join("gateway.toml"), text)?;
        let gateway = start_gateway(folder.path())?;
        let runtime = Runtime::new()?;
        let node = NodeConfig {
            dev_eui: DEV_EUI,
            join_eui: JOIN_EUI,
            app_key: [0x17; 16],
            is_class_c: true,
            data_rate: 5,
            rx2_spreading_factor: Some(9),
        };
        let forwarder = Forwarder::new([0xAA, 0x55, 0x5A, 0, 0, 0, 1, 1], 0, 0, Instant::now());
        let plan = StreetPlan::new(17, Duration::from_secs(4)).with(node, Luminaire::new(100));
        let street = runtime.block_on(plan.start(forwarder, ([127, 0, 0, 1], radio).into()))?;
        Ok(Self {
            leshan,
            units,
            hall,
            street,
            _gateway: gateway,
            runtime,
            _folder: folder,
        })
    }

    /// Sends one request through the server and returns the answer.
    fn ask(&mut self, endpoint: &str, request: Value) -> anyhow::Result<Value> {
        self.leshan.ask(endpoint, request, START_WITHIN)
    }

    fn write(&mut self, endpoint: &str, path: &str, value: u64) -> anyhow::Result<Value> {
        self.ask(endpoint, json!({"op": "write", "path": path, "value": value}))
    }

    /// Waits until the server knows an instance of an endpoint. The lamp in the hall says again and again how it is: the
    /// gateway may not listen yet.
    fn announced(&mut self, endpoint: &str, instance: &str) -> anyhow::Result<()> {
        let what = format!("registration of {endpoint}");
        self.leshan.wait_for(&what, START_WITHIN, |line| {
            line["event"] == "registered" && line["endpoint"] == endpoint
        })?;
        let deadline = Instant::now() + START_WITHIN;
        loop {
            self.hall.say_state()?;
            let registration = self.ask(endpoint, json!({"op": "registration"}))?;
            if registration["links"].to_string().contains(instance) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{instance} was not announced: {registration}"
            );
        }
    }

    /// Repeats a write until it is answered with a status.
    fn write_until(&mut self, endpoint: &str, value: u64, status: u64) -> anyhow::Result<Value> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let answer = self.write(endpoint, "/3416/0/1", value)?;
            if answer["status"] == status {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "{value} is still answered {answer}");
        }
    }

    fn street_level(&self) -> Option<u8> {
        self.runtime.block_on(self.street.level(DEV_EUI))
    }

    fn coil(&mut self) -> anyhow::Result<bool> {
        self.units.say(&json!({"coils": {"unit": 2}}))?;
        let answer = self
            .units
            .wait_for("the coils", START_WITHIN, |line| line.get("coils").is_some())?;
        answer["coils"][0].as_bool().context("a board has coils")
    }
}

/// A lamp that zigbee2mqtt would speak for, at a mosquitto: it does what it is told and says so, as long as it is there.
struct HallLamp {
    broker: Arc<Mosquitto>,
    listener: Child,
    is_there: Arc<AtomicBool>,
}

impl HallLamp {
    fn start(broker: Mosquitto) -> anyhow::Result<Self> {
        let broker = Arc::new(broker);
        let is_there = Arc::new(AtomicBool::new(true));
        for lamp in ["hall", "attic"] {
            broker.publish_retained(
                &format!("zigbee2mqtt/{lamp}/availability"),
                r#"{"state":"online"}"#,
            )?;
        }
        let mut listener = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-t", "zigbee2mqtt/hall/set", "-p"])
            .arg(broker.address.port().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start mosquitto_sub, `.ci/peers` installs it")?;
        let told = BufReader::new(listener.stdout.take().context("no standard output")?);
        let (at, there) = (broker.clone(), is_there.clone());
        std::thread::spawn(move || {
            for line in told.lines().map_while(Result::ok) {
                let wanted: Value = serde_json::from_str(&line).unwrap_or_default();
                let brightness = wanted["brightness"].as_u64();
                if let Some(brightness) = brightness.filter(|_| there.load(Ordering::Relaxed)) {
                    // A broker that is gone ends the test elsewhere.
                    drop(say(&at, "hall", brightness));
                }
            }
        });
        Ok(Self {
            broker,
            listener,
            is_there,
        })
    }

    /// Says how it is, as it does now and then.
    fn say_state(&self) -> anyhow::Result<()> {
        say(&self.broker, "attic", 254)?;
        say(&self.broker, "hall", 254)
    }
}

impl Drop for HallLamp {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.listener.kill());
        drop(self.listener.wait());
    }
}

fn say(broker: &Mosquitto, lamp: &str, brightness: u64) -> anyhow::Result<()> {
    let state = if brightness > 0 { "ON" } else { "OFF" };
    let state = json!({"state": state, "brightness": brightness});
    broker.publish(&format!("zigbee2mqtt/{lamp}"), std::iter::once(state.to_string()))
}

fn configuration(folder: &str, version: &str, [server, bus, broker, radio]: [u16; 4]) -> String {
    format!(
        r#"
[gateway]
name = "three"
control_socket = "{folder}/control.sock"
state_dir = "{folder}/state"

[[server]]
name = "leshan"
uri = "coap://127.0.0.1:{server}"

[[bus]]
name = "tcp"
port = "tcp://127.0.0.1:{bus}"
writes = "allow"

[[broker]]
name = "local"
uri = "mqtt://127.0.0.1:{broker}"
version = "{version}"
writes = "allow"

[lorawan]
region = "EU868"
listen = "127.0.0.1:{radio}"
writes = "allow"

[[device]]
id = "relays"
profile = "waveshare.relay-8ch"
bus = "tcp"
unit = 2

[[device]]
id = "hall"
profile = "zigbee2mqtt.lamp"
broker = "local"
topic = "hall"

[[device]]
id = "attic"
profile = "zigbee2mqtt.lamp"
broker = "local"
topic = "attic"

[[device]]
id = "street"
profile = "nas.ul20xx"
dev_eui = "70B3D57ED0000017"
join_eui = "70B3D57ED0000000"
app_key = "17171717171717171717171717171717"
"#
    )
}

#[test]
fn every_device_is_there_with_its_objects_and_does_what_it_is_told() -> anyhow::Result<()> {
    let mut cabinet = Cabinet::start("3.1.1")?;
    cabinet.announced(RELAYS, "</3413/7>")?;
    cabinet.announced(HALL_LAMP, "</3416/0>")?;
    cabinet.announced(STREET_LAMP, "</3416/0>")?;

    let answer = cabinet.write(RELAYS, "/3413/0/3", 100)?;
    assert_eq!(answer["status"], 204, "{answer}");
    assert!(cabinet.coil()?);
    let answer = cabinet.write(HALL_LAMP, "/3416/0/1", 50)?;
    assert_eq!(answer["status"], 204, "{answer}");
    let level = cabinet.ask(HALL_LAMP, json!({"op": "read", "path": "/3416/0/3"}))?;
    assert_eq!(level["values"]["/3416/0/3"], 50, "{level}");
    let answer = cabinet.write(STREET_LAMP, "/3416/0/1", 30)?;
    assert_eq!(answer["status"], 204, "{answer}");
    assert_eq!(cabinet.street_level(), Some(30));

    for endpoint in [HALL_LAMP, STREET_LAMP] {
        for (path, value, status) in [
            ("/3416/0/1", 101, 400),
            ("/3416/0/4", 10, 405),
            ("/3416/1/1", 1, 404),
        ] {
            let answer = cabinet.write(endpoint, path, value)?;
            assert_eq!(answer["status"], status, "{path} of {endpoint}: {answer}");
        }
    }
    Ok(())
}

#[test]
fn whoever_switches_a_device_that_is_gone_is_told_so() -> anyhow::Result<()> {
    let mut cabinet = Cabinet::start("3.1.1")?;
    cabinet.announced(HALL_LAMP, "</3416/0>")?;
    cabinet.announced(STREET_LAMP, "</3416/0>")?;

    // It is told and does not say that it did it: nobody knows.
    cabinet.hall.is_there.store(false, Ordering::Relaxed);
    let answer = cabinet.write(HALL_LAMP, "/3416/0/1", 10)?;
    assert_eq!(answer["status"], 504, "{answer}");

    // The forwarder goes on, and no luminaire hears it: the command is durably queued and tried again.
    cabinet.runtime.block_on(cabinet.street.deafen());
    let answer = cabinet.write(STREET_LAMP, "/3416/0/1", 10)?;
    assert_eq!(answer["status"], 204, "{answer}");
    assert_eq!(cabinet.street_level(), Some(100));

    // Nobody is there who could be told.
    cabinet.hall.broker.stop()?;
    let answer = cabinet.write_until(HALL_LAMP, 10, 503)?;
    assert!(
        answer["max_age"].as_u64().is_some_and(|secs| secs <= 60),
        "{answer}"
    );
    cabinet.runtime.block_on(cabinet.street.cut_off());
    let answer = cabinet.write(STREET_LAMP, "/3416/0/1", 20)?;
    assert_eq!(answer["status"], 204, "{answer}");
    Ok(())
}

#[test]
fn what_a_broker_or_a_forwarder_refuses_is_answered_as_refused() -> anyhow::Result<()> {
    let mut cabinet = Cabinet::start("5")?;
    cabinet.announced(HALL_LAMP, "</3416/0>")?;
    cabinet.announced(STREET_LAMP, "</3416/0>")?;

    let answer = cabinet.write(HALL_LAMP, "/3416/0/1", 50)?;
    assert_eq!(answer["status"], 204, "{answer}");
    cabinet.announced(ATTIC_LAMP, "</3416/0>")?;
    let answer = cabinet.write(ATTIC_LAMP, "/3416/0/1", 50)?;
    assert_eq!(answer["status"], 500, "{answer}");

    let refuse = |cabinet: &Cabinet, error| {
        let refuse = cabinet.street.refuse_to_send(error);
        cabinet.runtime.block_on(refuse);
    };
    refuse(&cabinet, Some("TX_FREQ"));
    let answer = cabinet.write(STREET_LAMP, "/3416/0/1", 30)?;
    assert_eq!(answer["status"], 500, "{answer}");

    // It may be otherwise in a moment: the command is durably queued and tried again.
    refuse(&cabinet, Some("COLLISION_PACKET"));
    let answer = cabinet.write(STREET_LAMP, "/3416/0/1", 40)?;
    assert_eq!(answer["status"], 204, "{answer}");
    assert_eq!(cabinet.street_level(), Some(100));
    refuse(&cabinet, None);
    let deadline = Instant::now() + START_WITHIN;
    while cabinet.street_level() != Some(40) {
        ensure!(Instant::now() < deadline, "the command is not tried again");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
