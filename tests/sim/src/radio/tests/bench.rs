//! The engines of the gateway around a field, in one loop.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lwm2m_client::Path;
use ucifi_adapters::lorawan::forwarders::{self, Config, Counters, Forwarders};
use ucifi_adapters::lorawan::{Activation, Event, ForwarderId, Key, NetworkConfig, NetworkServer};
use ucifi_core::field::{
    Delivery, DevEui, DeviceClass, Downlink, DownlinkId, Frame, Link, LoRaWanCommand, LoRaWanTraits,
    ReceiptId,
};
use ucifi_core::{Now, Uplink};

use crate::radio::{Field, Forwarder, NodeConfig, NodeEvent, SendOutcome, Socket};

/// Where the counters of the forwarders begin: so that they wrap after 20 s.
const COUNT: u32 = u32::MAX - 20_000_000;

pub(super) fn dev_eui(number: u8) -> [u8; 8] {
    [0x70, 0xb3, 0xd5, 0, 0, 0, 0, number]
}

fn forwarder_id(number: u8) -> [u8; 8] {
    [0xfe, 0, 0, 0, 0, 0, 0, number]
}

fn app_key(number: u8) -> [u8; 16] {
    [0xa0 + number; 16]
}

/// Each socket of each forwarder has its port.
fn address(forwarder: usize, socket: Socket) -> SocketAddr {
    let number = u16::try_from(forwarder).expect("there are few");
    let side = match socket {
        Socket::Up => 0,
        Socket::Down => 1,
    };
    SocketAddr::from(([10, 0, 0, 1], 2_000 + 2 * number + side))
}

pub(super) struct Bench {
    now: Instant,
    pub(super) field: Field,
    classes: Vec<DeviceClass>,
    forwarders: Forwarders,
    server: NetworkServer,
    saved: BTreeMap<String, Vec<u8>>,
    seed: u64,
    next_downlink: u64,
    joined: Vec<u8>,
    heard: Vec<(u8, Vec<u8>)>,
    told: Vec<(u8, Vec<u8>)>,
    outcomes: Vec<(u8, SendOutcome)>,
    deliveries: Vec<(u64, Delivery)>,
    /// How long after its arrival an uplink is settled.
    pub(super) settles_after: Duration,
    settling: VecDeque<(Instant, ReceiptId)>,
    /// How long a datagram takes from the gateway to a forwarder.
    pub(super) latency: Duration,
    under_way: VecDeque<(Instant, usize, Vec<u8>)>,
}

impl Bench {
    pub(super) fn new(seed: u64, classes: &[DeviceClass], forwarders: u8) -> Self {
        let now = Instant::now();
        let mut field = Field::new(seed, now);
        for number in 0..forwarders {
            let drift = if number % 2 == 0 { 20 } else { -20 };
            let count = COUNT.wrapping_add(u32::from(number) * 77_777_777);
            field = field.with_forwarder(Forwarder::new(forwarder_id(number), count, drift, now));
        }
        for (number, class) in (0..).zip(classes) {
            field = field.with_node(NodeConfig {
                dev_eui: dev_eui(number),
                join_eui: [0; 8],
                app_key: app_key(number),
                is_class_c: *class == DeviceClass::C,
                data_rate: 5 - number % 3,
                rx2_spreading_factor: Some(9),
            });
        }
        let saved = BTreeMap::new();
        let mut bench = Self {
            now,
            field,
            forwarders: Forwarders::new(Config::default(), seed),
            server: server(classes, &saved, seed, now),
            classes: classes.to_vec(),
            saved,
            seed,
            next_downlink: 0,
            joined: Vec::new(),
            heard: Vec::new(),
            told: Vec::new(),
            outcomes: Vec::new(),
            deliveries: Vec::new(),
            settles_after: Duration::ZERO,
            settling: VecDeque::new(),
            latency: Duration::ZERO,
            under_way: VecDeque::new(),
        };
        bench.pass(Duration::from_millis(100));
        bench
    }

    /// The gateway is killed and starts again: only what was saved is left.
    pub(super) fn kill(&mut self) {
        self.seed += 1_000;
        self.forwarders = Forwarders::new(Config::default(), self.seed);
        self.settling.clear();
        self.server = server(&self.classes, &self.saved, self.seed, self.now);
        self.settle();
    }

    pub(super) fn join(&mut self, number: u8) {
        self.field.join(dev_eui(number), self.now);
        self.settle();
    }

    pub(super) fn send(&mut self, number: u8, payload: &[u8], is_confirmed: bool) {
        self.field
            .send(dev_eui(number), 60, payload.to_vec(), is_confirmed, self.now);
        self.settle();
    }

    /// Sends a command; returns its number.
    pub(super) fn command(&mut self, number: u8, payload: &[u8], is_confirmed: bool) -> u64 {
        self.next_downlink += 1;
        let downlink = Downlink {
            id: DownlinkId(self.next_downlink),
            link: Link::LoRaWan {
                dev_eui: DevEui(dev_eui(number)),
            },
            path: Path::resource(3416, 0, 1),
            frame: Frame::LoRaWanCommand(LoRaWanCommand {
                f_port: 60,
                payload: payload.to_vec(),
                confirmed: is_confirmed,
            }),
        };
        self.server.handle_downlink(downlink, self.now);
        self.settle();
        self.next_downlink
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.field.handle_timeout(self.now);
            self.forwarders.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Returns whose joins the network has seen since the last time.
    pub(super) fn take_joined(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.joined)
    }

    pub(super) fn take_heard(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(&mut self.heard)
    }

    pub(super) fn take_told(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(&mut self.told)
    }

    pub(super) fn take_outcomes(&mut self) -> Vec<(u8, SendOutcome)> {
        std::mem::take(&mut self.outcomes)
    }

