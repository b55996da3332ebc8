//! Data frames of a device: taken once, answered as often as they come.

use std::time::{Duration, Instant};

use ucifi_core::field::{Fingerprint, Frame, Freshness, LoRaWanData, Radio, Receipt, ReceiptId, Repetition};
use ucifi_core::{Now, Quality, Uplink};

use super::{Answer, Last, Node, deadline};
use crate::lorawan::air::{AirFrame, Heard};
use crate::lorawan::event::Event;
use crate::lorawan::limits;
use crate::lorawan::mac_command::{self, DownlinkCommand, UplinkCommand};
use crate::lorawan::outgoing::Outgoing;
use crate::lorawan::phy_payload::DataUplink;
use crate::lorawan::region;
use crate::lorawan::saver::Item;
use crate::lorawan::session::{Counted, Session};

/// Seconds from 1970 to the begin of GPS time, less the leap seconds since (18 from 2017 on).
const GPS_EPOCH_SECS: i64 = 315_964_800 - 18;

/// Which session of a device a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lorawan) enum Place {
    /// The one in use.
    Active,
    /// The one that was joined last.
    Pending,
}

/// A frame with how it came.
#[derive(Clone, Copy, Debug)]
pub(in crate::lorawan) struct Received<'a> {
    pub(in crate::lorawan) data: &'a DataUplink,
    pub(in crate::lorawan) frame: &'a AirFrame,
    pub(in crate::lorawan) heard: &'a Heard,
    /// The name of its receipt, should it need one.
    pub(in crate::lorawan) receipt: ReceiptId,
}

impl Node {
    /// Says whether a frame comes from this device, and how its counter stands.
    pub(in crate::lorawan) fn identify(&self, data: &DataUplink) -> Option<(Place, Counted)> {
        let count = |session: &Option<Session>| session.as_ref().and_then(|session| session.count(data));
        let active = count(&self.sessions.active).map(|counted| (Place::Active, counted));
        active.or_else(|| count(&self.sessions.pending).map(|counted| (Place::Pending, counted)))
    }

    /// Takes a new frame. Returns whether its receipt is awaited.
    pub(in crate::lorawan) fn take_uplink(
        &mut self,
        place: Place,
        f_cnt: u32,
        received: Received<'_>,
        out: &mut Outgoing,
        now: Instant,
    ) -> bool {
        if place == Place::Pending {
            self.begin_session(out);
        }
        let Some(session) = self.sessions.active.as_mut() else {
            return false;
        };
        let quality = session.take_f_cnt_up(f_cnt, received.heard);
        let payload = received.data.payload(&session.keys, f_cnt);
        self.mark_counter(out, now);
        out.statistics.uplinks += 1;
        if quality == Quality::Stale {
            out.statistics.uncertain += 1;
            out.push(Event::Uncertain {
                dev_eui: self.dev_eui(),
                f_cnt,
            });
        }
        self.note_heard(out, received.frame.received.instant);
        let is_commands = received.data.f_port == Some(0);
        let commands = self.take_commands(
            if is_commands {
                &payload
            } else {
                &received.data.f_opts
            },
            received,
            out,
        );
        self.take_ack(received.data.ack, out);
        let receipt = self.deliver(f_cnt, payload, quality, received, out);
        self.last = Some(Last {
            f_cnt,
            received: received.frame.received.instant,
            repeats: 0,
            commands: commands.clone(),
        });
        self.open_windows(received, receipt, commands);
        receipt.is_some()
    }

