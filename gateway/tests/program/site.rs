//! A daemon between a pseudo-terminal and a server on loopback, as tests start it, stop it, kill it and start it again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::Path;
use lwm2m_client::object::ObjectTable;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ucifi_core::field::Table;
use ucifi_sim::modbus_unit::Unit;
use ucifi_sim::serial_line::{Line, pty};
use ucifi_sim::server::io::{Running, start};
use ucifi_sim::server::{ClientView, Event, LwM2mServer, Manners, Transmission};

use crate::{code, path_of, program, stderr, stdout};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon with its surroundings.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) line: pty::Running,
    pub(crate) server: Running,
    daemon: Child,
    log: BufReader<ChildStderr>,
    pub(crate) runtime: Runtime,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::start_as(&[], "")
    }

    /// Starts it with variables in its environment.
    pub(crate) fn start_in(environment: &[(&str, &str)]) -> Self {
        Self::start_as(environment, "")
    }

    /// Starts it with more in its configuration.
    pub(crate) fn start_with(more: &str) -> Self {
        Self::start_as(&[], more)
    }

    fn start_as(environment: &[(&str, &str)], more: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let (line, server) = runtime.block_on(async {
            let line = Line::new(9600, 10, 1, Instant::now())
                .with_unit(Unit::sdm630(1))
                .with_unit(Unit::relay_board(2));
            let objects = Arc::new(ObjectTable::builtin());
            let server = LwM2mServer::new(objects, Transmission::default(), 1);
            let server = start(([127, 0, 0, 1], 0).into(), server).await.unwrap();
            (pty::start(line).unwrap(), server)
        });
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("gateway.toml"),
            configuration(&folder, &line, &server) + more,
        )
        .unwrap();
        let (daemon, log) = start_daemon(&folder, environment);
        Self {
            folder,
            line,
            server,
            daemon,
            log,
            runtime,
        }
    }

    /// Starts the daemon again, after it was stopped or killed.
    pub(crate) fn start_again(&mut self) {
        (self.daemon, self.log) = start_daemon(&self.folder, &[]);
    }

    /// Kills the daemon.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    /// Replaces a part of the configuration.
    pub(crate) fn reconfigure(&self, old: &str, new: &str) {
        let file = self.folder.path().join("gateway.toml");
        let before = fs::read_to_string(&file).unwrap();
        assert!(before.contains(old), "{before}");
        fs::write(file, before.replace(old, new)).unwrap();
    }

    /// Returns the folder of what outlives the daemon.
    pub(crate) fn state_dir(&self) -> PathBuf {
        state_dir(&self.folder)
    }

    /// Returns the clients that the server knows.
    pub(crate) fn clients(&self) -> Vec<ClientView> {
        self.runtime.block_on(self.server.handle.clients()).unwrap()
    }

    /// Changes how the server behaves.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Manners) + Send + 'static) {
        self.runtime.block_on(self.server.handle.change(change)).unwrap();
    }

    /// Waits until something happens at the server.
    pub(crate) fn wait_for(&mut self, mut what: impl FnMut(&Event) -> bool) {
        let events = &mut self.server.events;
        let happened = async {
            while let Some(event) = events.recv().await {
                if what(&event) {
                    return;
                }
            }
            panic!("the server has stopped");
        };
        let in_time = async { tokio::time::timeout(PATIENCE, happened).await };
        self.runtime.block_on(in_time).unwrap();
    }

    /// Waits until the server has got a value.
    pub(crate) fn wait_for_value(&mut self, path: Path) {
        self.wait_for(|event| {
            let Event::Received { values, .. } = event else {
                return false;
            };
            values.iter().any(|value| value.path == path)
        });
    }

    /// Waits for a line in the log.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(
                self.log.read_line(&mut line).unwrap(),
                0,
                "the log ended without {text:?}"
            );
        }
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let socket = self.socket();
        let output = program(arguments)
            .args(["--socket", path_of(&socket)])
            .output()
            .unwrap();
        (code(&output), stdout(&output), stderr(&output))
    }

    pub(crate) fn ask_json(&self, arguments: &[&str]) -> Json {
        let (code, said, complained) = self.ask(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{complained}");
        serde_json::from_str(&said).unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    pub(crate) fn coil(&self, coil: u16) -> Option<bool> {
        let look = move |line: &mut Line| line.unit(2)?.registers().bit(Table::Coils, coil);
        self.runtime.block_on(self.line.handle.with(look)).flatten()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends the daemon and returns its exit status.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.daemon.wait().unwrap().code()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // After a failed assertion the daemon would live on; one that has ended cannot be killed.
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

fn start_daemon(folder: &TempDir, environment: &[(&str, &str)]) -> (Child, BufReader<ChildStderr>) {
    let mut daemon = program(&["run", "--config", path_of(&folder.path().join("gateway.toml"))])
        .envs(environment.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(daemon.stderr.take().unwrap());
    (daemon, log)
}

fn state_dir(folder: &TempDir) -> PathBuf {
    folder.path().join("state")
}

fn configuration(folder: &TempDir, line: &pty::Running, server: &Running) -> String {
    format!(
        r#"[gateway]
name = "cab-1"
control_socket = "{socket}"
state_dir = "{state_dir}"

[[server]]
name = "test"
uri = "coap://{server}"

[[bus]]
name = "rs485-1"
port = "{port}"
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
"#,
        socket = path_of(&folder.path().join("control.sock")),
        state_dir = path_of(&state_dir(folder)),
        server = server.address,
        port = line.path,
    )
}
