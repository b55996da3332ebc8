//! The gateway as a whole: what comes in is told with `handle_*`, what must go out is asked for with `poll_*`.
//!
//! ```text
//!  field ── handle_uplink, handle_reachability, handle_delivery ─► devices ─► endpoints ─► Output::Transmit ─► servers
//!  field ◄─ Output::Downlink, Output::Interest ◄── commands ◄──── endpoints ◄── handle_datagram ────────────── servers
//! ```
//! This file is the front: it hands each input to the part that it belongs to. No IO, no clock, no lock.

mod buffer;
mod clients;
mod commands;
mod endpoints;
mod interest;
mod kept_values;
mod losses;
mod naming;
mod refused;
mod removed;
mod report;
mod saving;
mod setup;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::object::ObjectTable;

pub use commands::CommandError;

use buffer::Debts;

use crate::Now;
use crate::command::Commands;
use crate::device::{Device, News};
use crate::endpoint::{Account, Endpoint};
use crate::field::{Delivery, DownlinkId, Freshness, Link, Reachability, Uplink};
use crate::model::Shown;
use crate::outbox::Repeat;
use crate::output::{EndpointId, Event, Output};
use crate::timer::{Timer, TimerTable};
use crate::tree;
use losses::Losses;
use removed::Removal;
use saving::Saving;

/// The gateway: devices, servers, and everything between.
///
/// After each call of a `handle_*` method or an order ([`command`](Self::command), [`update`](Self::update), …) call
/// [`poll_output`](Self::poll_output) until it returns none and carry out what it gives, in that order; then wait for
/// the next input, at most until [`poll_timeout`](Self::poll_timeout), and call
/// [`handle_timeout`](Self::handle_timeout) at that time.
pub struct Gateway {
    name: Arc<str>,
    table: Arc<ObjectTable>,
    /// What the newest model shows, for people.
    newest: Shown,
    answer_within: Duration,
    /// The cabinet first, then the devices in the order of the configuration, then those that were removed.
    devices: Vec<Device>,
    links: BTreeMap<Link, usize>,
    accounts: Vec<Account>,
    /// Server by server, in each the devices in their order, then those of removed devices: the place is the
    /// [`EndpointId`].
    endpoints: Vec<Endpoint>,
    /// How far removed devices are at the servers, by the place of the endpoint.
    removed: BTreeMap<usize, Removal>,
    commands: Commands,
    /// What is to outlive a restart; none where nothing is.
    saving: Option<Saving>,
    debts: Debts,
    /// What was lost and not reported yet.
    losses: Losses,
    timers: TimerTable,
    outputs: VecDeque<Output>,
}

impl Gateway {
    /// Takes a frame from a device.
    pub fn handle_uplink(&mut self, uplink: Uplink) {
        let now = uplink.received;
        let receipt = uplink.receipt.as_deref().copied();
        match self.debts.memory.begin_frame(receipt, &uplink.link, now) {
            None => self.take_frame(uplink),
            Some(repeat) => self.take_repeat(&uplink, repeat),
        }
        self.debts.memory.end_frame();
        if receipt.is_some() {
            self.see_to_buffer(now);
        }
    }

    /// Takes whether a device answers.
    pub fn handle_reachability(&mut self, link: &Link, reachability: Reachability, now: Now) {
        let Some(&index) = self.links.get(link) else {
            return;
        };
        let device = &mut self.devices[index];
        let id = Arc::clone(&device.id);
        let event = match &reachability {
            Reachability::Reachable => Event::DeviceReachable { device: id },
            Reachability::Unreachable(reason) => Event::DeviceUnreachable {
                device: id,
                reason: reason.clone(),
            },
        };
        let (changed, news) = device.handle_reachability(reachability, now);
        if changed {
            self.event(event);
        }
        self.spread(index, news, now);
    }

    /// Takes what became of a downlink.
    pub fn handle_delivery(&mut self, id: DownlinkId, delivery: Delivery, now: Now) {
        self.deliver(id, delivery, now);
    }

