//! The readings that are in memory: each once, with the servers that have not got it.
//!
//! ```text
//!          push             held long enough         commit                    durable
//!  news ─────────► resting ─────────────────► due ──────────► being stored ─────────────► gone from here
//!                     │                        │ ▲                │
//!                     └──── every server has it: gone             └ not stored: due again
//! ```
//! Where nothing is kept on disk, they rest until they are paid or there is no room for them.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::{Path, Value};

use super::reading::Reading;
use super::receipts::{Receipts, Repeat, Turn};
use super::servers::Servers;
use crate::Now;
use crate::buffer::{Moment, Repeatable};
use crate::field::{Link, Receipt, ReceiptId};
use crate::limits;
use crate::profile::PointClass;

/// A reading as it comes from a device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct New {
    /// The place of the device in the gateway.
    pub(crate) device: usize,
    /// How much it matters.
    pub(crate) class: PointClass,
    /// The resource or resource instance.
    pub(crate) path: Path,
    /// Its value, in the newest model.
    pub(crate) value: Value,
    /// When it was measured.
    pub(crate) moment: Moment,
}

/// A reading in memory.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The reading.
    pub(crate) reading: Arc<Reading>,
    /// The place of its device in the gateway.
    pub(crate) device: usize,
    /// How much it matters.
    pub(crate) class: PointClass,
    /// Who has not got it.
    pub(crate) owed: Servers,
    since: Instant,
    in_flight: Servers,
    stage: Stage,
    /// The frames with a receipt that it comes of, or that have said it again.
    turns: Vec<Turn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Resting,
    Due,
    BeingStored,
}

/// All readings in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    held: BTreeMap<u64, Held>,
    /// The last one of each resource of a device.
    latest: BTreeMap<(usize, Path), u64>,
    /// The number that the next reading gets.
    next_seq: u64,
    bytes: usize,
    /// What can go where there is no room: neither on its way to a server nor to the disk; what matters least first.
    spare: BTreeSet<(Reverse<PointClass>, u64)>,
    resting: BTreeSet<u64>,
    /// What is to be stored, what matters most first.
    due: BTreeSet<(PointClass, u64)>,
    due_bytes: usize,
    /// Since when something is.
    due_since: Option<Instant>,
    receipts: Receipts,
}

impl Memory {
    /// Returns an empty memory whose first reading gets this number, and which knows these frames when they come again.
    pub(crate) fn new(next_seq: u64, frames: Vec<Repeatable>) -> Self {
        let mut receipts = Receipts::default();
        receipts.restore(frames);
        Self {
            next_seq,
            receipts,
            ..Self::default()
        }
    }

    /// Returns the number that the next reading gets.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Returns how many readings there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns a reading.
    pub(crate) fn get(&self, seq: u64) -> Option<&Held> {
        self.held.get(&seq)
    }

    /// Notes that the readings that follow come of a frame, until [`end_frame`](Self::end_frame). Returns what is known
    /// of the frame where it was taken before: then it owes nothing.
    pub(crate) fn begin_frame(&mut self, receipt: Option<Receipt>, link: &Link, now: Now) -> Option<Repeat> {
        self.receipts.begin_frame(receipt, link, now)
    }

    /// Says whether a frame with a receipt is being taken: until it ends, nobody knows all that is to be stored of it.
    pub(crate) const fn is_in_frame(&self) -> bool {
        self.receipts.is_in_frame()
    }

    /// Begins a commit of what was taken to be stored; returns all frames that may come again once it is durable.
    pub(crate) fn begin_commit(&mut self, taken: &[Held]) -> Vec<Repeatable> {
        let turns = taken.iter().flat_map(|held| &held.turns).copied().collect();
        self.receipts.begin_commit(&turns)
    }

    /// Notes what became of a commit, after its readings.
    pub(crate) fn end_commit(&mut self, is_stored: bool) {
        self.receipts.end_commit(is_stored);
    }

    /// Returns since when the disk names frames as such that may come again, and they do not.
    pub(crate) const fn outdated_since(&self) -> Option<Instant> {
        self.receipts.outdated_since()
    }

