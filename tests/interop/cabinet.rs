//! A cabinet of real parts: pymodbus units behind a socat pty, the gateway binary, a Leshan server.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::json_process::JsonProcess;

pub(crate) const START_WITHIN: Duration = Duration::from_secs(90);

/// Everything that runs; dropping it ends all processes.
pub(crate) struct Cabinet {
    pub(crate) leshan: JsonProcess,
    pub(crate) units: JsonProcess,
    gateway: Process,
    /// The serial line, where the units hang on one.
    _line: Option<Process>,
    folder: tempfile::TempDir,
}

impl Cabinet {
    /// Starts all parts with units on a serial line, the server's models and the gateway's `model` being the same.
    pub(crate) fn start(model: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let line = serial_line(folder.path())?;
        let end = |name: &str| folder.path().join(name).display().to_string();
        let (units, bus) = (
            end("units"),
            format!("port = \"{}\"\nbaud = 9600\nformat = \"8N1\"", end("gateway")),
        );
        Self::start_with(model, folder, Some(line), &units, &bus)
    }

    /// Starts all parts with units behind Modbus TCP.
    pub(crate) fn start_tcp(model: &str) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let bus = format!("port = \"tcp://127.0.0.1:{port}\"");
        Self::start_with(model, tempfile::tempdir()?, None, &port.to_string(), &bus)
    }

    fn start_with(
        model: &str,
        folder: tempfile::TempDir,
        line: Option<Process>,
        units: &str,
        bus: &str,
    ) -> anyhow::Result<Self> {
        let units = start_units(units)?;
        let models = folder.path().join("models");
        export_models(&models, model)?;
        let port = free_port()?;
        let leshan = start_leshan(port, &models)?;
        let profiles = folder.path().join("profiles.d");
        std::fs::create_dir(&profiles)?;
        std::fs::write(profiles.join("feeder.toml"), include_str!("feeder.toml"))?;
        write_configuration(folder.path(), model, port, bus)?;
        let gateway = start_gateway(folder.path())?;
        Ok(Self {
            leshan,
            units,
            gateway,
            _line: line,
            folder,
        })
    }

    /// Waits for the registration of an endpoint and returns it.
    pub(crate) fn registered(&mut self, endpoint: &str) -> anyhow::Result<Value> {
        self.hears("registered", endpoint)
    }

    /// Waits until the server hears of an endpoint what it calls `event`, and returns it.
    pub(crate) fn hears(&mut self, event: &str, endpoint: &str) -> anyhow::Result<Value> {
        self.leshan
            .wait_for(&format!("{event} of {endpoint}"), START_WITHIN, |line| {
                line["event"] == event && line["endpoint"] == endpoint
            })
    }

    /// Waits until the server knows all these instances of an endpoint, and returns the registration.
    pub(crate) fn announced(&mut self, endpoint: &str, instances: &[&str]) -> anyhow::Result<Value> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let registration = self.ask(endpoint, json!({"op": "registration"}))?;
            let links = registration["links"].to_string();
            if instances.iter().all(|instance| links.contains(instance)) {
                return Ok(registration);
            }
            ensure!(
                Instant::now() < deadline,
                "{instances:?} of {endpoint} were not announced: {registration}"
            );
        }
    }

    /// Sends one request through the server and returns the answer.
    pub(crate) fn ask(&mut self, endpoint: &str, request: Value) -> anyhow::Result<Value> {
        self.leshan.ask(endpoint, request, START_WITHIN)
    }

    /// Sets input registers of a meter from big-endian floats, starting at `address`.
    pub(crate) fn set_meter(&mut self, unit: u8, address: u16, values: &[f32]) -> anyhow::Result<()> {
        let words: Vec<u16> = values
            .iter()
            .flat_map(|v| {
                let bits = v.to_bits();
                [(bits >> 16) as u16, bits as u16]
            })
            .collect();
        self.ask_units(&json!({"set": {"unit": unit, "address": address, "words": words}}))
            .map(drop)
    }

    /// Returns the coils of a board as the board itself sees them.
    pub(crate) fn coils(&mut self, unit: u8) -> anyhow::Result<Vec<bool>> {
        let answer = self.ask_units(&json!({"coils": {"unit": unit}}))?;
        Ok(serde_json::from_value(answer["coils"].clone())?)
    }

    pub(crate) fn refuse_writes(&mut self, unit: u8) -> anyhow::Result<()> {
        self.ask_units(&json!({"refuse": {"unit": unit}})).map(drop)
    }

    pub(crate) fn silence(&mut self, unit: u8) -> anyhow::Result<()> {
        self.ask_units(&json!({"silence": {"unit": unit}})).map(drop)
    }

    /// Repeats a request until it is answered with `status`, and returns that answer.
    pub(crate) fn wait_for_code(
        &mut self,
        endpoint: &str,
        request: Value,
        status: u64,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let answer = self.ask(endpoint, request.clone())?;
            if answer["status"] == status {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "{request} is still answered {answer}");
        }
    }

    fn ask_units(&mut self, request: &Value) -> anyhow::Result<Value> {
        self.units.say(request)?;
        self.units
            .wait_for(&format!("answer to {request}"), START_WITHIN, |line| {
                line.get("ready").is_none()
            })
    }

    /// Runs a command of the gateway's CLI against the running daemon and returns its JSON.
    pub(crate) fn cli(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = Command::new(gateway_binary()?)
            .args(arguments)
            .args(["--json", "--config"])
            .arg(self.folder.path().join("gateway.toml"))
            .output()?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Asks the gateway to end as systemd would, and returns its exit code.
    pub(crate) fn stop_gateway(&mut self) -> anyhow::Result<Option<i32>> {
        self.gateway.terminate()
    }

    /// Replaces a text in the configuration.
    pub(crate) fn configure(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let path = self.folder.path().join("gateway.toml");
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(from), "the configuration has no {from:?}");
        Ok(std::fs::write(path, text.replacen(from, to, 1))?)
    }

    /// Starts the gateway again.
    pub(crate) fn start_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway = start_gateway(self.folder.path())?;
        Ok(())
    }
}

