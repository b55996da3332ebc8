//! Frames that their senders repeat until they are told that nothing of them can be lost any more.
//!
//! A receipt is open as long as one of the frame's readings is in memory: it leaves that when every server has it, when
//! it is durable, or when there is no room for it. So there are never more open receipts than readings in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lwm2m_client::Timestamp;

use super::repeats::{Known, Repeats, is_over};
use crate::Now;
use crate::buffer::Repeatable;
use crate::field::{Fingerprint, Link, Receipt, ReceiptId, Repetition};
use crate::limits;

/// The turn of a frame among all that have a receipt.
pub(super) type Turn = u64;

/// All receipts that are open, and those that may be given.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    open: BTreeMap<Turn, Open>,
    /// Those that are to be given by a time and have readings of which nothing is on its way to the disk.
    hurried: BTreeSet<(Instant, Turn)>,
    /// The frame that is being taken.
    present: Option<Turn>,
    next: Turn,
    /// Those that may be given, in the order of their frames.
    settled: BTreeMap<Turn, ReceiptId>,
    /// Those that were given for what is durable.
    repeats: Repeats,
}

/// A frame that was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeat {
    /// When it was received first, where that is known.
    pub(crate) received: Option<Timestamp>,
}

/// A receipt that may not be given yet.
#[derive(Debug)]
struct Open {
    receipt: Receipt,
    link: Link,
    /// When it was received.
    received: Option<Timestamp>,
    /// How many of its readings are in memory.
    unpaid: usize,
    /// Those of them that are not on their way to the disk.
    resting: BTreeSet<u64>,
}

impl Receipts {
    /// Goes on with the frames that may come again.
    pub(super) fn restore(&mut self, frames: Vec<Repeatable>) {
        self.repeats.restore(frames);
    }

    /// Notes that what follows comes of this frame; returns what is known of it where it was taken before.
    pub(super) fn begin_frame(&mut self, receipt: Option<Receipt>, link: &Link, now: Now) -> Option<Repeat> {
        self.present = None;
        if let Some(receipt) = receipt
            && let Some(repetition) = receipt.repetition
        {
            self.repeats.note(&repetition, now.instant);
            if repetition.is_repeat
                && let Some(repeat) = self.recognize(receipt, &repetition)
            {
                return Some(repeat);
            }
        }
        self.open(receipt?, link, now);
        None
    }

    /// Finds a frame that comes again: among those that are durable, whose receipt is given at once, and among those
    /// that are not, which are settled by their new receipt.
    fn recognize(&mut self, receipt: Receipt, new: &Repetition) -> Option<Repeat> {
        if let Some(received) = self.repeats.recognize(new.fingerprint, receipt.id) {
            self.settled.insert(self.next, receipt.id);
            self.next += 1;
            return Some(Repeat { received });
        }
        let is_same = |open: &Open| {
            let is_over = is_over(new.fingerprint, Some(open.receipt.id), new);
            open.fingerprint() == Some(new.fingerprint) && !is_over
        };
        let (turn, open) = self.open.iter_mut().find(|(_, open)| is_same(open))?;
        if let Some(settle_by) = open.receipt.settle_by {
            self.hurried.remove(&(settle_by, *turn));
        }
        open.receipt = receipt;
        if !open.resting.is_empty() {
            let settle_by = receipt.settle_by;
            self.hurried.extend(settle_by.map(|settle_by| (settle_by, *turn)));
        }
        Some(Repeat {
            received: open.received,
        })
    }

    fn open(&mut self, receipt: Receipt, link: &Link, now: Now) {
        let turn = self.next;
        self.next += 1;
        let open = Open {
            receipt,
            link: link.clone(),
            received: now.wall,
            unpaid: 0,
            resting: BTreeSet::new(),
        };
        self.open.insert(turn, open);
        self.present = Some(turn);
    }

    /// Notes that a commit takes the last readings that some frames have in memory, or some of them; returns all frames
    /// that may come again once it is durable.
    pub(super) fn begin_commit(&mut self, turns: &BTreeSet<Turn>) -> Vec<Repeatable> {
        let taken = turns.iter().filter_map(|turn| self.open.get(turn));
        let whole = taken.filter(|open| open.resting.is_empty());
        let new = whole.filter_map(Open::known).collect();
        self.repeats.begin_storing(new)
    }

    /// Notes what became of the commit.
    pub(super) fn end_commit(&mut self, is_stored: bool) {
        if is_stored {
            self.repeats.stored();
        } else {
            self.repeats.not_stored();
        }
    }

    /// Says whether a frame is being taken, of which more may come.
    pub(super) const fn is_in_frame(&self) -> bool {
        self.present.is_some()
    }

    /// Returns since when the disk names frames that do not come again.
    pub(super) const fn outdated_since(&self) -> Option<Instant> {
        self.repeats.outdated_since()
    }

    /// Notes that nothing more comes of the frame.
    pub(super) fn end_frame(&mut self) {
        if let Some(turn) = self.present.take() {
            self.close_if_done(turn);
        }
    }

