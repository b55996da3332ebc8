//! The engine: frames and commands in, transmissions, events and saves out.
//!
//! Nothing of a frame counts before its MIC is verified. What a device may rely on is durable before it is told: the
//! nonces and the session before the join-accept, a block of downlink counters before its first one is used.

mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::Downlink;
use ucifi_core::field::{Delivery, DevEui, Frame, Link, ReceiptId, Refusal};
use ucifi_core::state::{Change, SaveRequest};

use super::air::{AirFrame, Heard, Sent, Transmission, TransmissionId};
use super::config::{self, ConfigError, NetworkConfig, NodeConfig};
use super::event::{Event, Sender, WhyRefused};
use super::limits;
use super::node::{Node, Place, Received};
use super::outgoing::Outgoing;
use super::phy_payload::{self, DataUplink, DevAddr, JoinRequest, PhyPayload};
use super::record;
use super::saver::{Batch, Item, Saver};
use super::session::Counted;
use super::statistics::NetworkStatistics;

/// Receipts count in these bits, below the number of the network.
const RECEIPT_BITS: u32 = 48;

/// A LoRaWAN network server for the devices of one cabinet.
#[derive(Debug)]
pub struct NetworkServer {
    config: NetworkConfig,
    nodes: BTreeMap<DevEui, Node>,
    addresses: BTreeMap<DevAddr, BTreeSet<DevEui>>,
    receipts: BTreeMap<ReceiptId, DevEui>,
    out: Outgoing,
    random: StdRng,
    next_receipt: u64,
}

impl NetworkServer {
    /// Begins with what was saved under names that begin with `lorawan/`; others are not looked at. From an old copy
    /// (`may_be_old`), nonces and counters go on from far ahead.
    ///
    /// # Errors
    /// When the devices cannot be run as configured.
    pub fn new(
        config: NetworkConfig,
        devices: Vec<NodeConfig>,
        saved: &BTreeMap<String, Vec<u8>>,
        may_be_old: bool,
        seed: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config::check(&config, &devices)?;
        let next_receipt = (u64::from(config.place) << RECEIPT_BITS) + 1;
        let mut server = Self {
            config,
            nodes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            receipts: BTreeMap::new(),
            out: Outgoing::new(Saver::new(saved.contains_key(record::STOPPED))),
            random: StdRng::seed_from_u64(seed),
            next_receipt,
        };
        for device in devices {
            server.restore(device, saved, may_be_old, now);
        }
        server.save(now);
        Ok(server)
    }

    /// Takes a frame that was heard, once, however many forwarders heard it.
    pub fn handle_frame(&mut self, frame: &AirFrame, now: Instant) {
        self.out.statistics.frames += 1;
        let Some(heard) = frame.copies.first() else { return };
        if self.out.is_clogged() {
            self.out.refuse(None, WhyRefused::Busy, now);
            return;
        }
        match phy_payload::parse(&frame.phy) {
            Err(_) => self.out.refuse(None, WhyRefused::Malformed, now),
            Ok(PhyPayload::Other) => self.out.statistics.foreign += 1,
            Ok(PhyPayload::JoinRequest(request)) => self.handle_join(&request, frame, heard, now),
            Ok(PhyPayload::Data(data)) => self.handle_data(&data, frame, heard, now),
        }
        self.save(now);
    }

    /// Takes note of what became of a transmission.
    pub fn handle_sent(&mut self, id: TransmissionId, sent: &Sent, now: Instant) {
        match sent {
            Sent::OnAir => self.out.statistics.on_air += 1,
            Sent::Refused(..) | Sent::NoAnswer | Sent::NoAirtime { .. } | Sent::NoForwarder => {
                self.out.statistics.not_sent += 1;
            }
        }
        if let Some(dev_eui) = self.out.flights.remove(&id)
            && let Some(node) = self.nodes.get_mut(&dev_eui)
        {
            node.handle_sent(id, sent, &mut self.out, now);
            self.advance(dev_eui, now);
        }
        self.save(now);
    }

    /// Takes a command for a device.
    pub fn handle_downlink(&mut self, downlink: Downlink, now: Instant) {
        let (id, path) = (downlink.id, downlink.path);
        let node = match downlink.link {
            Link::LoRaWan { dev_eui } => self.nodes.get_mut(&dev_eui),
            Link::Modbus { .. } | Link::Mqtt { .. } => None,
        };
        let command = match downlink.frame {
            Frame::LoRaWanCommand(command) if record::is_sendable(&command) => Some(command),
            Frame::LoRaWanCommand(_)
            | Frame::ModbusBlock(_)
            | Frame::ModbusWrite(_)
            | Frame::LoRaWanData(_)
            | Frame::MqttMessage(_)
            | Frame::MqttPublish(_) => None,
        };
        let (Some(node), Some(command)) = (node, command) else {
            let text = "no LoRaWAN device is told that: FPort 1 to 223, at most 242 bytes".to_owned();
            self.out
                .end([(Some(id), Delivery::Refused(Refusal { code: 0, text }))]);
            return;
        };
        node.take_command(id, path, command, &mut self.out, now);
        let dev_eui = node.dev_eui();
        self.advance(dev_eui, now);
        self.save(now);
    }

