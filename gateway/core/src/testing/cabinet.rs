//! A gateway with its servers and its field side, in simulated time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coap_lite::RequestType;
use lwm2m_client::Timestamp;
use lwm2m_client::object::Model;

use super::buffer::TestBuffer;
use super::server::{Answer, Got, TestServer};
use super::state_store::StateStore;
use super::wire::{Destination, Wire};
use crate::profile::Profile;
use crate::{
    AccountConfig, CabinetConfig, Config, ConfigError, Delivery, DeviceConfig, Downlink, EndpointId, Event,
    Frame, Gateway, Kept, Link, Now, Output, Uplink,
};

/// Wake-ups at one moment beyond which time is not going on.
const SPIN: u32 = 1_000;

/// A gateway, its server, and what came out of it.
pub(crate) struct TestCabinet {
    pub(crate) gateway: Gateway,
    pub(crate) server: TestServer,
    /// Whether datagrams reach the server.
    pub(crate) is_connected: bool,
    pub(crate) now: Now,
    pub(crate) downlinks: Vec<Downlink>,
    pub(crate) events: Vec<Event>,
    /// Which frames may be acknowledged, in order.
    pub(crate) settled: Vec<crate::field::ReceiptId>,
    pub(crate) interests: Vec<(u16, u64)>,
    /// Everything that came out, as text.
    pub(crate) transcript: Vec<String>,
    /// The endpoints that reach no server.
    pub(crate) away: BTreeSet<u32>,
    /// What is under way between gateway and server, where that takes time.
    pub(crate) wire: Option<Wire>,
    /// What outlives a restart.
    pub(crate) store: StateStore,
    /// The readings owed that outlive a restart.
    pub(crate) buffer: TestBuffer,
    /// Every datagram of the gateway, with its time and endpoint.
    pub(crate) datagrams: Vec<(Instant, EndpointId, Vec<u8>)>,
    /// The number of the present start; 0 where nothing outlives it.
    boot: u32,
}

/// Returns the configuration of a device at a unit of the only bus.
pub(crate) fn device(id: &str, unit: u8, profile: impl Profile + 'static) -> DeviceConfig {
    DeviceConfig {
        id: id.into(),
        label: "Feeder A".into(),
        serial: "4711".into(),
        profile: Arc::new(profile),
        link: link(unit),
        endpoint: None,
        intervals: BTreeMap::new(),
    }
}

/// Returns a configuration with one server.
pub(crate) fn one_server(model: Model, devices: Vec<DeviceConfig>) -> Config {
    Config {
        name: "cab-17".into(),
        cabinet: CabinetConfig {
            manufacturer: "Example".into(),
            model_number: "G1".into(),
            firmware_version: "0.1.0".into(),
            ..CabinetConfig::default()
        },
        accounts: vec![AccountConfig {
            model,
            ..AccountConfig::new("city", "coap://192.0.2.1:5683")
        }],
        devices,
        answer_within_ms: 4_000,
        buffer: crate::BufferConfig::default(),
    }
}

fn link(unit: u8) -> Link {
    Link::Modbus {
        bus: "rs485".into(),
        unit,
    }
}

impl TestCabinet {
    /// Returns a cabinet that has just been switched on.
    pub(crate) fn new(config: Config) -> Self {
        Self::with_seed(config, 1)
    }

    /// Returns a cabinet that has just been switched on and whose state outlives a restart.
    pub(crate) fn kept(config: Config, store: StateStore) -> Self {
        let mut cabinet = Self::with_seed(config.clone(), 1);
        cabinet.store = store;
        cabinet.transcript.clear();
        cabinet.datagrams.clear();
        cabinet.server.got.clear();
        cabinet.restart(config);
        cabinet
    }

    /// Cuts the power and switches on again, maybe with another configuration. What was under way is lost.
    pub(crate) fn restart(&mut self, config: Config) {
        self.try_restart(config).unwrap();
    }

    /// Does the same on a disk that did not take the number of the present start: the next one has it again.
    pub(crate) fn restart_uncounted(&mut self, config: Config) {
        self.boot -= 1;
        self.restart(config);
    }

    /// Restarts, and says why it is not possible.
    pub(crate) fn try_restart(&mut self, config: Config) -> Result<(), ConfigError> {
        self.boot += 1;
        self.store.waiting.clear();
        let kept = Kept {
            saved: self.store.saved.clone(),
            contents: self.buffer.contents(self.boot),
        };
        let seed = u64::from(self.boot);
        self.gateway = Gateway::restore(config, super::table(), kept, seed, self.now)?;
        self.settle();
        Ok(())
    }

