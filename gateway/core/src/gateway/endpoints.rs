//! The servers' side of the gateway: clients are started, woken, told of news, and heard.

use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::client::{self, Client, EnablerVersion, RegistrationState};
use lwm2m_client::format::Record;

use crate::Now;
use crate::device::News;
use crate::endpoint::{Account, Endpoint, changed_paths};
use crate::gateway::Gateway;
use crate::limits;
use crate::outbox::New;
use crate::output::{DropReason, EndpointId, Event, Output};
use crate::timer::Timer;
use crate::tree;
use crate::view::View;

impl Gateway {
    /// Leaves the servers: all, or one by its name, with all devices, or one by its id. Returns how many endpoints
    /// that are.
    pub fn deregister(&mut self, account: Option<&str>, device: Option<&str>, now: Now) -> usize {
        let chosen = self.chosen(account, device);
        for &index in &chosen {
            let endpoint = &mut self.endpoints[index];
            let account = endpoint.account;
            endpoint.client.deregister(now.instant);
            self.accounts[account].waiting.retain(|waiting| *waiting != index);
            self.pump(index, now);
        }
        chosen.len()
    }

    /// Registers again what was de-registered; chosen as for [`deregister`](Self::deregister).
    pub fn register(&mut self, account: Option<&str>, device: Option<&str>, now: Now) -> usize {
        let chosen = self.chosen(account, device);
        for &index in &chosen {
            self.start(index, now);
        }
        chosen.len()
    }

    /// Sends an Update at once; chosen as for [`deregister`](Self::deregister).
    pub fn update(&mut self, account: Option<&str>, device: Option<&str>, now: Now) -> usize {
        let chosen = self.chosen(account, device);
        for &index in &chosen {
            self.endpoints[index].client.update(now.instant);
            self.pump(index, now);
        }
        chosen.len()
    }

    /// Lets the next endpoint of an account register, and sees to the one after it.
    pub(super) fn start_next(&mut self, account: usize, now: Now) {
        if self.is_stopping() {
            return;
        }
        let Some(index) = self.accounts[account].waiting.pop_front() else {
            return;
        };
        let pause = Duration::from_secs(1) / self.accounts[account].config.registrations_per_sec.max(1);
        let more = !self.accounts[account].waiting.is_empty();
        self.timers
            .set(Timer::Start(account), more.then(|| now.instant + pause));
        if self.endpoints[index].is_started {
            // It waits for its next attempt: that is now.
            self.endpoints[index].client.update(now.instant);
            self.wake(id(index), now);
        } else {
            self.start(index, now);
        }
    }

    /// Lets the endpoints of a server try again that wait because it was away, now that one of them has reached it:
    /// those that are to register in turn, those that are to send at once.
    fn server_is_back(&mut self, back: usize, now: Now) {
        let account = self.endpoints[back].account;
        self.accounts[account].back_at = Some(now.instant);
        let others = (0..self.endpoints.len()).filter(|index| *index != back);
        let others: Vec<usize> = others
            .filter(|index| self.endpoints[*index].account == account)
            .collect();
        for index in others {
            self.try_after_return(index, now);
        }
    }

    /// Lets an endpoint that waits try again once for each return of its server. One that waits for an answer does so
    /// when that has failed: what it had sent may never have reached the server.
    fn try_after_return(&mut self, index: usize, now: Now) {
        let endpoint = &mut self.endpoints[index];
        let back_at = self.accounts[endpoint.account].back_at;
        if endpoint.tried_for == back_at || !endpoint.is_away_since_before(back_at) {
            return;
        }
        if endpoint.waits_to_try(now.instant) {
            endpoint.tried_for = back_at;
            self.try_soon(index, now);
        }
    }

    /// Notes that the server has answered an endpoint, as far as is known.
    fn has_reached(&mut self, index: usize, now: Now) {
        let account = self.endpoints[index].account;
        self.accounts[account].reached_at = Some(now.instant);
    }

    /// Sees to it that somebody tries again before long.
    pub(super) fn probe_later(&mut self, account: usize, now: Now) {
        if !self.timers.is_set(Timer::Probe(account)) {
            let due = now.instant.checked_add(limits::SERVER_PROBE);
            self.timers.set(Timer::Probe(account), due);
        }
    }

