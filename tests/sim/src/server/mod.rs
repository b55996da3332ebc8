//! A small LwM2M server: registrations, requests, observations, Send.
//!
//! It is real enough to judge a client by the bytes, and can be made to behave badly: [`Manners`]. It keeps nothing,
//! and knows no security and no bootstrap.

mod coap;
mod compose;
pub mod event;
mod inbound;
pub mod io;
mod manners;
mod notification;
mod outbound;
mod receive;
mod registration;
pub mod request;
#[cfg(test)]
mod tests;

pub use coap::Transmission;
pub use event::{ClientView, Event, Origin, ReceivedValue};
pub use manners::Manners;
pub use request::{Answer, Code, RawRequest, RequestFailure, RequestId, ServerRequest, content_format};

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::Path;
use lwm2m_client::object::ObjectTable;
use ucifi_core::Now;

use coap::{Assemblies, Kind, Message, Seen, Sending, SendingEnd};
use notification::Observations;
use outbound::Transactions;
use registration::Registrations;

/// The server, as a state machine.
///
/// After any `handle_*` or order, call [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event)
/// until they return none, then [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct LwM2mServer {
    table: Arc<ObjectTable>,
    transmission: Transmission,
    manners: Manners,
    sending: Sending,
    seen: Seen,
    assemblies: Assemblies,
    registrations: Registrations,
    transactions: Transactions,
    observations: Observations,
    later: BTreeMap<(Instant, u64), Later>,
    order: u64,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
}

/// A reply that is held back.
#[derive(Debug)]
struct Later {
    peer: SocketAddr,
    reply: Message,
}

impl LwM2mServer {
    /// Makes a server that knows the objects of `table`.
    pub fn new(table: Arc<ObjectTable>, transmission: Transmission, seed: u64) -> Self {
        Self {
            table,
            transmission,
            manners: Manners::default(),
            sending: Sending::new(transmission, seed),
            seen: Seen::default(),
            assemblies: Assemblies::default(),
            registrations: Registrations::default(),
            transactions: Transactions::default(),
            observations: Observations::default(),
            later: BTreeMap::new(),
            order: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Returns how it behaves.
    pub const fn manners(&self) -> &Manners {
        &self.manners
    }

    /// Returns how it behaves, to change it.
    pub const fn manners_mut(&mut self) -> &mut Manners {
        &mut self.manners
    }

    /// Returns the registered clients, by endpoint name.
    pub fn clients(&self) -> Vec<ClientView> {
        self.registrations
            .all()
            .map(|registration| self.view_of(&registration.view))
            .collect()
    }

    /// Returns one registered client.
    pub fn client(&self, endpoint: &str) -> Option<ClientView> {
        self.registrations
            .find(endpoint)
            .map(|registration| self.view_of(&registration.view))
    }

    /// Loses a registration, as a server that was restarted does: the client is not told.
    pub fn forget(&mut self, endpoint: &str) {
        self.registrations.remove(endpoint);
        self.observations.remove_of(endpoint);
        self.fail_requests_to(endpoint);
    }

    /// Loses an observation: the next notification gets a Reset.
    pub fn forget_observation(&mut self, endpoint: &str, path: Path) {
        self.observations.remove(endpoint, path);
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Now) {
        if self.manners.silent {
            return;
        }
        match Message::parse(datagram) {
            Ok(message) => self.handle_message(from, message, now),
            Err(reason) => self.events.push_back(Event::Malformed { from, reason }),
        }
        self.begin_waiting(now.instant);
    }

    /// Does what is due: repetitions, replies that were held back, registrations that ran out.
    pub fn handle_timeout(&mut self, now: Now) {
        self.send_held_back(now.instant);
        for end in self.sending.due(now.instant) {
            match end {
                SendingEnd::Repeat { peer, datagram } => self.transmits.push_back((peer, datagram)),
                SendingEnd::TimedOut { peer, token } => {
                    self.fail_transaction(peer, &token, RequestFailure::TimedOut);
                }
            }
        }
        self.fail_overdue(now.instant);
        for endpoint in self.registrations.expired(now.instant) {
            self.forget(&endpoint);
            self.events.push_back(Event::Expired { endpoint });
        }
        self.begin_waiting(now.instant);
    }

    /// Returns the next datagram to send, and to whom.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        if self.manners.silent {
            self.transmits.clear();
        }
        self.transmits.pop_front()
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held_back = self.later.keys().next().map(|(at, _)| *at);
        let times = [
            held_back,
            self.sending.next_due(),
            self.transactions.next_deadline(),
            self.registrations.next_expiry(),
        ];
        times.into_iter().flatten().min()
    }

    fn handle_message(&mut self, from: SocketAddr, message: Message, now: Now) {
        match message.kind {
            Kind::Reset => self.handle_reset(from, message.id),
            Kind::Acknowledgement => self.handle_acknowledgement(from, message, now),
            Kind::Confirmable | Kind::NonConfirmable => self.handle_arrival(from, message, now),
        }
    }

    fn handle_reset(&mut self, from: SocketAddr, id: u16) {
        if let Some(token) = self.sending.acknowledged(from, id) {
            self.fail_transaction(from, &token, RequestFailure::Reset);
        }
    }

    fn handle_acknowledgement(&mut self, from: SocketAddr, message: Message, now: Now) {
        let Some(token) = self.sending.acknowledged(from, message.id) else {
            return;
        };
        if message.is_response() && message.token == token {
            self.handle_response(from, message, now);
        } else if message.code == 0 {
            self.transactions.wait_for_separate(
                from,
                &token,
                now.instant + self.transmission.separate_within,
            );
        } else {
            let reason = "an acknowledgement that does not fit what it acknowledges".to_owned();
            self.events.push_back(Event::Malformed { from, reason });
        }
    }

    fn handle_arrival(&mut self, from: SocketAddr, message: Message, now: Now) {
        if let Some(reply) = self.seen.note(from, message.id, now.instant) {
            self.transmits.extend(reply.map(|datagram| (from, datagram)));
        } else if message.is_request() {
            self.handle_request(from, &message, now);
        } else if message.is_response() {
            self.handle_separate(from, message, now);
        } else if message.kind == Kind::Confirmable {
            self.reset(from, message.id);
        }
    }

    /// Takes a response that is no acknowledgement: a late answer, a notification, or one that nobody waits for.
    fn handle_separate(&mut self, from: SocketAddr, message: Message, now: Now) {
        let wanted = self.transactions.is_open(from, &message.token)
            || self.observations.find(from, &message.token).is_some();
        if !wanted {
            self.reset(from, message.id);
            return;
        }
        if message.kind == Kind::Confirmable {
            self.transmit_reply(
                from,
                message.id,
                &Message::new(Kind::Acknowledgement, 0, message.id),
            );
        }
        self.sending.answered(from, &message.token);
        self.handle_response(from, message, now);
    }

    fn reset(&mut self, peer: SocketAddr, id: u16) {
        self.transmit_reply(peer, id, &Message::new(Kind::Reset, 0, id));
    }

    /// Sends the reply to message `id`, and keeps it for repetitions of that message.
    fn transmit_reply(&mut self, peer: SocketAddr, id: u16, reply: &Message) {
        let datagram = reply.to_bytes();
        self.seen.replied(peer, id, &datagram);
        self.transmits.push_back((peer, datagram));
    }

    fn view_of(&self, view: &ClientView) -> ClientView {
        let observed = self.observations.paths_of(&view.endpoint);
        ClientView {
            observed,
            ..view.clone()
        }
    }
}
