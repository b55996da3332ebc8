//! A street of counting meters at a Leshan server that comes and goes: what was read is compared with what arrived.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cabinet::{
    Process, START_WITHIN, export_models, free_port, start_gateway, start_leshan, start_units,
};
use crate::json_process::JsonProcess;
use crate::wiretap::Wiretap;

/// The unit addresses of the meters.
pub(crate) const UNITS: std::ops::RangeInclusive<u8> = 11..=20;

/// What a meter measures: the paths of its two readings, a measurement and one that is billed.
pub(crate) const PATHS: [&str; 2] = ["/3418/0/4", "/3418/0/6"];

/// How often a meter was read, and when it answered, in milliseconds since 1970.
pub(crate) type Served = BTreeMap<u64, i64>;

/// Everything that runs; dropping it ends all processes.
pub(crate) struct Street {
    /// Between gateway and server.
    pub(crate) wire: Wiretap,
    leshan: Option<JsonProcess>,
    units: JsonProcess,
    gateway: Process,
    folder: tempfile::TempDir,
    models: PathBuf,
    port: u16,
    /// Every value that arrived: endpoint, path and number, with the times that it came with.
    arrived: BTreeMap<(String, String, u64), Vec<i64>>,
    /// What the server said beside values.
    events: Vec<Value>,
}

impl Street {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let bus = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let units = start_units(&bus.to_string())?;
        let models = folder.path().join("models");
        export_models(&models, "2026")?;
        let port = free_port()?;
        let leshan = start_leshan(port, &models)?;
        let wire = Wiretap::start(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let profiles = folder.path().join("profiles.d");
        std::fs::create_dir(&profiles)?;
        std::fs::write(profiles.join("counter.toml"), include_str!("counter.toml"))?;
        let text = configuration(&folder.path().display().to_string(), wire.port(), bus);
        std::fs::write(folder.path().join("gateway.toml"), text)?;
        let gateway = start_gateway(folder.path())?;
        Ok(Self {
            wire,
            leshan: Some(leshan),
            units,
            gateway,
            folder,
            models,
            port,
            arrived: BTreeMap::new(),
            events: Vec::new(),
        })
    }

    /// Returns the endpoint name of a meter.
    pub(crate) fn endpoint(unit: u8) -> String {
        format!("street-meter-{unit}")
    }

    /// Ends the server at once: it keeps nothing.
    pub(crate) fn stop_server(&mut self) {
        self.listen(Duration::ZERO);
        self.leshan = None;
    }

    pub(crate) fn start_server(&mut self) -> anyhow::Result<()> {
        self.leshan = Some(start_leshan(self.port, &self.models)?);
        Ok(())
    }

    pub(crate) fn kill_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway.kill()
    }

    /// Ends the gateway as systemd does, and returns its exit code.
    pub(crate) fn stop_gateway(&mut self) -> anyhow::Result<Option<i32>> {
        self.gateway.terminate()
    }

    pub(crate) fn start_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway = start_gateway(self.folder.path())?;
        Ok(())
    }

    /// Returns what a meter answered so far.
    pub(crate) fn served(&mut self, unit: u8) -> anyhow::Result<Served> {
        self.units.say(&json!({"served": {"unit": unit}}))?;
        let answer = self
            .units
            .wait_for("served", START_WITHIN, |line| line.get("served").is_some())?;
        let pairs: Vec<(u64, i64)> = serde_json::from_value(answer["served"].clone())?;
        Ok(pairs.into_iter().collect())
    }

    /// Waits until every meter was read `more` times from now on.
    pub(crate) fn read_times(&mut self, more: usize) -> anyhow::Result<()> {
        let goal = |unit| Ok((unit, self.served(unit)?.len() + more));
        let goals: Vec<(u8, usize)> = UNITS.map(goal).collect::<anyhow::Result<_>>()?;
        for (unit, goal) in goals {
            self.until(
                "a meter was read often enough",
                Duration::from_secs(180),
                |street| Ok(street.served(unit)?.len() >= goal),
            )?;
        }
        Ok(())
    }

    /// Returns the numbers that arrived from a meter, with the times that each came with.
    pub(crate) fn arrivals(&self, unit: u8, path: &str) -> BTreeMap<u64, Vec<i64>> {
        let endpoint = Self::endpoint(unit);
        self.arrived
            .iter()
            .filter(|((e, p, _), _)| *e == endpoint && p == path)
            .map(|((.., number), times)| (*number, times.clone()))
            .collect()
    }

    /// Returns what the server said beside values, from the `from`th line on.
    pub(crate) fn events(&self, from: usize) -> &[Value] {
        self.events.get(from..).unwrap_or_default()
    }

    /// Hears the server for a while and until something holds.
    pub(crate) fn until(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            self.listen(Duration::from_secs(1));
            if holds(self)? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{what}: not within {within:?}");
        }
    }

    /// Sends one request through the server and returns the answer.
    pub(crate) fn ask(&mut self, endpoint: &str, request: Value) -> anyhow::Result<Value> {
        self.listen(Duration::ZERO);
        let leshan = self.leshan.as_mut().context("the server is stopped")?;
        leshan.ask(endpoint, request, START_WITHIN)
    }

    /// Takes what the server says, for so long.
    fn listen(&mut self, within: Duration) {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.leshan.as_mut().map(|leshan| leshan.next_line(left)) {
                Some(Some(line)) => self.hear(line),
                Some(None) => return,
                // While the server is stopped nothing is said.
                None => return std::thread::park_timeout(left),
            }
        }
    }

    fn hear(&mut self, line: Value) {
        let path = line["path"].as_str().unwrap_or_default();
        if line["event"] == "send" && PATHS.contains(&path) {
            let number = line["value"].as_f64().unwrap_or(f64::NAN) as u64;
            let endpoint = line["endpoint"].as_str().unwrap_or_default().to_owned();
            let times = self
                .arrived
                .entry((endpoint, path.to_owned(), number))
                .or_default();
            times.push(line["time_ms"].as_i64().unwrap_or_default());
        } else {
            self.events.push(line);
        }
    }
}

fn configuration(folder: &str, port: u16, bus: u16) -> String {
    let mut text = format!(
        r#"
[gateway]
name = "street"
control_socket = "{folder}/control.sock"
state_dir = "{folder}/state"

[[server]]
name = "leshan"
uri = "coap://127.0.0.1:{port}"

[[bus]]
name = "tcp"
port = "tcp://127.0.0.1:{bus}"
"#
    );
    for unit in UNITS {
        text.push_str(&format!(
            "\n[[device]]\nid = \"meter-{unit}\"\nprofile = \"interop.counter\"\nbus = \"tcp\"\nunit = {unit}\n"
        ));
    }
    text
}