    /// Ends the gateway in good order.
    pub(crate) fn stop(&mut self) {
        self.gateway.begin_stop(self.now);
        self.settle();
    }

    /// Lets the request to save that waits become durable.
    pub(crate) fn finish_save(&mut self) {
        if let Some((id, result)) = self.store.finish() {
            self.gateway.handle_saved(id, result, self.now);
            self.settle();
        }
    }

    /// Returns a cabinet whose randomness is this.
    pub(crate) fn with_seed(config: Config, seed: u64) -> Self {
        let now = super::start();
        let table = super::table();
        let types = config.accounts.iter().flat_map(|account| {
            let known = |object| Some((object, Arc::clone(table.in_model(object, account.model)?)));
            table.objects().filter_map(known).collect::<Vec<_>>()
        });
        let server = TestServer::new(types.collect());
        let mut cabinet = Self {
            gateway: Gateway::new(config, super::table(), seed, now).unwrap(),
            server,
            is_connected: true,
            now,
            downlinks: Vec::new(),
            events: Vec::new(),
            settled: Vec::new(),
            interests: Vec::new(),
            transcript: Vec::new(),
            away: BTreeSet::new(),
            wire: None,
            store: StateStore::default(),
            buffer: TestBuffer::default(),
            datagrams: Vec::new(),
            boot: 0,
        };
        cabinet.settle();
        cabinet
    }

    /// Returns a cabinet that keeps what it owes.
    pub(crate) fn keeping(config: Config) -> Self {
        Self::kept(config, StateStore::default())
    }

    /// Has the disk do what has waited for it.
    pub(crate) fn catch_up(&mut self) {
        let replies = self.buffer.catch_up();
        for reply in replies {
            self.gateway.handle_buffer(reply, self.now);
        }
        self.settle();
    }

