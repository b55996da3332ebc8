//! `simulate` and a daemon beside it: what it prints is the configuration that makes the two meet.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::Path;
use lwm2m_client::object::ObjectTable;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ucifi_sim::mqtt::{Broker, tcp};
use ucifi_sim::server::io::{Running, start};
use ucifi_sim::server::{Event, LwM2mServer, Transmission};

use crate::site::PATIENCE;
use crate::{code, path_of, program, run, stderr, stdout};

/// A simulated device.
struct Simulated {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Simulated {
    /// Starts it; returns it with the configuration and the command that it prints.
    fn start(arguments: &[&str]) -> (Self, String, String) {
        let mut child = program(&[&["simulate"], arguments, &["--json"]].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut simulated = Self { child, lines };
        let ready = simulated.wait_for("ready", "");
        let part = |key: &str| ready[key].as_str().unwrap().to_owned();
        (simulated, part("configuration"), part("device_add"))
    }

    /// Waits for a line of this kind with this in its text.
    fn wait_for(&mut self, step: &str, part: &str) -> Json {
        loop {
            let line = self
                .lines
                .next()
                .unwrap_or_else(|| panic!("it ended without {step} {part}"));
            let line: Json = serde_json::from_str(&line.unwrap()).unwrap();
            let text = line["text"].as_str().unwrap();
            if line["step"] == step && text.contains(part) {
                return line;
            }
        }
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(mut self) {
        signal(&self.child, Signal::INT);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.wait_for("ended", "");
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A gateway with a server, configured by what a simulated device prints.
struct Cabinet {
    folder: TempDir,
    server: Running,
    runtime: Runtime,
    daemon: Option<Child>,
}

impl Cabinet {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = LwM2mServer::new(Arc::new(ObjectTable::builtin()), Transmission::default(), 1);
        let server = runtime
            .block_on(start(([127, 0, 0, 1], 0).into(), server))
            .unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            server,
            runtime,
            daemon: None,
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Configures the link as it is printed, adds the device by the command as it is printed, and starts the gateway.
    fn start(&mut self, configuration: &str, device_add: &str) {
        let (link, device) = configuration.split_once("[[device]]").unwrap();
        let base = format!(
            "[gateway]\nname = \"cab\"\nstate_dir = {:?}\ncontrol_socket = {:?}\n\n[[server]]\nname = \"test\"\n\
             uri = \"coap://{}\"\n\n",
            self.folder.path().join("state"),
            self.folder.path().join("control.sock"),
            self.server.address
        );
        fs::write(self.config(), format!("{base}{link}")).unwrap();
        let arguments = device_add.strip_prefix("ucifi-gateway ").unwrap();
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let added = program(&arguments)
            .args(["--config", path_of(&self.config())])
            .output()
            .unwrap();
        assert_eq!(code(&added), 0, "{}", stderr(&added));
        let id = arguments[2];
        let written = fs::read_to_string(self.folder.path().join(format!("devices.d/{id}.toml"))).unwrap();
        let mut lines: Vec<&str> = written.lines().collect();
        let mut shown: Vec<&str> = "[[device]]".lines().chain(device.trim().lines()).collect();
        lines.sort_unstable();
        shown.sort_unstable();
        assert_eq!(lines, shown);
        let daemon = program(&["run", "--config", path_of(&self.config())])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
    }

    fn wait_for_value(&mut self, path: Path) {
        let events = &mut self.server.events;
        let happened = async {
            while let Some(event) = events.recv().await {
                if let Event::Received { values, .. } = event
                    && values.iter().any(|value| value.path == path)
                {
                    return;
                }
            }
            panic!("the server has stopped");
        };
        let in_time = async { tokio::time::timeout(PATIENCE, happened).await };
        self.runtime.block_on(in_time).unwrap();
    }

    fn write(&self, device: &str, path: &str, value: &str) {
        let config = self.config();
        let output = program(&["write", device, path, value, "--config", path_of(&config)]).output();
        let output = output.unwrap();
        assert_eq!(code(&output), 0, "{} {}", stdout(&output), stderr(&output));
    }
}

impl Drop for Cabinet {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}

#[test]
fn a_unit_on_a_pseudo_terminal_is_read_and_switched() {
    let mut cabinet = Cabinet::new();
    let link = cabinet.folder.path().join("relays");
    let (mut relays, configuration, device_add) =
        Simulated::start(&["waveshare.relay-8ch", "--unit", "9", "--link", path_of(&link)]);
    assert!(
        configuration.contains(path_of(&link)) && configuration.contains("unit = 9"),
        "{configuration}"
    );
    cabinet.start(&configuration, &device_add);
    relays.wait_for("asked", "coils 0 to 7: relay_1 and 7 more");
    cabinet.wait_for_value(Path::resource(3413, 0, 2));
    cabinet.write("modbus-1", "/3413/3/3", "100");
    relays.wait_for("switched", "coil 3 on");
    relays.interrupt();
    assert!(fs::symlink_metadata(link).is_err());
}

#[test]
fn a_meter_shows_its_golden_frames_on_the_bus() {
    let mut cabinet = Cabinet::new();
    let (meter, configuration, device_add) = Simulated::start(&["eastron.sdm120", "--baud", "19200"]);
    cabinet.start(&configuration, &device_add);
    cabinet.wait_for_value(Path::resource(3421, 0, 1));
    meter.interrupt();
}

#[test]
fn a_plug_at_a_broker_is_heard_and_switched() {
    let mut cabinet = Cabinet::new();
    let broker = tcp::start(([127, 0, 0, 1], 0).into(), Broker::new(Instant::now()));
    let broker = cabinet.runtime.block_on(broker).unwrap();
    let uri = format!("mqtt://{}", broker.address);
    let (mut plug, configuration, device_add) = Simulated::start(&[
        "tasmota.plug",
        "--broker",
        &uri,
        "--device",
        "plug-7",
        "--every",
        "1",
    ]);
    plug.wait_for("connected", &uri);
    cabinet.start(&configuration, &device_add);
    cabinet.wait_for_value(Path::resource(3421, 0, 16));
    cabinet.write("mqtt-1", "/3413/0/3", "0");
    plug.wait_for("told", "cmnd/plug-7/POWER OFF");
    plug.wait_for("sent", "stat/plug-7/POWER OFF");
    plug.interrupt();
}

#[test]
fn a_lamp_in_the_air_joins_and_is_dimmed() {
    let mut cabinet = Cabinet::new();
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let key = cabinet.folder.path().join("lamp.key");
    let (mut lamp, configuration, device_add) = Simulated::start(&[
        "nas.ul20xx",
        "--gateway",
        &port,
        "--dev-eui",
        "02-00-00-00-00-00-00-2A",
        "--app-key-file",
        path_of(&key),
        "--every",
        "5",
    ]);
    let digits = fs::read_to_string(&key).unwrap();
    assert!(!configuration.contains(digits.trim()) && !device_add.contains(digits.trim()));
    cabinet.start(&configuration, &device_add);
    lamp.wait_for("joined", "");
    cabinet.wait_for_value(Path::resource(3416, 0, 3));
    cabinet.write("lorawan-1", "/3416/0/1", "30");
    lamp.wait_for("told", "the lamp is at 30 %");
    lamp.interrupt();
}

#[test]
fn a_broker_that_is_away_is_told_and_tried_again() {
    let runtime = Runtime::new().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (mut lamp, ..) = Simulated::start(&["zigbee2mqtt.lamp", "--broker", &format!("mqtt://{address}")]);
    lamp.wait_for("away", "it is tried again every 2 s");
    let _broker = runtime
        .block_on(tcp::start(address, Broker::new(Instant::now())))
        .unwrap();
    lamp.wait_for("connected", "");
    lamp.interrupt();
}

#[test]
fn what_cannot_be_played_is_refused_with_what_to_do() {
    let rows: [(&[&str], i32, &str); 5] = [
        (&["eastron.sdm63"], 7, "did you mean eastron.sdm630?"),
        (
            &["tasmota.plug", "--unit", "3"],
            2,
            "speaks MQTT, which has no --unit",
        ),
        (
            &["tasmota.plug", "--broker", "mqtts://x"],
            2,
            "TLS is not in this version",
        ),
        (&["nas.ul20xx", "--dev-eui", "12"], 2, "16 hex digits"),
        (&["./no/such.toml"], 3, "no/such.toml"),
    ];
    for (arguments, status, part) in rows {
        let output = run(&[&["simulate"], arguments].concat());
        assert_eq!(code(&output), status, "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(part),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_profile_in_a_file_is_played_like_one_that_is_known() {
    let profile = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../profiles/vendors/example/meter.toml"
    );
    let (meter, configuration, _) = Simulated::start(&[profile]);
    assert!(
        configuration.contains("profile = \"example.meter\""),
        "{configuration}"
    );
    meter.interrupt();
}

#[test]
fn people_get_the_blocks_and_a_line_for_each_thing() {
    let mut child = program(&["simulate", "eastron.sdm630"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("Ctrl-C ends it") {
        said.push_str(&lines.next().unwrap().unwrap());
        said.push('\n');
    }
    assert!(said.contains("    [[bus]]\n"), "{said}");
    assert!(
        said.contains(
            "    ucifi-gateway device add modbus-1 --profile eastron.sdm630 --bus rs485-1 --unit 1\n"
        ),
        "{said}"
    );
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let last = lines.next().unwrap().unwrap();
    assert!(last.ends_with("ended         0 requests were answered"), "{last}");
}
