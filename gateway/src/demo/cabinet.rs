//! The simulated cabinet: a line with a meter and a relay board, and the configuration of the gateway for it.

use std::io;
use std::path::Path;
use std::time::Instant;

use ucifi_sim::modbus_unit::Unit;
use ucifi_sim::serial_line::{Line, pty};

use crate::config::{File, Loaded, Sources, read};
use crate::exit::{ExitStatus, Failure};

/// The endpoint name of the meter.
pub(super) const METER: &str = "demo-cabinet-meter";

/// The endpoint name of the relay board.
pub(super) const RELAYS: &str = "demo-cabinet-relays";

/// The unit address of the relay board.
pub(super) const RELAYS_UNIT: u8 = 2;

/// The line with its devices.
pub(super) struct Cabinet {
    line: pty::Running,
}

impl Cabinet {
    /// Makes the line and its pseudo-terminal.
    pub(super) fn open(seed: u64) -> io::Result<Self> {
        let line = Line::new(9600, 10, seed, Instant::now())
            .with_unit(Unit::sdm630(1))
            .with_unit(Unit::relay_board(RELAYS_UNIT));
        Ok(Self {
            line: pty::start(line)?,
        })
    }

    /// Returns the serial port that the gateway opens.
    pub(super) fn path(&self) -> &str {
        &self.line.path
    }

    /// Returns the hand at the devices.
    pub(super) fn line(&self) -> pty::Handle {
        self.line.handle.clone()
    }

    /// Returns the configuration of the gateway, read as the daemon reads it.
    ///
    /// Readings wait a second only before they are written, so that a short outage shows all that happens in one.
    pub(super) fn configuration(&self, server_uri: &str, folder: &Path) -> Result<Loaded, Failure> {
        let folder = folder.display();
        let text = format!(
            r#"[gateway]
name = "demo-cabinet"
control_socket = "{folder}/control.sock"
state_dir = "{folder}/state"

[buffer]
hold_ms = 1000
commit_ms = 500

[[server]]
name = "demo"
uri = "{server_uri}"

[[bus]]
name = "rs485"
port = "{path}"
baud = 9600
writes = "allow"

[[device]]
id = "meter"
profile = "eastron.sdm630"
bus = "rs485"
unit = 1
label = "Feeder A"
intervals_ms = {{ u_l1 = 1000, u_l2 = 1000, u_l3 = 1000, p_l1 = 1000, p_l2 = 1000, p_l3 = 1000 }}

[[device]]
id = "relays"
profile = "waveshare.relay-8ch"
bus = "rs485"
unit = {RELAYS_UNIT}
label = "Lamp circuits"
"#,
            path = self.path()
        );
        let file = File {
            name: "demo.toml".to_owned(),
            text,
        };
        read(&Sources {
            options: vec![file],
            ..Sources::default()
        })
        .map_err(|found| {
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            Failure::new(ExitStatus::Failed, lines.join("\n"))
        })
    }
}
