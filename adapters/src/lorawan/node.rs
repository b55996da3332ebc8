//! A device of the network: its sessions, what it is owed, what it is waited for.

mod answer;
mod command;
mod join;
mod uplink;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ucifi_core::field::{DevEui, DeviceClass, Link, Reachability, ReceiptId};

pub(super) use join::JoinAnswer;
pub(super) use uplink::{Place, Received};

use super::air::{ForwarderId, Heard, When, Window};
use super::config::{Activation, NetworkConfig, NodeConfig};
use super::event::Event;
use super::keys::SessionKeys;
use super::limits;
use super::mac_command::DownlinkCommand;
use super::outgoing::Outgoing;
use super::phy_payload::DevAddr;
use super::queue::Queue;
use super::record::{Nonces, Sessions};
use super::region::{self, DataRate};
use super::saver::{Item, Snapshot};
use super::session::Session;

/// A device of the network.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) config: NodeConfig,
    pub(super) nonces: Nonces,
    pub(super) sessions: Sessions,
    pub(super) queue: Queue,
    /// Durable: JoinNonces below it may be used.
    durable_join_nonce: u32,
    join: Option<JoinAnswer>,
    answer: Option<Answer>,
    last: Option<Last>,
    unsettled: VecDeque<(ReceiptId, u32)>,
    /// Until when the device is busy with its own receive windows.
    busy_until: Option<Instant>,
    is_reachable: Option<bool>,
    silent_at: Instant,
    rx2_requests: u8,
}

/// The windows after an uplink, and what is to be said in them.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    heard: Heard,
    received: Instant,
    wants_ack: bool,
    /// The acknowledgement has to wait for it.
    receipt: Option<ReceiptId>,
    commands: Vec<DownlinkCommand>,
    /// The device wants to hear anything at all.
    wants_any: bool,
}

/// The last uplink.
#[derive(Clone, Debug, PartialEq)]
struct Last {
    f_cnt: u32,
    received: Instant,
    repeats: u8,
    commands: Vec<DownlinkCommand>,
}

impl Node {
    pub(super) fn new(config: NodeConfig, now: Instant) -> Self {
        let mut node = Self {
            nonces: Nonces::default(),
            sessions: Sessions::default(),
            queue: Queue::default(),
            durable_join_nonce: 0,
            join: None,
            answer: None,
            last: None,
            unsettled: VecDeque::new(),
            busy_until: None,
            is_reachable: None,
            silent_at: now,
            rx2_requests: 0,
            config,
        };
        node.silent_at = now + node.patience();
        node
    }

    pub(super) fn dev_eui(&self) -> DevEui {
        self.config.dev_eui
    }

    pub(super) fn link(&self) -> Link {
        Link::LoRaWan {
            dev_eui: self.config.dev_eui,
        }
    }

    /// Returns the addresses under which it can be heard.
    pub(super) fn addresses(&self) -> impl Iterator<Item = DevAddr> {
        let sessions = self.sessions.active.iter().chain(&self.sessions.pending);
        sessions.map(|session| session.dev_addr)
    }

    /// Goes on with the nonces of an earlier run.
    pub(super) fn restore_nonces(&mut self, nonces: Nonces) {
        self.durable_join_nonce = nonces.join_nonce;
        self.nonces = nonces;
    }

    /// Says whether its next uplink may have been taken before a crash.
    pub(super) fn is_in_doubt(&self) -> bool {
        let mut sessions = self.sessions.active.iter().chain(&self.sessions.pending);
        sessions.any(|session| session.suspect_until > session.f_cnt_up)
    }

    /// Returns the session that a device has from the factory.
    pub(super) fn factory_session(&self) -> Option<Session> {
        match &self.config.activation {
            Activation::Otaa { .. } => None,
            Activation::Abp {
                dev_addr,
                nwk_s_key,
                app_s_key,
            } => {
                let keys = SessionKeys {
                    nwk_s_key: nwk_s_key.clone(),
                    app_s_key: app_s_key.clone(),
                };
                Some(Session::new(*dev_addr, keys, 0, region::RX2_DATA_RATE))
            }
        }
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, network: &NetworkConfig, out: &mut Outgoing, now: Instant) {
        self.tell_silence(out, now);
        self.advance_join(network, out, now);
        self.advance_answer(network, out, now);
        self.advance_queue(network, out, now);
    }

