//! One configuration at work: the core, its buses and its servers.

mod core_config;
mod inputs;
mod stopping;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::object::ObjectTable;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use ucifi_core::field::{Delivery, DownlinkId, Link};
use ucifi_core::state::{Kept, SaveRequest};
use ucifi_core::{Event, Gateway, Output};

use super::clock::now;
use super::commands::{WaitingCommands, WaitingDrops};
use super::events::Names;
use super::field::Field;
use super::ports::Ports;
use super::progress::{Check, Checks, Progress};
use super::radio::NetworkState;
use super::server_link::ServerLinks;
use super::trace::Traces;
use super::{Input, RunError, Wanted, answers, brokers, buses, events, open_files, radio};
use crate::config::{Device, Loaded};
use crate::limits::INPUTS;
use crate::store::{HealthWatch, Origin, Store, StoreError};
use core_config::core_config;

/// How long nothing may be due.
const IDLE: Duration = Duration::from_secs(3_600);

/// How long whoever was too busy to take something has before it is told again.
const SAY_AGAIN: Duration = Duration::from_millis(10);

/// What ends an engine.
#[derive(Debug)]
pub(super) enum Order {
    /// The gateway stops.
    Stop,
    /// It goes on with another configuration; whether it did is to be said.
    Reload(Box<Loaded>, oneshot::Sender<bool>),
    /// It goes on with the same configuration, and with what is kept that could not be read before.
    Restart,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The core cannot be made.
    #[error(transparent)]
    Core(#[from] ucifi_core::ConfigError),
    /// A bus cannot be made.
    #[error(transparent)]
    Bus(#[from] ucifi_adapters::modbus::ConfigError),
    /// The radio network cannot be made.
    #[error(transparent)]
    Radio(#[from] ucifi_adapters::lorawan::ConfigError),
    /// A broker cannot be made.
    #[error(transparent)]
    Broker(#[from] ucifi_adapters::mqtt::ConfigError),
    /// Nothing can be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the core and the engines of the field side, and drops them.
pub(super) fn rehearse(loaded: &Loaded) -> Result<(), StartError> {
    let (now, objects) = (now(), Arc::new(loaded.objects.clone()));
    Gateway::new(core_config(&loaded.configuration), objects, 0, now)?;
    buses::clients(&loaded.configuration, 0, now.instant)?;
    brokers::clients(loaded, 0, now.instant)?;
    radio::network(&loaded.configuration, &NetworkState::default(), 0, now.instant)?;
    Ok(())
}

/// One configuration at work.
pub(super) struct Engine {
    pub(super) gateway: Gateway,
    pub(super) field: Field,
    pub(super) commands: WaitingCommands,
    pub(super) drops: WaitingDrops,
    pub(super) objects: Arc<ObjectTable>,
    pub(super) started: Instant,
    pub(super) health: HealthWatch,
    loaded: Loaded,
    servers: ServerLinks,
    names: Names,
    pub(super) inputs: mpsc::Receiver<Input>,
    /// What a bus has not told the end of yet; the core's own bound on open commands bounds it.
    open: BTreeSet<DownlinkId>,
    /// Whether a command may go out to its device.
    takes_commands: bool,
    /// How often it was asked whether the disk answers, without an answer yet.
    open_probes: u32,
    /// Whether the buffer can be read that could not be read before.
    has_buffer_opened: bool,
    checks: Checks,
    pub(super) traces: Traces,
    /// What the radio network wants saved; it waits for the answer to one before it wants the next.
    network_saves: VecDeque<SaveRequest>,
    /// Who has said that all that it has saved is not old any more.
    current: BTreeSet<&'static str>,
}

impl Engine {
    /// Makes the core of what is kept, opens buses and sockets.
    pub(super) fn start(
        loaded: Loaded,
        mut kept: Kept,
        health: HealthWatch,
        seed: u64,
    ) -> Result<Self, StartError> {
        let now = now();
        let configuration = &loaded.configuration;
        let objects = Arc::new(loaded.objects.clone());
        let ports = Ports::take(&mut kept.saved);
        let network = NetworkState::take(&mut kept.saved);
        let gateway = Gateway::restore(core_config(configuration), objects.clone(), kept, seed, now)?;
        let endpoints = gateway.endpoints();
        open_files::allow(endpoints.len());
        let (sender, inputs) = mpsc::channel(INPUTS);
        let field = Field::open(&loaded, &network, seed, now.instant, &sender)?;
        let cabinet = &configuration.gateway.name;
        let servers = ServerLinks::open(&configuration.servers, &endpoints, cabinet, ports, sender);
        Ok(Self {
            gateway,
            field,
            commands: WaitingCommands::default(),
            drops: WaitingDrops::default(),
            objects,
            started: now.instant,
            health,
            servers,
            names: events::names_of(&endpoints),
            inputs,
            open: BTreeSet::new(),
            takes_commands: true,
            open_probes: 0,
            has_buffer_opened: false,
            checks: Checks::default(),
            traces: Traces::default(),
            network_saves: VecDeque::new(),
            current: BTreeSet::new(),
            loaded,
        })
    }

    /// Works until an order comes.
    ///
    /// # Errors
    /// When a task that it cannot do without has ended.
    pub(super) async fn run(&mut self, wanted: &mut Wanted, store: &mut Store) -> Result<Order, RunError> {
        loop {
            self.carry_out(store);
            if self.has_buffer_opened {
                return Ok(Order::Restart);
            }
            let due = self.due();
            tokio::select! {
                order = wanted.orders.recv() => return Ok(order.unwrap_or(Order::Stop)),
                Some(ended) = self.field.tasks.set.join_next() => return Err(RunError::Field(ended.err())),
                Some(ended) = self.servers.tasks.join_next() => ended.map_err(RunError::Server)?,
                answer = store.next() => self.handle_answer(answer.ok_or(RunError::Store)?),
                Some(input) = self.inputs.recv() => self.handle_input(input),
                Some(call) = wanted.calls.recv() => answers::answer(self, call),
                Some(check) = wanted.checks.recv() => self.check(check, store),
                () = sleep_until(due.into()) => self.gateway.handle_timeout(now()),
            }
        }
    }

    /// Says whether a device is configured: a removed one stays until its readings are delivered.
    pub(super) fn is_configured(&self, device: &str) -> bool {
        let configuration = &self.loaded.configuration;
        let mut ids = configuration.devices.iter().map(|device| &device.id);
        *configuration.gateway.name == *device || ids.any(|id| **id == *device)
    }

    /// Returns what is configured of a device.
    pub(super) fn configured(&self, device: &str) -> Option<&Device> {
        let mut devices = self.loaded.configuration.devices.iter();
        devices.find(|configured| *configured.id == *device)
    }

    /// Returns what this engine was made of.
    pub(super) fn loaded(&self) -> Loaded {
        self.loaded.clone()
    }

    /// Says whether the disk answers within a time, and goes on working meanwhile.
    pub(super) async fn disk_answers(&mut self, store: &mut Store, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        self.open_probes += 1;
        store.probe();
        while self.open_probes > 0 && Instant::now() < end {
            self.carry_out(store);
            self.wait(store, end).await;
        }
        self.open_probes == 0
    }

    /// Takes the next thing that happens, at most until a time; says whether it came from the field.
    async fn wait(&mut self, store: &mut Store, end: Instant) -> bool {
        let due = self.due().min(end);
        let mut is_from_field = false;
        tokio::select! {
            Some(answer) = store.next() => self.handle_answer(answer),
            Some(input) = self.inputs.recv() => {
                is_from_field = matches!(input, Input::Bus { .. } | Input::Broker { .. } | Input::Radio(_));
                self.handle_input(input);
            }
            () = sleep_until(due.into()) => self.gateway.handle_timeout(now()),
        }
        is_from_field
    }

    /// Lets every part answer, and then whoever checks.
    fn check(&mut self, check: Check, store: &mut Store) {
        let progress = Progress::of(&self.gateway, now());
        let store = self.checks.ask(store);
        check.answer_after(progress, store, self.field.status());
    }

    fn due(&self) -> Instant {
        let now = Instant::now();
        let idle = now + if self.field.has_unsaid() { SAY_AGAIN } else { IDLE };
        self.gateway.poll_timeout().map_or(idle, |due| due.min(idle))
    }

    /// Returns the request as the state is to take it: what is kept is not old any more when the core and the radio
    /// network have both counted on from far ahead, and said so.
    fn with_all_current(&mut self, origin: Origin, request: SaveRequest) -> SaveRequest {
        let who = if origin == Origin::Radio { "radio" } else { "core" };
        if request.is_current {
            self.current.insert(who);
        }
        let wanted = if self.field.radio.is_configured() { 2 } else { 1 };
        SaveRequest {
            is_current: request.is_current && self.current.len() >= wanted,
            ..request
        }
    }

    /// Does what the core wants, in its order.
    fn carry_out(&mut self, store: &mut Store) {
        self.field.say_again();
        if let Some(request) = self.servers.take_save() {
            store.save(Origin::Ports, request);
        }
        while let Some(request) = self.network_saves.pop_front() {
            let request = self.with_all_current(Origin::Radio, request);
            store.save(Origin::Radio, request);
        }
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Transmit { endpoint, datagram } => {
                    self.traces.transmit(endpoint, &datagram);
                    self.servers.transmit(endpoint, datagram, Instant::now());
                }
                Output::Downlink(downlink) => {
                    let id = downlink.id;
                    self.traces.downlink(&downlink);
                    if matches!(downlink.link, Link::LoRaWan { .. }) && !self.field.radio.takes_writes() {
                        self.handle_delivery(id, Delivery::Denied);
                    } else if self.takes_commands && self.field.downlink(downlink) {
                        self.open.insert(id);
                    } else {
                        self.handle_delivery(id, Delivery::Expired);
                    }
                }
                Output::Interest {
                    link,
                    point,
                    every_ms,
                } => self.field.interest(&link, point, every_ms),
                Output::Buffer(request) => store.buffer(request),
                Output::Save(request) => {
                    let request = self.with_all_current(Origin::Core, request);
                    store.save(Origin::Core, request);
                }
                Output::Settled(receipt) => {
                    self.traces.settled(receipt);
                    self.field.settled(receipt);
                }
                Output::Event(event) => {
                    events::log(&event, &self.names);
                    self.traces.event(&event);
                    if let Event::RegistrationFailed { endpoint, .. } = &event {
                        self.servers.handle_failure(*endpoint, Instant::now());
                    }
                    self.commands.handle_event(&event);
                }
            }
        }
    }
}
