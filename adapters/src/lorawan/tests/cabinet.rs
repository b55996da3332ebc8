//! A network server with a forwarder, a disk and a clock, all simulated.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lwm2m_client::{Path, Timestamp};
use ucifi_core::field::{Delivery, DeviceClass, DownlinkId, Frame, Link, LoRaWanCommand};
use ucifi_core::state::SaveRequest;
use ucifi_core::{Downlink, Now, Uplink};

use super::lamp::Lamp;
use super::start;
use crate::lorawan::{
    AirFrame, DataRate, Event, ForwarderId, Heard, NetworkConfig, NetworkServer, NodeConfig, Purpose, Sent,
    Transmission, WhyRefused, Window,
};

pub(super) const FORWARDER: ForwarderId = ForwarderId([0xf0; 8]);

/// A network server with all that it needs.
pub(super) struct Cabinet {
    pub(super) server: NetworkServer,
    nodes: Vec<NodeConfig>,
    pub(super) disk: BTreeMap<String, Vec<u8>>,
    pub(super) now: Instant,
    seed: u64,
    /// What a save or a frame meets.
    pub(super) saves: Answers,
    pub(super) settles: bool,
    pub(super) sent: Option<Sent>,
    pub(super) open_saves: VecDeque<SaveRequest>,
    pub(super) uplinks: Vec<Uplink>,
    pub(super) deliveries: Vec<(DownlinkId, Delivery)>,
    pub(super) events: Vec<Event>,
    pub(super) transmissions: Vec<Transmission>,
    next_downlink: u64,
}

/// How saves are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    AtOnce,
    Failed,
    Never,
}

impl Cabinet {
    pub(super) fn new(nodes: Vec<NodeConfig>) -> Self {
        Self::with_disk(nodes, BTreeMap::new(), false)
    }

    pub(super) fn with_disk(
        nodes: Vec<NodeConfig>,
        disk: BTreeMap<String, Vec<u8>>,
        may_be_old: bool,
    ) -> Self {
        let config = NetworkConfig::default();
        let server = NetworkServer::new(config, nodes.clone(), &disk, may_be_old, 7, start()).unwrap();
        let mut cabinet = Self {
            server,
            nodes,
            disk,
            now: start(),
            seed: 7,
            saves: Answers::AtOnce,
            settles: true,
            sent: Some(Sent::OnAir),
            open_saves: VecDeque::new(),
            uplinks: Vec::new(),
            deliveries: Vec::new(),
            events: Vec::new(),
            transmissions: Vec::new(),
            next_downlink: 1,
        };
        cabinet.pump();
        cabinet
    }

    /// Returns a cabinet with one device that has joined and been heard.
    pub(super) fn joined(class: DeviceClass) -> (Self, Lamp) {
        let mut lamp = Lamp::new(1);
        let mut cabinet = Self::new(vec![lamp.config(class)]);
        cabinet.join(&mut lamp);
        let first = lamp.reports(b"first");
        cabinet.hears(&first);
        cabinet.advance(10_000);
        cabinet.forget();
        (cabinet, lamp)
    }

    pub(super) fn join(&mut self, lamp: &mut Lamp) -> u32 {
        let request = lamp.join_request();
        self.hears(&request);
        let accept = self.transmissions.pop().expect("an answer");
        assert_eq!(accept.purpose, Purpose::Join);
        let join_nonce = lamp.accept(&accept.phy).expect("it is for the device");
        self.advance(6_000);
        join_nonce
    }

    /// Ends the process, and begins another with what is on disk.
    pub(super) fn restart(&mut self, may_be_old: bool) {
        self.seed += 1;
        self.open_saves.clear();
        let config = NetworkConfig::default();
        let nodes = self.nodes.clone();
        self.server = NetworkServer::new(config, nodes, &self.disk, may_be_old, self.seed, self.now).unwrap();
        self.pump();
    }

    pub(super) fn stop(&mut self) {
        self.server.handle_stop(self.now);
        self.pump();
    }

    pub(super) fn hears(&mut self, phy: &[u8]) {
        self.hears_at(phy, DataRate::Dr5);
    }

    pub(super) fn hears_at(&mut self, phy: &[u8], data_rate: DataRate) {
        self.take_frame(phy, data_rate);
        self.pump();
    }

    /// Hears a frame while nobody fetches the events.
    pub(super) fn hears_unfetched(&mut self, phy: &[u8]) {
        self.take_frame(phy, DataRate::Dr5);
    }

    fn take_frame(&mut self, phy: &[u8], data_rate: DataRate) {
        let frame = AirFrame {
            phy: phy.to_vec(),
            copies: vec![Heard {
                forwarder: FORWARDER,
                tmst: u32::MAX - 500_000,
                frequency_hz: 868_300_000,
                data_rate,
                rssi_dbm: -80.0,
                snr_db: 7.0,
            }],
            received: self.clock(),
        };
        self.server.handle_frame(&frame, self.now);
    }

