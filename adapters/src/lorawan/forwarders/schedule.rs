//! What was given to forwarders to send, and what waits for its turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::airtime::Taken;
use super::limits;
use crate::lorawan::gwmp::Token;
use crate::lorawan::{ForwarderId, Sent, Transmission, Window};

/// A transmission on its way through its windows.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) transmission: Transmission,
    /// The place of the window that is tried.
    pub(super) window: usize,
    /// Why none of the windows before took it.
    pub(super) failure: Option<Sent>,
    /// Until when it may wait for its turn.
    pub(super) expires: Instant,
}

impl Job {
    pub(super) fn window(&self) -> Option<&Window> {
        self.transmission.windows.get(self.window)
    }

    /// Goes on to the next window. That there was no forwarder says less than anything else.
    pub(super) fn fail(&mut self, why: Sent) {
        self.window += 1;
        if self.failure.is_none() || why != Sent::NoForwarder {
            self.failure = Some(why);
        }
    }
}

/// A frame that a forwarder was told to send, and of which it has not said anything yet.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) job: Job,
    pub(super) deadline: Instant,
    pub(super) taken: Taken,
}

/// A time in which a forwarder sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) forwarder: ForwarderId,
    pub(super) token: Token,
    pub(super) frequency_hz: u32,
    pub(super) from: Instant,
    pub(super) until: Instant,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) outstanding: BTreeMap<(ForwarderId, Token), Outstanding>,
    pub(super) slots: Vec<Slot>,
    pub(super) waiting: VecDeque<Job>,
    /// When a frame that waits may find the air free.
    pub(super) next_turn: Option<Instant>,
    next_token: u16,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            outstanding: BTreeMap::new(),
            slots: Vec::new(),
            waiting: VecDeque::new(),
            next_turn: None,
            // Any part of it will do.
            next_token: seed as u16,
        }
    }

    /// Returns a token that no frame on its way has: there are 65,536 of them, and few frames.
    pub(super) fn token(&mut self) -> Token {
        self.next_token = self.next_token.wrapping_add(1);
        Token(self.next_token.to_be_bytes())
    }

    /// Forgets what has been sent.
    pub(super) fn prune(&mut self, now: Instant) {
        self.slots.retain(|slot| now < slot.until + limits::FORWARDER_GAP);
    }

    /// Says whether a forwarder plans as many frames as it can.
    pub(super) fn is_full(&self, forwarder: ForwarderId) -> bool {
        let planned = self.slots.iter().filter(|slot| slot.forwarder == forwarder);
        planned.count() >= limits::PLANNED
    }

    /// Says whether a forwarder sends something else at that time.
    pub(super) fn collides(&self, forwarder: ForwarderId, from: Instant, airtime: Duration) -> bool {
        let own = self.slots.iter().filter(|slot| slot.forwarder == forwarder);
        own.into_iter().any(|slot| slot.overlaps(from, airtime))
    }

    /// Returns until when the air is not free for a frame that goes out at `from`: neither its forwarder nor its
    /// frequency, since other forwarders are heard by the same devices.
    pub(super) fn busy_until(&self, window: &Window, from: Instant, airtime: Duration) -> Option<Instant> {
        let concerns =
            |slot: &&Slot| slot.forwarder == window.forwarder || slot.frequency_hz == window.frequency_hz;
        let blocking = self.slots.iter().filter(concerns);
        blocking
            .filter(|slot| slot.overlaps(from, airtime))
            .map(|slot| slot.until)
            .max()
    }

    /// Takes a slot away.
    pub(super) fn free(&mut self, forwarder: ForwarderId, token: Token) {
        self.slots
            .retain(|slot| (slot.forwarder, slot.token) != (forwarder, token));
    }

    /// Returns when something is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let silence = self
            .outstanding
            .values()
            .map(|outstanding| outstanding.deadline)
            .min();
        [silence, self.next_turn].into_iter().flatten().min()
    }
}

impl Slot {
    fn overlaps(&self, from: Instant, airtime: Duration) -> bool {
        from < self.until + limits::FORWARDER_GAP && self.from < from + airtime + limits::FORWARDER_GAP
    }
}
