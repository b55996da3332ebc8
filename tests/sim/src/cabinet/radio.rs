//! The radio of a cabinet: devices, forwarders and the air, which stay when the gateway goes down, and the gateway's
//! network server and forwarders' engine, which do not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_adapters::lorawan::forwarders::{self, Forwarders};
use ucifi_adapters::lorawan::{self, Activation, Event, Key, NetworkConfig, NetworkServer};
use ucifi_core::field::{DevEui, ReceiptId};
use ucifi_core::{Now, Profile};

use super::nodes::Nodes;
use super::scripted::{ScriptedDevice, ScriptedProfile, Way, dev_eui};
use super::store::{Keeper, Wanted};
use super::{Cabinet, plan};
use crate::radio::{Field, Forwarder, NodeConfig, Socket};

/// The names of what the network server keeps begin with this.
pub(super) const PREFIX: &str = "lorawan/";

/// Its number among all that give receipts; brokers count from 1.
const PLACE: u16 = u16::MAX;

/// How many forwarders there are.
const FORWARDERS: u8 = 2;

/// How many millionths their counters are off.
const DRIFT_PPM: i32 = 20;

/// The data rate of the devices: their frames are short.
const DATA_RATE: u8 = 5;

/// The devices, the forwarders and the air.
pub(super) struct Radio {
    pub(super) field: Field,
    pub(super) nodes: Nodes,
}

/// What of the radio a power cut ends.
pub(super) struct Network {
    forwarders: Forwarders,
    pub(super) server: NetworkServer,
}

impl Radio {
    /// Makes what is on the air, if one of the devices needs it.
    pub(super) fn of(devices: &[ScriptedDevice], seed: u64, start: Instant) -> Option<Self> {
        let places: Vec<usize> = places(devices).map(|(place, _)| place).collect();
        if places.is_empty() {
            return None;
        }
        let mut randomness = StdRng::seed_from_u64(seed);
        let mut field = Field::new(randomness.random(), start);
        for number in 0..FORWARDERS {
            let drift = if number % 2 == 0 { DRIFT_PPM } else { -DRIFT_PPM };
            let id = [0xfe, 0, 0, 0, 0, 0, 0, number];
            field = field.with_forwarder(Forwarder::new(id, randomness.random(), drift, start));
        }
        for place in &places {
            field = field.with_node(NodeConfig {
                dev_eui: dev_eui(*place),
                join_eui: [0; 8],
                app_key: app_key(*place),
                is_class_c: false,
                data_rate: DATA_RATE,
                rx2_spreading_factor: None,
            });
        }
        Some(Self {
            field,
            nodes: Nodes::new(&places, randomness.random(), start),
        })
    }
}

impl Network {
    /// Begins with what was kept, if one of the devices needs it.
    pub(super) fn of(
        devices: &[ScriptedDevice],
        (saved, may_be_old): (&BTreeMap<String, Vec<u8>>, bool),
        seed: u64,
        now: Instant,
    ) -> Option<Self> {
        let profile = ScriptedProfile::new();
        let node = |place| lorawan::NodeConfig {
            dev_eui: DevEui(dev_eui(place)),
            activation: Activation::Otaa {
                app_key: Key::new(app_key(place)),
            },
            traits: profile.lorawan().expect("a scripted device may have a radio"),
        };
        let nodes: Vec<_> = places(devices).map(|(place, _)| node(place)).collect();
        let config = NetworkConfig {
            place: PLACE,
            ..NetworkConfig::default()
        };
        let is_needed = !nodes.is_empty();
        is_needed.then(|| Self {
            forwarders: Forwarders::new(forwarders::Config::default(), seed),
            server: NetworkServer::new(config, nodes, saved, may_be_old, seed, now)
                .expect("each device has a DevEUI of its own"),
        })
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = [self.forwarders.poll_timeout(), self.server.poll_timeout(now)];
        due.into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.forwarders.handle_timeout(now);
        self.server.handle_timeout(now);
    }

    /// Carries frames, outcomes and transmissions between the two engines until both rest.
    fn exchange(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.forwarders.poll_event() {
                match event {
                    forwarders::Event::Heard(frame) => self.server.handle_frame(&frame, now),
                    forwarders::Event::Sent(id, sent) => self.server.handle_sent(id, &sent, now),
                    forwarders::Event::Connected(_) | forwarders::Event::Lost(_) => {}
                }
            }
            let Some(transmission) = self.server.poll_transmission() else {
                return;
            };
            self.forwarders.handle_transmission(transmission, now);
        }
    }
}

/// Says whether a receipt is one of the radio network.
pub(super) const fn has_given(receipt: ReceiptId) -> bool {
    ucifi_adapters::mqtt::place_of(receipt) == PLACE
}

fn places(devices: &[ScriptedDevice]) -> impl Iterator<Item = (usize, &ScriptedDevice)> {
    let numbered = devices.iter().enumerate();
    numbered.filter(|(_, device)| matches!(device.way, Way::Radio { .. }))
}

fn app_key(place: usize) -> [u8; 16] {
    let mut key = [0xa0; 16];
    key[8..].copy_from_slice(&dev_eui(place));
    key
}

/// Each socket of each forwarder has its port.
fn address(forwarder: usize, socket: Socket) -> SocketAddr {
    let number = u16::try_from(forwarder).expect("there are few");
    let side = match socket {
        Socket::Up => 0,
        Socket::Down => 1,
    };
    SocketAddr::new(plan::FORWARDERS_AT, 2_000 + 2 * number + side)
}

