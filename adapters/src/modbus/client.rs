//! The engine of one bus: one request on the line at a time, the most urgent first.
//!
//! Commands go before read-backs, read-backs before polls, polls before probes of units that don't answer. Units with
//! due polls take turns. The choice is made in `schedule`, what an answer means in `answer`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ucifi_core::field::{
    BlockContent, Delivery, DownlinkId, Frame, Link, PointId, Reachability, ReadBack, Refusal, RegisterWrite,
};
use ucifi_core::{Downlink, Now};

use super::bus::{self, BusConfig, ConfigError, Event, UnitConfig, Writes};
use super::command::{Command, Commands, Ended};
use super::late::Shape;
use super::limits;
use super::line::Line;
use super::pdu::{Request, WriteRequest};
use super::statistics::{BusStatistics, Statistics};
use super::unit::{ReadPurpose, Unit};

/// Seconds after which a command for a bus that is not open may be tried again.
const CLOSED_RETRY_SECS: u32 = 5;
/// Pause until the client looks again whether its events were fetched.
const EVENTS_PAUSE: Duration = Duration::from_millis(100);

/// A Modbus client on one bus.
#[derive(Debug)]
pub struct Client {
    pub(super) config: BusConfig,
    pub(super) line: Line,
    pub(super) units: BTreeMap<u8, Unit>,
    pub(super) commands: Commands,
    pub(super) open: Option<Open>,
    pub(super) counters: BusStatistics,
    pub(super) last_served: u8,
    pub(super) last_received: Option<Now>,
    pub(super) free_at: Instant,
    events: VecDeque<Event>,
    outgoing: Option<Vec<u8>>,
    connected: bool,
    noisy_since: Option<Instant>,
    began: Instant,
    wake: Option<Instant>,
}

/// The request on the line.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) unit: u8,
    pub(super) request: Request,
    pub(super) purpose: Purpose,
    pub(super) shape: Shape,
    pub(super) transaction: Option<u16>,
    pub(super) sent: Instant,
    pub(super) sent_end: Instant,
    pub(super) deadline: Instant,
    pub(super) first_byte: Option<Instant>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read(ReadPurpose),
    Write(DownlinkId),
    ReadBack(DownlinkId),
}

impl Client {
    /// Begins without a connection: nothing is asked before [`Client::handle_connected`].
    ///
    /// # Errors
    /// When units or points cannot be polled as configured.
    pub fn new(
        config: BusConfig,
        units: Vec<UnitConfig>,
        seed: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        bus::check(&config, &units)?;
        let link = |unit| Link::Modbus {
            bus: config.name.clone(),
            unit,
        };
        let units = units
            .into_iter()
            .map(|u| (u.unit, Unit::new(u.clone(), link(u.unit), seed, now)))
            .collect();
        Ok(Self {
            line: Line::new(config.framing),
            units,
            commands: Commands::default(),
            open: None,
            counters: BusStatistics::default(),
            last_served: 0,
            last_received: None,
            free_at: now,
            events: VecDeque::new(),
            outgoing: None,
            connected: false,
            noisy_since: None,
            began: now,
            wake: None,
            config,
        })
    }

