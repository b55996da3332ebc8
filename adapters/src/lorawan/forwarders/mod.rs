//! The packet forwarders: which of them hear what, and which of them sends what, when.
//!
//! [`Forwarders`] takes datagrams and gives frames, each once with its best copy first; it takes transmissions and says
//! what became of each. A forwarder sends one frame at a time, within the duty cycle of each sub-band, and a frame that
//! it refuses goes into its next window. Nothing here does IO or reads a clock, and what a frame contains is not known
//! here.

mod airtime;
mod clock;
mod copies;
mod forwarder;
pub mod limits;
mod schedule;
mod statistics;
mod transmit;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ucifi_core::Now;

use super::gwmp::{self, Content, Datagram, PushData};
use super::{AirFrame, ForwarderId, Heard, Sent, TransmissionId};
use copies::Copies;
use forwarder::Forwarder;
use schedule::Schedule;
pub use statistics::{BandAirtime, Counters, ForwarderStatistics, Statistics};

/// What the site says of its forwarders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Those that are listened to; none listens to all.
    pub allowed: BTreeSet<ForwarderId>,
    /// How long copies of a frame are waited for while several forwarders are connected, at most
    /// [`limits::MAX_WINDOW_MS`].
    pub window_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allowed: BTreeSet::new(),
            window_ms: limits::DEFAULT_WINDOW_MS,
        }
    }
}

/// Something that the forwarders have to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A frame was heard.
    Heard(AirFrame),
    /// A transmission is over: told once for each.
    Sent(TransmissionId, Sent),
    /// A forwarder can be reached.
    Connected(ForwarderId),
    /// A forwarder has not been heard for a while.
    Lost(ForwarderId),
}

/// The packet forwarders of a site.
#[derive(Debug)]
pub struct Forwarders {
    allowed: BTreeSet<ForwarderId>,
    window: Duration,
    table: BTreeMap<ForwarderId, Forwarder>,
    copies: Copies,
    schedule: Schedule,
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    undecodable: u64,
    unwelcome: u64,
    dropped: u64,
}

