//! One configuration at work: the core, its buses and its servers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::object::ObjectTable;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use ucifi_adapters::lorawan::Event as RadioEvent;
use ucifi_adapters::lorawan::io::FromNetwork;
use ucifi_adapters::modbus::Event as BusEvent;
use ucifi_adapters::modbus::io::FromBus;
use ucifi_adapters::mqtt::Event as BrokerEvent;
use ucifi_adapters::mqtt::io::FromBroker;
use ucifi_core::field::{Delivery, DownlinkId, Link};
use ucifi_core::state::{Kept, SaveRequest};
use ucifi_core::{
    AccountConfig, BufferConfig, CabinetConfig, Config, DeviceConfig, EndpointId, EndpointState,
    EndpointStatus, Event, Gateway, Output, Profile, Topology, Uplink,
};

use super::brokers::ConnectionState;
use super::buses::PortState;
use super::clock::now;
use super::commands::{WaitingCommands, WaitingDrops};
use super::events::Names;
use super::field::Field;
use super::ports::Ports;
use super::progress::{Check, Checks, Progress};
use super::radio::{NetworkState, SocketState};
use super::server_link::ServerLinks;
use super::trace::Traces;
use super::{Input, RunError, Wanted, answers, brokers, buses, events, open_files, radio};
use crate::config::{Configuration, Device, Loaded, OnStop, Server};
use crate::limits::{DEREGISTER, INPUTS, SETTLE};
use crate::store::{Answer, HealthWatch, Origin, Store, StoreError};

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

    /// Stops: the registrations end if the configuration wants that.
    pub(super) async fn stop(self, store: &mut Store) {
        match self.loaded.configuration.gateway.on_stop {
            OnStop::Keep => self.close(store, |_| false).await,
            OnStop::Deregister => self.close(store, |_| true).await,
        }
    }

    /// Makes room for another configuration: the registrations that it cannot end any more end. What becomes of removed
    /// devices, which may owe readings, is the next core's business.
    pub(super) async fn make_room_for(self, next: &Configuration, store: &mut Store) {
        let servers: BTreeSet<(&str, &str)> = next
            .servers
            .iter()
            .map(|s| (&*s.name, s.uri.text.as_str()))
            .collect();
        let leaves = |endpoint: &EndpointStatus| {
            let is_renamed = next.devices.iter().any(|device| {
                let name = device.endpoint.as_deref();
                device.id == endpoint.device && name.is_some_and(|name| *name != *endpoint.name)
            });
            is_renamed || !servers.contains(&(&*endpoint.account, &*endpoint.server_uri))
        };
        self.close(store, leaves).await;
    }

    /// Ends what is under way, then some registrations, has everything made durable that is not, and ends every task
    /// with its port or socket.
    async fn close(mut self, store: &mut Store, leaves: impl Fn(&EndpointStatus) -> bool) {
        self.takes_commands = false;
        self.finish_commands(store).await;
        self.close_field(store).await;
        self.leave(store, leaves).await;
        self.settle(store).await;
        self.stop_radio(store).await;
        events::log_left_behind(&self.gateway.endpoints());
        self.field.close().await;
        self.servers.tasks.shutdown().await;
    }

    /// Lets nothing more come in, since every reading that still came would have to be made durable too, and takes what
    /// has been told already. Who repeats what is not acknowledged stays until it knows what is.
    async fn close_field(&mut self, store: &mut Store) {
        self.field.tasks.close();
        while !self.field.tasks.have_measured() {
            tokio::select! {
                Some(_) = self.field.tasks.set.join_next() => {}
                Some(input) = self.inputs.recv() => self.handle_input(input),
            }
            self.carry_out(store);
        }
        while let Ok(input) = self.inputs.try_recv() {
            self.handle_input(input);
            self.carry_out(store);
        }
    }

    /// Ends the radio network, whose counters are exact only when it has saved them; what it told until then is kept too.
    async fn stop_radio(&mut self, store: &mut Store) {
        if !self.field.radio.is_configured() {
            return;
        }
        let mut stopped = self.field.radio.stop();
        let end = Instant::now() + SETTLE;
        while matches!(stopped.try_recv(), Err(TryRecvError::Empty)) && Instant::now() < end {
            self.carry_out(store);
            // It tells by itself when it is done: what it had saved before that is one of the things that happen.
            self.wait(store, end.min(Instant::now() + SAY_AGAIN)).await;
        }
        self.settle(store).await;
    }

    /// Waits until the core has nothing left that is to be durable and is not.
    async fn settle(&mut self, store: &mut Store) {
        self.gateway.begin_stop(now());
        let end = Instant::now() + SETTLE;
        loop {
            self.carry_out(store);
            if self.gateway.is_stopped() || Instant::now() >= end {
                return;
            }
            self.wait(store, end).await;
        }
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

    /// Waits for the commands that are with their devices as long as their senders do, and ends the rest.
    async fn finish_commands(&mut self, store: &mut Store) {
        let patience = Duration::from_millis(self.loaded.configuration.gateway.answer_within_ms);
        let end = Instant::now() + patience;
        while !self.open.is_empty() && Instant::now() < end {
            // What follows from a device's answer belongs to a command that is open, all else to a new one.
            self.takes_commands = self.wait(store, end).await;
            self.carry_out(store);
            self.takes_commands = false;
        }
        for id in std::mem::take(&mut self.open) {
            let why = "the gateway stopped before the device answered".to_owned();
            self.gateway
                .handle_delivery(id, Delivery::Unconfirmed(why), now());
        }
        self.carry_out(store);
    }

    async fn leave(&mut self, store: &mut Store, which: impl Fn(&EndpointStatus) -> bool) {
        let endpoints = self.gateway.endpoints();
        let leaving: Vec<&EndpointStatus> = endpoints.iter().filter(|endpoint| which(endpoint)).collect();
        for endpoint in &leaving {
            self.gateway
                .deregister(Some(&endpoint.account), Some(&endpoint.device), now());
        }
        let leaving: BTreeSet<EndpointId> = leaving.iter().map(|endpoint| endpoint.id).collect();
        let end = Instant::now() + DEREGISTER;
        loop {
            self.carry_out(store);
            let left = self.gateway.endpoints();
            let open = left.iter().filter(|e| leaving.contains(&e.id));
            let waiting = open.filter(|e| e.state != EndpointState::Deregistered).count();
            if waiting == 0 || Instant::now() >= end {
                return;
            }
            self.wait(store, end).await;
        }
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

    fn handle_input(&mut self, input: Input) {
        match input {
            Input::Datagram { endpoint, datagram } => {
                self.traces.datagram(endpoint, &datagram);
                self.gateway.handle_datagram(endpoint, &datagram, now());
            }
            Input::Resolved { server, addresses } => self.servers.handle_resolved(&server, &addresses),
            Input::Bus { bus, event } => match event {
                FromBus::Event(event) => self.handle_bus_event(event),
                FromBus::Connected => self.field.buses.note(&bus, PortState::Open),
                FromBus::Disconnected(reason) => self.field.buses.note(&bus, PortState::Closed(reason)),
            },
            Input::Broker { broker, event } => self.handle_broker(&broker, event),
            Input::Radio(told) => self.handle_radio(told),
        }
    }

    fn handle_broker(&mut self, broker: &Arc<str>, told: FromBroker) {
        match told {
            FromBroker::Connected => self.field.brokers.note(broker, ConnectionState::Connected),
            FromBroker::Disconnected(reason) => {
                self.field.brokers.note(broker, ConnectionState::Away(reason));
            }
            FromBroker::Event(event) => self.handle_broker_event(broker, event),
        }
    }

    fn handle_broker_event(&mut self, broker: &Arc<str>, event: BrokerEvent) {
        match event {
            BrokerEvent::Uplink(uplink) => self.handle_uplink(uplink),
            BrokerEvent::Delivery { id, delivery } => self.handle_delivery(id, delivery),
            BrokerEvent::Reachability { link, reachability } => {
                self.gateway.handle_reachability(&link, reachability, now());
            }
            BrokerEvent::SubscriptionRefused { link, topic, reason } => {
                events::log_refused_subscription(broker, link.as_ref(), &topic, &reason);
            }
            BrokerEvent::Unknown { device, topic } => events::log_unknown_on_broker(broker, &device, &topic),
        }
    }

    fn handle_radio(&mut self, told: FromNetwork) {
        match told {
            FromNetwork::Listening(address) => self.field.radio.note(SocketState::Open(address)),
            FromNetwork::NotListening(reason) => self.field.radio.note(SocketState::Closed(reason)),
            FromNetwork::Connected(forwarder) => events::log_forwarder(forwarder, true),
            FromNetwork::Lost(forwarder) => events::log_forwarder(forwarder, false),
            FromNetwork::Event(event) => self.handle_radio_event(event),
        }
    }

    fn handle_radio_event(&mut self, event: RadioEvent) {
        match event {
            RadioEvent::Uplink(uplink) => self.handle_uplink(uplink),
            RadioEvent::Delivery { id, delivery } => self.handle_delivery(id, delivery),
            RadioEvent::Save(request) => self.network_saves.push_back(request),
            RadioEvent::Reachability { link, reachability } => {
                self.gateway.handle_reachability(&link, reachability, now());
            }
            RadioEvent::Unknown(sender) => {
                if self.field.radio.note_unknown(sender, now()) {
                    events::log_unknown_sender(sender);
                }
            }
            RadioEvent::Joined { .. }
            | RadioEvent::Uncertain { .. }
            | RadioEvent::Refused { .. }
            | RadioEvent::Damaged { .. } => events::log_radio(&event),
        }
    }

    fn handle_uplink(&mut self, uplink: Uplink) {
        self.traces.uplink(&uplink);
        self.gateway.handle_uplink(uplink);
    }

    fn handle_delivery(&mut self, id: DownlinkId, delivery: Delivery) {
        self.traces.delivery(id, &delivery);
        self.open.remove(&id);
        self.gateway.handle_delivery(id, delivery, now());
    }

    fn handle_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Buffer(reply) => {
                self.drops.handle_reply(&reply);
                self.gateway.handle_buffer(reply, now());
            }
            Answer::Saved { origin, id, result } => match origin {
                Origin::Core => self.gateway.handle_saved(id, result, now()),
                Origin::Ports => self.servers.handle_saved(id, result),
                Origin::Radio => self.field.radio.saved(id, result),
                // Also a disk that fails answers.
                Origin::Probe => self.open_probes = self.open_probes.saturating_sub(1),
            },
            Answer::Alive => self.checks.handle_alive(),
            Answer::BufferOpened => self.has_buffer_opened = true,
            // It is for whoever starts an engine.
            Answer::Kept(_) => {}
        }
    }

    fn handle_bus_event(&mut self, event: BusEvent) {
        match event {
            BusEvent::Uplink(uplink) => self.handle_uplink(uplink),
            BusEvent::Delivery { id, delivery } => self.handle_delivery(id, delivery),
            BusEvent::Reachability { link, reachability } => {
                self.gateway.handle_reachability(&link, reachability, now());
            }
            // The bus's own io task opens the port again and tells so.
            BusEvent::Reconnect { .. } => {}
        }
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
                        self.gateway.handle_delivery(id, Delivery::Denied, now());
                    } else if self.takes_commands && self.field.downlink(downlink) {
                        self.open.insert(id);
                    } else {
                        self.gateway.handle_delivery(id, Delivery::Expired, now());
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

fn core_config(configuration: &Configuration) -> Config {
    Config {
        name: configuration.gateway.name.clone(),
        cabinet: CabinetConfig {
            manufacturer: "ucifi-gateway".into(),
            model_number: "ucifi-gateway".into(),
            serial: "".into(),
            firmware_version: env!("CARGO_PKG_VERSION").into(),
            endpoint: configuration.gateway.endpoint.clone(),
        },
        accounts: configuration.servers.iter().map(account).collect(),
        devices: configuration.devices.iter().map(device).collect(),
        answer_within_ms: configuration.gateway.answer_within_ms,
        buffer: BufferConfig {
            hold_ms: configuration.buffer.hold_ms,
            commit_ms: configuration.buffer.commit_ms,
            ..BufferConfig::default()
        },
    }
}

fn account(server: &Server) -> AccountConfig {
    AccountConfig {
        name: server.name.clone(),
        server_uri: server.uri.text.as_str().into(),
        short_server_id: server.short_server_id,
        model: server.model,
        topology: Topology::EndpointPerDevice,
        lifetime_secs: server.lifetime_secs,
        version: server.lwm2m,
        default_pmin_secs: Some(server.default_pmin_secs).filter(|secs| *secs != 0),
        default_pmax_secs: Some(server.default_pmax_secs).filter(|secs| *secs != 0),
        notification_storing: server.notification_storing,
        confirmable_notifications: server.confirmable_notifications,
        registrations_per_sec: server.registrations_per_sec,
        send: server.send,
    }
}

fn device(device: &Device) -> DeviceConfig {
    DeviceConfig {
        id: device.id.clone(),
        label: device.label.as_deref().unwrap_or_default().into(),
        serial: device.serial.as_deref().unwrap_or_default().into(),
        profile: device.profile.clone() as Arc<dyn Profile>,
        link: device.link.clone(),
        endpoint: device.endpoint.as_deref().map(Into::into),
        intervals: device.intervals_ms.clone(),
    }
}
