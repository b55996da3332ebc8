//! Devices, forwarders and the air between them, in one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::airwave::{Channel, OnAir};
use super::forwarder::{Forwarder, ForwarderCounters, Socket};
use super::heard::Heard;
use super::node::{Node, NodeConfig, NodeEvent};
use crate::limits;

/// Who is heard and is no device here.
const STRANGER: [u8; 8] = [0xff; 8];

/// How bad the air and the network are; the shares are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The share of frames of devices that a forwarder does not hear.
    pub uplink_loss: f64,
    /// The share of frames of forwarders that a device does not hear.
    pub downlink_loss: f64,
    /// The share of datagrams that is lost in each direction.
    pub datagram_loss: f64,
}

/// Something that happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its DevEUI.
    pub dev_eui: [u8; 8],
    /// What happened.
    pub event: NodeEvent,
}

/// Devices and forwarders that hear each other.
#[derive(Debug)]
pub struct Field {
    now: Instant,
    random: StdRng,
    /// How bad it is.
    pub conditions: Conditions,
    nodes: BTreeMap<[u8; 8], (NodeConfig, Node)>,
    forwarders: Vec<Forwarder>,
    uplinks: Vec<Uplink>,
    events: VecDeque<Event>,
    heard: Heard,
}

/// A frame of a device that is on the air.
#[derive(Debug)]
struct Uplink {
    dev_eui: [u8; 8],
    frame: OnAir,
    /// Whether another frame on the same channel spoilt it.
    is_spoilt: bool,
}

impl Field {
    /// Makes an empty field.
    pub fn new(seed: u64, now: Instant) -> Self {
        Self {
            now,
            random: StdRng::seed_from_u64(seed),
            conditions: Conditions::default(),
            nodes: BTreeMap::new(),
            forwarders: Vec::new(),
            uplinks: Vec::new(),
            events: VecDeque::new(),
            heard: Heard::default(),
        }
    }

    /// Adds a forwarder; the first is number 0.
    #[must_use]
    pub fn with_forwarder(mut self, forwarder: Forwarder) -> Self {
        self.forwarders.push(forwarder);
        self
    }

    /// Adds a device, switched on.
    #[must_use]
    pub fn with_node(mut self, config: NodeConfig) -> Self {
        let node = Node::new(config.clone(), self.random.random(), self.now);
        self.nodes.insert(config.dev_eui, (config, node));
        self
    }

    /// From now on all forwarders refuse what they are told to send, with this error, or do so no more.
    pub fn refuse_to_send(&mut self, error: Option<&'static str>) {
        for forwarder in &mut self.forwarders {
            forwarder.refuse(error);
        }
    }

    /// Returns how many forwarders there are.
    pub const fn forwarders(&self) -> usize {
        self.forwarders.len()
    }

    /// Returns what a forwarder has counted.
    pub fn counters(&self, forwarder: usize) -> ForwarderCounters {
        self.forwarders
            .get(forwarder)
            .map(Forwarder::counters)
            .unwrap_or_default()
    }

    /// Returns how many counters of downlinks were used for two different frames.
    pub const fn reused_counters(&self) -> u64 {
        self.heard.reused_counters
    }

    /// Returns how many nonces of joins were used twice: a DevNonce accepted again, or a JoinNonce in two answers.
    pub const fn reused_nonces(&self) -> u64 {
        self.heard.reused_nonces
    }

    /// Sends the last join-request of each device again, as somebody does who has recorded them; returns how many.
    pub fn replay_joins(&mut self, now: Instant) -> usize {
        self.handle_timeout(now);
        let recorded = self.heard.recorded_joins().map(|(dev_eui, frame)| {
            let until = now + (frame.until - frame.from);
            let again = OnAir {
                from: now,
                until,
                ..frame.clone()
            };
            (*dev_eui, again)
        });
        let recorded: Vec<_> = recorded.collect();
        let count = recorded.len();
        for (dev_eui, frame) in recorded {
            self.begin_uplink(dev_eui, frame);
        }
        count
    }

    /// Returns how many frames of devices spoilt each other.
    pub const fn spoilt_uplinks(&self) -> u64 {
        self.heard.spoilt
    }

    /// Switches a device off and on: it forgets its session.
    pub fn restart(&mut self, dev_eui: [u8; 8], now: Instant) {
        self.handle_timeout(now);
        let seed = self.random.random();
        if let Some((config, node)) = self.nodes.get_mut(&dev_eui) {
            *node = Node::new(config.clone(), seed, now);
        }
    }

    /// Tells a device to join.
    pub fn join(&mut self, dev_eui: [u8; 8], now: Instant) {
        self.handle_timeout(now);
        if let Some((_, node)) = self.nodes.get_mut(&dev_eui) {
            node.join(now);
        }
        self.exchange();
    }

    /// Tells a device to send.
    pub fn send(&mut self, dev_eui: [u8; 8], f_port: u8, payload: Vec<u8>, is_confirmed: bool, now: Instant) {
        self.handle_timeout(now);
        if let Some((_, node)) = self.nodes.get_mut(&dev_eui) {
            node.send(f_port, payload, is_confirmed, now);
        }
        self.exchange();
    }

