//! What follows from the answer to a Send: paid, again, smaller, or set aside.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use lwm2m_client::Timestamp;
use lwm2m_client::client::{SendId, SendOutcome};
use lwm2m_client::coap::Code;

use super::{Item, Ledger, Origin, Outbox};
use crate::limits;
use crate::profile::PointClass;

/// What follows from the end of a Send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server has them.
    Paid,
    /// They go again later.
    Again,
    /// The server refuses this one reading for good: it was set aside.
    Poison,
}

impl Outbox {
    /// Takes what became of a Send; what comes of it goes with the next [`take`](Self::take).
    pub(crate) fn handle_finished(
        &mut self,
        id: SendId,
        outcome: SendOutcome,
        ledger: &mut Ledger<'_>,
        now: Instant,
    ) -> Verdict {
        if self.flight.as_ref().is_none_or(|flight| flight.id != id) {
            return Verdict::Again;
        }
        self.is_failing = outcome != SendOutcome::Delivered;
        match outcome {
            SendOutcome::Delivered => self.pay(ledger, now),
            SendOutcome::Rejected(Code::BAD_REQUEST) => self.handle_bad_request(ledger, now),
            SendOutcome::Rejected(Code::NOT_FOUND) => self.repeat(now),
            SendOutcome::Rejected(Code::REQUEST_ENTITY_TOO_LARGE) => self.shrink(ledger, now),
            SendOutcome::Rejected(_) | SendOutcome::TimedOut => {
                self.return_flight(id, ledger);
                self.bad_requests = 0;
                self.pause(now);
                Verdict::Again
            }
            SendOutcome::Lost => {
                self.return_flight(id, ledger);
                self.bad_requests = 0;
                self.backlog.unload();
                Verdict::Again
            }
        }
    }

    /// Makes the Send smaller because this one cannot be made; a single reading is set aside.
    pub(crate) fn split(&mut self, ledger: &mut Ledger<'_>, now: Instant) -> Verdict {
        if self.halve() {
            return Verdict::Again;
        }
        self.set_flight_aside(ledger, now)
    }

    /// Has half of the Send go first, and the rest behind it: a bad reading is found whatever else there is to send.
    fn halve(&mut self) -> bool {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.part > 1) else {
            return false;
        };
        self.batch = flight.part / 2;
        flight.repeat(self.batch);
        true
    }

    /// Makes the Send smaller because the server does not take it. A single reading is set aside, but no more of them
    /// in a row than a few: a server that takes none has another trouble than the readings.
    fn shrink(&mut self, ledger: &mut Ledger<'_>, now: Instant) -> Verdict {
        if self.halve() {
            return Verdict::Again;
        }
        let is_kept = self.set_aside_in_row >= limits::MAX_SET_ASIDE_IN_ROW;
        let verdict = if is_kept {
            self.end_flight(ledger);
            Verdict::Again
        } else {
            self.set_aside_in_row += 1;
            self.set_flight_aside(ledger, now)
        };
        self.bad_requests = 0;
        self.pause(now);
        verdict
    }

    fn set_flight_aside(&mut self, ledger: &mut Ledger<'_>, now: Instant) -> Verdict {
        let Some(mut flight) = self.flight.take() else {
            return Verdict::Again;
        };
        let rest = flight.items.split_off(flight.sent().len());
        self.totals.dropped += flight.items.len() as u64;
        self.put_back(rest, ledger);
        self.settle(&flight.items, ledger, now);
        Verdict::Poison
    }

    fn end_flight(&mut self, ledger: &mut Ledger<'_>) {
        if let Some(flight) = self.flight.take() {
            self.put_back(flight.items, ledger);
        }
    }

    pub(super) fn put_back(&mut self, items: Vec<Item>, ledger: &mut Ledger<'_>) {
        for item in items {
            match item.origin {
                Origin::Memory => {
                    self.insert(item.reading.seq, item.class);
                    ledger.memory.put_back(item.reading.seq, ledger.account);
                }
                Origin::Disk => self.backlog.put_back(item.class, item.reading),
                Origin::Gone => self.totals.dropped += 1,
            }
        }
    }

    /// Notes that readings are owed no more, and tells the disk where it may know of them.
    pub(super) fn settle(&mut self, items: &[Item], ledger: &mut Ledger<'_>, now: Instant) {
        let mut stored: BTreeMap<PointClass, (BTreeMap<u64, Option<Timestamp>>, u64)> = BTreeMap::new();
        for item in items {
            let seq = item.reading.seq;
            match item.origin {
                Origin::Memory => ledger.settle_in_memory(seq, now),
                Origin::Disk | Origin::Gone => {
                    let (of_class, counted) = stored.entry(item.class).or_default();
                    of_class.insert(seq, item.reading.wall());
                    *counted += u64::from(item.origin == Origin::Disk);
                }
            }
        }
        for (class, (readings, counted)) in stored {
            let seqs: Vec<u64> = readings.keys().copied().collect();
            let last = readings.into_values().next_back().flatten();
            let (alarms, others, flight) = (&self.alarms, &self.others, self.flight.as_ref());
            // What is under way may come back, wherever it is from.
            let waits = |between: Range<u64>| {
                alarms.range(between.clone()).next().is_some()
                    || others.range(between.clone()).next().is_some()
                    || flight.is_some_and(|flight| flight.is_within(&between))
            };
            for range in self.backlog.settle(class, (&seqs, counted), last, waits) {
                ledger.settlements.insert(ledger.endpoint, class, range, now);
            }
        }
    }

    fn pay(&mut self, ledger: &mut Ledger<'_>, now: Instant) -> Verdict {
        self.refusals = 0;
        self.set_aside_in_row = 0;
        let Some(mut flight) = self.flight.take() else {
            return Verdict::Paid;
        };
        let rest = flight.items.split_off(flight.sent().len());
        let live = flight.count(Origin::Memory);
        self.totals.delivered_live += live as u64;
        self.totals.delivered_late += (flight.items.len() - live) as u64;
        let paid = std::mem::replace(&mut flight.items, rest);
        if flight.items.is_empty() {
            self.bad_requests = 0;
            self.batch = (self.batch * 2).min(limits::MAX_READINGS_PER_SEND);
        } else {
            flight.repeat(self.batch);
            self.flight = Some(flight);
        }
        self.settle(&paid, ledger, now);
        Verdict::Paid
    }

    /// Some servers say 4.00 where they have no such registration: a Send is repeated as it is until one is refused
    /// after the Update that the client sends. From then on the readings themselves are under suspicion.
    fn handle_bad_request(&mut self, ledger: &mut Ledger<'_>, now: Instant) -> Verdict {
        match self.bad_requests {
            0 => self.is_confirmed = false,
            1 if !self.is_confirmed => return self.repeat(now),
            1.. => {
                self.bad_requests = 2;
                return self.shrink(ledger, now);
            }
        }
        self.bad_requests = 1;
        self.repeat(now)
    }

    /// Has the same Send go again as it is.
    fn repeat(&mut self, now: Instant) -> Verdict {
        if let Some(flight) = &mut self.flight {
            flight.repeat(flight.part);
        }
        self.pause(now);
        Verdict::Again
    }

    fn pause(&mut self, now: Instant) {
        let factor = 1u32.checked_shl(self.refusals.min(16)).unwrap_or(u32::MAX);
        let pause = limits::SEND_BACKOFF
            .saturating_mul(factor)
            .min(limits::MAX_SEND_BACKOFF);
        self.refusals += 1;
        self.paused_until = now.checked_add(pause);
        self.backlog.unload();
    }
}