    /// Answers a frame that was taken before: its device has not heard the answer.
    pub(in crate::lorawan) fn take_repeat(&mut self, f_cnt: u32, received: Received<'_>, out: &mut Outgoing) {
        let at = received.frame.received.instant;
        let last = self.last.get_or_insert_with(|| Last {
            f_cnt,
            received: at - Duration::from_millis(limits::ECHO_MS),
            repeats: 0,
            commands: Vec::new(),
        });
        if at < last.received + Duration::from_millis(limits::ECHO_MS) || last.repeats >= limits::REPEATS {
            return;
        }
        last.repeats += 1;
        last.received = at;
        let commands = last.commands.clone();
        out.statistics.repeats += 1;
        self.note_heard(out, at);
        let unsettled = self
            .unsettled
            .iter()
            .find(|(_, of)| *of == f_cnt)
            .map(|(id, _)| *id);
        self.open_windows(received, unsettled, commands);
    }

    fn begin_session(&mut self, out: &mut Outgoing) {
        self.sessions.active = self.sessions.pending.take();
        self.unsettled.clear();
        self.last = None;
        self.rx2_requests = 0;
        if let Some(session) = &self.sessions.active {
            out.push(Event::Joined {
                dev_eui: self.config.dev_eui,
                dev_addr: session.dev_addr,
            });
        }
        out.saver.urgent(Item::Session(self.dev_eui()));
    }

    fn mark_counter(&mut self, out: &mut Outgoing, now: Instant) {
        let item = Item::Session(self.dev_eui());
        let Some(session) = &self.sessions.active else {
            return;
        };
        if session.f_cnt_up.saturating_sub(session.committed) >= limits::F_CNT_UP_WINDOW / 2 {
            out.saver.urgent(item);
        } else {
            out.saver.lazy(item, now);
        }
    }

    fn deliver(
        &mut self,
        f_cnt: u32,
        payload: Vec<u8>,
        quality: Quality,
        received: Received<'_>,
        out: &mut Outgoing,
    ) -> Option<ReceiptId> {
        let f_port = received.data.f_port.filter(|port| (1..=223).contains(port))?;
        let at = received.frame.received;
        let receipt = received.data.confirmed.then(|| Receipt {
            id: received.receipt,
            settle_by: Some(deadline(at.instant, region::RX1_DELAY)),
            repetition: self.repetition(f_cnt, quality, f_port, &payload),
        });
        if receipt.is_some() {
            self.unsettled.push_back((received.receipt, f_cnt));
            let surplus = self.unsettled.len().saturating_sub(limits::UNSETTLED);
            self.unsettled.drain(..surplus);
        }
        out.push(Event::Uplink(Uplink {
            link: self.link(),
            frame: Frame::LoRaWanData(LoRaWanData { f_port, payload }),
            received: at,
            freshness: Freshness::Fresh,
            quality,
            receipt: receipt.map(Box::new),
            radio: Some(Box::new(radio(received.heard, f_cnt))),
        }));
        receipt.map(|receipt| receipt.id)
    }

    /// Returns what a frame is known by that its device may repeat after a restart. A session uses each counter once, so
    /// it is the same frame; only one of the window in doubt may have been taken before.
    fn repetition(&self, f_cnt: u32, quality: Quality, f_port: u8, payload: &[u8]) -> Option<Repetition> {
        let session = self.sessions.active.as_ref()?;
        let parts: [&[u8]; 6] = [
            &self.config.dev_eui.0,
            &session.dev_addr.0.to_le_bytes(),
            &session.join_nonce.to_le_bytes(),
            &f_cnt.to_le_bytes(),
            &[f_port],
            payload,
        ];
        Some(Repetition {
            fingerprint: Fingerprint::new("lorawan", &parts),
            is_unique: true,
            is_repeat: quality == Quality::Stale,
            none_before: None,
        })
    }

