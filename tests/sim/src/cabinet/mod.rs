//! A whole cabinet in simulated time: meters and relays on a line, the gateway's engines, a network, a server.
//!
//! It carries out what the gateway wants done as the real program does, but in one loop without threads or sockets, so
//! that a run with one seed is the same every time: its [`Trace`] says so.

mod plan;
mod trace;

pub use plan::{Plan, SERVER, START};
pub use trace::Trace;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::{Path, Timestamp, Value};
use ucifi_adapters::modbus;
use ucifi_core::{CommandError, CommandId, EndpointId, Gateway, Link, Now, Output, Quality};

use crate::clock::Clock;
use crate::network::{Datagram, Network};
use crate::serial_line::Line;
use crate::server::{
    Answer, Event as ServerEvent, LwM2mServer, Origin, ReceivedValue, RequestFailure, RequestId,
    ServerRequest,
};

/// How often the parts may want to be called at one moment before the run is given up as one that stands still.
const MAX_ROUNDS_AT_ONCE: u32 = 10_000;

/// The parts of a cabinet and what happened to them.
pub struct Cabinet {
    clock: Clock,
    gateway: Gateway,
    bus: modbus::Client,
    line: Line,
    network: Network,
    server: LwM2mServer,
    trace: Trace,
    events: Vec<(Duration, ucifi_core::Event)>,
    server_events: Vec<(Duration, ServerEvent)>,
    finished: BTreeMap<RequestId, Result<Answer, RequestFailure>>,
}

/// A value that arrived at the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// When, from the start of the run.
    pub at: Duration,
    /// In which way.
    pub origin: Origin,
    /// What.
    pub received: ReceivedValue,
}

impl Cabinet {
    /// Returns the time.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Returns the gateway's clock, to set or move its wall clock; the server's is always right.
    pub const fn clock_mut(&mut self) -> &mut Clock {
        &mut self.clock
    }

    /// Returns the gateway, to look at it.
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Returns the counters of the Modbus client.
    pub fn bus_statistics(&self) -> modbus::Statistics {
        self.bus.statistics(self.clock.now().instant)
    }

    /// Returns the line, to look at it.
    pub const fn line(&self) -> &Line {
        &self.line
    }

