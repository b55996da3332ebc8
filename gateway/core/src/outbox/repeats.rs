//! Frames that may come again although their readings are durable: their senders may not have heard the acknowledgement.
//!
//! ```text
//!              with the commit           durable             their source says that they do not come again
//!  receipts ────────────────► storing ───────────► known ────────────────────────────────────────────────► forgotten
//!                                │                   │ ▲
//!                                └ not stored: gone  └ come again: known under the new receipt
//! ```
//! A frame that is paid and never durable is not among them: should it come again, it is owed again.

use std::collections::VecDeque;
use std::time::Instant;

use lwm2m_client::Timestamp;

use crate::buffer::Repeatable;
use crate::field::{Fingerprint, ReceiptId, Repetition};
use crate::limits;

/// All such frames, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: VecDeque<Known>,
    /// Those that the commit under way makes durable.
    storing: Vec<Known>,
    /// Since when the disk names some that do not come again.
    outdated_since: Option<Instant>,
    /// The same as it was when the commit under way began, which tells it.
    telling: Option<Instant>,
}

/// A frame that may come again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// As the disk knows it.
    pub(super) frame: Repeatable,
    /// What it was acknowledged by; none where that was in an earlier run.
    pub(super) receipt: Option<ReceiptId>,
}

impl Repeats {
    /// Goes on with what the disk knows.
    pub(super) fn restore(&mut self, frames: Vec<Repeatable>) {
        let restored = frames.into_iter().map(|frame| Known { frame, receipt: None });
        self.known.extend(restored);
    }

    /// Takes what a new frame tells of those before it: itself is none of them.
    pub(super) fn note(&mut self, new: &Repetition, now: Instant) {
        let count = self.known.len();
        self.known.retain(|known| {
            let fingerprint = known.frame.fingerprint;
            let is_same = !new.is_repeat && fingerprint == new.fingerprint;
            !is_same && !is_over(fingerprint, known.receipt, new)
        });
        if self.known.len() < count {
            self.outdated_since.get_or_insert(now);
        }
    }

    /// Returns when a frame was received first, where it is known; from now on it is known by its new receipt.
    pub(super) fn recognize(
        &mut self,
        fingerprint: Fingerprint,
        receipt: ReceiptId,
    ) -> Option<Option<Timestamp>> {
        let is_same = |known: &&mut Known| known.frame.fingerprint == fingerprint;
        let known = self.known.iter_mut().find(is_same)?;
        known.receipt = Some(receipt);
        Some(known.frame.received)
    }

    /// Begins a commit with the last readings of some frames; returns all that may come again once it is durable.
    pub(super) fn begin_storing(&mut self, new: Vec<Known>) -> Vec<Repeatable> {
        self.telling = self.outdated_since.take();
        self.storing = new;
        let all = self.known.iter().chain(&self.storing);
        let surplus = (self.known.len() + self.storing.len()).saturating_sub(limits::MAX_REPEATABLE);
        all.skip(surplus).map(|known| known.frame).collect()
    }

    /// Takes note that the commit is durable.
    pub(super) fn stored(&mut self) {
        self.telling = None;
        self.known.extend(self.storing.drain(..));
        let surplus = self.known.len().saturating_sub(limits::MAX_REPEATABLE);
        self.known.drain(..surplus);
    }

    /// Takes note that nothing of the commit is stored: what it was to tell, the next one tells.
    pub(super) fn not_stored(&mut self) {
        self.storing.clear();
        self.outdated_since = self.telling.take().or(self.outdated_since);
    }

    /// Returns since when the disk names frames that do not come again.
    pub(super) const fn outdated_since(&self) -> Option<Instant> {
        self.outdated_since
    }
}

/// Says whether a frame does not come again, by what a new one of its source tells.
pub(super) fn is_over(fingerprint: Fingerprint, receipt: Option<ReceiptId>, new: &Repetition) -> bool {
    let is_before = |limit| receipt.is_none_or(|receipt| receipt < limit);
    fingerprint.source() == new.fingerprint.source() && new.none_before.is_some_and(is_before)
}