    /// Returns when something is due.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        let silence = (self.is_reachable != Some(false)).then_some(self.silent_at);
        let times = [
            silence,
            self.join_wake(),
            self.answer_wake(now),
            self.queue_wake(),
        ];
        times.into_iter().flatten().min()
    }

    /// Returns what of it a save makes durable, with its bytes; none removes the value.
    pub(super) fn snapshot(&self, item: Item) -> (Snapshot, Option<Vec<u8>>) {
        match item {
            Item::Nonces(_) => (
                Snapshot::Nonces(self.nonces.join_nonce),
                Some(self.nonces.encode()),
            ),
            Item::Session(_) => self.session_snapshot(),
            Item::Queue(_) => {
                let is_empty = self.queue.kept().next().is_none();
                let bytes = (!is_empty).then(|| super::record::encode_queue(self.queue.kept()));
                (Snapshot::Queue(self.queue.through()), bytes)
            }
        }
    }

    /// Takes note of what is durable.
    pub(super) fn handle_saved(&mut self, snapshot: &Snapshot, out: &mut Outgoing) {
        match snapshot {
            Snapshot::Nonces(join_nonce) => self.durable_join_nonce = *join_nonce,
            Snapshot::Session(saved) => {
                let sessions = self.sessions.active.iter_mut().chain(&mut self.sessions.pending);
                for session in sessions {
                    saved.iter().for_each(|saved| session.handle_saved(saved));
                }
            }
            Snapshot::Queue(through) => out.queued(self.queue.handle_saved(*through)),
        }
    }

    /// Takes note that every reading of an uplink is paid or durable.
    pub(super) fn handle_settled(&mut self, receipt: ReceiptId) {
        self.unsettled.retain(|(id, _)| *id != receipt);
        if let Some(answer) = &mut self.answer {
            answer.receipt.take_if(|id| *id == receipt);
        }
    }

    /// Returns the counter from which on uplinks are taken after a crash: one that is not settled is taken again.
    fn committed(&self) -> u32 {
        let next = self
            .sessions
            .active
            .as_ref()
            .map_or(0, |session| session.f_cnt_up);
        let unsettled = self.unsettled.iter().map(|(_, f_cnt)| *f_cnt);
        unsettled.fold(next, u32::min)
    }

    fn session_snapshot(&self) -> (Snapshot, Option<Vec<u8>>) {
        let committed = self.committed();
        let of = |session: &Session, committed| super::session::SavedCounters {
            session: session.name(),
            reserved: session.next_reserved(),
            committed,
        };
        let active = self.sessions.active.iter().map(|session| of(session, committed));
        let pending = self.sessions.pending.iter().map(|session| of(session, 0));
        let saved: Vec<_> = active.chain(pending).collect();
        let bytes = (!saved.is_empty()).then(|| self.sessions.encode(committed));
        (Snapshot::Session(saved), bytes)
    }

    fn note_heard(&mut self, out: &mut Outgoing, now: Instant) {
        self.silent_at = now + self.patience();
        if self.is_reachable.replace(true) != Some(true) {
            out.push(Event::Reachability {
                link: self.link(),
                reachability: Reachability::Reachable,
            });
        }
    }

    fn tell_silence(&mut self, out: &mut Outgoing, now: Instant) {
        if self.is_reachable == Some(false) || now < self.silent_at {
            return;
        }
        self.is_reachable = Some(false);
        let reason = format!("no uplink for {} s", self.patience().as_secs());
        out.push(Event::Reachability {
            link: self.link(),
            reachability: Reachability::Unreachable(reason),
        });
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.config.traits.uplink_every_secs.max(1).into()) * limits::SILENT_INTERVALS
    }

    fn is_always_listening(&self) -> bool {
        self.config.traits.class == DeviceClass::C
    }
}

/// Returns the windows after an uplink that can still be met: the first on its own channel, then the second.
fn windows(
    heard: &Heard,
    delay: Duration,
    rx2: DataRate,
    network: &NetworkConfig,
    first_is_open: bool,
) -> Vec<Window> {
    let at = |delay: Duration| {
        let micros = u32::try_from(delay.as_micros()).expect("a few seconds");
        When::Tmst(heard.tmst.wrapping_add(micros))
    };
    let first = window(
        heard.forwarder,
        at(delay),
        heard.frequency_hz,
        heard.data_rate.rx1(0),
        network,
    );
    let second = window(
        heard.forwarder,
        at(delay + region::RX2_AFTER_RX1),
        region::RX2_FREQUENCY_HZ,
        rx2,
        network,
    );
    first
        .filter(|_| first_is_open)
        .into_iter()
        .chain(second)
        .collect()
}

/// Returns a window at a forwarder, with as much power as its sub-band and the network allow.
fn window(
    forwarder: ForwarderId,
    at: When,
    frequency_hz: u32,
    data_rate: DataRate,
    network: &NetworkConfig,
) -> Option<Window> {
    let band = region::sub_band_of(frequency_hz)?;
    Some(Window {
        forwarder,
        at,
        frequency_hz,
        data_rate,
        power_dbm: band.max_power_dbm.min(network.max_power_dbm),
    })
}

/// Returns until when a frame for a window so long after the uplink must be handed over.
fn deadline(received: Instant, delay: Duration) -> Instant {
    received + delay - Duration::from_millis(limits::WINDOW_LEAD_MS)
}