    /// Returns the line, to change its faults and registers.
    pub const fn line_mut(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Returns the network, to change its conditions.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Returns the server, to look at it.
    pub const fn server(&self) -> &LwM2mServer {
        &self.server
    }

    /// Returns the server, to change how it behaves.
    pub const fn server_mut(&mut self) -> &mut LwM2mServer {
        &mut self.server
    }

    /// Returns what the gateway told so far.
    pub fn events(&self) -> &[(Duration, ucifi_core::Event)] {
        &self.events
    }

    /// Returns what the server told so far.
    pub fn server_events(&self) -> &[(Duration, ServerEvent)] {
        &self.server_events
    }

    /// Returns the summary of everything that went out so far.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the values that arrived at the server from an endpoint, in whichever way, in their order.
    pub fn arrivals(&self, endpoint: &str) -> Vec<Arrival> {
        let of_endpoint = self.server_events.iter().filter_map(|(at, event)| {
            let (origin, values) = event.received()?;
            (event.endpoint() == Some(endpoint)).then_some((*at, origin, values))
        });
        let each = of_endpoint.flat_map(|(at, origin, values)| {
            values
                .iter()
                .map(move |received| (at, origin.clone(), received.clone()))
        });
        each.map(|(at, origin, received)| Arrival { at, origin, received })
            .collect()
    }

    /// Returns the value that a device shows at the gateway, with its quality.
    pub fn value(&self, device: &str, path: Path) -> Option<(Value, Quality)> {
        let values = self.gateway.values(device, self.clock.now())?;
        let shown = values.into_iter().find(|value| value.path == path)?;
        Some((shown.value?, shown.quality?))
    }

    /// Lets time go by.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.clock.now().instant + time;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.clock.advance_to(due);
            self.work();
        }
        self.clock.advance_to(end);
    }

    /// Lets time go by until something holds; says whether it came to hold.
    pub fn run_until(&mut self, within: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.clock.now().instant + within;
        while !holds(self) {
            match self.next_due().filter(|due| *due <= end) {
                Some(due) => self.clock.advance_to(due),
                None => return false,
            }
            self.work();
        }
        true
    }

    /// Lets the server ask a client and time go by until the answer is there.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(&mut self, endpoint: &str, request: ServerRequest) -> Result<Answer, RequestFailure> {
        let id = self.request(endpoint, request);
        self.run_until(Duration::from_secs(600), |cabinet| {
            cabinet.finished.contains_key(&id)
        });
        self.finished.remove(&id).unwrap_or(Err(RequestFailure::TimedOut))
    }

    /// Lets the server ask a client; [`Self::outcome`] tells what comes of it.
    pub fn request(&mut self, endpoint: &str, request: ServerRequest) -> RequestId {
        let id = self.server.request(endpoint, request, self.clock.now().instant);
        self.settle();
        id
    }

    /// Returns what came of a request, once it has come.
    pub fn outcome(&self, id: RequestId) -> Option<&Result<Answer, RequestFailure>> {
        self.finished.get(&id)
    }

    /// Gives a command as a person at the cabinet does.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub fn command(&mut self, device: &str, path: Path, value: Value) -> Result<CommandId, CommandError> {
        let id = self.gateway.command(device, path, value, self.clock.now());
        self.settle();
        id
    }

    /// Hands the gateway a datagram as if an endpoint's server had sent it.
    pub fn inject(&mut self, endpoint: EndpointId, datagram: &[u8]) {
        self.gateway.handle_datagram(endpoint, datagram, self.clock.now());
        self.settle();
    }

    /// Tells the bus that its port is open.
    fn connect(&mut self) {
        self.bus.handle_connected(self.clock.now().instant);
        self.settle();
    }

    /// What the server's clocks say.
    fn server_now(&self) -> Now {
        let elapsed_ms = i64::try_from(self.clock.elapsed().as_millis()).expect("no run takes so long");
        let wall = Timestamp::from_unix_ms(START.unix_ms() + elapsed_ms);
        Now {
            instant: self.clock.now().instant,
            wall: Some(wall),
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let times = [
            self.gateway.poll_timeout(),
            self.bus.poll_timeout(),
            self.line.poll_timeout(),
            self.network.poll_timeout(),
            self.server.poll_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    /// Does everything that is due at the time of the clock.
    fn work(&mut self) {
        let now = self.clock.now();
        let mut rounds = 0;
        while self.next_due().is_some_and(|due| due <= now.instant) {
            rounds += 1;
            assert!(
                rounds < MAX_ROUNDS_AT_ONCE,
                "a part wants to be called again and again at one moment"
            );
            self.take_datagrams(now);
            self.take_bytes(now);
            self.wake(now);
            self.settle();
        }
    }

    fn take_datagrams(&mut self, now: Now) {
        while let Some(Datagram { from, to, bytes }) = self.network.poll_datagram(now.instant) {
            if to == SERVER {
                self.server.handle_datagram(from, &bytes, self.server_now());
            } else if let Some(endpoint) = plan::endpoint_at(to) {
                self.gateway.handle_datagram(endpoint, &bytes, now);
            }
            self.settle();
        }
    }

    fn take_bytes(&mut self, now: Now) {
        self.line.handle_timeout(now.instant);
        if let Some(bytes) = self.line.poll_bytes(now.instant) {
            self.bus.handle_bytes(&bytes, now);
        }
    }

    fn wake(&mut self, now: Now) {
        if self.bus.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.bus.handle_timeout(now.instant);
        }
        if self.gateway.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.gateway.handle_timeout(now);
        }
        if self.server.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.server.handle_timeout(self.server_now());
        }
    }

    /// Carries out what the parts want done, until none wants anything more.
    fn settle(&mut self) {
        let now = self.clock.now();
        loop {
            let mut busy = false;
            while let Some(output) = self.gateway.poll_output() {
                busy = true;
                self.carry_out(output, now);
            }
            while let Some(event) = self.bus.poll_event() {
                busy = true;
                self.report(event, now);
            }
            while let Some(frame) = self.bus.poll_transmit() {
                busy = true;
                self.trace.note(self.clock.elapsed(), "bus", &frame);
                self.line.handle_bytes(&frame, now.instant);
            }
            busy |= self.settle_server(now);
            if !busy {
                return;
            }
        }
    }

    fn settle_server(&mut self, now: Now) -> bool {
        let mut busy = false;
        while let Some((to, bytes)) = self.server.poll_transmit() {
            busy = true;
            self.trace.note(self.clock.elapsed(), "server", &bytes);
            self.network.handle_datagram(
                Datagram {
                    from: SERVER,
                    to,
                    bytes,
                },
                now.instant,
            );
        }
        while let Some(event) = self.server.poll_event() {
            busy = true;
            if let ServerEvent::Finished { id, outcome, .. } = &event {
                self.finished.insert(*id, outcome.clone());
            }
            self.server_events.push((self.clock.elapsed(), event));
        }
        busy
    }

    fn carry_out(&mut self, output: Output, now: Now) {
        let elapsed = self.clock.elapsed();
        match output {
            Output::Transmit { endpoint, datagram } => {
                self.trace.note(elapsed, "gateway", &datagram);
                let from: SocketAddr = plan::address_of(endpoint);
                self.network.handle_datagram(
                    Datagram {
                        from,
                        to: SERVER,
                        bytes: datagram,
                    },
                    now.instant,
                );
            }
            Output::Downlink(downlink) => self.bus.handle_downlink(downlink, now.instant),
            Output::Interest {
                link: Link::Modbus { unit, .. },
                point,
                every_ms,
            } => {
                self.bus.handle_interest(unit, point, every_ms, now.instant);
            }
            Output::Buffer(_) | Output::Save(_) => {}
            Output::Event(event) => {
                self.trace.note(elapsed, "event", format!("{event:?}").as_bytes());
                self.events.push((elapsed, event));
            }
        }
    }

    fn report(&mut self, event: modbus::Event, now: Now) {
        match event {
            modbus::Event::Uplink(uplink) => self.gateway.handle_uplink(uplink),
            modbus::Event::Delivery { id, delivery } => self.gateway.handle_delivery(id, delivery, now),
            modbus::Event::Reachability { link, reachability } => {
                self.gateway.handle_reachability(&link, reachability, now);
            }
            modbus::Event::Reconnect { .. } => {
                self.bus.handle_disconnected(now.instant);
                self.bus.handle_connected(now.instant);
            }
        }
    }
}

/// Returns the endpoint name of a device, as the gateway makes it.
pub fn endpoint_of(device: &str) -> Arc<str> {
    format!("{}-{device}", plan::NAME).into()
}
