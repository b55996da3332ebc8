//! What the operator of the demo does: observe the relay, switch it, look whether it is really switched.

use std::time::{Duration, Instant};

use lwm2m_client::client::WriteMode;
use lwm2m_client::format::Entry;
use lwm2m_client::{Path, Value};
use ucifi_core::field::Table;
use ucifi_sim::serial_line::pty;
use ucifi_sim::server::io::Handle;
use ucifi_sim::server::{ServerRequest, content_format};

use super::cabinet::{RELAYS, RELAYS_UNIT};
use super::view::{News, Switched, View};

/// Between two switchings, so that a person sees each of them.
const PAUSE: Duration = Duration::from_secs(4);

/// The relay that is switched, counted from 0 as its coil and its instance are.
const RELAY: u16 = 0;

/// The command of a generic actuator (3413/x/3), and what it really does (3413/x/2).
const COMMAND: Path = Path::resource(3413, RELAY, 3);
const LEVEL: Path = Path::resource(3413, RELAY, 2);

/// The operator.
pub(super) struct Script {
    server: Handle,
    line: pty::Handle,
    observing: bool,
    on: bool,
    next: Instant,
}

impl Script {
    /// Begins a moment after the start, so that the first values are seen before.
    pub(super) fn new(server: Handle, line: pty::Handle) -> Self {
        Self {
            server,
            line,
            observing: false,
            on: false,
            next: Instant::now() + Duration::from_secs(3),
        }
    }

    /// Does what is due.
    pub(super) async fn step(&mut self, view: &mut View) -> Vec<News> {
        if Instant::now() < self.next || !view.is_registered(RELAYS) || !view.has_meter_values() {
            return Vec::new();
        }
        if !self.observing {
            self.observing = true;
            let observe = ServerRequest::Observe {
                path: LEVEL,
                accept: None,
            };
            if let Err(reason) = self.server.request(RELAYS, observe).await {
                return vec![News::Trouble(format!("the relay cannot be observed: {reason}"))];
            }
        }
        self.next = Instant::now() + PAUSE;
        match self.switch(!self.on).await {
            Ok(switched) => {
                self.on = switched.on;
                view.note_switched(switched);
                vec![News::Switched(switched)]
            }
            Err(reason) => vec![News::Trouble(reason)],
        }
    }

    /// Switches the relay, and looks at the board and at the server whether it is switched.
    async fn switch(&self, on: bool) -> Result<Switched, String> {
        let level = if on { 100 } else { 0 };
        let write = ServerRequest::Write {
            mode: WriteMode::Replace,
            path: COMMAND,
            entries: vec![Entry {
                path: COMMAND,
                value: Value::Integer(level),
            }],
            format: content_format::TEXT,
        };
        let asked = Instant::now();
        let answer = self
            .server
            .request(RELAYS, write)
            .await
            .map_err(|e| format!("no answer to a Write: {e}"))?;
        let answered_within = asked.elapsed();
        if answer.code.class != 2 {
            return Err(format!(
                "a Write to {COMMAND} was answered {}: {}",
                answer.code,
                answer.text()
            ));
        }
        let coil = move |line: &mut ucifi_sim::serial_line::Line| {
            line.unit(RELAYS_UNIT)
                .and_then(|board| board.registers().bit(Table::Coils, RELAY))
        };
        if self.line.with(coil).await.flatten() != Some(on) {
            return Err("the Write was answered, but the coil of the board has not moved".to_owned());
        }
        let read = ServerRequest::Read {
            path: LEVEL,
            accept: None,
        };
        let answer = self
            .server
            .request(RELAYS, read)
            .await
            .map_err(|e| format!("no answer to a Read: {e}"))?;
        match answer.values.first().map(|received| &received.value) {
            Some(Value::Integer(seen)) if *seen == level => Ok(Switched {
                relay: RELAY + 1,
                on,
                answered_within,
            }),
            Some(other) => Err(format!("{LEVEL} reads {other} where {level} was written")),
            None => Err(format!("{LEVEL} has no value: {}", answer.code)),
        }
    }
}
