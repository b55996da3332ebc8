//! What becomes of notifications: sent, acknowledged, lost, owed.

use std::time::Instant;

use super::observation::{Fired, Observation};
use super::{Late, Observations};
use crate::client::event::{SendId, SendOutcome};
use crate::client::limits;
use crate::client::read;
use crate::client::view::View;
use crate::coap::{Code, Notification, NotificationId};
use crate::format::Record;

/// What a notification carries, for when its fate is known.
#[derive(Debug)]
pub(in crate::client) enum Carries {
    /// What is owed until it is acknowledged.
    Fired(Vec<Record>),
    /// What is owed already, because the acknowledgement takes long.
    Owed,
    /// What was told before.
    Repeat,
    /// What was owed before.
    Late(Late),
}

/// A notification under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) token: Vec<u8>,
    pub(super) carries: Carries,
    since: Instant,
}

/// A notification to send, and what is to be remembered of it.
pub(in crate::client) struct Outgoing {
    pub(in crate::client) notification: Notification,
    carries: Option<Carries>,
    since: Instant,
}

/// The end of a late notification.
pub(in crate::client) type Finished = Option<(SendId, SendOutcome)>;

impl Observations {
    /// Sets whether what is not acknowledged is owed.
    pub(in crate::client) fn set_owing(&mut self, owing: bool) {
        if self.owing == owing {
            return;
        }
        self.owing = owing;
        if !owing {
            self.under_way
                .retain(|_, flight| matches!(flight.carries, Carries::Late(_)));
            for observation in self.by_token.values_mut() {
                if !observation.waiting.is_empty() {
                    observation.waiting.clear();
                    observation.monitor.owe();
                }
            }
        }
    }

    /// Says whether what is not acknowledged is owed.
    pub(in crate::client) const fn is_owing(&self) -> bool {
        self.owing
    }

    /// Returns the next notification that is due; evaluates without sending where the line is not open.
    pub(in crate::client) fn poll(
        &mut self,
        view: View<'_>,
        (live, confirmable): (bool, bool),
        now: Instant,
    ) -> Vec<Outgoing> {
        if self.poll_timeout(live).is_none_or(|at| now < at) {
            return Vec::new();
        }
        let tokens: Vec<_> = self.by_token.keys().cloned().collect();
        let due = tokens.into_iter().filter_map(|token| {
            if self.owing {
                self.evaluate(&token, view, now);
            }
            if live && !self.sequence.is_exhausted() {
                self.next_of(&token, view, confirmable, now)
            } else {
                None
            }
        });
        due.collect()
    }

    /// Lets an observation fire, for where everything that fires is owed.
    fn evaluate(&mut self, token: &[u8], view: View<'_>, now: Instant) {
        let Some(observation) = self.by_token.get_mut(token) else {
            return;
        };
        if let Some(records) = observation.fire(view, now) {
            observation.waiting.push_back(Fired { records, at: now });
        }
        let is_behind_owed = observation.last.is_some_and(|last| {
            observation.in_flight
                && self
                    .under_way
                    .get(&last)
                    .is_some_and(|flight| matches!(flight.carries, Carries::Owed))
        });
        let overdue = observation
            .waiting
            .front()
            .is_some_and(|fired| now >= fired.at + limits::OWED_AFTER);
        let full = observation.waiting.len() > limits::WAITING_NOTIFICATIONS;
        if observation.lapsed || is_behind_owed || overdue || full {
            self.owe_all(token);
        }
    }

    /// Returns the next notification of an observation.
    fn next_of(&mut self, token: &[u8], view: View<'_>, confirmable: bool, now: Instant) -> Option<Outgoing> {
        let observation = self.by_token.get_mut(token).filter(|o| o.is_free())?;
        let (records, carries, since) = if let Some(fired) = observation.waiting.pop_front() {
            let carries = Carries::Fired(fired.records.clone());
            (fired.records, Some(carries), fired.at)
        } else if let Some(records) = observation.repeat(view, now) {
            (records, Some(Carries::Repeat), now)
        } else if !self.owing {
            (observation.fire(view, now)?, None, now)
        } else {
            return None;
        };
        let confirmable = confirmable || carries.is_some() || observation.is_confirmation_overdue(now);
        // What the format cannot carry (a NaN as text) is not told; the next change is.
        let payload = read::encode_notification(observation.path, observation.format, &records).ok()?;
        let content_format = Some(observation.format.code());
        Some(Outgoing {
            notification: Notification {
                token: token.to_vec(),
                confirmable,
                observe: self.next_sequence()?,
                code: Code::CONTENT,
                content_format,
                max_age_secs: None,
                payload,
            },
            carries,
            since,
        })
    }