    /// Lets the next endpoint try again at a server that none has reached for a while.
    pub(super) fn probe(&mut self, account: usize, now: Now) {
        let is_of = |(_, endpoint): &(usize, &Endpoint)| endpoint.account == account;
        let mut all = self.endpoints.iter().enumerate().filter(is_of);
        if self.is_stopping() || all.clone().all(|(_, endpoint)| !endpoint.is_away()) {
            return;
        }
        let Account {
            reached_at, probed, ..
        } = self.accounts[account];
        let is_lately = |at| now.instant.saturating_duration_since(at) < limits::SERVER_PROBE;
        if reached_at.is_some_and(is_lately) {
            return self.probe_later(account, now);
        }
        let waits = |(_, endpoint): &(usize, &Endpoint)| endpoint.waits_to_try(now.instant);
        let next = all.clone().filter(waits).find(|(index, _)| *index > probed);
        if let Some((index, _)) = next.or_else(|| all.find(waits)) {
            self.accounts[account].probed = index;
            self.try_soon(index, now);
        }
        self.probe_later(account, now);
    }

    /// Lets an endpoint that waits try again: to register in its turn, to send at once.
    fn try_soon(&mut self, index: usize, now: Now) {
        let endpoint = &mut self.endpoints[index];
        if endpoint.client.state() == RegistrationState::Registered {
            endpoint.outbox.resume();
            return self.timers.set(Timer::Endpoint(id(index)), Some(now.instant));
        }
        let account = endpoint.account;
        let waiting = &mut self.accounts[account].waiting;
        if !waiting.contains(&index) {
            waiting.push_back(index);
        }
        if !self.timers.is_set(Timer::Start(account)) {
            self.timers.set(Timer::Start(account), Some(now.instant));
        }
    }

    /// Does what is due at an endpoint.
    pub(super) fn wake(&mut self, id: EndpointId, now: Now) {
        let Some(index) = self.index(id) else { return };
        if self.endpoints[index].take_listing_due(now.instant) {
            self.with_client(index, now, |client, view| {
                client.handle_instances_changed(view, now.instant)
            });
        }
        self.with_client(index, now, |client, view| {
            client.handle_timeout(view, now.instant)
        });
        self.endpoints[index].handle_timeout(now.instant);
        self.pump(index, now);
    }

    /// Tells an endpoint what is new of its device.
    pub(super) fn tell(&mut self, index: usize, news: &News, now: Now) {
        let mut paths = changed_paths(news);
        // A notification that is owed when it does not arrive would make a reading of it.
        if self.endpoints[index].owes_no_notifications() {
            paths.extend(news.unowed.iter().copied().map(tree::path));
        }
        if !paths.is_empty() {
            self.with_client(index, now, |client, view| {
                client.handle_changed(&paths, view, now.instant)
            });
        }
        self.pump(index, now);
    }

    /// Brings an endpoint's listing up to date; returns the server and what it is owed by that.
    pub(super) fn relist(&mut self, index: usize, now: Now) -> (usize, Vec<New>) {
        let endpoint = &mut self.endpoints[index];
        let shown = &self.accounts[endpoint.account].shown;
        let owed = endpoint.relist(&self.devices[endpoint.device], shown, &self.debts.clock, now);
        (endpoint.account, owed)
    }

    /// Returns the server of an endpoint and what it is owed of these news.
    pub(super) fn owe(&mut self, index: usize, news: &News, now: Now) -> (usize, Vec<New>) {
        let endpoint = &mut self.endpoints[index];
        let (device, shown) = (
            &self.devices[endpoint.device],
            &self.accounts[endpoint.account].shown,
        );
        // First what is owed under the present listing: a new instance owes all its values anyway.
        let mut owed = endpoint.owe(news, device, shown, &self.debts.clock, now);
        let (account, more) = self.relist(index, now);
        owed.extend(more);
        (account, owed)
    }

