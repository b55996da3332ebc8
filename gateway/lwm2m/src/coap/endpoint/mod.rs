//! The endpoint: takes datagrams and calls, and gives each to the part it belongs to.

mod sending;

use std::collections::VecDeque;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::coap::code::{Code, Method};
use crate::coap::dedup::{Dedup, Sighting};
use crate::coap::exchange::{
    Event, Notification, NotificationId, Request, RequestFailure, RequestId, RequestKey, Response,
};
use crate::coap::incoming::{Incoming, Reception, Reply};
use crate::coap::limits::EVENTS_MAX;
use crate::coap::message::{Kind, Message, MessageError};
use crate::coap::message_id::{MessageIds, ReservedIds};
use crate::coap::notification::Tracked;
use crate::coap::outgoing::{Outgoing, Step};
use crate::coap::parameters::TransmissionParameters;
use crate::coap::queue::{Draft, Queue};
use crate::coap::transmission::{Due, Owner, Transmission, Transmissions};

/// What happened on a flow since its beginning, for whoever looks for the cause of trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that were not understood.
    pub malformed: u64,
    /// Messages of the peer that came again.
    pub duplicates: u64,
    /// Messages of ours that went out again.
    pub retransmissions: u64,
    /// Resets sent.
    pub resets_sent: u64,
    /// Responses and datagrams lost for want of room.
    pub dropped: u64,
}

/// One peer's CoAP over one datagram flow, both roles on it.
///
/// Datagrams and calls go in, [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) are asked
/// until they return none, and [`handle_timeout`](Self::handle_timeout) is called at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Endpoint {
    parameters: TransmissionParameters,
    rng: StdRng,
    ids: MessageIds,
    dedup: Dedup,
    queue: Queue,
    transmissions: Transmissions,
    outgoing: Outgoing,
    incoming: Incoming,
    tracked: Tracked,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    counters: Counters,
    next_request: u64,
    next_notification: u64,
}

impl Endpoint {
    /// Makes an endpoint. The message ids begin at `first_message_id`; after a restart that must be one that the
    /// peer has not seen within EXCHANGE_LIFETIME.
    pub fn new(parameters: TransmissionParameters, seed: u64, first_message_id: u16) -> Self {
        let parameters = parameters.clamped();
        let ids = MessageIds::new(first_message_id, parameters.exchange_lifetime());
        Self::with_ids(parameters, seed, ids)
    }

    /// Makes an endpoint whose message ids go on behind those that were reserved, also before a restart. It sends
    /// nothing that needs one until [`reserved_ids`](Self::reserved_ids) is durable and
    /// [`handle_reserved`](Self::handle_reserved) says so.
    pub fn resume(
        parameters: TransmissionParameters,
        seed: u64,
        reserved: ReservedIds,
        now: Instant,
    ) -> Self {
        let parameters = parameters.clamped();
        let ids = MessageIds::resume(reserved, parameters.exchange_lifetime(), now);
        Self::with_ids(parameters, seed, ids)
    }

    fn with_ids(parameters: TransmissionParameters, seed: u64, ids: MessageIds) -> Self {
        let lifetime = parameters.exchange_lifetime();
        Self {
            rng: StdRng::seed_from_u64(seed),
            ids,
            dedup: Dedup::new(lifetime),
            queue: Queue::default(),
            transmissions: Transmissions::default(),
            outgoing: Outgoing::default(),
            // Half of ACK_TIMEOUT leaves the acknowledgement time to travel before the peer repeats itself.
            incoming: Incoming::new(parameters.block_size, parameters.ack_timeout / 2, lifetime),
            tracked: Tracked::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            next_request: 0,
            next_notification: 0,
            parameters,
        }
    }

