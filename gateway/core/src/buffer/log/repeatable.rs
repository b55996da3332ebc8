//! The frames that may come again although their readings are durable.
//!
//! Whoever asks for a commit says which they are; a frame of the log says what that changes.

use std::collections::BTreeSet;

use crate::buffer::{Fingerprint, Repeatable};
use crate::limits;

/// Those that the disk has.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    known: Vec<Repeatable>,
    /// How many there may be.
    most: usize,
}

/// What becomes of those that were known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// How many there were.
    pub(super) before: u64,
    /// The places of those that do not come again, rising.
    pub(super) gone: Vec<u64>,
    /// Those that come behind the others.
    pub(super) new: Vec<Repeatable>,
}

/// What a segment has to have for each of them, so that naming all leaves it most of its space.
const SEGMENT_BYTES_EACH: u64 = 64;

impl Frames {
    /// Begins with none, in a log whose segments have so many bytes.
    pub(super) fn new(segment_bytes: u64) -> Self {
        let fit = usize::try_from(segment_bytes / SEGMENT_BYTES_EACH).unwrap_or(usize::MAX);
        Self {
            known: Vec::new(),
            most: fit.min(limits::MAX_REPEATABLE),
        }
    }

    /// Returns all, the newest last.
    pub(super) fn all(&self) -> &[Repeatable] {
        &self.known
    }

    /// Returns what changes when these are to be known; none where that is nothing.
    pub(super) fn change(&self, wanted: &[Repeatable]) -> Option<Change> {
        let surplus = wanted.len().saturating_sub(self.most);
        let wanted = wanted.get(surplus..).unwrap_or_default();
        let fingerprints = |all: &[Repeatable]| -> BTreeSet<Fingerprint> {
            all.iter().map(|frame| frame.fingerprint).collect()
        };
        let (old, stay) = (fingerprints(&self.known), fingerprints(wanted));
        let gone = self.known.iter().zip(0..);
        let gone = gone.filter(|(frame, _)| !stay.contains(&frame.fingerprint));
        let new = wanted.iter().filter(|frame| !old.contains(&frame.fingerprint));
        let change = Change {
            before: self.known.len() as u64,
            gone: gone.map(|(_, place)| place).collect(),
            new: new.copied().collect(),
        };
        (!change.gone.is_empty() || !change.new.is_empty()).then_some(change)
    }

    /// Returns what makes a reader know them who knows none; none where there are none.
    pub(super) fn anew(&self, change: Option<&Change>) -> Option<Change> {
        let mut all = self.clone();
        change.into_iter().for_each(|change| all.take(change));
        (!all.known.is_empty()).then_some(Change {
            before: 0,
            gone: Vec::new(),
            new: all.known,
        })
    }

    /// Takes note of a change. One that begins with another number than there are has another one before it that is
    /// missing: then nothing is known.
    pub(super) fn take(&mut self, change: &Change) {
        let is_next = change.before == self.known.len() as u64;
        if !is_next {
            self.forget();
        }
        if is_next || change.before == 0 {
            let mut place = 0;
            self.known.retain(|_| {
                place += 1;
                change.gone.binary_search(&(place - 1)).is_err()
            });
            self.known.extend(&change.new);
            let surplus = self.known.len().saturating_sub(self.most);
            self.known.drain(..surplus);
        }
    }

    /// Forgets all: a frame that is not known again is owed twice, one that is taken for another would be lost.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}