    pub(super) fn tells(&mut self, lamp: &Lamp, resource: u16, payload: &[u8]) -> DownlinkId {
        self.tells_with(lamp, resource, payload, false)
    }

    pub(super) fn tells_with(
        &mut self,
        lamp: &Lamp,
        resource: u16,
        payload: &[u8],
        confirmed: bool,
    ) -> DownlinkId {
        let id = DownlinkId(self.next_downlink);
        self.next_downlink += 1;
        let downlink = Downlink {
            id,
            link: Link::LoRaWan {
                dev_eui: lamp.dev_eui,
            },
            path: Path::resource(3416, 0, resource),
            frame: Frame::LoRaWanCommand(LoRaWanCommand {
                f_port: 60,
                payload: payload.to_vec(),
                confirmed,
            }),
        };
        self.server.handle_downlink(downlink, self.now);
        self.pump();
        id
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        let mut rounds = 0;
        while let Some(at) = self.server.poll_timeout(self.now).filter(|at| *at <= until) {
            rounds = if at > self.now { 0 } else { rounds + 1 };
            assert!(rounds < 10, "it wants to be called again and again");
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.pump();
        }
        self.now = until;
    }

    /// Answers the saves that are open.
    pub(super) fn answer_saves(&mut self) {
        while let Some(request) = self.open_saves.pop_front() {
            self.write(&request);
            self.server.handle_saved(request.id, Ok(()), self.now);
            self.pump();
        }
    }

    /// Makes a save durable without anybody being told.
    pub(super) fn write(&mut self, request: &SaveRequest) {
        for change in &request.changes {
            match &change.value {
                Some(value) => self.disk.insert(change.name.clone(), value.clone()),
                None => self.disk.remove(&change.name),
            };
        }
    }

    pub(super) fn forget(&mut self) {
        self.uplinks.clear();
        self.deliveries.clear();
        self.events.clear();
        self.transmissions.clear();
    }

    pub(super) fn refused(&self, why: WhyRefused) -> u64 {
        self.server.statistics().refused.get(&why).copied().unwrap_or(0)
    }

    pub(super) fn payloads(&self) -> Vec<&[u8]> {
        self.uplinks.iter().filter_map(payload).collect()
    }

    pub(super) fn pump(&mut self) {
        loop {
            if let Some(transmission) = self.server.poll_transmission() {
                let id = transmission.id;
                self.transmissions.push(transmission);
                if let Some(sent) = self.sent.clone() {
                    self.server.handle_sent(id, &sent, self.now);
                }
            } else if let Some(event) = self.server.poll_event() {
                self.take(event);
            } else {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Save(request) => match self.saves {
                Answers::AtOnce => {
                    self.write(&request);
                    self.server.handle_saved(request.id, Ok(()), self.now);
                }
                Answers::Failed => {
                    let full = Err("the disk is full".to_owned());
                    self.server.handle_saved(request.id, full, self.now);
                }
                Answers::Never => self.open_saves.push_back(request),
            },
            Event::Uplink(uplink) => {
                if let (true, Some(receipt)) = (self.settles, &uplink.receipt) {
                    self.server.handle_settled(receipt.id, self.now);
                }
                self.uplinks.push(uplink);
            }
            Event::Delivery { id, delivery } => self.deliveries.push((id, delivery)),
            Event::Reachability { .. }
            | Event::Joined { .. }
            | Event::Uncertain { .. }
            | Event::Refused { .. }
            | Event::Unknown(_)
            | Event::Damaged { .. } => self.events.push(event),
        }
    }

    fn clock(&self) -> Now {
        let passed = self.now.duration_since(start());
        Now {
            instant: self.now,
            // 2026-01-01T00:00:00Z
            wall: Some(Timestamp::from_unix_ms(
                1_767_225_600_000 + i64::try_from(passed.as_millis()).unwrap(),
            )),
        }
    }
}

/// Returns the data rates of the windows of a transmission.
pub(super) fn rates(transmission: &Transmission) -> Vec<DataRate> {
    transmission
        .windows
        .iter()
        .map(|window: &Window| window.data_rate)
        .collect()
}

fn payload(uplink: &Uplink) -> Option<&[u8]> {
    match &uplink.frame {
        Frame::LoRaWanData(data) => Some(&data.payload),
        Frame::LoRaWanCommand(_)
        | Frame::ModbusBlock(_)
        | Frame::ModbusWrite(_)
        | Frame::MqttMessage(_)
        | Frame::MqttPublish(_) => None,
    }
}