    /// Puts a frame on the air that is none of a device here.
    pub fn shout(&mut self, phy: Vec<u8>, channel: Channel, now: Instant) {
        self.handle_timeout(now);
        let until = now + channel.time_on_air(phy.len(), true);
        let frame = OnAir {
            phy,
            channel,
            from: now,
            until,
        };
        self.begin_uplink(STRANGER, frame);
    }

    /// Takes a datagram from the server to a forwarder.
    pub fn handle_datagram(&mut self, forwarder: usize, socket: Socket, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        if self.is_lost(self.conditions.datagram_loss) {
            return;
        }
        if let Some(forwarder) = self.forwarders.get_mut(forwarder) {
            forwarder.handle_datagram(socket, bytes, now);
        }
        self.exchange();
    }

    /// Does what is due until `now`, each thing at its own time: windows are kept however late this is called.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            for forwarder in &mut self.forwarders {
                forwarder.handle_timeout(self.now);
            }
            self.end_uplinks();
            for (_, node) in self.nodes.values_mut() {
                if node.poll_timeout().is_some_and(|due| due <= self.now) {
                    node.handle_timeout(self.now);
                }
            }
            self.exchange();
        }
        self.now = self.now.max(now);
    }

    /// Returns the next datagram to the server: from which forwarder and which of its sockets.
    pub fn poll_transmit(&mut self) -> Option<(usize, Socket, Vec<u8>)> {
        for index in 0..self.forwarders.len() {
            while let Some((socket, datagram)) = self.forwarders.get_mut(index)?.poll_transmit() {
                if !self.is_lost(self.conditions.datagram_loss) {
                    return Some((index, socket, datagram));
                }
            }
        }
        None
    }

    /// Returns the next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let forwarders = self
            .forwarders
            .iter()
            .map(|forwarder| forwarder.poll_timeout(self.now));
        let nodes = self.nodes.values().filter_map(|(_, node)| node.poll_timeout());
        let uplinks = self.uplinks.iter().map(|uplink| uplink.frame.until);
        forwarders.chain(nodes).chain(uplinks).min()
    }

    /// Moves what has just begun from the devices and forwarders to the air, and what has happened to the events.
    fn exchange(&mut self) {
        for index in 0..self.forwarders.len() {
            while let Some(frame) = self
                .forwarders
                .get_mut(index)
                .and_then(|f| f.poll_frame(self.now))
            {
                let nodes = self.nodes.iter();
                let keys = nodes.map(|(dev_eui, (config, _))| (*dev_eui, &config.app_key));
                self.heard.note_downlink(&frame, keys);
                self.begin_downlink(&frame);
            }
        }
        let mut begun = Vec::new();
        for (dev_eui, (_, node)) in &mut self.nodes {
            while let Some(frame) = node.poll_frame() {
                begun.push((*dev_eui, frame));
            }
            while let Some(event) = node.poll_event() {
                if self.events.len() >= limits::MAX_EVENTS {
                    self.events.pop_front();
                }
                let dev_eui = *dev_eui;
                self.events.push_back(Event { dev_eui, event });
            }
        }
        for (dev_eui, frame) in begun {
            self.begin_uplink(dev_eui, frame);
        }
    }

    fn begin_downlink(&mut self, frame: &OnAir) {
        let loss = self.conditions.downlink_loss;
        for (_, node) in self.nodes.values_mut() {
            if !self.random.random_bool(loss) {
                node.handle_preamble(frame);
            }
        }
    }

    fn begin_uplink(&mut self, dev_eui: [u8; 8], frame: OnAir) {
        self.heard.note_uplink(&frame);
        let mut is_spoilt = false;
        for other in &mut self.uplinks {
            if other.frame.channel == frame.channel {
                self.heard.spoilt += 1 + u64::from(!other.is_spoilt && !is_spoilt);
                other.is_spoilt = true;
                is_spoilt = true;
            }
        }
        self.uplinks.push(Uplink {
            dev_eui,
            frame,
            is_spoilt,
        });
    }

    fn end_uplinks(&mut self) {
        let now = self.now;
        let (ended, going): (Vec<_>, Vec<_>) = self
            .uplinks
            .drain(..)
            .partition(|uplink| uplink.frame.until <= now);
        self.uplinks = going;
        for uplink in ended.into_iter().filter(|uplink| !uplink.is_spoilt) {
            for (index, forwarder) in self.forwarders.iter_mut().enumerate() {
                if self.random.random_bool(self.conditions.uplink_loss) {
                    continue;
                }
                let (rssi_dbm, snr_db) = signal(uplink.dev_eui, index);
                forwarder.handle_frame(&uplink.frame, rssi_dbm, snr_db);
            }
        }
    }

    fn is_lost(&mut self, share: f64) -> bool {
        self.random.random_bool(share)
    }
}

/// Each pair of a device and a forwarder has its distance.
fn signal(dev_eui: [u8; 8], forwarder: usize) -> (i32, f64) {
    let far = (usize::from(dev_eui[7]) * 37 + forwarder * 61) % 64;
    let rssi_dbm = -50 - i32::try_from(far).expect("it is below 64");
    let snr_db = 10.0 - f64::from(i32::try_from(far).expect("it is below 64")) / 4.0;
    (rssi_dbm, snr_db)
}