    /// Returns the name of the bus.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Takes note that the port or the connection is open.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.counters.connections += 1;
        self.line.reset();
        self.free_at = now + self.line.gap();
        self.units
            .values_mut()
            .for_each(|unit| unit.handle_connected(now));
        self.advance(now);
    }

    /// Takes note that it is gone: every unit becomes unreachable, and no command waits for it.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.connected = false;
        self.outgoing = None;
        if let (Some(open), true) = (self.open.take(), self.line.is_rtu())
            && let Some(unit) = self.units.get_mut(&open.unit)
        {
            unit.owed
                .note_unanswered(open.shape, unit.timeout(), open.deadline, now);
        }
        self.line.reset();
        let ended = self.commands.end_unreachable(None, CLOSED_RETRY_SECS);
        self.end(ended);
        let reason = format!("bus {} is not connected", self.config.name);
        let links: Vec<Link> = self
            .units
            .values_mut()
            .filter_map(|u| u.handle_disconnected().then(|| u.link.clone()))
            .collect();
        for link in links {
            self.push_event(Event::Reachability {
                link,
                reachability: Reachability::Unreachable(reason.clone()),
            });
        }
        self.advance(now);
    }

    /// Takes received bytes, in any pieces.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Now) {
        if !self.connected || bytes.is_empty() {
            return;
        }
        self.last_received = Some(now);
        if self.line.is_rtu() {
            self.free_at = self.free_at.max(now.instant + self.line.gap());
        }
        match &mut self.open {
            Some(open) => {
                open.first_byte.get_or_insert(now.instant);
            }
            None => {
                self.noisy_since.get_or_insert(now.instant);
            }
        }
        self.line.push(bytes);
        self.take_frames(now.instant);
        self.advance(now.instant);
    }

    /// Takes a command; its end is told by [`Event::Delivery`].
    pub fn handle_downlink(&mut self, downlink: Downlink, now: Instant) {
        match self.accept(&downlink, now) {
            Err(delivery) => self.end([(downlink.id, delivery)]),
            Ok(command) => {
                let (ended, taken) = self.commands.push(command);
                self.end(ended);
                if !taken {
                    self.counters.commands_dropped += 1;
                    self.end([(downlink.id, Delivery::Expired)]);
                }
            }
        }
        self.advance(now);
    }

    /// Changes how often a point is wanted; 0 is once, at each connection.
    pub fn handle_interest(&mut self, unit: u8, point: PointId, every_ms: u64, now: Instant) {
        if let Some(unit) = self.units.get_mut(&unit) {
            unit.handle_interest(point, every_ms, now);
        }
        self.advance(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(last) = self.last_received
            && self.open.is_some()
            && self.line.settle_at(last.instant).is_some_and(|at| at <= now)
            && let Some(received) = self.line.settled()
        {
            self.take_frame(&received, now);
        }
        self.advance(now);
    }

    /// Returns the next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.take()
    }

    /// Returns the next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Client::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// Returns the counters.
    pub fn statistics(&self, now: Instant) -> Statistics {
        Statistics {
            bus: self.counters,
            units: self
                .units
                .iter()
                .map(|(address, unit)| (*address, unit.statistics))
                .collect(),
            elapsed: now.saturating_duration_since(self.began),
        }
    }

    pub(super) fn push_event(&mut self, event: Event) {
        if let Event::Reachability { link, .. } = &event {
            // Only the last word on a unit counts, and so a flapping line cannot fill the queue.
            self.events
                .retain(|e| !matches!(e, Event::Reachability { link: old, .. } if old == link));
        }
        self.events.push_back(event);
    }

    pub(super) fn end(&mut self, ended: impl IntoIterator<Item = Ended>) {
        for (id, delivery) in ended {
            self.push_event(Event::Delivery { id, delivery });
        }
    }

    /// Says whether nobody fetches what was read.
    pub(super) fn is_clogged(&self) -> bool {
        self.events.len() >= limits::EVENTS
    }

    fn accept(&self, downlink: &Downlink, now: Instant) -> Result<Command, Delivery> {
        let Link::Modbus { unit, .. } = &downlink.link else {
            return Err(refused("a bus reaches Modbus units only"));
        };
        let write = match &downlink.frame {
            Frame::ModbusWrite(write) => write,
            Frame::ModbusBlock(_) => return Err(refused("a block that was read cannot be sent")),
            Frame::LoRaWanData(_)
            | Frame::LoRaWanCommand(_)
            | Frame::MqttMessage(_)
            | Frame::MqttPublish(_) => {
                return Err(refused("a bus carries writes to registers and coils only"));
            }
        };
        if *unit == 0 {
            return Err(refused(
                "unit 0 is broadcast, which nobody answers: address the unit itself",
            ));
        }
        let Some(target) = self.units.get(unit) else {
            return Err(refused(&format!(
                "unit {unit} is not configured on bus {}",
                self.config.name
            )));
        };
        if self.config.writes == Writes::Deny {
            return Err(Delivery::Denied);
        }
        if !self.connected {
            return Err(Delivery::Unreachable {
                retry_after_secs: CLOSED_RETRY_SECS,
            });
        }
        if let Some(probe_at) = target.probe_at() {
            return Err(Delivery::Unreachable {
                retry_after_secs: secs_until(probe_at, now),
            });
        }
        let request = WriteRequest::new(write).map_err(|unfit| refused(&unfit.to_string()))?;
        if !write.read_back.as_ref().is_none_or(|back| fits(back, target)) {
            return Err(refused("the read-back does not fit one read of this unit"));
        }
        Ok(Command::new(downlink.id, *unit, request, read_back(write), now))
    }

    fn take_frames(&mut self, now: Instant) {
        loop {
            match self.line.next_frame() {
                Ok(Some(received)) => self.take_frame(&received, now),
                Ok(None) => return,
                Err(out_of_step) => {
                    self.line.reset();
                    self.push_event(Event::Reconnect {
                        reason: out_of_step.to_string(),
                    });
                    return;
                }
            }
        }
    }

    /// Ends what is over its time, and puts the next request on the line if it is free.
    fn advance(&mut self, now: Instant) {
        if self.open.as_ref().is_some_and(|open| open.deadline <= now) {
            self.give_up(now);
        }
        self.units.values_mut().for_each(|unit| unit.forget_old(now));
        let ended = self.commands.expire(now);
        self.end(ended);
        if self.connected && self.open.is_none() && self.sendable_at() <= now {
            self.noisy_since = None;
            if let Some((unit, request, purpose)) = self.pick(now) {
                self.send(unit, request, purpose, now);
            }
        }
        self.wake = self.next_wake(now);
    }

    /// Returns when the line can be used: once it is silent, or was noisy for too long.
    fn sendable_at(&self) -> Instant {
        let patience = Duration::from_millis(limits::NOISE_MS);
        self.noisy_since
            .map_or(self.free_at, |since| self.free_at.min(since + patience))
    }

    fn send(&mut self, unit: u8, request: Request, purpose: Purpose, now: Instant) {
        let Some(target) = self.units.get_mut(&unit) else {
            return;
        };
        self.counters.garbage_bytes += self.line.clear();
        let (frame, transaction) = self.line.encode(unit, &request);
        let sent_end = now + self.line.bytes(frame.len());
        // Unit, PDU and CRC of the answer, once it has begun.
        let answer = self.line.bytes(request.answer_len() + 3) + self.line.gap();
        target.statistics.requests += 1;
        target.statistics.bytes_sent += frame.len() as u64;
        if let Purpose::Write(id) = purpose {
            self.commands.note_sent(id);
        }
        self.open = Some(Open {
            unit,
            shape: Shape::of(&request),
            request,
            purpose,
            transaction,
            sent: now,
            sent_end,
            deadline: sent_end + target.timeout() + answer,
            first_byte: None,
        });
        self.outgoing = Some(frame);
    }

    fn next_wake(&self, now: Instant) -> Option<Instant> {
        if let Some(open) = &self.open {
            let settle = self
                .last_received
                .and_then(|last| self.line.settle_at(last.instant));
            return Some(
                settle
                    .filter(|at| *at > now)
                    .map_or(open.deadline, |at| at.min(open.deadline)),
            );
        }
        if !self.connected {
            return None;
        }
        if self.sendable_at() > now {
            return Some(self.sendable_at());
        }
        let polls = if self.is_clogged() {
            Some(now + EVENTS_PAUSE)
        } else {
            self.units.values().filter_map(|unit| unit.wake(now)).min()
        };
        [polls, self.commands_wake(now)].into_iter().flatten().min()
    }
}

pub(super) fn secs_until(at: Instant, now: Instant) -> u32 {
    let millis = at.saturating_duration_since(now).as_millis();
    u32::try_from(millis.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
}

fn refused(text: &str) -> Delivery {
    Delivery::Refused(Refusal {
        code: 0,
        text: text.to_owned(),
    })
}

fn read_back(write: &RegisterWrite) -> Option<ReadBack> {
    write.read_back.clone()
}

fn fits(back: &ReadBack, unit: &Unit) -> bool {
    let kind = back.table.is_bits() == matches!(back.expect, BlockContent::Bits(_));
    let inside = usize::from(back.at) + back.expect.len() <= usize::from(back.count);
    let addresses = u32::from(back.address) + u32::from(back.count) <= 0x1_0000;
    kind && inside && addresses && !back.expect.is_empty() && unit.bears(back.table, back.count)
}