    /// Makes a notification of what was owed.
    pub(super) fn outgoing_late(
        &mut self,
        token: &[u8],
        (payload, late): (Vec<u8>, Late),
        now: Instant,
    ) -> Option<Outgoing> {
        let content_format = Some(self.by_token.get(token)?.format.code());
        Some(Outgoing {
            notification: Notification {
                token: token.to_vec(),
                confirmable: true,
                observe: self.next_sequence()?,
                code: Code::CONTENT,
                content_format,
                max_age_secs: None,
                payload,
            },
            carries: Some(Carries::Late(late)),
            since: now,
        })
    }

    /// Notes under which number a notification goes out.
    pub(in crate::client) fn handle_sent(&mut self, id: NotificationId, sent: Sent) {
        let Sent {
            token,
            confirmable,
            carries,
            since,
        } = sent;
        if let Some(observation) = self.by_token.get_mut(&token) {
            observation.last = Some(id);
            observation.in_flight = confirmable;
            let is_newest = match &carries {
                Some(Carries::Fired(_)) => observation.waiting.is_empty(),
                Some(Carries::Repeat) | None => true,
                Some(Carries::Late(late)) => late.is_newest,
                Some(Carries::Owed) => false,
            };
            if is_newest {
                observation.newest = Some(id);
                observation.is_newest_told |= !confirmable;
            }
        }
        if let Some(carries) = carries {
            let flight = Flight {
                token,
                carries,
                since,
            };
            self.under_way.insert(id, flight);
        }
    }

    /// Notes that the server has a notification.
    pub(in crate::client) fn handle_acknowledged(&mut self, id: NotificationId, now: Instant) -> Finished {
        if let Some(observation) = self.of(id) {
            observation.in_flight = false;
            observation.confirmed_at = now;
            observation.is_newest_told |= observation.newest == Some(id);
            if observation.newest == Some(id) {
                observation.repeat_at = None;
            }
        }
        match self.under_way.remove(&id)?.carries {
            Carries::Late(late) => {
                self.tell_newest_again(id, now);
                Some((late.id, SendOutcome::Delivered))
            }
            Carries::Fired(_) | Carries::Owed | Carries::Repeat => None,
        }
    }

    /// Notes that a notification did not arrive: its observation owes another one, or what it carried is owed.
    pub(in crate::client) fn handle_lost(&mut self, id: NotificationId, now: Instant) -> Finished {
        if self.under_way.contains_key(&id) {
            return self.handle_failed(id, SendOutcome::TimedOut, now);
        }
        if let Some(observation) = self.of(id) {
            observation.in_flight = false;
            observation.monitor.handle_lost(now);
        }
        None
    }

    /// Notes that a notification did not go out: its observation owes it still, or what it carried is owed.
    pub(in crate::client) fn handle_dropped(&mut self, id: NotificationId, now: Instant) -> Finished {
        if self.under_way.contains_key(&id) {
            return self.handle_failed(id, SendOutcome::Lost, now);
        }
        if let Some(observation) = self.of(id) {
            observation.in_flight = false;
            observation.monitor.handle_dropped(now);
        }
        None
    }

    /// Notes that the server has rejected a notification: it wants no more of its observation. Says whether there
    /// was one.
    pub(in crate::client) fn handle_reset(&mut self, id: NotificationId, token: &[u8]) -> (bool, Finished) {
        let late = match self.under_way.remove(&id).map(|flight| flight.carries) {
            Some(Carries::Late(late)) => Some((late.id, SendOutcome::Lost)),
            Some(Carries::Fired(_) | Carries::Owed | Carries::Repeat) | None => None,
        };
        (self.remove(token), late)
    }