    /// Takes a datagram of the peer.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        match Message::parse(datagram) {
            Ok(message) => self.handle_message(message, datagram, now),
            Err(reason) => self.reject_malformed(datagram, reason),
        }
        self.pump(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.transmissions.due(now) {
            match due {
                Due::Repeat(datagram) => {
                    self.counters.retransmissions += 1;
                    self.transmit(datagram);
                }
                Due::GivenUp(transmission) => self.give_up(transmission.owner),
            }
        }
        while let Some(id) = self.outgoing.overdue(now) {
            self.events.push_back(Event::Failed {
                id,
                reason: RequestFailure::TimedOut,
            });
        }
        while let Some(id) = self.incoming.acknowledgement_due(now) {
            self.reply(id, &Message::empty(Kind::Acknowledgement, id));
        }
        self.pump(now);
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// Returns the next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called, none while nothing is awaited.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits_for_id = self.queue.is_ready(self.slot_free(), |owner| {
            sending::may_start(&self.outgoing, owner)
        });
        [
            self.transmissions.next_due(),
            self.outgoing.next_deadline(),
            self.incoming.next_acknowledgement(),
            waits_for_id.then(|| self.ids.available_at()).flatten(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Sends a request, once NSTART allows it. [`Event::Response`] or [`Event::Failed`] follows.
    pub fn request(&mut self, request: Request, now: Instant) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        match self.outgoing.open(id, request, self.parameters.block_size) {
            Ok(()) => self.draft_request(id, false),
            Err(reason) => self.events.push_back(Event::Failed { id, reason }),
        }
        self.pump(now);
        id
    }

    /// Gives up a request; [`Event::Failed`] follows unless it was answered before.
    pub fn cancel(&mut self, id: RequestId) {
        if self.outgoing.close(id) {
            self.queue.abandon(Owner::Request(id));
            self.abandon(|owner| owner == Owner::Request(id));
            self.events.push_back(Event::Failed {
                id,
                reason: RequestFailure::Cancelled,
            });
        }
    }

    /// Answers a request of the peer. A second answer to one request goes nowhere.
    pub fn respond(&mut self, key: RequestKey, response: Response, now: Instant) {
        let Some((open, reply)) = self.incoming.answer(key, response, now) else {
            return;
        };
        let kind = match (open.can_piggyback(), open.confirmable) {
            (true, _) => Kind::Acknowledgement,
            (false, true) => Kind::Confirmable,
            (false, false) => Kind::NonConfirmable,
        };
        let mut message = reply.into_message(kind, open.id, open.token);
        if message.emit().is_none() {
            message = Message::new(kind, Code::INTERNAL_SERVER_ERROR, open.id, message.token);
        }
        if kind == Kind::Acknowledgement {
            self.reply(open.id, &message);
        } else {
            self.enqueue_response(message);
        }
        self.pump(now);
    }

    /// Sends a notification, once NSTART (for a confirmable one) allows it.
    pub fn notify(&mut self, notification: Notification, now: Instant) -> NotificationId {
        let id = NotificationId(self.next_notification);
        self.next_notification += 1;
        let kind = if notification.confirmable {
            Kind::Confirmable
        } else {
            Kind::NonConfirmable
        };
        let Some((token, reply)) = self.incoming.notification(notification, now) else {
            self.events.push_back(Event::NotificationDropped { id });
            return id;
        };
        let draft = Draft {
            owner: Owner::Notification(id),
            message: reply.into_message(kind, 0, token),
        };
        if self.queue.push(draft).is_err() {
            self.events.push_back(Event::NotificationDropped { id });
        }
        self.pump(now);
        id
    }

    /// Drops the notifications of an observation that have not gone out, and forgets what it was about: for when
    /// the peer cancels it. Each is reported as [`Event::NotificationDropped`].
    pub fn cancel_notifications(&mut self, token: &[u8]) {
        self.incoming.forget_observed(token);
        for owner in self.queue.remove_notifications(|of| of == token) {
            self.fail(owner, RequestFailure::Cancelled);
        }
    }

    /// Gives up the notifications that wait, also for their acknowledgement: for when the peer seems to be gone, and
    /// they would only hold back the request that finds out. Each is reported as [`Event::NotificationDropped`]. The
    /// observations stay.
    pub fn drop_notifications(&mut self) {
        let mut dropped = self.abandon(|owner| matches!(owner, Owner::Notification(_)));
        dropped.extend(self.queue.remove_notifications(|_| true));
        for owner in dropped {
            self.fail(owner, RequestFailure::Cancelled);
        }
    }

    /// Takes message ids without reservation from here on.
    pub const fn stop_reserving(&mut self) {
        self.ids.stop_reserving();
    }

    /// Returns the message ids to make durable.
    pub fn reserved_ids(&self, now: Instant) -> ReservedIds {
        self.ids.reserved(now)
    }

    /// Says whether message ids are to be reserved soon.
    pub fn is_reservation_due(&self, now: Instant) -> bool {
        self.ids.is_reservation_due(now)
    }

    /// Returns when [`is_reservation_due`](Self::is_reservation_due) is worth asking though nothing was sent.
    pub fn reservation_settles_at(&self) -> Option<Instant> {
        self.ids.settles_at()
    }

    /// Takes that message ids are durably reserved.
    pub fn handle_reserved(&mut self, reserved: &ReservedIds, now: Instant) {
        self.ids.confirm(reserved);
        self.pump(now);
    }

    /// Says whether [`poll_event`](Self::poll_event) would return something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Returns what happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn handle_message(&mut self, message: Message, datagram: &[u8], now: Instant) {
        match message.kind {
            Kind::Acknowledgement => self.handle_acknowledgement(&message, now),
            Kind::Reset => self.handle_reset(message.id),
            Kind::Confirmable if message.code == Code::EMPTY => self.reset(message.id),
            Kind::NonConfirmable if message.code == Code::EMPTY => {}
            Kind::Confirmable | Kind::NonConfirmable => match self.note(&message, datagram, now) {
                Sighting::First if message.code.is_request() => self.handle_request(message, now),
                Sighting::First => self.handle_response(&message, now),
                Sighting::Repeated(reply) => self.repeat_reply(reply),
            },
        }
    }

    fn note(&mut self, message: &Message, datagram: &[u8], now: Instant) -> Sighting {
        let safe = message.method().is_some_and(Method::is_safe);
        self.dedup.note(message.id, safe, datagram, now)
    }

    fn handle_request(&mut self, message: Message, now: Instant) {
        let (kind, id, token) = (message.kind, message.id, message.token.clone());
        let room = self.events.len() < EVENTS_MAX;
        match (self.incoming.receive(message, room, now), kind) {
            (Reception::Deliver(request), _) => self.events.push_back(Event::Request(request)),
            (Reception::Reply(reply), Kind::Confirmable) => {
                self.reply(id, &reply.into_message(Kind::Acknowledgement, id, token));
            }
            // RFC 7252, section 5.4.1: a critical option that is not known in a NON message rejects the message.
            (
                Reception::Reply(Reply {
                    code: Code::BAD_OPTION,
                    ..
                }),
                _,
            ) => self.reset(id),
            (Reception::Reply(reply), _) => {
                self.enqueue_response(reply.into_message(Kind::NonConfirmable, id, token));
            }
        }
    }

    fn handle_response(&mut self, message: &Message, now: Instant) {
        let request = self.outgoing.find(&message.token);
        let rejected = request.is_none() || message.unknown_critical().is_some();
        if rejected {
            self.counters.resets_sent += 1;
            self.reply(message.id, &Message::empty(Kind::Reset, message.id));
        } else if message.kind == Kind::Confirmable {
            self.reply(message.id, &Message::empty(Kind::Acknowledgement, message.id));
        }
        if let Some(id) = request {
            // The response stands for the acknowledgement that may have been lost.
            self.abandon(|owner| owner == Owner::Request(id));
            self.advance(id, message, now);
        }
    }

    fn handle_acknowledgement(&mut self, message: &Message, now: Instant) {
        let Some(transmission) = self.transmissions.find(message.id) else {
            return;
        };
        let owner = transmission.owner;
        if message.code == Code::EMPTY {
            self.transmissions.finish(message.id);
            self.acknowledged(owner, now);
            return;
        }
        match owner {
            Owner::Request(id) if transmission.token == message.token => {
                self.transmissions.finish(message.id);
                self.advance(id, message, now);
            }
            Owner::Request(_) | Owner::Response | Owner::Notification(_) => {
                self.report_malformed(MessageError::ForeignToken);
            }
        }
    }

    fn acknowledged(&mut self, owner: Owner, now: Instant) {
        match owner {
            Owner::Request(id) => self
                .outgoing
                .acknowledged(id, now + self.parameters.max_transmit_wait()),
            Owner::Response => {}
            Owner::Notification(id) => self.events.push_back(Event::NotificationAcknowledged(id)),
        }
    }

    fn handle_reset(&mut self, message_id: u16) {
        let Some(Transmission { owner, token, .. }) = self.transmissions.finish(message_id) else {
            if let Some((id, token)) = self.tracked.take(message_id) {
                self.end_observation(id, token);
            }
            return;
        };
        match owner {
            Owner::Request(id) => self.fail(Owner::Request(id), RequestFailure::Reset),
            Owner::Response => {}
            Owner::Notification(id) => self.end_observation(id, token),
        }
    }

    fn end_observation(&mut self, id: NotificationId, token: Vec<u8>) {
        self.cancel_notifications(&token);
        self.events.push_back(Event::NotificationReset { id, token });
    }

    fn advance(&mut self, id: RequestId, message: &Message, now: Instant) {
        match self.outgoing.advance(id, message) {
            Some(Step::Next) => self.draft_request(id, true),
            Some(Step::Done(response)) => self.events.push_back(Event::Response { id, response }),
            Some(Step::Failed(reason)) => self.events.push_back(Event::Failed { id, reason }),
            None => {}
        }
        self.pump(now);
    }

    fn draft_request(&mut self, id: RequestId, continues: bool) {
        let rng = &mut self.rng;
        let Some(message) = self.outgoing.draft(id, || rng.random()) else {
            return;
        };
        let draft = Draft {
            owner: Owner::Request(id),
            message,
        };
        if continues {
            self.queue.push_continuation(draft);
        } else if let Err(draft) = self.queue.push(draft) {
            self.fail(draft.owner, RequestFailure::QueueFull);
        }
    }

    fn give_up(&mut self, owner: Owner) {
        match owner {
            Owner::Request(_) => self.fail(owner, RequestFailure::TimedOut),
            Owner::Response => {}
            Owner::Notification(id) => self.events.push_back(Event::NotificationTimedOut { id }),
        }
    }

    fn fail(&mut self, owner: Owner, reason: RequestFailure) {
        match owner {
            Owner::Request(id) => {
                self.outgoing.close(id);
                self.events.push_back(Event::Failed { id, reason });
            }
            Owner::Response => self.counters.dropped += 1,
            Owner::Notification(id) => self.events.push_back(Event::NotificationDropped { id }),
        }
    }

    fn reject_malformed(&mut self, datagram: &[u8], reason: MessageError) {
        self.report_malformed(reason);
        if let Some(id) = Message::confirmable_id(datagram) {
            self.reset(id);
        }
    }

    fn report_malformed(&mut self, reason: MessageError) {
        self.counters.malformed += 1;
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(Event::Malformed { reason });
        }
    }
}
