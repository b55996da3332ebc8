//! What the operator of the demo does: switch a lamp or a relay on each link by an LwM2M Write, and look whether it is
//! really switched.

use std::time::{Duration, Instant};

use lwm2m_client::client::WriteMode;
use lwm2m_client::format::Entry;
use lwm2m_client::{Path, Value};
use ucifi_core::field::Table;
use ucifi_sim::radio::gadgets::Street;
use ucifi_sim::serial_line::{Line, pty};
use ucifi_sim::server::io::Handle;
use ucifi_sim::server::{ServerRequest, content_format};

use super::cabinet::{DemoDevice, HALL_LAMP, RELAYS, RELAYS_UNIT, STREET_LAMP, level_of};
use super::view::{News, Switched, View};

/// Between two switchings, so that a person sees each of them.
const PAUSE: Duration = Duration::from_secs(3);

/// The relay that is switched, counted from 0 as its coil and its instance are.
const RELAY: u16 = 0;

/// The command of a generic actuator (3413/x/3), and what it really does (3413/x/2).
const RELAY_COMMAND: Path = Path::resource(3413, RELAY, 3);
const RELAY_LEVEL: Path = Path::resource(3413, RELAY, 2);

/// The command of a lamp controller (3416/x/1), and its level (3416/x/3).
const LAMP_COMMAND: Path = Path::resource(3416, 0, 1);
const LAMP_LEVEL: Path = Path::resource(3416, 0, 3);

/// What is switched, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Relay,
    StreetLamp,
    HallLamp,
}

impl Target {
    const ALL: [Self; 3] = [Self::Relay, Self::HallLamp, Self::StreetLamp];

    const fn device(self) -> DemoDevice {
        match self {
            Self::Relay => RELAYS,
            Self::StreetLamp => STREET_LAMP,
            Self::HallLamp => HALL_LAMP,
        }
    }

    const fn command(self) -> Path {
        match self {
            Self::Relay => RELAY_COMMAND,
            Self::StreetLamp | Self::HallLamp => LAMP_COMMAND,
        }
    }

    /// Returns the levels that it goes to and fro between, in percent.
    const fn level(self, on: bool) -> u8 {
        match (self, on) {
            (Self::Relay | Self::HallLamp, true) => 100,
            (Self::Relay | Self::HallLamp, false) => 0,
            (Self::StreetLamp, true) => 30,
            (Self::StreetLamp, false) => 100,
        }
    }
}

/// The operator.
pub(super) struct Script {
    server: Handle,
    line: pty::Handle,
    street: Street,
    /// How often each target was switched, in the order of [`Target::ALL`].
    switched: [u32; 3],
    next: Instant,
}

impl Script {
    /// Begins a moment after the start, so that the first values are seen before.
    pub(super) fn new(server: Handle, line: pty::Handle, street: Street) -> Self {
        Self {
            server,
            line,
            street,
            switched: [0; 3],
            next: Instant::now() + Duration::from_secs(3),
        }
    }

    /// Does what is due.
    pub(super) async fn step(&mut self, view: &mut View) -> Vec<News> {
        if Instant::now() < self.next || !view.has_meter_values() {
            return Vec::new();
        }
        // Whatever was switched least comes first, of what is there.
        let there = |(_, target): &(usize, Target)| view.is_registered(&target.device().endpoint());
        let targets = Target::ALL.into_iter().enumerate().filter(there);
        let Some((place, target)) = targets.min_by_key(|(place, _)| self.switched[*place]) else {
            return Vec::new();
        };
        self.next = Instant::now() + PAUSE;
        let on = self.switched[place].is_multiple_of(2);
        match self.switch(target, target.level(on)).await {
            Ok(switched) => {
                self.switched[place] += 1;
                view.note_switched(switched.clone());
                vec![News::Switched(switched)]
            }
            Err(reason) => vec![News::Trouble(reason)],
        }
    }

    /// Switches something, and looks at the device whether it is switched.
    async fn switch(&self, target: Target, level: u8) -> Result<Switched, String> {
        let path = target.command();
        let write = ServerRequest::Write {
            mode: WriteMode::Replace,
            path,
            entries: vec![Entry {
                path,
                value: Value::Integer(level.into()),
            }],
            format: content_format::TEXT,
        };
        let device = target.device();
        let asked = Instant::now();
        let answer = self.server.request(&device.endpoint(), write).await;
        let answer = answer.map_err(|e| format!("no answer to a Write to {}: {e}", device.id))?;
        let answered_within = asked.elapsed();
        if answer.code.class != 2 {
            return Err(format!(
                "a Write to {path} of {} was answered {}: {}",
                device.id,
                answer.code,
                answer.text()
            ));
        }
        let seen = self.look(target).await?;
        if seen != level {
            return Err(format!(
                "the Write was answered, but {} is at {seen} % where {level} % was written",
                device.id
            ));
        }
        Ok(Switched {
            device,
            level,
            answered_within,
        })
    }

    /// Looks at the thing itself: at the coil, at the luminaire, at what the lamp says.
    async fn look(&self, target: Target) -> Result<u8, String> {
        match target {
            Target::Relay => {
                let coil = |line: &mut Line| {
                    let board = line.unit(RELAYS_UNIT);
                    board.and_then(|board| board.registers().bit(Table::Coils, RELAY))
                };
                let is_on = self.line.with(coil).await.flatten();
                let is_on = is_on.ok_or("the board has no such coil")?;
                self.read(target, RELAY_LEVEL).await?;
                Ok(if is_on { 100 } else { 0 })
            }
            Target::StreetLamp => {
                let level = level_of(&self.street, target.device()).await;
                level.ok_or_else(|| "the street lamp is gone".to_owned())
            }
            Target::HallLamp => self.read(target, LAMP_LEVEL).await,
        }
    }

    async fn read(&self, target: Target, path: Path) -> Result<u8, String> {
        let read = ServerRequest::Read { path, accept: None };
        let answer = self.server.request(&target.device().endpoint(), read).await;
        let answer = answer.map_err(|e| format!("no answer to a Read: {e}"))?;
        match answer.values.first().map(|received| &received.value) {
            Some(Value::Integer(level)) => u8::try_from(*level).map_err(|_| format!("{path} reads {level}")),
            Some(other) => Err(format!("{path} reads {other}")),
            None => Err(format!("{path} has no value: {}", answer.code)),
        }
    }
}