    fn take_commands(
        &mut self,
        bytes: &[u8],
        received: Received<'_>,
        out: &mut Outgoing,
    ) -> Vec<DownlinkCommand> {
        let mut answers = Vec::new();
        for command in mac_command::read(bytes) {
            match command {
                UplinkCommand::LinkCheckReq => answers.push(link_check(received)),
                UplinkCommand::DeviceTimeReq => answers.extend(device_time(received.frame.received)),
                UplinkCommand::RxParamSetupAns(status) => self.take_rx2_answer(status, out),
                UplinkCommand::LinkAdrAns(_)
                | UplinkCommand::DutyCycleAns
                | UplinkCommand::DevStatusAns { .. }
                | UplinkCommand::NewChannelAns(_)
                | UplinkCommand::RxTimingSetupAns
                | UplinkCommand::TxParamSetupAns
                | UplinkCommand::DlChannelAns(_) => {}
            }
        }
        // However often it asks: one answer of each kind fits the header.
        answers.sort_by_key(DownlinkCommand::cid);
        answers.dedup();
        answers
    }

    fn take_rx2_answer(&mut self, status: u8, out: &mut Outgoing) {
        let wanted = self.config.rx2_data_rate();
        let is_taken = status & 7 == 7 && self.rx2_requests > 0;
        if let Some(session) = self.sessions.active.as_mut().filter(|_| is_taken) {
            session.rx2_data_rate = wanted;
            out.saver.urgent(Item::Session(self.config.dev_eui));
        }
    }

    fn open_windows(
        &mut self,
        received: Received<'_>,
        receipt: Option<ReceiptId>,
        mut commands: Vec<DownlinkCommand>,
    ) {
        let at = received.frame.received.instant;
        if self.is_always_listening() {
            self.busy_until = Some(at + Duration::from_millis(limits::OWN_WINDOWS_MS));
        }
        commands.extend(self.rx2_request());
        self.answer = Some(Answer {
            heard: received.heard.clone(),
            received: at,
            wants_ack: received.data.confirmed,
            receipt,
            commands,
            wants_any: received.data.adr_ack_req,
        });
    }

    /// Asks a device with a session from the factory to use the second window that its kind needs.
    fn rx2_request(&mut self) -> Option<DownlinkCommand> {
        let wanted = self.config.rx2_data_rate();
        let session = self.sessions.active.as_ref()?;
        if session.rx2_data_rate == wanted || self.rx2_requests >= limits::RX2_REQUESTS {
            return None;
        }
        self.rx2_requests += 1;
        Some(DownlinkCommand::RxParamSetupReq {
            rx2_data_rate: wanted,
            frequency_hz: region::RX2_FREQUENCY_HZ,
        })
    }
}

impl Session {
    /// Takes the counter of an uplink; returns how far the uplink can be trusted.
    fn take_f_cnt_up(&mut self, f_cnt: u32, heard: &Heard) -> Quality {
        self.f_cnt_up = f_cnt + 1;
        self.forwarder = Some(heard.forwarder);
        if f_cnt < self.suspect_until {
            Quality::Stale
        } else {
            Quality::Good
        }
    }
}

fn radio(heard: &Heard, f_cnt_up: u32) -> Radio {
    Radio {
        rssi_dbm: heard.rssi_dbm,
        snr_db: heard.snr_db,
        data_rate: heard.data_rate.index(),
        frequency_hz: heard.frequency_hz,
        f_cnt_up,
    }
}

fn link_check(received: Received<'_>) -> DownlinkCommand {
    let margin = received.heard.snr_db - received.heard.data_rate.snr_floor_db();
    DownlinkCommand::LinkCheckAns {
        // A cast of a float keeps within the range of the integer; 255 is reserved.
        margin_db: (margin.max(0.0) as u8).min(254),
        gateways: u8::try_from(received.frame.copies.len()).unwrap_or(u8::MAX),
    }
}

fn device_time(received: Now) -> Option<DownlinkCommand> {
    let wall = received.wall?;
    let gps_secs = u32::try_from(wall.unix_secs() - GPS_EPOCH_SECS).ok()?;
    let fraction = u8::try_from(wall.subsec_ms() * 256 / 1000).ok()?;
    Some(DownlinkCommand::DeviceTimeAns { gps_secs, fraction })
}