    /// Lets time pass, with everything that is due in it.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        self.settle();
        let end = self.now.instant + Duration::from_millis(ms);
        let mut idle = 0;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            idle = if due > self.now.instant { 0 } else { idle + 1 };
            assert!(idle < SPIN, "the gateway wakes again and again at one moment");
            self.advance(due.max(self.now.instant) - self.now.instant);
            let arrived = self
                .wire
                .as_mut()
                .map(|wire| wire.arrived(due))
                .unwrap_or_default();
            for (to, datagram) in arrived {
                self.arrive(to, &datagram);
            }
            self.gateway.handle_timeout(self.now);
            self.settle();
        }
        self.advance(end - self.now.instant);
    }

    /// Lets a frame of a unit come in.
    pub(crate) fn uplink(&mut self, unit: u8, frame: Frame) {
        self.gateway
            .handle_uplink(Uplink::new(link(unit), frame, self.now));
        self.settle();
    }

    /// Lets a frame of any device come in.
    pub(crate) fn hear(&mut self, uplink: Uplink) {
        self.gateway.handle_uplink(uplink);
        self.settle();
    }

    /// Takes the receipts that may be given.
    pub(crate) fn receipts(&mut self) -> Vec<u64> {
        self.settled.drain(..).map(|receipt| receipt.0).collect()
    }

    /// Lets a unit answer or not.
    pub(crate) fn reachability(&mut self, unit: u8, reachability: crate::field::Reachability) {
        self.gateway
            .handle_reachability(&link(unit), reachability, self.now);
        self.settle();
    }

    /// Tells what became of the oldest downlink.
    pub(crate) fn deliver(&mut self, delivery: Delivery) {
        let downlink = self.downlinks.remove(0);
        self.gateway.handle_delivery(downlink.id, delivery, self.now);
        self.settle();
    }

    /// Sends a datagram of the server to an endpoint.
    pub(crate) fn datagram(&mut self, endpoint: u32, datagram: &[u8]) {
        self.gateway
            .handle_datagram(EndpointId(endpoint), datagram, self.now);
        self.settle();
    }

    /// Reads a resource as text, as the server does.
    pub(crate) fn read(&mut self, endpoint: u32, path: &str) -> (String, String) {
        let request = self.server.request(RequestType::Get, path, "");
        self.datagram(endpoint, &request);
        let answer = self.answer();
        (answer.code, answer.text)
    }

    /// Writes a resource as text, as the server does.
    pub(crate) fn write(&mut self, endpoint: u32, path: &str, text: &str) {
        let request = self.server.request(RequestType::Put, path, text);
        self.datagram(endpoint, &request);
    }

    /// Takes the last answer that the server got.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answers().pop().expect("the server has an answer")
    }

    /// Takes the answers that the server got.
    pub(crate) fn answers(&mut self) -> Vec<Answer> {
        self.take(|got| match got {
            Got::Answer(answer) => Some(answer.clone()),
            Got::Register { .. } | Got::Update { .. } | Got::Deregister | Got::Send(_) => None,
        })
    }

    /// Takes the records of the Sends that the server got, as `path value`.
    pub(crate) fn sent(&mut self) -> Vec<Vec<String>> {
        let words = |records: &[lwm2m_client::format::Record]| {
            records
                .iter()
                .map(|r| format!("{} {}", r.entry.path, r.entry.value))
                .collect::<Vec<_>>()
        };
        self.take(|got| match got {
            Got::Send(records) => Some(words(records)),
            Got::Register { .. } | Got::Update { .. } | Got::Deregister | Got::Answer(_) => None,
        })
    }

    /// Takes the object lists that the server got for an endpoint, by Register and by Update.
    pub(crate) fn object_lists(&mut self, endpoint: u32) -> Vec<String> {
        let of_endpoint = |(from, _): &(EndpointId, Got)| from.0 == endpoint;
        let lists = self
            .server
            .got
            .iter()
            .filter(|got| of_endpoint(got))
            .filter_map(|(_, got)| match got {
                Got::Register { objects, .. } | Got::Update { objects } => Some(objects.clone()),
                Got::Deregister | Got::Send(_) | Got::Answer(_) => None,
            });
        let lists = lists.collect();
        self.server.got.retain(|got| !of_endpoint(got));
        lists
    }

    /// Takes the outcomes of commands that were told since.
    pub(crate) fn outcomes(&mut self) -> Vec<crate::CommandRecord> {
        let records = self.events.iter().filter_map(|event| {
            let Event::CommandFinished(record) = event else {
                return None;
            };
            Some(record.clone())
        });
        let records = records.collect();
        self.events.clear();
        records
    }

    fn take<T>(&mut self, choose: impl Fn(&Got) -> Option<T>) -> Vec<T> {
        let chosen = self
            .server
            .got
            .iter()
            .filter_map(|(_, got)| choose(got))
            .collect();
        self.server.got.retain(|(_, got)| choose(got).is_none());
        chosen
    }

    fn settle(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            // Thousands of readings at a time would make a long story.
            self.transcript.push(if let Output::Buffer(request) = &output {
                format!("buffer: {:?}", std::mem::discriminant(request))
            } else {
                format!("{output:?}")
            });
            if let Output::Transmit { endpoint, datagram } = &output {
                self.datagrams
                    .push((self.now.instant, *endpoint, datagram.clone()));
            }
            match output {
                Output::Transmit { endpoint, datagram }
                    if self.is_connected && !self.away.contains(&endpoint.0) =>
                {
                    self.carry(Destination::Server(endpoint), datagram);
                }
                Output::Transmit { .. } => {}
                Output::Downlink(downlink) => self.downlinks.push(downlink),
                Output::Interest { point, every_ms, .. } => self.interests.push((point.0, every_ms)),
                Output::Buffer(request) => {
                    for reply in self.buffer.handle(request) {
                        self.gateway.handle_buffer(reply, self.now);
                    }
                }
                Output::Save(request) => {
                    if let Some((id, result)) = self.store.handle(request) {
                        self.gateway.handle_saved(id, result, self.now);
                    }
                }
                Output::Settled(receipt) => self.settled.push(receipt),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let wire = self.wire.as_ref().and_then(Wire::next);
        [self.gateway.poll_timeout(), wire].into_iter().flatten().min()
    }

    fn carry(&mut self, to: Destination, datagram: Vec<u8>) {
        match &mut self.wire {
            Some(wire) => wire.carry(to, datagram, self.now.instant),
            None => self.arrive(to, &datagram),
        }
    }

    fn arrive(&mut self, to: Destination, datagram: &[u8]) {
        match to {
            Destination::Server(from) => {
                for answer in self.server.handle(from, datagram) {
                    self.carry(Destination::Gateway(from), answer);
                }
            }
            Destination::Gateway(endpoint) => self.gateway.handle_datagram(endpoint, datagram, self.now),
        }
    }

    fn advance(&mut self, by: Duration) {
        self.now.instant += by;
        let ms = i64::try_from(by.as_millis()).unwrap();
        self.now.wall = self
            .now
            .wall
            .map(|wall| Timestamp::from_unix_ms(wall.unix_ms() + ms));
    }
}