    /// Notes that no more readings come of the frame.
    pub(crate) fn end_frame(&mut self) {
        self.receipts.end_frame();
    }

    /// Takes the next receipt of a frame of which nothing can be lost any more.
    pub(crate) fn poll_settled(&mut self) -> Option<ReceiptId> {
        self.receipts.poll_settled()
    }

    /// Returns when to begin a commit for the sake of a receipt that is wanted soon.
    pub(crate) fn commit_by(&self) -> Option<Instant> {
        self.receipts.commit_by()
    }

    /// Lets those wait no longer whose receipts are wanted before there can be another commit.
    pub(crate) fn hurry_receipts(&mut self, now: Instant) {
        for seq in self.receipts.pressing(now) {
            self.hurry(seq, now);
        }
    }

    /// Takes a reading; returns its number.
    pub(crate) fn push(&mut self, new: New, owed: Servers, now: Instant) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let reading = Arc::new(Reading {
            seq,
            path: new.path,
            value: new.value,
            moment: new.moment,
            is_estimated: false,
        });
        self.bytes += reading.size();
        self.resting.insert(seq);
        self.spare.insert((Reverse(new.class), seq));
        self.latest.insert((new.device, new.path), seq);
        let held = Held {
            reading,
            device: new.device,
            class: new.class,
            owed,
            since: now,
            in_flight: Servers::default(),
            stage: Stage::Resting,
            turns: self.receipts.push(seq).into_iter().collect(),
        };
        self.held.insert(seq, held);
        seq
    }

    /// Notes that the present frame says of a resource what was worth telling before: as long as that is in memory, the
    /// frame is as little safe as the one that said it first. Says whether it waits for it.
    pub(crate) fn say_again(&mut self, device: usize, path: Path) -> bool {
        let latest = self.latest.get(&(device, path));
        let Some((seq, held)) = latest.and_then(|seq| Some((*seq, self.held.get_mut(seq)?))) else {
            return false;
        };
        let Some(turn) = self.receipts.join(seq, held.stage != Stage::BeingStored) else {
            return false;
        };
        held.turns.push(turn);
        if held.turns.len() > limits::MAX_RECEIPTS_PER_READING {
            self.receipts.forget(held.turns.remove(0));
        }
        true
    }

    /// Takes out one reading for which there is no room: the oldest of those that matter least.
    pub(crate) fn evict(&mut self) -> Option<Held> {
        let fits = self.held.len() <= limits::MAX_QUEUED_READINGS && self.bytes <= limits::MAX_QUEUED_BYTES;
        if fits {
            return None;
        }
        let (_, seq) = self.spare.first().copied()?;
        self.remove(seq)
    }

    /// Notes that a reading is on its way to a server, and returns it.
    pub(crate) fn start(&mut self, seq: u64, account: usize) -> Option<Arc<Reading>> {
        let held = self.held.get_mut(&seq)?;
        held.in_flight.insert(account);
        self.spare.remove(&(Reverse(held.class), seq));
        Some(Arc::clone(&held.reading))
    }

    /// Notes that a reading is not on its way to a server any more.
    pub(crate) fn put_back(&mut self, seq: u64, account: usize) {
        if let Some(held) = self.held.get_mut(&seq) {
            held.in_flight.remove(account);
            if held.in_flight.is_empty() && held.stage != Stage::BeingStored {
                self.spare.insert((Reverse(held.class), seq));
            }
        }
    }

    /// Notes that a server has a reading, or will never get it; says whether the disk is being told the contrary.
    pub(crate) fn settle(&mut self, seq: u64, account: usize) -> bool {
        self.put_back(seq, account);
        let Some(held) = self.held.get_mut(&seq) else {
            return false;
        };
        held.owed.remove(account);
        let is_being_stored = held.stage == Stage::BeingStored;
        if held.owed.is_empty() {
            self.remove(seq);
        }
        is_being_stored
    }

    /// Lets a reading wait no longer before it is stored.
    pub(crate) fn hurry(&mut self, seq: u64, now: Instant) {
        if self.resting.remove(&seq) {
            self.make_due(seq, now);
        }
    }

    /// Lets those wait no longer that no server will take before they are stored: with a commit that is made anyway
    /// they need none of their own.
    pub(crate) fn hurry_hopeless(&mut self, is_hopeless: impl Fn(&Held) -> bool, now: Instant) {
        let resting = self.resting.iter().copied();
        let hopeless = resting.filter(|seq| self.held.get(seq).is_some_and(&is_hopeless));
        for seq in hopeless.collect::<Vec<_>>() {
            self.hurry(seq, now);
        }
    }

    /// Lets those wait no longer that have waited for so long.
    pub(crate) fn ripen(&mut self, hold: Duration, now: Instant) {
        while let Some(seq) = self.resting.first().copied() {
            let since = self.held.get(&seq).map(|held| held.since);
            if since.is_some_and(|since| now.saturating_duration_since(since) < hold) {
                break;
            }
            self.hurry(seq, now);
        }
    }

    /// Returns since when the oldest of those waits that are not due.
    pub(crate) fn resting_since(&self) -> Option<Instant> {
        let first = self.resting.first()?;
        self.held.get(first).map(|held| held.since)
    }

    /// Returns about how many bytes are due.
    pub(crate) const fn due_bytes(&self) -> usize {
        self.due_bytes
    }

    /// Returns since when something is due, none where nothing is.
    pub(crate) const fn due_since(&self) -> Option<Instant> {
        self.due_since
    }

    /// Says whether an alarm is due.
    pub(crate) fn alarm_is_due(&self) -> bool {
        self.due
            .first()
            .is_some_and(|(class, _)| *class == PointClass::Alarm)
    }

    /// Takes what is due until there are so many bytes, as much as goes with one commit; it is being stored from now on.
    pub(crate) fn take_due(&mut self, max_bytes: usize) -> Vec<Held> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < limits::MAX_READINGS_PER_COMMIT && bytes < max_bytes {
            let Some((class, seq)) = self.due.pop_first() else {
                break;
            };
            if let Some(held) = self.held.get_mut(&seq) {
                held.stage = Stage::BeingStored;
                for turn in &held.turns {
                    self.receipts.begin_storing(*turn, seq);
                }
                self.spare.remove(&(Reverse(class), seq));
                self.due_bytes -= held.reading.size();
                bytes += held.reading.size();
                taken.push(held.clone());
            }
        }
        self.due_since.take_if(|_| self.due.is_empty());
        taken
    }

    /// Takes out a reading that is durable; none where every server has got it meanwhile.
    pub(crate) fn stored(&mut self, seq: u64) -> Option<Held> {
        self.remove(seq)
    }

    /// Has a reading stored again that could not be.
    pub(crate) fn not_stored(&mut self, seq: u64, now: Instant) {
        self.make_due(seq, now);
        if let Some(held) = self.held.get(&seq)
            && held.in_flight.is_empty()
        {
            self.spare.insert((Reverse(held.class), seq));
        }
    }

    fn make_due(&mut self, seq: u64, now: Instant) {
        if let Some(held) = self.held.get_mut(&seq) {
            held.stage = Stage::Due;
            for turn in &held.turns {
                self.receipts.rest(*turn, seq);
            }
            self.due.insert((held.class, seq));
            self.due_bytes += held.reading.size();
            self.due_since.get_or_insert(now);
        }
    }

    fn remove(&mut self, seq: u64) -> Option<Held> {
        let held = self.held.remove(&seq)?;
        let size = held.reading.size();
        self.bytes -= size;
        self.resting.remove(&seq);
        self.spare.remove(&(Reverse(held.class), seq));
        if self.due.remove(&(held.class, seq)) {
            self.due_bytes -= size;
            self.due_since.take_if(|_| self.due.is_empty());
        }
        for turn in &held.turns {
            self.receipts.leave(*turn, seq);
        }
        let path = (held.device, held.reading.path);
        if self.latest.get(&path) == Some(&seq) {
            self.latest.remove(&path);
        }
        Some(held)
    }
}