    /// Takes note that every reading of an uplink is paid or durable: it is acknowledged.
    pub fn handle_settled(&mut self, receipt: ReceiptId, now: Instant) {
        let Some(dev_eui) = self.receipts.remove(&receipt) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(&dev_eui) {
            node.handle_settled(receipt);
            self.out.saver.lazy(Item::Session(dev_eui), now);
            self.advance(dev_eui, now);
        }
        self.save(now);
    }

    /// Takes the answer to a save.
    pub fn handle_saved(&mut self, id: u64, result: Result<(), String>, now: Instant) {
        let Some(open) = self.out.saver.answered(id) else {
            return;
        };
        match &result {
            Ok(()) => self.out.saver.succeeded(&open),
            Err(_) => {
                self.out.statistics.save_failures += 1;
                self.out.saver.failed(&open, now);
            }
        }
        for (item, snapshot) in &open.items {
            let Some(node) = self.nodes.get_mut(&item.dev_eui()) else {
                continue;
            };
            match (&result, item) {
                (Ok(()), _) => node.handle_saved(snapshot, &mut self.out),
                (Err(_), Item::Queue(_)) => node.handle_queue_unsaved(&mut self.out),
                (Err(_), Item::Nonces(_) | Item::Session(_)) => {}
            }
            self.advance(item.dev_eui(), now);
        }
        self.save(now);
    }

    /// Ends in good order: what is counted only in memory is saved, and then that nothing is missing. Frames are not
    /// taken any more.
    pub fn handle_stop(&mut self, now: Instant) {
        self.out.saver.stop();
        // Doubts of an earlier crash outlive a stop in good order.
        for node in self.nodes.values().filter(|node| node.is_in_doubt()) {
            self.out.saver.urgent(Item::Session(node.dev_eui()));
        }
        self.save(now);
    }

    /// Says whether everything is saved after [`NetworkServer::handle_stop`].
    pub fn is_stopped(&self) -> bool {
        self.out.saver.is_stopped()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |node: &&Node| node.wake(now).is_some_and(|at| at <= now);
        let due: Vec<DevEui> = self.nodes.values().filter(is_due).map(Node::dev_eui).collect();
        for dev_eui in due {
            self.advance(dev_eui, now);
        }
        if let Some(id) = self.out.saver.overdue(now) {
            self.handle_saved(id, Err("no answer".to_owned()), now);
        }
        self.save(now);
    }

    /// Returns the next frame to send.
    pub fn poll_transmission(&mut self) -> Option<Transmission> {
        self.out.transmissions.pop_front()
    }

