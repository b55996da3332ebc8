//! What follows from anything that came in: answers are dealt out, what is due is sent.

use std::time::Instant;

use super::event::{Event, RegistrationState, SendId, SendOutcome};
use super::object_list::object_list;
use super::objects::Objects;
use super::observe::Outgoing;
use super::registration::{AfterDeregister, Outcome};
use super::view::View;
use super::{Client, limits};
use crate::coap::{self, Code, RequestFailure, RequestId, Response};

impl Client {
    /// Deals out what CoAP has to tell, then sends what is due.
    pub(super) fn progress(&mut self, objects: &dyn Objects, now: Instant) {
        self.now = now;
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.handle_coap_event(event, objects, now);
            }
            self.send_registration_requests(objects, now);
            self.watch_owing();
            self.send_notifications(objects, now);
            // What cannot be sent fails at once. That ends, because whatever fails is tried again later only.
            if !self.endpoint.has_events() {
                break;
            }
        }
        self.tell_owed();
    }

    /// Follows what the caller and the server want of notifications that do not arrive.
    fn watch_owing(&mut self) {
        let owing = self.owes_notifications && self.server.notification_storing;
        self.observations.set_owing(owing);
        if !owing {
            self.end_lapsed();
        }
    }

    /// Tells what is owed.
    pub(super) fn tell_owed(&mut self) {
        let owed = self.observations.take_owed().into_iter();
        self.events
            .extend(owed.map(|records| Event::NotificationOwed { records }));
    }

    /// Says whether notifications go out: a server that knows no registration takes none.
    pub(super) fn observes(&self) -> bool {
        self.state() == RegistrationState::Registered
    }

    /// Says whether the server is told that an observation has ended. An Observe may overtake the answer to the
    /// Register, so one that ends behind a Register counts.
    pub(super) fn tells_ends(&self) -> bool {
        self.observes() || self.registration.is_resuming() || self.registration.register_under_way().is_some()
    }

    fn handle_coap_event(&mut self, event: coap::Event, objects: &dyn Objects, now: Instant) {
        match event {
            coap::Event::Request(request) => self.handle_request(&request, objects, now),
            coap::Event::Response { id, response } => self.handle_response(id, &response, objects, now),
            coap::Event::Failed { id, reason } => self.handle_failure(id, reason, objects, now),
            coap::Event::NotificationAcknowledged(id) => {
                let late = self.observations.handle_acknowledged(id, now);
                self.finish_late(late);
            }
            coap::Event::NotificationReset { token, id } => {
                let (existed, late) = self.observations.handle_reset(id, &token);
                self.finish_late(late);
                if existed {
                    self.tell_observations_changed();
                }
                // A server that has lost its state rejects notifications too.
                self.doubt_registration(now);
            }
            coap::Event::NotificationTimedOut { id } => {
                let late = self.observations.handle_lost(id, now);
                self.finish_late(late);
                // Find out whether the server is there at all. The other notifications would only wait as long
                // before the Update; they are owed again behind it.
                self.endpoint.drop_notifications();
                self.registration.want_update(now);
            }
            coap::Event::NotificationDropped { id } => {
                let late = self.observations.handle_dropped(id, now);
                self.finish_late(late);
            }
            coap::Event::Malformed { reason } => self.complain(Event::Malformed {
                reason: reason.to_string(),
            }),
        }
    }

    fn finish_late(&mut self, late: Option<(SendId, SendOutcome)>) {
        let finished = late.map(|(id, outcome)| Event::SendFinished { id, outcome });
        self.events.extend(finished);
    }

    fn handle_response(&mut self, id: RequestId, response: &Response, objects: &dyn Objects, now: Instant) {
        if let Some(send) = self.sends.finish(id) {
            return self.finish_send(send, response.code, now);
        }
        self.handle_registration_result(id, Ok(response), objects, now);
    }

    fn handle_failure(&mut self, id: RequestId, reason: RequestFailure, objects: &dyn Objects, now: Instant) {
        let Some(send) = self.sends.finish(id) else {
            return self.handle_registration_result(id, Err(reason.to_string()), objects, now);
        };
        let outcome = if reason == RequestFailure::TimedOut {
            SendOutcome::TimedOut
        } else {
            SendOutcome::Lost
        };
        self.events.push_back(Event::SendFinished { id: send, outcome });
        if outcome == SendOutcome::TimedOut {
            // The others would only wait as long, and keep the Update waiting that finds out.
            self.drop_sends(SendOutcome::TimedOut);
            self.registration.want_update(now);
        }
    }

    fn finish_send(&mut self, id: SendId, code: Code, now: Instant) {
        let outcome = if code == Code::CHANGED {
            SendOutcome::Delivered
        } else {
            SendOutcome::Rejected(code)
        };
        self.events.push_back(Event::SendFinished { id, outcome });
        if outcome == SendOutcome::Delivered {
            self.doubted_at = None;
        }
        let of_format = code == Code::UNSUPPORTED_CONTENT_FORMAT || code == Code::NOT_ACCEPTABLE;
        if of_format && self.sends.handle_format_refused() {
            self.save_soon();
        }
        // Some servers say 4.00, others 4.04, where they know no registration for the address. An Update finds out
        // whether that is meant, and does no harm at a server that has no Send or dislikes the payload.
        if code == Code::BAD_REQUEST || code == Code::NOT_FOUND {
            self.doubt_registration(now);
        }
    }

    /// Asks with an Update whether the server still knows the client, unless that was asked lately.
    fn doubt_registration(&mut self, now: Instant) {
        let lately = |at| now.saturating_duration_since(at) < limits::DOUBT_EVERY;
        if !self.doubted_at.is_some_and(lately) {
            self.doubted_at = Some(now);
            self.registration.want_update(now);
        }
    }

    fn drop_sends(&mut self, outcome: SendOutcome) {
        for (request, id) in self.sends.take_all() {
            self.endpoint.cancel(request);
            self.events.push_back(Event::SendFinished { id, outcome });
        }
    }

    fn handle_registration_result(
        &mut self,
        id: RequestId,
        result: Result<&Response, String>,
        objects: &dyn Objects,
        now: Instant,
    ) {
        let Some((outcome, event)) = self.registration.handle_finished(id, result, now) else {
            return;
        };
        self.events.push_back(event);
        match outcome {
            Outcome::Registered => {
                self.save_soon();
                self.end_lapsed();
                self.doubted_at = None;
                self.registration.set_objects(self.object_list(objects));
            }
            Outcome::SteppedDown => self.server.set_version(self.registration.version()),
            Outcome::Updated => {}
            Outcome::UpdatedAnew => self.save_soon(),
            Outcome::Gone => {
                self.drop_sends(SendOutcome::Lost);
                // A registration that seems lost stays saved: should there be a restart now, it is tried once more.
                let left = [RegistrationState::Stopped, RegistrationState::Disabled];
                if left.contains(&self.state()) {
                    self.save_soon();
                }
            }
        }
    }

    fn drop_observations(&mut self) {
        for token in self.observations.clear() {
            self.endpoint.cancel_notifications(&token);
            self.tell_observations_changed();
        }
        // Also what is out already: under NSTART it would hold back the request that follows.
        self.endpoint.drop_notifications();
        self.tell_owed();
    }

    /// Whatever the server observed under an earlier registration it forgets with the Register that follows. Not
    /// later: an Observe may overtake the answer. What would have been notified until then may be owed.
    fn lapse_observations(&mut self) {
        if self.observations.is_owing() {
            self.observations.lapse();
            self.endpoint.drop_notifications();
        } else {
            self.drop_observations();
        }
    }

    fn end_lapsed(&mut self) {
        for token in self.observations.end_lapsed() {
            self.endpoint.cancel_notifications(&token);
            self.tell_observations_changed();
        }
    }

    pub(super) fn object_list(&self, objects: &dyn Objects) -> String {
        object_list(View::new(objects, &self.server), self.registration.version())
    }

    fn send_registration_requests(&mut self, objects: &dyn Objects, now: Instant) {
        if self.registration.is_register_due() {
            self.lapse_observations();
            self.server.set_version(self.registration.version());
            self.registration.set_objects(self.object_list(objects));
        }
        self.registration.set_lifetime(self.server.lifetime_secs);
        if let Some(request) = self.registration.poll_request(now) {
            let id = self.endpoint.request(request, now);
            self.registration.handle_sent(id);
        }
    }

    fn send_notifications(&mut self, objects: &dyn Objects, now: Instant) {
        self.observations.owe_overdue(now);
        let view = View::new(objects, &self.server);
        let confirmable = self.config.confirmable_notifications;
        let due = self.observations.poll(view, (self.observes(), confirmable), now);
        for outgoing in due {
            self.send_notification(outgoing, now);
        }
    }

    pub(super) fn send_notification(&mut self, outgoing: Outgoing, now: Instant) {
        let (notification, sent) = outgoing.split();
        let id = self.endpoint.notify(notification, now);
        self.observations.handle_sent(id, sent);
    }

    /// De-registers, for good or for a while.
    pub(super) fn leave(&mut self, then: AfterDeregister, now: Instant) {
        self.now = now;
        if let Some(register) = self.registration.register_under_way() {
            self.endpoint.cancel(register);
        }
        self.drop_sends(SendOutcome::Lost);
        self.drop_observations();
        let request = self.registration.deregister();
        let request = request.map(|r| self.endpoint.request(r, now));
        if self.registration.handle_deregister(request, then, now) {
            self.events.push_back(Event::Deregistered);
            self.save_soon();
        }
    }

    /// Tells that observations have changed, once until that is polled.
    pub(super) fn tell_observations_changed(&mut self) {
        self.save_soon();
        if !self.events.contains(&Event::ObservationsChanged) {
            self.events.push_back(Event::ObservationsChanged);
        }
    }

    /// Tells of something that foreign bytes can cause at will, unless nobody listens.
    pub(super) fn complain(&mut self, event: Event) {
        if self.events.len() < limits::COMPLAINTS {
            self.events.push_back(event);
        }
    }
}
