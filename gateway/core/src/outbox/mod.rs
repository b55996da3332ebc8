//! What servers have not got yet: in memory, then on disk, until they have it.
//!
//! ```text
//!                        take                      Delivered
//!  live:    Memory ──────────► Flight, one a time ───────────► settled
//!              │ stored           ▲        │ anything else: back to where it came from,
//!              ▼            load  │        ▼ after a pause; a bad request first once more as it was
//!  backlog:  disk ────────────► Backlog
//! ```
//! | file | what it does |
//! |---|---|
//! | `memory` | the readings in memory, each once for all servers, and which of them are to be stored |
//! | `backlog` | what one endpoint is owed out of the buffer on disk |
//! | `flight`, `answers` | one Send or late notification, and what follows from its answer |
//! | `late` | what the next late notification carries |
//! | `settlements`, `ranges` | what the disk is to be told that is paid |
//! | `commits` | when something is made durable |
//! | `receipts` | the frames of which their senders want to know that they are safe |
//! | `repeats` | those of them that may come again although they are durable |
//! | `loads` | who may load out of the buffer, and how much at once |
//! | `reading`, `servers` | a reading and its time; a set of servers |
//!
//! This file is the queue of one endpoint: what waits, and what goes next. A Send carries live
//! readings first, alarms before others, then the backlog from the oldest on; neither can starve the other.
//! A late notification (`late`) carries the oldest first.

mod answers;
mod backlog;
mod commits;
mod flight;
mod late;
mod loads;
mod memory;
mod ranges;
mod reading;
mod receipts;
mod repeats;
mod servers;
mod settlements;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::client::SendId;
use lwm2m_client::{Path, Timestamp};

pub(crate) use answers::Verdict;
pub(crate) use backlog::{Backlog, Load};
pub(crate) use commits::{Commits, UnderWay};
pub(crate) use flight::{Item, Origin};
pub(crate) use late::covers;
pub(crate) use loads::Loads;
pub(crate) use memory::{Held, Memory, New};
pub(crate) use reading::{Clock, Reading};
pub(crate) use receipts::Repeat;
pub(crate) use servers::Servers;
pub(crate) use settlements::Settlements;

use crate::buffer::{Gap, Moment};
use crate::limits;
use crate::profile::PointClass;
use crate::status::Totals;
use flight::Flight;

/// What one endpoint owes.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// What became of the readings.
    pub(crate) totals: Totals,
    /// What is on disk.
    pub(crate) backlog: Backlog,
    /// Alarms in memory that wait.
    alarms: BTreeSet<u64>,
    /// Other readings in memory that wait.
    others: BTreeSet<u64>,
    flight: Option<Flight>,
    next_send: u64,
    /// How many readings the next Send may hold.
    batch: usize,
    /// How often in a row the server has refused.
    refusals: u32,
    /// How often in a row it has called the readings bad; from the second time on they are under suspicion.
    bad_requests: u32,
    /// Whether it has confirmed the registration since the first time.
    is_confirmed: bool,
    /// How many readings were set aside since it last took one.
    set_aside_in_row: usize,
    paused_until: Option<Instant>,
    /// Whether the last Send has come to nothing.
    is_failing: bool,
}

/// What the queues of all endpoints share, as one of them needs it.
pub(crate) struct Ledger<'a> {
    /// The readings in memory.
    pub(crate) memory: &'a mut Memory,
    /// What the disk is to be told.
    pub(crate) settlements: &'a mut Settlements,
    /// The place of the server in the gateway.
    pub(crate) account: usize,
    /// The place of the endpoint in the gateway.
    pub(crate) endpoint: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            totals: Totals::default(),
            backlog: Backlog::default(),
            alarms: BTreeSet::new(),
            others: BTreeSet::new(),
            flight: None,
            next_send: 0,
            batch: limits::MAX_READINGS_PER_SEND,
            refusals: 0,
            bad_requests: 0,
            is_confirmed: false,
            set_aside_in_row: 0,
            paused_until: None,
            is_failing: false,
        }
    }
}