    /// Returns the next thing that there is to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// Returns when [`NetworkServer::handle_timeout`] is due.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let nodes = self.nodes.values().filter_map(|node| node.wake(now));
        nodes.chain(self.out.saver.wake()).min()
    }

    /// Returns everything that was counted.
    pub fn statistics(&self) -> &NetworkStatistics {
        &self.out.statistics
    }

    fn handle_join(&mut self, request: &JoinRequest, frame: &AirFrame, heard: &Heard, now: Instant) {
        let dev_eui = request.dev_eui;
        let join_eui = request.join_eui;
        let Some(node) = self.nodes.get(&dev_eui) else {
            self.out.unknown(Sender::Joining { dev_eui, join_eui }, now);
            return;
        };
        if self.out.saver.is_stopping() {
            return;
        }
        match node.check_join(request) {
            // Anybody can use the name of a device; only its key says that it is the device.
            Err(WhyRefused::BadMic) => {
                self.out.refuse(
                    Some(Sender::Joining { dev_eui, join_eui }),
                    WhyRefused::BadMic,
                    now,
                );
            }
            Err(why) => self.out.refuse(Some(Sender::Device(dev_eui)), why, now),
            Ok(app_key) => {
                let dev_addr = self.allot_address();
                self.change(dev_eui, now, |node, network, out| {
                    let received = frame.received.instant;
                    node.take_join(request, (&app_key, dev_addr), (heard, received), network, out);
                });
            }
        }
    }

    fn handle_data(&mut self, data: &DataUplink, frame: &AirFrame, heard: &Heard, now: Instant) {
        let address = Sender::Address(data.dev_addr);
        let Some(devices) = self.addresses.get(&data.dev_addr) else {
            self.out.unknown(address, now);
            return;
        };
        let nodes = devices.iter().filter_map(|dev_eui| self.nodes.get(dev_eui));
        let found = nodes
            .filter_map(|node| Some((node.dev_eui(), node.identify(data)?)))
            .next();
        let Some((dev_eui, (place, counted))) = found else {
            self.out.refuse(Some(address), WhyRefused::BadMic, now);
            return;
        };
        let device = Some(Sender::Device(dev_eui));
        match counted {
            Counted::Gap => self.out.refuse(device, WhyRefused::Gap, now),
            Counted::Past => self.out.refuse(device, WhyRefused::Replayed, now),
            Counted::Ahead(_) | Counted::Repeat(_) if !self.is_ready() => {
                self.out.refuse(device, WhyRefused::Starting, now);
            }
            Counted::Ahead(f_cnt) => self.take_uplink(dev_eui, (place, f_cnt), (data, frame, heard), now),
            Counted::Repeat(f_cnt) => {
                let receipt = ReceiptId(self.next_receipt);
                self.change(dev_eui, now, |node, _, out| {
                    let received = Received {
                        data,
                        frame,
                        heard,
                        receipt,
                    };
                    node.take_repeat(f_cnt, received, out);
                });
            }
        }
    }

    fn take_uplink(
        &mut self,
        dev_eui: DevEui,
        (place, f_cnt): (Place, u32),
        (data, frame, heard): (&DataUplink, &AirFrame, &Heard),
        now: Instant,
    ) {
        let receipt = ReceiptId(self.next_receipt);
        self.next_receipt += 1;
        let mut is_awaited = false;
        self.change(dev_eui, now, |node, _, out| {
            let received = Received {
                data,
                frame,
                heard,
                receipt,
            };
            is_awaited = node.take_uplink(place, f_cnt, received, out, now);
        });
        if is_awaited {
            self.await_receipt(receipt, dev_eui);
        }
    }

    /// Remembers whose receipt it is, for as many of a device as it can have open.
    fn await_receipt(&mut self, receipt: ReceiptId, dev_eui: DevEui) {
        self.receipts.insert(receipt, dev_eui);
        let of_device = |(id, of): (&ReceiptId, &DevEui)| (*of == dev_eui).then_some(*id);
        let open: Vec<ReceiptId> = self.receipts.iter().filter_map(of_device).collect();
        let surplus = open.len().saturating_sub(limits::UNSETTLED);
        for id in &open[..surplus] {
            self.receipts.remove(id);
        }
    }

    /// Says whether frames can be taken: not while a crash would look like a clean stop.
    fn is_ready(&self) -> bool {
        self.out.saver.is_unmarked() && !self.out.saver.is_stopping()
    }

    /// Changes a device, and keeps the addresses in step.
    fn change(
        &mut self,
        dev_eui: DevEui,
        now: Instant,
        change: impl FnOnce(&mut Node, &NetworkConfig, &mut Outgoing),
    ) {
        let Some(node) = self.nodes.get_mut(&dev_eui) else {
            return;
        };
        let before: Vec<DevAddr> = node.addresses().collect();
        change(node, &self.config, &mut self.out);
        let after: Vec<DevAddr> = node.addresses().collect();
        for gone in before.iter().filter(|address| !after.contains(address)) {
            if let Some(devices) = self.addresses.get_mut(gone) {
                devices.remove(&dev_eui);
            }
            self.addresses.retain(|_, devices| !devices.is_empty());
        }
        for new in after {
            self.addresses.entry(new).or_default().insert(dev_eui);
        }
        self.advance(dev_eui, now);
    }

    fn advance(&mut self, dev_eui: DevEui, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&dev_eui) {
            node.advance(&self.config, &mut self.out, now);
            node.reserve_for_command(&mut self.out, now);
        }
    }

    /// Chooses an address that nobody has: the prefix of the network, the rest by chance.
    fn allot_address(&mut self) -> DevAddr {
        // NetIDs of type 0 have 6 bits of NwkID, and devices 25 bits after it (Backend Interfaces 1.0, section 7).
        let prefix = (self.config.net_id & 0x3f) << 25;
        let mut address = DevAddr(prefix);
        for _ in 0..limits::ADDRESS_ATTEMPTS {
            address = DevAddr(prefix | self.random.random_range(0..1 << 25));
            if !self.addresses.contains_key(&address) {
                break;
            }
        }
        address
    }

    fn save(&mut self, now: Instant) {
        let Some(batch) = self.out.saver.take(now) else {
            return;
        };
        let Batch {
            id,
            ref items,
            mark,
            is_current,
        } = batch;
        let mut snapshots = Vec::new();
        let mut changes = Vec::new();
        for item in items {
            let Some(node) = self.nodes.get(&item.dev_eui()) else {
                continue;
            };
            let (snapshot, value) = node.snapshot(*item);
            snapshots.push((*item, snapshot));
            changes.push(Change {
                name: item.name(),
                value,
            });
        }
        changes.extend(mark.map(|is_set| Change {
            name: record::STOPPED.to_owned(),
            value: is_set.then(record::stopped),
        }));
        self.out.saver.handed(&batch, snapshots, now);
        self.out.push(Event::Save(SaveRequest {
            id,
            changes,
            is_current,
        }));
    }
}

impl Item {
    fn dev_eui(self) -> DevEui {
        match self {
            Self::Nonces(dev_eui) | Self::Session(dev_eui) | Self::Queue(dev_eui) => dev_eui,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Nonces(dev_eui) => record::nonces_name(dev_eui),
            Self::Session(dev_eui) => record::session_name(dev_eui),
            Self::Queue(dev_eui) => record::queue_name(dev_eui),
        }
    }
}
