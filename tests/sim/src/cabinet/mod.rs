//! A whole cabinet in simulated time: meters and relays on a line, a broker, a radio, the gateway's engines, a network,
//! servers.
//!
//! It carries out what the gateway wants done as the real program does, but in one loop without threads or sockets, so
//! that a run with one seed is the same every time: its [`Trace`] says so.

mod message_ids;
mod mqtt;
mod nodes;
mod orders;
mod plan;
mod power;
mod radio;
mod scripted;
mod store;
#[cfg(test)]
mod tests;
mod trace;
mod work;

pub use message_ids::Reuse;
pub use nodes::NodeCounters;
pub use orders::OrderCounters;
pub use plan::{Plan, SERVER, START};
pub use power::{Down, Moment};
pub use scripted::{CLASSES, path_of};
pub use store::StorePlan;
pub use trace::Trace;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::{Path, Value};
use ucifi_adapters::modbus;
use ucifi_core::buffer::Statistics;
use ucifi_core::{CommandError, CommandId, EndpointId, Gateway, Now, Quality};

use crate::clock::Clock;
use crate::disk::SimulatedDisk;
use crate::ledger::{Carrier, Ledger};
use crate::network::Network;
use crate::serial_line::Line;
use crate::server::{
    Answer, Event as ServerEvent, LwM2mServer, Origin, ReceivedValue, RequestFailure, RequestId,
    ServerRequest,
};
use crate::state::SimulatedState;

use message_ids::MessageIds;
use mqtt::Messages;
use orders::Orders;
use radio::{Network as RadioNetwork, Radio};
use scripted::Script;
use store::{Keeper, Store};

/// The parts of a cabinet and what happened to them.
pub struct Cabinet {
    plan: Plan,
    clock: Clock,
    /// None while the gateway is off.
    process: Option<Process>,
    /// None where nothing outlives a restart.
    store: Option<Store>,
    script: Script,
    line: Line,
    /// None where no device is behind a broker.
    messages: Option<Messages>,
    /// None where no device has a radio.
    radio: Option<Radio>,
    orders: Orders,
    /// What the network server counted in the earlier starts.
    past_radio: Vec<ucifi_adapters::lorawan::NetworkStatistics>,
    network: Network,
    /// At least one.
    servers: Vec<Server>,
    starts: u32,
    planned: Option<(Moment, Down)>,
    downs: Vec<(Duration, Down)>,
    message_ids: MessageIds,
    ledger: Ledger,
    trace: Trace,
    events: Vec<(Duration, ucifi_core::Event)>,
    finished: BTreeMap<RequestId, Result<Answer, RequestFailure>>,
}

/// What a power cut ends.
struct Process {
    gateway: Gateway,
    bus: modbus::Client,
    messages: Option<ucifi_adapters::mqtt::Client>,
    network: Option<RadioNetwork>,
    /// Who has said that all that it has saved is not old any more.
    current: BTreeSet<Keeper>,
    is_stopping: bool,
    /// Where the server of each endpoint is.
    routes: Vec<SocketAddr>,
}

/// A server and what happened to it.
struct Server {
    name: Arc<str>,
    address: SocketAddr,
    engine: LwM2mServer,
    /// The message that it was given last.
    carrier: Option<Carrier>,
    events: Vec<(Duration, ServerEvent)>,
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
    ///
    /// # Panics
    /// When it is off.
    pub fn gateway(&self) -> &Gateway {
        &self.process().gateway
    }

    /// Returns the counters of the Modbus client.
    ///
    /// # Panics
    /// When the gateway is off.
    pub fn bus_statistics(&self) -> modbus::Statistics {
        self.process().bus.statistics(self.clock.now().instant)
    }

    /// Returns what became of the readings of scripted devices.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns what became of the readings, to close the books.
    pub const fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Returns how many messages the gateway sent, and the message ids that it used again too early.
    pub fn message_ids(&self) -> (u64, &[Reuse]) {
        (self.message_ids.count, &self.message_ids.reused)
    }

    /// Lets the scripted devices give nothing more.
    pub fn silence_scripted(&mut self) {
        self.script.silence();
    }

    /// Returns when and how the gateway went down.
    pub fn downs(&self) -> &[(Duration, Down)] {
        &self.downs
    }

    /// Returns the disk of the buffer, where there is one.
    pub fn disk(&self) -> Option<&SimulatedDisk> {
        self.store.as_ref().map(|store| &store.disk)
    }

    /// Returns the store of the state, where there is one.
    pub const fn state(&self) -> Option<&SimulatedState> {
        match &self.store {
            Some(store) => Some(&store.state),
            None => None,
        }
    }

    /// Returns the store of the state, to let it fail.
    pub const fn state_mut(&mut self) -> Option<&mut SimulatedState> {
        match &mut self.store {
            Some(store) => Some(&mut store.state),
            None => None,
        }
    }

    /// Returns what the buffer did in each start of the gateway, the present one last.
    pub fn buffer_statistics(&self) -> Vec<Statistics> {
        self.store.as_ref().map(Store::statistics).unwrap_or_default()
    }

    /// Returns the line, to look at it.
    pub const fn line(&self) -> &Line {
        &self.line
    }

    /// Returns the line, to change its faults and registers.
    pub const fn line_mut(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Returns the network, to look at it.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the network, to change its conditions.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Returns the first server, to look at it.
    pub fn server(&self) -> &LwM2mServer {
        &self.servers[0].engine
    }

    /// Returns the first server, to change how it behaves.
    pub fn server_mut(&mut self) -> &mut LwM2mServer {
        &mut self.servers[0].engine
    }

    /// Returns all servers, the first one first, to change how they behave.
    pub fn servers_mut(&mut self) -> impl Iterator<Item = &mut LwM2mServer> {
        self.servers.iter_mut().map(|server| &mut server.engine)
    }

    /// Returns what the gateway told so far.
    pub fn events(&self) -> &[(Duration, ucifi_core::Event)] {
        &self.events
    }

    /// Returns what the first server told so far.
    pub fn server_events(&self) -> &[(Duration, ServerEvent)] {
        &self.servers[0].events
    }

    /// Returns what all servers told so far, each with its name.
    pub fn all_server_events(&self) -> impl Iterator<Item = (&Arc<str>, &(Duration, ServerEvent))> {
        let each = self.servers.iter();
        each.flat_map(|server| server.events.iter().map(move |event| (&server.name, event)))
    }

    /// Returns the summary of everything that went out so far.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the values that arrived at the first server from an endpoint, in whichever way, in their order.
    pub fn arrivals(&self, endpoint: &str) -> Vec<Arrival> {
        let of_endpoint = self.server_events().iter().filter_map(|(at, event)| {
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
        let values = self.gateway().values(device, self.clock.now())?;
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
        let now = self.clock.now().instant;
        let id = self.server_mut().request(endpoint, request, now);
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
        let now = self.clock.now();
        let id = self.process_mut().gateway.command(device, path, value, now);
        self.settle();
        id
    }

    /// Hands the gateway a datagram as if an endpoint's server had sent it.
    pub fn inject(&mut self, endpoint: EndpointId, datagram: &[u8]) {
        let now = self.clock.now();
        self.process_mut()
            .gateway
            .handle_datagram(endpoint, datagram, now);
        self.settle();
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the gateway is on")
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway is on")
    }
}

/// Returns the endpoint name of a device, as the gateway makes it.
pub fn endpoint_of(device: &str) -> Arc<str> {
    format!("{}-{device}", plan::NAME).into()
}