    fn handle_failed(&mut self, id: NotificationId, outcome: SendOutcome, now: Instant) -> Finished {
        let token = self.under_way.get(&id)?.token.clone();
        if let Some(observation) = self.of(id) {
            observation.in_flight = false;
            // Without times what is owed can never go this way; the newest value at least can.
            if !observation.carries_times() {
                observation.repeat_at = Some(now + limits::REPEAT_LOST_AFTER);
            }
        }
        let flight = self.under_way.remove(&id)?;
        match flight.carries {
            Carries::Fired(records) => {
                self.owed.push(records);
                self.owe_waiting(&token);
                None
            }
            Carries::Owed => None,
            Carries::Repeat => {
                if let Some(observation) = self.by_token.get_mut(&token) {
                    observation.repeat_at = Some(now + limits::REPEAT_LOST_AFTER);
                }
                None
            }
            Carries::Late(late) => {
                self.tell_newest_again(id, now);
                Some((late.id, outcome))
            }
        }
    }

    /// Returns what is owed since this was last asked.
    pub(in crate::client) fn take_owed(&mut self) -> Vec<Vec<Record>> {
        std::mem::take(&mut self.owed)
    }

    /// Owes what waits too long for its acknowledgement; it may still arrive.
    pub(in crate::client) fn owe_overdue(&mut self, now: Instant) {
        let overdue = self.under_way.values().filter(|flight| {
            matches!(flight.carries, Carries::Fired(_)) && now >= flight.since + limits::OWED_AFTER
        });
        let tokens: Vec<_> = overdue.map(|flight| flight.token.clone()).collect();
        for token in tokens {
            self.owe_all(&token);
        }
    }

    /// Owes everything that is not acknowledged; it may still arrive.
    pub(in crate::client) fn owe_everything(&mut self) {
        let under_way = self.under_way.values().map(|flight| flight.token.clone());
        let mut tokens: Vec<_> = under_way.collect();
        tokens.extend(self.by_token.keys().cloned());
        for token in tokens {
            self.owe_all(&token);
        }
    }

    /// Owes what an observation has under way and what waits behind it.
    pub(super) fn owe_all(&mut self, token: &[u8]) {
        for flight in self.under_way.values_mut().filter(|flight| flight.token == token) {
            if let Carries::Fired(records) = &mut flight.carries {
                self.owed.push(std::mem::take(records));
                flight.carries = Carries::Owed;
            }
        }
        self.owe_waiting(token);
    }

    fn owe_waiting(&mut self, token: &[u8]) {
        if let Some(observation) = self.by_token.get_mut(token) {
            let waiting = observation.waiting.drain(..);
            self.owed.extend(waiting.map(|fired| fired.records));
        }
    }

    /// Forgets what an observation has under way: the server does not want it.
    pub(super) fn forget(&mut self, token: &[u8]) {
        self.under_way
            .retain(|_, flight| flight.token != token || matches!(flight.carries, Carries::Late(_)));
    }

    /// After a late notification the newest value is told again, so that it is the last one.
    fn tell_newest_again(&mut self, id: NotificationId, now: Instant) {
        if let Some(observation) = self.of(id)
            && observation.is_newest_told
            && observation.newest != Some(id)
        {
            observation.repeat_at = Some(now + limits::NEWEST_AFTER_LATE);
        }
    }

    fn of(&mut self, id: NotificationId) -> Option<&mut Observation> {
        self.by_token.values_mut().find(|o| o.last == Some(id))
    }

    /// Returns when something is to be sent, evaluated or owed.
    pub(in crate::client) fn poll_timeout(&self, live: bool) -> Option<Instant> {
        let live = live && !self.sequence.is_exhausted();
        let observations = self
            .by_token
            .values()
            .filter_map(|o| o.poll_timeout(self.owing, live));
        let flights = self.under_way.values();
        let fired = flights.filter(|flight| matches!(flight.carries, Carries::Fired(_)));
        let owed = fired.map(|flight| flight.since + limits::OWED_AFTER);
        observations.chain(owed).min()
    }
}

/// A notification that goes out.
pub(in crate::client) struct Sent {
    token: Vec<u8>,
    confirmable: bool,
    carries: Option<Carries>,
    since: Instant,
}

impl Outgoing {
    /// Returns the notification, and what is to be noted of it once it has a number.
    pub(in crate::client) fn split(self) -> (Notification, Sent) {
        let sent = Sent {
            token: self.notification.token.clone(),
            confirmable: self.notification.confirmable,
            carries: self.carries,
            since: self.since,
        };
        (self.notification, sent)
    }
}