impl Outbox {
    /// Returns how many readings are in memory only.
    pub(crate) fn waiting(&self) -> usize {
        let in_flight = |flight: &Flight| flight.count(Origin::Memory) + flight.count(Origin::Gone);
        self.alarms.len() + self.others.len() + self.flight.as_ref().map_or(0, in_flight)
    }

    /// Returns when the oldest reading that waits was measured, where that is known.
    pub(crate) fn oldest(&self, memory: &Memory) -> Option<Timestamp> {
        let first = |seqs: &BTreeSet<u64>| memory.get(*seqs.first()?)?.reading.wall();
        let items = self.flight.iter().flat_map(|flight| &flight.items);
        let in_flight = items.filter_map(|item| item.reading.wall()).min();
        [
            self.backlog.oldest(),
            first(&self.alarms),
            first(&self.others),
            in_flight,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Says whether the server has not taken the last Send.
    pub(crate) const fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Puts a reading behind the others of its kind.
    pub(crate) fn push(&mut self, seq: u64, class: PointClass) {
        self.totals.produced += 1;
        self.insert(seq, class);
    }

    /// Counts a reading that had to go for want of room.
    pub(crate) fn forget(&mut self, seq: u64) {
        if self.alarms.remove(&seq) || self.others.remove(&seq) {
            self.totals.dropped += 1;
        }
    }

    /// Returns the numbers of all that is in memory.
    pub(crate) fn in_memory(&self) -> impl Iterator<Item = u64> {
        let items = self.flight.iter().flat_map(|flight| &flight.items);
        let in_flight = items
            .filter(|item| item.origin == Origin::Memory)
            .map(|item| item.reading.seq);
        self.alarms.iter().chain(&self.others).copied().chain(in_flight)
    }

    /// Drops what was measured before a time and only waits in memory; says how much that was.
    pub(crate) fn drop_older(&mut self, than: Timestamp, ledger: &mut Ledger<'_>, now: Instant) -> usize {
        let is_older = |seq: &u64| {
            let wall = ledger.memory.get(*seq).and_then(|held| held.reading.wall());
            wall.is_some_and(|wall| wall < than)
        };
        let older: Vec<u64> = self
            .alarms
            .iter()
            .chain(&self.others)
            .copied()
            .filter(is_older)
            .collect();
        for &seq in &older {
            self.forget(seq);
            ledger.settle_in_memory(seq, now);
        }
        older.len()
    }

    /// Sets loaded readings aside that do not fit; says how many.
    pub(crate) fn set_aside(
        &mut self,
        fits: impl Fn(&Reading) -> bool,
        ledger: &mut Ledger<'_>,
        now: Instant,
    ) -> usize {
        let unfit = self.backlog.loaded().filter(|(_, reading)| !fits(reading));
        let unfit: Vec<(PointClass, u64)> = unfit.map(|(class, reading)| (class, reading.seq)).collect();
        let take = |(class, seq): &(PointClass, u64)| {
            let reading = self.backlog.take(*class, *seq)?;
            let (class, origin) = (*class, Origin::Disk);
            Some(Item {
                reading,
                class,
                origin,
            })
        };
        let items: Vec<Item> = unfit.iter().filter_map(take).collect();
        self.totals.dropped += items.len() as u64;
        self.settle(&items, ledger, now);
        items.len()
    }

    /// Notes that a reading has become durable: from now on it is owed out of the buffer.
    pub(crate) fn stored(&mut self, class: PointClass, reading: &Reading) {
        self.alarms.remove(&reading.seq);
        self.others.remove(&reading.seq);
        let mut items = self.flight.iter_mut().flat_map(|flight| &mut flight.items);
        if let Some(item) = items.find(|item| item.reading.seq == reading.seq) {
            item.origin = Origin::Disk;
        }
        self.totals.stored += 1;
        self.backlog.stored(class, reading);
    }

    /// Takes what was loaded out of the buffer.
    pub(crate) fn handle_loaded(
        &mut self,
        load: Load,
        loaded: Vec<crate::buffer::Loaded>,
        is_settled: impl Fn(u64) -> bool,
    ) {
        self.find_gone(load.class, &loaded);
        let items = self.flight.iter().flat_map(|flight| &flight.items);
        let in_flight = items
            .filter(|item| item.class == load.class && item.origin == Origin::Disk)
            .count();
        let flight = self.flight.as_ref();
        let known = |seq| is_settled(seq) || flight.is_some_and(|flight| flight.contains(seq));
        let missing = self.backlog.handle_loaded(load, loaded, known, in_flight as u64);
        self.totals.dropped = self.totals.dropped.saturating_add_signed(missing);
    }

    /// Notes which of the readings under way the disk has after all: a gap spans more than what is lost.
    fn find_gone(&mut self, class: PointClass, loaded: &[crate::buffer::Loaded]) {
        let mut found = 0;
        for item in self.flight.iter_mut().flat_map(|flight| &mut flight.items) {
            let is_suspect = item.origin == Origin::Gone && item.class == class;
            let is_there = |seq| loaded.binary_search_by_key(&seq, |loaded| loaded.seq).is_ok();
            if is_suspect && is_there(item.reading.seq) {
                item.origin = Origin::Disk;
                found += 1;
            }
        }
        self.backlog.found(class, found);
    }

    /// Takes what the disk had to let go of. What is under way and within the gap counts as lost until a load shows
    /// that the disk has it.
    pub(crate) fn handle_gap(&mut self, gap: &Gap) {
        let (class, mut kept) = (gap.debt.stream.class, 0);
        for item in self.flight.iter_mut().flat_map(|flight| &mut flight.items) {
            let is_gone = item.origin == Origin::Disk && item.class == class;
            if is_gone && gap.seqs.contains(&item.reading.seq) {
                item.origin = Origin::Gone;
                kept += 1;
            }
        }
        self.totals.dropped += self.backlog.handle_gap(class, gap.count, &gap.seqs, kept);
    }

    /// Returns when a pause ends, where there is something to send after it, when an answer is overdue, or when to load
    /// again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let is_under_way = self.flight.as_ref().is_some_and(|flight| flight.is_under_way);
        let waits = !is_under_way && (self.waiting() > 0 || self.backlog.count() > 0);
        let pause = self.paused_until.filter(|_| waits);
        let overdue = self.flight.as_ref().and_then(|flight| flight.overdue_at);
        [pause, overdue, self.backlog.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Notes that a server which has not answered for a while may be away: its answer may still come, but what matters
    /// does not wait for it in memory.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let overdue = self.flight.as_mut().and_then(|flight| {
            let is_due = |at: &mut Instant| *at <= now;
            flight.overdue_at.take_if(is_due)
        });
        self.is_failing |= overdue.is_some();
    }

