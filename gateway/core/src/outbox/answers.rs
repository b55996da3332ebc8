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
            SendOutcome::Rejected(Code::REQUEST_ENTITY_TOO_LARGE) => self.split(ledger, now),
            SendOutcome::Rejected(_) | SendOutcome::TimedOut => {
                self.return_flight(id, ledger);
                self.pause(now);
                Verdict::Again
            }
            SendOutcome::Lost => {
                self.return_flight(id, ledger);
                self.backlog.unload();
                Verdict::Again
            }
        }
    }

    /// Makes the next Send smaller because this one cannot be made; a single reading is set aside.
    pub(crate) fn split(&mut self, ledger: &mut Ledger<'_>, now: Instant) -> Verdict {
        let Some(flight) = self.flight.take() else {
            return Verdict::Again;
        };
        if flight.items.len() <= 1 {
            self.bad_requests = 0;
            self.totals.dropped += flight.items.len() as u64;
            self.settle(&flight.items, ledger, now);
            return Verdict::Poison;
        }
        self.batch = flight.items.len() / 2;
        self.put_back(flight.items, ledger);
        Verdict::Again
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
        if let Some(flight) = self.flight.take() {
            let live = flight.count(Origin::Memory);
            self.totals.delivered_live += live as u64;
            self.totals.delivered_late += (flight.items.len() - live) as u64;
            self.settle(&flight.items, ledger, now);
        }
        self.refusals = 0;
        self.bad_requests = 0;
        self.batch = (self.batch * 2).min(limits::MAX_READINGS_PER_SEND);
        Verdict::Paid
    }

    /// Some servers say 4.00 where they have no such registration: the first one is repeated as it is, after the
    /// Update that the client sends. Only from the second on are the readings themselves under suspicion.
    fn handle_bad_request(&mut self, ledger: &mut Ledger<'_>, now: Instant) -> Verdict {
        self.bad_requests += 1;
        if self.bad_requests > 1 {
            return self.split(ledger, now);
        }
        self.repeat(now)
    }

    /// Has the same Send go again as it is.
    fn repeat(&mut self, now: Instant) -> Verdict {
        if let Some(flight) = &mut self.flight {
            flight.is_under_way = false;
            flight.overdue_at = None;
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