    /// Notes a new reading; returns the turn of the frame that it comes of.
    pub(super) fn push(&mut self, seq: u64) -> Option<Turn> {
        self.join(seq, true)
    }

    /// Notes that the present frame waits for a reading, which may rest or be on its way to the disk; returns its turn.
    pub(super) fn join(&mut self, seq: u64, is_resting: bool) -> Option<Turn> {
        let turn = self.present?;
        self.open.get_mut(&turn)?.unpaid += 1;
        if is_resting {
            self.rest(turn, seq);
        }
        Some(turn)
    }

    /// Forgets a frame: it is never acknowledged, and its sender repeats it.
    pub(super) fn forget(&mut self, turn: Turn) {
        if let Some(settle_by) = self.open.remove(&turn).and_then(|open| open.receipt.settle_by) {
            self.hurried.remove(&(settle_by, turn));
        }
    }

    /// Notes that a reading is not on its way to the disk any more.
    pub(super) fn rest(&mut self, turn: Turn, seq: u64) {
        if let Some(open) = self.open.get_mut(&turn) {
            open.resting.insert(seq);
            self.hurried
                .extend(open.receipt.settle_by.map(|settle_by| (settle_by, turn)));
        }
    }

    /// Notes that a reading is on its way to the disk.
    pub(super) fn begin_storing(&mut self, turn: Turn, seq: u64) {
        if let Some(open) = self.open.get_mut(&turn) {
            open.resting.remove(&seq);
            if let Some(settle_by) = open.receipt.settle_by.filter(|_| open.resting.is_empty()) {
                self.hurried.remove(&(settle_by, turn));
            }
        }
    }

    /// Notes that a reading has left the memory.
    pub(super) fn leave(&mut self, turn: Turn, seq: u64) {
        self.begin_storing(turn, seq);
        if let Some(open) = self.open.get_mut(&turn) {
            open.unpaid -= 1;
        }
        self.close_if_done(turn);
    }

    /// Returns when to begin the commit that makes the most hurried of them durable in time.
    pub(super) fn commit_by(&self) -> Option<Instant> {
        self.hurried.first().map(|(settle_by, _)| begin_by(*settle_by))
    }

    /// Returns the readings that a commit at this time is to take because the next one would be too late for them, and
    /// those before them on the same connection: it is acknowledged in order.
    pub(super) fn pressing(&self, now: Instant) -> BTreeSet<u64> {
        let next = now + limits::SETTLE_PAUSE;
        let hurried = self.hurried.iter();
        let pressing: BTreeSet<Turn> = hurried
            .take_while(|(settle_by, _)| begin_by(*settle_by) < next)
            .map(|(_, turn)| *turn)
            .collect();
        let Some(last) = pressing.last() else {
            return BTreeSet::new();
        };
        // From the last one back: once one of a connection presses, so do all before it.
        let (mut seqs, mut connections) = (BTreeSet::new(), Vec::<&Link>::new());
        for (turn, open) in self.open.range(..=last).rev() {
            let is_known = connections.iter().any(|link| shares_connection(link, &open.link));
            if !is_known && pressing.contains(turn) {
                connections.push(&open.link);
            }
            if is_known || pressing.contains(turn) {
                seqs.extend(&open.resting);
            }
        }
        seqs
    }

    /// Takes the next receipt that may be given.
    pub(super) fn poll_settled(&mut self) -> Option<ReceiptId> {
        self.settled.pop_first().map(|(_, id)| id)
    }

    fn close_if_done(&mut self, turn: Turn) {
        if self.present == Some(turn) || self.open.get(&turn).is_none_or(|open| open.unpaid > 0) {
            return;
        }
        if let Some(open) = self.open.remove(&turn) {
            self.settled.insert(turn, open.receipt.id);
        }
    }
}

impl Open {
    fn fingerprint(&self) -> Option<Fingerprint> {
        self.receipt.repetition.map(|repetition| repetition.fingerprint)
    }

    fn known(&self) -> Option<Known> {
        let repetition = self
            .receipt
            .repetition
            .filter(|repetition| repetition.is_unique)?;
        Some(Known {
            frame: Repeatable {
                fingerprint: repetition.fingerprint,
                received: self.received,
            },
            receipt: Some(self.receipt.id),
        })
    }
}

/// Returns when to begin a commit that is to be done by then.
fn begin_by(settle_by: Instant) -> Instant {
    settle_by.checked_sub(limits::SETTLE_MARGIN).unwrap_or(settle_by)
}

/// Says whether the frames of two links are acknowledged one after the other.
fn shares_connection(one: &Link, other: &Link) -> bool {
    match (one, other) {
        (Link::Mqtt { broker: one, .. }, Link::Mqtt { broker: other, .. }) => one == other,
        (Link::Modbus { .. } | Link::LoRaWan { .. } | Link::Mqtt { .. }, _) => one == other,
    }
}