    /// Works off what an endpoint's client has to say and to send.
    pub(super) fn pump(&mut self, index: usize, now: Now) {
        if self.is_stopping() {
            // There is no time to wait for their acknowledgements.
            self.endpoints[index].client.owe_notifications();
        }
        loop {
            while let Some(event) = self.endpoints[index].client.poll_event() {
                self.hear_client(index, event, now);
            }
            // What is not under way when the gateway ends is delivered after the next start.
            if !self.is_stopping() {
                self.flush(index, now);
            }
            self.leave_when_paid(index, now);
            let Some(event) = self.endpoints[index].client.poll_event() else {
                break;
            };
            self.hear_client(index, event, now);
        }
        let endpoint = id(index);
        while let Some(datagram) = self.endpoints[index].client.poll_transmit() {
            self.outputs.push_back(Output::Transmit { endpoint, datagram });
        }
        self.see_to_endpoint(index, now);
        let due = self.endpoints[index].poll_timeout();
        self.timers.set(Timer::Endpoint(endpoint), due);
    }

    /// Calls a client together with what it reads from.
    pub(super) fn with_client<R>(
        &mut self,
        index: usize,
        now: Now,
        call: impl FnOnce(&mut Client, &View<'_>) -> R,
    ) -> R {
        let endpoint = &mut self.endpoints[index];
        let view = View {
            device: &self.devices[endpoint.device],
            shown: &self.accounts[endpoint.account].shown,
            listing: &endpoint.listing,
            wall: now.wall,
        };
        call(&mut endpoint.client, &view)
    }

    fn start(&mut self, index: usize, now: Now) {
        self.endpoints[index].is_started = true;
        self.with_client(index, now, |client, view| client.start(view, now.instant));
        if self.is_leaving(index) {
            self.endpoints[index].client.deregister(now.instant);
        }
        self.pump(index, now);
    }

    fn hear_client(&mut self, index: usize, event: client::Event, now: Now) {
        let endpoint = id(index);
        match event {
            client::Event::Registered { location } | client::Event::Resumed { location } => {
                self.has_reached(index, now);
                self.hear_registered(index, location, now);
            }
            client::Event::RegistrationFailed { reason, .. } => {
                self.endpoints[index].last_error = Some(reason.clone());
                self.event(Event::RegistrationFailed { endpoint, reason });
                self.try_after_return(index, now);
                self.probe_later(self.endpoints[index].account, now);
            }
            client::Event::Updated => {
                self.has_reached(index, now);
                self.endpoints[index].outbox.resume();
            }
            client::Event::SaveDue => self.save_client(index, now),
            client::Event::NotificationOwed { records } => self.owe_notified(index, records, now),
            client::Event::SendMuted(is_muted) => self.endpoints[index].handle_send_muted(is_muted),
            client::Event::Lost { reason } => {
                self.endpoints[index].location = None;
                self.endpoints[index].outbox.backlog.unload();
                self.endpoints[index].last_error = Some(reason.clone());
                self.event(Event::RegistrationLost { endpoint, reason });
                self.try_after_return(index, now);
            }
            client::Event::Deregistered => {
                self.endpoints[index].location = None;
                self.endpoints[index].outbox.backlog.unload();
                self.event(Event::Deregistered { endpoint });
                self.handle_left(index, now);
            }
            client::Event::Operation { id, operation } => self.operate(index, id, operation, now),
            client::Event::SendFinished { id, outcome } => {
                let endpoint = &mut self.endpoints[index];
                let ledger = &mut self.debts.ledger(index, endpoint.account);
                let was_failing = endpoint.outbox.is_failing();
                let dropped = endpoint.handle_send_finished(id, outcome, ledger, now.instant);
                let has_arrived = was_failing && !endpoint.outbox.is_failing();
                if !endpoint.outbox.is_failing() {
                    self.has_reached(index, now);
                }
                self.tell_dropped(index, dropped, now);
                if has_arrived && self.is_news(index) {
                    self.server_is_back(index, now);
                } else {
                    self.try_after_return(index, now);
                }
            }
            client::Event::ObservationsChanged => {
                self.endpoints[index].handle_observations_changed();
                self.tell_interest(self.endpoints[index].device);
            }
            client::Event::Malformed { reason } => {
                self.event(Event::ServerMessageRefused { endpoint, reason });
            }
            client::Event::Refused {
                method,
                path,
                code,
                reason,
            } => {
                let reason = format!("{method} {path} answered with {code}: {reason}");
                self.event(Event::ServerMessageRefused { endpoint, reason });
            }
        }
    }

    fn hear_registered(&mut self, index: usize, location: String, now: Now) {
        if self.is_first_at_server(index) {
            self.server_is_back(index, now);
        }
        let endpoint = &mut self.endpoints[index];
        endpoint.location = Some(location.clone());
        endpoint.last_error = None;
        endpoint.handle_registered(now.instant);
        let wants_send = self.accounts[endpoint.account].config.send;
        // What was to go by Send before the version was known waits for an observation.
        endpoint.set_sends(wants_send && endpoint.client.version() >= EnablerVersion::V1_1);
        endpoint.outbox.resume();
        let endpoint = id(index);
        self.event(Event::Registered { endpoint, location });
    }

    /// Takes what was to be notified to a server and did not arrive. It has waited already, and is stored at once.
    fn owe_notified(&mut self, index: usize, notified: Vec<Record>, now: Now) {
        let endpoint = &mut self.endpoints[index];
        let (account, device) = (endpoint.account, endpoint.device);
        let (held_by, shown) = (&self.devices[device], &self.accounts[account].shown);
        let owed = endpoint.owe_notified(notified, held_by, shown, &self.debts.clock, now);
        let first = self.debts.memory.next_seq();
        self.take_readings(device, vec![(account, owed)], now);
        for seq in first..self.debts.memory.next_seq() {
            self.debts.memory.hurry(seq, now.instant);
        }
    }

    /// Says whether an endpoint that reaches its server could not since the server was last found back.
    fn is_news(&self, index: usize) -> bool {
        let endpoint = &self.endpoints[index];
        let back_at = self.accounts[endpoint.account].back_at;
        back_at.is_none() || !endpoint.is_away_since_before(back_at)
    }

    /// Says whether no other endpoint of its server is registered.
    fn is_first_at_server(&self, index: usize) -> bool {
        let account = self.endpoints[index].account;
        let mut others = (0..).zip(&self.endpoints);
        !others.any(|(other, endpoint)| {
            other != index
                && endpoint.account == account
                && endpoint.client.state() == RegistrationState::Registered
        })
    }

    /// Offers the next readings of an endpoint to its client.
    fn flush(&mut self, index: usize, now: Now) {
        let endpoint = &mut self.endpoints[index];
        let (device, shown) = (
            &self.devices[endpoint.device],
            &self.accounts[endpoint.account].shown,
        );
        let clock = self.debts.clock;
        let ledger = &mut self.debts.ledger(index, endpoint.account);
        let dropped = endpoint.flush(device, shown, &clock, ledger, now.instant);
        self.tell_dropped(index, dropped, now);
    }

    /// Tells that readings had to go.
    pub(super) fn tell_dropped(&mut self, index: usize, dropped: Option<(usize, DropReason)>, now: Now) {
        let endpoint = id(index);
        if let Some((count, reason)) = dropped.filter(|(count, _)| *count > 0) {
            self.note_dropped(index, count, reason, now);
            self.event(Event::ReadingsDropped {
                endpoint,
                count,
                reason,
            });
        }
    }

    fn chosen(&self, account: Option<&str>, device: Option<&str>) -> Vec<usize> {
        let is = |wanted: Option<&str>, name: &Arc<str>| wanted.is_none_or(|wanted| wanted == &**name);
        let fits = |index: &usize| {
            let endpoint = &self.endpoints[*index];
            is(account, &self.accounts[endpoint.account].config.name)
                && is(device, &self.devices[endpoint.device].id)
                && !self.is_gone(*index)
        };
        (0..self.endpoints.len()).filter(fits).collect()
    }
}

/// Returns the name of the endpoint at a place: there are at most [`crate::limits::MAX_ENDPOINTS`].
pub(super) fn id(index: usize) -> EndpointId {
    EndpointId(u32::try_from(index).expect("the number of endpoints is bounded far below 2^32"))
}