impl Cabinet {
    /// Returns the devices and forwarders, where there are any.
    pub fn field(&self) -> Option<&Field> {
        self.radio.as_ref().map(|radio| &radio.field)
    }

    /// Returns the devices and forwarders, to change how bad the air is.
    pub fn field_mut(&mut self) -> Option<&mut Field> {
        self.radio.as_mut().map(|radio| &mut radio.field)
    }

    /// Returns what the network server has counted since the gateway was started; none where there is none.
    pub fn radio_statistics(&self) -> Option<&lorawan::NetworkStatistics> {
        let network = self.process.as_ref()?.network.as_ref()?;
        Some(network.server.statistics())
    }

    /// Returns what it counted in each start of the gateway, the present one last.
    pub fn radio_statistics_of_starts(&self) -> impl Iterator<Item = &lorawan::NetworkStatistics> {
        self.past_radio.iter().chain(self.radio_statistics())
    }

    /// Sends the last join-request of each device again, as somebody does who has recorded them; returns how many.
    pub fn replay_joins(&mut self) -> usize {
        let now = self.clock.now().instant;
        let count = self
            .radio
            .as_mut()
            .map_or(0, |radio| radio.field.replay_joins(now));
        self.settle();
        count
    }

    /// Returns what the side towards the forwarders has counted since then.
    pub fn forwarders_statistics(&self) -> Option<forwarders::Statistics> {
        let network = self.process.as_ref()?.network.as_ref()?;
        Some(network.forwarders.statistics(self.clock.now().instant))
    }

    /// Hands the gateway a datagram as if it came to the port for forwarders, from the address of one of them.
    pub fn inject_at_forwarders(&mut self, forwarder: usize, datagram: &[u8]) {
        let now = self.clock.now();
        self.take_from_forwarder(forwarder, Socket::Up, datagram, now);
        self.settle();
    }

    /// Carries everything between the air, the engines and the core; says whether there was anything.
    pub(super) fn settle_radio(&mut self, now: Now) -> bool {
        if self.radio.is_none() {
            return false;
        }
        let mut busy = false;
        while let Some((forwarder, socket, datagram)) =
            self.radio.as_mut().and_then(|radio| radio.field.poll_transmit())
        {
            busy = true;
            self.trace.note(self.clock.elapsed(), "forwarder", &datagram);
            self.take_from_forwarder(forwarder, socket, &datagram, now);
        }
        if let Some(network) = self.process.as_mut().and_then(|process| process.network.as_mut()) {
            network.exchange(now.instant);
        }
        while let Some((to, datagram)) = self.network_side().and_then(|n| n.forwarders.poll_transmit()) {
            busy = true;
            self.trace.note(self.clock.elapsed(), "network", &datagram);
            self.take_to_forwarder(to, &datagram, now);
            if self.goes_down_after_output() {
                return true;
            }
        }
        while let Some(event) = self
            .network_side()
            .and_then(|network| network.server.poll_event())
        {
            busy = true;
            self.take_radio_event(event, now);
            if self.goes_down_after_output() {
                return true;
            }
        }
        busy | self.settle_nodes(now)
    }

    fn network_side(&mut self) -> Option<&mut Network> {
        self.process.as_mut()?.network.as_mut()
    }

    /// While the gateway is off, nobody answers.
    fn take_from_forwarder(&mut self, forwarder: usize, socket: Socket, datagram: &[u8], now: Now) {
        let from = address(forwarder, socket);
        let network = self.process.as_mut().and_then(|process| process.network.as_mut());
        let ack = network.and_then(|network| network.forwarders.handle_datagram(from, datagram, now));
        if let (Some(ack), Some(radio)) = (ack, &mut self.radio) {
            radio.field.handle_datagram(forwarder, socket, &ack, now.instant);
        }
    }

    fn take_to_forwarder(&mut self, to: SocketAddr, datagram: &[u8], now: Now) {
        let Some(Radio { field, .. }) = &mut self.radio else {
            return;
        };
        let mut all = 0..field.forwarders();
        if let Some(forwarder) = all.find(|forwarder| address(*forwarder, Socket::Down) == to) {
            field.handle_datagram(forwarder, Socket::Down, datagram, now.instant);
        }
    }

    fn take_radio_event(&mut self, event: Event, now: Now) {
        let said = format!("{:?}", std::mem::discriminant(&event));
        match event {
            Event::Uplink(uplink) => self.take_uplink(uplink),
            Event::Delivery { id, delivery } => {
                self.orders.handle_delivery(id, &delivery, self.starts);
                self.process_mut().gateway.handle_delivery(id, delivery, now);
            }
            Event::Save(request) if self.store.is_none() => {
                let network = self.network_side();
                if let Some(network) = network {
                    network.server.handle_saved(request.id, Ok(()), now.instant);
                }
            }
            Event::Save(request) => self.ask_store(Wanted::Save(Keeper::Radio, request), now),
            Event::Reachability { link, reachability } => {
                let gateway = &mut self.process_mut().gateway;
                gateway.handle_reachability(&link, reachability, now);
            }
            Event::Joined { .. }
            | Event::Uncertain { .. }
            | Event::Refused { .. }
            | Event::Unknown(_)
            | Event::Damaged { .. } => {
                self.trace.note(self.clock.elapsed(), "radio", said.as_bytes());
            }
        }
    }
}