/// A child that dies with its owner.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn terminate(&mut self) -> anyhow::Result<Option<i32>> {
        let status = Command::new("kill").arg(self.0.id().to_string()).status()?;
        ensure!(status.success(), "cannot signal process {}", self.0.id());
        Ok(self.0.wait()?.code())
    }
}

impl Process {
    /// Ends it as the kernel does when memory runs out: it is told nothing.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Two ends of a serial line in `folder`: `units` and `gateway`.
fn serial_line(folder: &Path) -> anyhow::Result<Process> {
    let end = |name: &str| format!("pty,raw,echo=0,link={}", folder.join(name).display());
    let process = Process(
        Command::new("socat")
            .args([end("units"), end("gateway")])
            .spawn()
            .context("socat")?,
    );
    let deadline = Instant::now() + START_WITHIN;
    while !(folder.join("units").exists() && folder.join("gateway").exists()) {
        ensure!(Instant::now() < deadline, "socat made no pty");
        std::thread::yield_now();
    }
    Ok(process)
}

pub(crate) fn start_units(port: &str) -> anyhow::Result<JsonProcess> {
    let python = std::env::var("UCIFI_PYTHON").context("UCIFI_PYTHON names a Python with pymodbus")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/modbus_units.py");
    let mut units = JsonProcess::start("pymodbus", Command::new(python).arg(script).arg(port))?;
    units.wait_for("start", START_WITHIN, |line| line["ready"] == true)?;
    Ok(units)
}

pub(crate) fn export_models(folder: &Path, model: &str) -> anyhow::Result<()> {
    let output = Command::new(gateway_binary()?)
        .args(["objects", "export"])
        .arg(folder)
        .args(["--model", model])
        .output()?;
    ensure!(
        output.status.success(),
        "objects export: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

pub(crate) fn start_leshan(port: u16, models: &Path) -> anyhow::Result<JsonProcess> {
    let target = std::env::var("UCIFI_LESHAN").context("UCIFI_LESHAN names the built Leshan peer")?;
    let mut leshan = JsonProcess::start(
        "Leshan",
        Command::new("java")
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(format!("{target}/classes:{target}/dependency/*"))
            .arg("ucifi.LeshanPeer")
            .arg(port.to_string())
            .arg(models),
    )?;
    leshan.wait_for("start", START_WITHIN, |line| line["event"] == "ready")?;
    Ok(leshan)
}

fn write_configuration(folder: &Path, model: &str, port: u16, bus: &str) -> anyhow::Result<()> {
    let folder_text = folder.display();
    let main = format!(
        r#"
[gateway]
name = "cab-17"
control_socket = "{folder_text}/control.sock"
state_dir = "{folder_text}/state"

[[server]]
name = "leshan"
uri = "coap://127.0.0.1:{port}"
model = "{model}"
lifetime_secs = 300

[[bus]]
name = "rs485-1"
{bus}
writes = "allow"

[[device]]
id = "meter"
profile = "eastron.sdm630"
bus = "rs485-1"
unit = 1
label = "Feeder A"

[[device]]
id = "relays"
profile = "waveshare.relay-8ch"
bus = "rs485-1"
unit = 2

[[device]]
id = "feeder"
profile = "interop.feeder"
bus = "rs485-1"
unit = 4

[[device]]
id = "stubborn"
profile = "waveshare.relay-8ch"
bus = "rs485-1"
unit = 3
"#
    );
    Ok(std::fs::write(folder.join("gateway.toml"), main)?)
}

pub(crate) fn start_gateway(folder: &Path) -> anyhow::Result<Process> {
    let child = Command::new(gateway_binary()?)
        .args(["run", "--config"])
        .arg(folder.join("gateway.toml"))
        .spawn()
        .context("the gateway")?;
    Ok(Process(child))
}

/// The binary that was built beside this test: `target/<profile>/ucifi-gateway`.
fn gateway_binary() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test
        .ancestors()
        .nth(2)
        .context("a test runs from target/<profile>/deps")?;
    let binary = folder.join("ucifi-gateway");
    if !binary.exists() {
        bail!(
            "{} is missing: run cargo build -p ucifi-gateway first",
            binary.display()
        );
    }
    Ok(binary)
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}