impl Forwarders {
    /// Makes an engine that knows no forwarder yet; `seed` makes its tokens others than those of its last run.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            allowed: config.allowed,
            window: Duration::from_millis(config.window_ms.min(limits::MAX_WINDOW_MS)),
            table: BTreeMap::new(),
            copies: Copies::default(),
            schedule: Schedule::new(seed),
            datagrams: VecDeque::new(),
            events: VecDeque::new(),
            undecodable: 0,
            unwelcome: 0,
            dropped: 0,
        }
    }

    /// Takes a datagram; returns its acknowledgement, which is to go out before anything else: the forwarder waits for it.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Now) -> Option<[u8; 4]> {
        let Ok(datagram) = gwmp::decode(bytes) else {
            self.undecodable += 1;
            return None;
        };
        if !self.admit(from, &datagram, now.instant) {
            return None;
        }
        let Datagram {
            version,
            token,
            forwarder,
            content,
        } = datagram;
        match content {
            Content::PushData(push_data) => {
                self.handle_push_data(forwarder, push_data, now);
                Some(gwmp::push_ack(version, token))
            }
            Content::PullData => {
                self.handle_pull_data(forwarder, from, now.instant);
                Some(gwmp::pull_ack(version, token))
            }
            Content::TxAck(ack) => {
                self.handle_tx_ack(forwarder, token, ack, now.instant);
                None
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.deliver(now);
        self.handle_silence(now);
        self.handle_lost(now);
        self.send_waiting(now);
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.datagrams.pop_front()
    }

    /// Returns the next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let told = self.table.values().filter(|forwarder| forwarder.is_told);
        let lost = told.filter_map(Forwarder::connected_until).min();
        [self.copies.next_due(), self.schedule.next_due(), lost]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns what was counted.
    pub fn statistics(&self, now: Instant) -> Statistics {
        let of = |(id, forwarder): (&ForwarderId, &Forwarder)| (*id, forwarder.statistics(now));
        Statistics {
            forwarders: self.table.iter().map(of).collect(),
            undecodable: self.undecodable,
            unwelcome: self.unwelcome,
            dropped: self.dropped,
        }
    }

    /// Says whether a datagram is listened to, and makes the entry of a forwarder that is new.
    fn admit(&mut self, from: SocketAddr, datagram: &Datagram, now: Instant) -> bool {
        let (id, version) = (datagram.forwarder, datagram.version);
        if !self.allowed.is_empty() && !self.allowed.contains(&id) {
            self.unwelcome += 1;
            return false;
        }
        if let Some(forwarder) = self.table.get_mut(&id) {
            return forwarder.note_heard(from.ip(), version, now);
        }
        // What nobody has asked a forwarder for it does not answer.
        if matches!(datagram.content, Content::TxAck(_)) || !self.make_room(now) {
            self.unwelcome += 1;
            return false;
        }
        self.table.insert(id, Forwarder::new(from.ip(), version, now));
        true
    }

    /// Forgets forwarders that are silent where there are too many; says whether there is room for one more.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.table.len() >= limits::FORWARDERS {
            self.table
                .retain(|_, forwarder| forwarder.is_told || forwarder.is_alive(now));
        }
        self.table.len() < limits::FORWARDERS
    }

    fn handle_pull_data(&mut self, id: ForwarderId, from: SocketAddr, now: Instant) {
        let Some(forwarder) = self.table.get_mut(&id) else {
            return;
        };
        forwarder.note_pull(from, now);
        if !forwarder.is_told {
            forwarder.is_told = true;
            self.events.push_back(Event::Connected(id));
        }
    }

    fn handle_push_data(&mut self, id: ForwarderId, push_data: PushData, now: Now) {
        let wait = self.wait(now.instant);
        let Some(forwarder) = self.table.get_mut(&id) else {
            return;
        };
        let counters = &mut forwarder.counters;
        counters.unusable += u64::from(push_data.unusable) + u64::from(push_data.bad_crc);
        counters.crc_errors += push_data.stat.map_or(0, |stat| u64::from(stat.crc_errors()));
        for rxpk in push_data.received {
            forwarder.clock.observe(rxpk.tmst, now.instant);
            let heard = Heard {
                forwarder: id,
                tmst: rxpk.tmst,
                frequency_hz: rxpk.frequency_hz,
                data_rate: rxpk.data_rate,
                rssi_dbm: rxpk.rssi_dbm,
                snr_db: rxpk.snr_db,
            };
            if self.copies.add(rxpk.phy, heard, wait, now) {
                forwarder.counters.frames += 1;
            } else {
                forwarder.counters.duplicates += 1;
            }
        }
        self.deliver(now.instant);
    }

    /// Returns how long copies of a frame are waited for: not at all where only one forwarder can hear it.
    fn wait(&self, now: Instant) -> Duration {
        let alive = self.table.values().filter(|forwarder| forwarder.is_alive(now));
        if alive.count() > 1 {
            self.window
        } else {
            Duration::ZERO
        }
    }

    fn deliver(&mut self, now: Instant) {
        while let Some(mut frame) = self.copies.take_due(now) {
            // Answers go through the first: it must be one that can be reached.
            let table = &self.table;
            let is_deaf = |id: &ForwarderId| table.get(id).is_none_or(|f| f.address(now).is_none());
            frame.copies.sort_by_key(|copy| is_deaf(&copy.forwarder));
            if self.events.len() < limits::EVENTS {
                self.events.push_back(Event::Heard(frame));
            } else {
                self.dropped += 1;
            }
        }
    }

    fn handle_lost(&mut self, now: Instant) {
        for (id, forwarder) in &mut self.table {
            if forwarder.is_told && forwarder.address(now).is_none() {
                forwarder.is_told = false;
                self.events.push_back(Event::Lost(*id));
            }
        }
    }
}