    pub(super) fn take_deliveries(&mut self) -> Vec<(u64, Delivery)> {
        std::mem::take(&mut self.deliveries)
    }

    /// Returns what the gateway has counted of a forwarder.
    pub(super) fn counters(&self, forwarder: u8) -> Counters {
        let id = ForwarderId(forwarder_id(forwarder));
        self.forwarders.statistics(self.now).forwarders[&id].counters
    }

    fn due(&self) -> Option<Instant> {
        let dues = [
            self.settling.front().map(|(due, _)| *due),
            self.under_way.front().map(|(due, _, _)| *due),
            self.field.poll_timeout(),
            self.forwarders.poll_timeout(),
            self.server.poll_timeout(self.now),
        ];
        dues.into_iter().flatten().min()
    }

    /// Carries everything to where it belongs until all rest.
    fn settle(&mut self) {
        loop {
            let was_busy = self.carry_datagrams() | self.carry_frames() | self.take_events();
            if !was_busy {
                return;
            }
        }
    }

    fn carry_datagrams(&mut self) -> bool {
        let mut was_busy = false;
        while let Some((forwarder, socket, datagram)) = self.field.poll_transmit() {
            was_busy = true;
            let now = Now {
                instant: self.now,
                wall: None,
            };
            if let Some(ack) = self
                .forwarders
                .handle_datagram(address(forwarder, socket), &datagram, now)
            {
                self.field.handle_datagram(forwarder, socket, &ack, self.now);
            }
        }
        while let Some((to, datagram)) = self.forwarders.poll_transmit() {
            was_busy = true;
            for forwarder in 0..self.field.forwarders() {
                if address(forwarder, Socket::Down) == to {
                    let due = self.now + self.latency;
                    self.under_way.push_back((due, forwarder, datagram.clone()));
                }
            }
        }
        let now = self.now;
        while let Some((_, forwarder, datagram)) = pop_due(&mut self.under_way, |(due, _, _)| *due <= now) {
            was_busy = true;
            self.field
                .handle_datagram(forwarder, Socket::Down, &datagram, now);
        }
        was_busy
    }

    fn carry_frames(&mut self) -> bool {
        let mut was_busy = false;
        while let Some(event) = self.forwarders.poll_event() {
            was_busy = true;
            match event {
                forwarders::Event::Heard(frame) => self.server.handle_frame(&frame, self.now),
                forwarders::Event::Sent(id, sent) => self.server.handle_sent(id, &sent, self.now),
                forwarders::Event::Connected(_) | forwarders::Event::Lost(_) => {}
            }
        }
        while let Some(transmission) = self.server.poll_transmission() {
            was_busy = true;
            self.forwarders.handle_transmission(transmission, self.now);
        }
        was_busy
    }

    fn take_events(&mut self) -> bool {
        let mut was_busy = false;
        while let Some(event) = self.server.poll_event() {
            was_busy = true;
            self.handle_event(event);
        }
        while let Some((_, receipt)) = pop_due(&mut self.settling, |(due, _)| *due <= self.now) {
            was_busy = true;
            self.server.handle_settled(receipt, self.now);
        }
        while let Some(event) = self.field.poll_event() {
            was_busy = true;
            let number = event.dev_eui[7];
            match event.event {
                NodeEvent::Joined | NodeEvent::JoinFailed => {}
                NodeEvent::Sent(outcome) => self.outcomes.push((number, outcome)),
                NodeEvent::Told { payload, .. } => self.told.push((number, payload)),
            }
        }
        was_busy
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Uplink(uplink) => {
                if let Some(receipt) = &uplink.receipt {
                    self.settling
                        .push_back((self.now + self.settles_after, receipt.id));
                }
                self.heard.extend(payload(uplink));
            }
            Event::Delivery { id, delivery } => self.deliveries.push((id.0, delivery)),
            Event::Save(request) => {
                for change in request.changes {
                    match change.value {
                        Some(value) => drop(self.saved.insert(change.name, value)),
                        None => drop(self.saved.remove(&change.name)),
                    }
                }
                self.server.handle_saved(request.id, Ok(()), self.now);
            }
            Event::Joined { dev_eui, .. } => self.joined.push(dev_eui.0[7]),
            Event::Uncertain { .. } | Event::Reachability { .. } => {}
            Event::Refused { .. } | Event::Unknown(_) | Event::Damaged { .. } => panic!("{event:?}"),
        }
    }
}

fn pop_due<T>(queue: &mut VecDeque<T>, is_due: impl Fn(&T) -> bool) -> Option<T> {
    queue.front().filter(|first| is_due(first))?;
    queue.pop_front()
}

fn payload(uplink: Uplink) -> Option<(u8, Vec<u8>)> {
    match (uplink.link, uplink.frame) {
        (Link::LoRaWan { dev_eui }, Frame::LoRaWanData(data)) => Some((dev_eui.0[7], data.payload)),
        _ => None,
    }
}

fn server(
    classes: &[DeviceClass],
    saved: &BTreeMap<String, Vec<u8>>,
    seed: u64,
    now: Instant,
) -> NetworkServer {
    let device = |(number, class): (u8, &DeviceClass)| ucifi_adapters::lorawan::NodeConfig {
        dev_eui: DevEui(dev_eui(number)),
        activation: Activation::Otaa {
            app_key: Key::new(app_key(number)),
        },
        traits: LoRaWanTraits {
            class: *class,
            rx2_data_rate: Some(3),
            uplink_every_secs: 900,
        },
    };
    let devices = (0..).zip(classes).map(device).collect();
    NetworkServer::new(NetworkConfig::default(), devices, saved, false, seed, now).expect("it can be run")
}