    /// Takes a datagram from the server of an endpoint.
    pub fn handle_datagram(&mut self, endpoint: EndpointId, datagram: &[u8], now: Now) {
        let Some(index) = self.index(endpoint) else { return };
        self.with_client(index, now, |client, view| {
            client.handle_datagram(datagram, view, now.instant)
        });
        self.pump(index, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        for timer in self.timers.take_due(now.instant) {
            match timer {
                Timer::Start(account) => self.start_next(account, now),
                Timer::Probe(account) => self.probe(account, now),
                Timer::Endpoint(id) => self.wake(id, now),
                Timer::Stale(device) => self.grow_stale(device, now),
                Timer::Losses => self.report_losses(now),
                Timer::Commit => self.see_to_buffer(now),
                Timer::Command(id) => self.command_is_due(id, now),
                Timer::Values(device) => self.values_are_due(device, now),
                Timer::Save => self.save_is_due(now),
                Timer::Refused => self.refused_are_due(now),
            }
        }
    }

    /// Returns the next thing to do or to know; in the order in which it came about.
    pub fn poll_output(&mut self) -> Option<Output> {
        let settled = || self.debts.memory.poll_settled().map(Output::Settled);
        self.outputs.pop_front().or_else(settled)
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn take_frame(&mut self, uplink: Uplink) {
        let Some(&device) = self.links.get(&uplink.link) else {
            return self.event(Event::FrameOfStranger { link: uplink.link });
        };
        let now = uplink.received;
        let read = self.devices[device].read_frame(&uplink);
        let is_online = read.as_ref().ok().and_then(|meaning| meaning.is_online);
        // What was kept for whoever asks, and what is said in the place of a device, was not sent by it just now.
        if is_online.unwrap_or(uplink.freshness == Freshness::Fresh) {
            self.hear(device, now);
        }
        let mut news = match read {
            Ok(meaning) => self.devices[device].handle_samples(meaning.samples, &uplink),
            Err(error) => self.devices[device].handle_unread(&error, &uplink),
        };
        if let Some(radio) = &uplink.radio {
            self.devices[device].handle_radio(radio, now, &mut news);
        }
        self.spread(device, news, now);
        self.see_commands_done(device, now);
        self.note_offline(is_online, &uplink.link, now);
    }

    /// Takes a frame whose readings are owed already: it only shows what nothing later has shown in this run.
    fn take_repeat(&mut self, uplink: &Uplink, repeat: Repeat) {
        let Some(&device) = self.links.get(&uplink.link) else {
            return;
        };
        let now = uplink.received;
        let (is_online, news) = self.devices[device].handle_repeat(uplink, repeat.received);
        if is_online == Some(true) {
            self.hear(device, now);
        }
        self.spread(device, news, now);
        self.note_offline(is_online, &uplink.link, now);
    }

    fn note_offline(&mut self, is_online: Option<bool>, link: &Link, now: Now) {
        if is_online == Some(false) {
            let reason = "its broker says that it is offline".to_owned();
            self.handle_reachability(link, Reachability::Unreachable(reason), now);
        }
    }

    /// A device that sends is reachable, whatever its link last said.
    fn hear(&mut self, index: usize, now: Now) {
        let link = self.devices[index].link.clone();
        if let Some(link) = link.filter(|_| self.devices[index].reachability != Some(Reachability::Reachable))
        {
            self.handle_reachability(&link, Reachability::Reachable, now);
        }
    }

    /// Tells every server what is new of a device.
    fn spread(&mut self, device: usize, mut news: News, now: Now) {
        for event in news.events.drain(..) {
            self.event(event);
        }
        let stale_at = self.devices[device].poll_timeout();
        self.timers.set(Timer::Stale(device), stale_at);
        self.save_new_instances(device, now);
        let told: Vec<usize> = self
            .endpoints_of(device)
            .filter(|index| !news.is_empty() || !self.endpoints[*index].knows(&self.devices[device]))
            .collect();
        let owed = told.iter().map(|index| self.owe(*index, &news, now)).collect();
        self.take_readings(device, owed, now);
        let mut waits = false;
        for key in &news.said_again {
            waits |= self.debts.memory.say_again(device, tree::path(*key));
        }
        for index in told {
            self.tell(index, &news, now);
        }
        if waits {
            self.see_to_buffer(now);
        }
    }

    fn grow_stale(&mut self, device: usize, now: Now) {
        let news = self.devices[device].handle_timeout(now);
        self.spread(device, news, now);
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn index(&self, endpoint: EndpointId) -> Option<usize> {
        let index = usize::try_from(endpoint.0).ok()?;
        (index < self.endpoints.len()).then_some(index)
    }

    fn endpoints_of(&self, device: usize) -> impl Iterator<Item = usize> + use<> {
        self.devices[device].endpoints.clone().into_iter()
    }
}

#[cfg(test)]
mod tests;
