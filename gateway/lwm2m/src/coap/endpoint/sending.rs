//! The way out: what is sent at once, and what waits for its turn and a message id.

use std::time::Instant;

use super::Endpoint;
use crate::coap::exchange::RequestFailure;
use crate::coap::limits::TRANSMITS_MAX;
use crate::coap::message::{Kind, Message};
use crate::coap::outgoing::Outgoing;
use crate::coap::queue::Draft;
use crate::coap::transmission::Owner;

impl Endpoint {
    pub(super) fn reset(&mut self, id: u16) {
        self.counters.resets_sent += 1;
        self.send(&Message::empty(Kind::Reset, id));
    }

    pub(super) fn repeat_reply(&mut self, reply: Option<Vec<u8>>) {
        self.counters.duplicates += 1;
        if let Some(datagram) = reply {
            self.transmit(datagram);
        }
    }

    /// Sends an acknowledgement or a reset, and keeps it for when the message comes again.
    pub(super) fn reply(&mut self, id: u16, message: &Message) {
        if let Some(datagram) = self.send(message) {
            self.dedup.set_reply(id, &datagram);
        }
    }

    /// Queues a response that does not go with an acknowledgement; it gets a message id of ours when it goes out.
    pub(super) fn enqueue_response(&mut self, message: Message) {
        let draft = Draft {
            owner: Owner::Response,
            message,
        };
        if let Err(draft) = self.queue.push(draft) {
            self.fail(draft.owner, RequestFailure::QueueFull);
        }
    }

    /// Sends what may go.
    pub(super) fn pump(&mut self, now: Instant) {
        loop {
            let slot_free = self.slot_free();
            let outgoing = &self.outgoing;
            if !self.queue.is_ready(slot_free, |owner| may_start(outgoing, owner)) {
                return;
            }
            let Some(id) = self.ids.take(now) else { return };
            let Some(mut draft) = self.queue.pop(slot_free, |owner| may_start(outgoing, owner)) else {
                return;
            };
            draft.message.id = id;
            self.launch(draft, now);
        }
    }

    fn launch(&mut self, draft: Draft, now: Instant) {
        let Draft { owner, message } = draft;
        let Some(datagram) = self.send(&message) else {
            self.fail(owner, RequestFailure::RequestTooLarge);
            return;
        };
        if let Owner::Request(id) = owner {
            self.outgoing.sent(id);
        }
        if message.kind == Kind::Confirmable {
            let sent = (message.id, message.token, datagram);
            self.transmissions
                .start(owner, sent, &self.parameters, &mut self.rng, now);
        } else if let Owner::Notification(id) = owner {
            self.tracked.note(message.id, id, message.token);
        }
    }

    fn send(&mut self, message: &Message) -> Option<Vec<u8>> {
        let datagram = message.emit()?;
        self.transmit(datagram.clone());
        Some(datagram)
    }

    pub(super) fn transmit(&mut self, datagram: Vec<u8>) {
        self.transmits.push_back(datagram);
        while self.transmits.len() > TRANSMITS_MAX {
            self.transmits.pop_front();
            self.counters.dropped += 1;
        }
    }

    /// Gives up messages on the wire, and takes those back that nobody has polled: what is given up is not to arrive
    /// after all. Returns what they belonged to.
    pub(super) fn abandon(&mut self, is_meant: impl Fn(Owner) -> bool) -> Vec<Owner> {
        let abandoned = self.transmissions.abandon(is_meant);
        self.transmits
            .retain(|datagram| abandoned.iter().all(|gone| gone.datagram != *datagram));
        abandoned.into_iter().map(|gone| gone.owner).collect()
    }

    pub(super) fn slot_free(&self) -> bool {
        self.transmissions.len() < self.parameters.nstart
    }
}

pub(super) fn may_start(outgoing: &Outgoing, owner: Owner) -> bool {
    match owner {
        Owner::Request(id) => outgoing.may_start(id),
        Owner::Response | Owner::Notification(_) => true,
    }
}