    /// Forgets pauses that are over: while the disk is at work nobody is to be woken for them again.
    pub(crate) fn end_pauses(&mut self, now: Instant) {
        self.paused_until.take_if(|until| *until <= now);
        self.backlog.end_pause(now);
    }

    /// Says whether there is a pause.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// Takes the next readings to send. What does not fit into one Send with another, `may_go` refuses.
    pub(crate) fn take(
        &mut self,
        ledger: &mut Ledger<'_>,
        may_go: impl Fn(&Reading) -> bool,
        now: Instant,
    ) -> Option<(SendId, &[Item])> {
        if !self.may_take(now) {
            return None;
        }
        let (items, part) = match self.flight.take() {
            Some(flight) => (flight.items, flight.part),
            None => (self.compose(ledger, may_go), self.batch),
        };
        self.begin_flight((items, part), now)
    }

    /// Says whether the next readings may go. Ends a pause also where there is nothing to send yet: whoever waits for
    /// its end waits no more.
    fn may_take(&mut self, now: Instant) -> bool {
        let is_under_way = self.flight.as_ref().is_some_and(|flight| flight.is_under_way);
        if is_under_way || self.is_paused(now) {
            return false;
        }
        self.paused_until = None;
        true
    }

    fn begin_flight(&mut self, (items, part): (Vec<Item>, usize), now: Instant) -> Option<(SendId, &[Item])> {
        if items.is_empty() {
            return None;
        }
        let id = SendId(self.next_send);
        self.next_send += 1;
        let flight = Flight {
            id,
            is_under_way: true,
            overdue_at: now.checked_add(limits::ANSWER_OVERDUE),
            part: part.min(items.len()),
            items,
        };
        Some((id, self.flight.insert(flight).sent()))
    }

    /// Puts back what [`take`](Self::take) gave and could not be sent.
    pub(crate) fn return_flight(&mut self, id: SendId, ledger: &mut Ledger<'_>) {
        if let Some(flight) = self.flight.take_if(|flight| flight.id == id) {
            self.put_back(flight.items, ledger);
        }
    }

    /// Ends a pause: the server has just confirmed the registration.
    pub(crate) fn resume(&mut self) {
        self.is_confirmed = true;
        self.paused_until = None;
    }

    /// Chooses what the next Send holds, and takes it out of where it waits.
    fn compose(&mut self, ledger: &mut Ledger<'_>, may_go: impl Fn(&Reading) -> bool) -> Vec<Item> {
        let mut chosen = Vec::new();
        let mut seen = BTreeSet::new();
        let has_backlog = self.backlog.loaded().next().is_some();
        // Half of a Send is the backlog's where there is one, and the other half is not.
        let share = if has_backlog {
            self.batch.div_ceil(2)
        } else {
            self.batch
        };
        let live = self.alarms.iter().chain(&self.others);
        let live = live.filter_map(|seq| Some((Origin::Memory, ledger.memory.get(*seq)?)));
        let live = live.map(|(origin, held)| (origin, held.class, &held.reading));
        choose(live, share, &mut seen, &mut chosen);
        let stored = self.backlog.loaded().filter(|(_, reading)| may_go(reading));
        let stored = stored.map(|(class, reading)| (Origin::Disk, class, reading));
        choose(stored, self.batch, &mut seen, &mut chosen);
        self.take_out(&chosen, ledger);
        chosen
    }

    /// Takes readings out of where they wait.
    fn take_out(&mut self, chosen: &[Item], ledger: &mut Ledger<'_>) {
        for item in chosen {
            let seq = item.reading.seq;
            match item.origin {
                Origin::Memory => {
                    self.alarms.remove(&seq);
                    self.others.remove(&seq);
                    ledger.memory.start(seq, ledger.account);
                }
                Origin::Disk | Origin::Gone => {
                    self.backlog.take(item.class, seq);
                }
            }
        }
    }

    fn insert(&mut self, seq: u64, class: PointClass) {
        if class == PointClass::Alarm {
            self.alarms.insert(seq);
        } else {
            self.others.insert(seq);
        }
    }
}

impl Ledger<'_> {
    fn settle_in_memory(&mut self, seq: u64, now: Instant) {
        let Some(class) = self.memory.get(seq).map(|held| held.class) else {
            return;
        };
        if self.memory.settle(seq, self.account) {
            self.settlements.insert(self.endpoint, class, seq..=seq, now);
        }
    }
}

/// Chooses readings in their order until there are `share` of them. A server cannot tell two values of one resource
/// and moment apart: the second one waits for the next Send, and so does what comes behind it.
fn choose<'a>(
    from: impl Iterator<Item = (Origin, PointClass, &'a Arc<Reading>)>,
    share: usize,
    seen: &mut BTreeSet<(Path, Moment)>,
    chosen: &mut Vec<Item>,
) {
    for (origin, class, reading) in from {
        if chosen.len() >= share || !seen.insert((reading.path, reading.moment)) {
            break;
        }
        let reading = Arc::clone(reading);
        chosen.push(Item {
            reading,
            class,
            origin,
        });
    }
}
