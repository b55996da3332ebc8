//! The readings of one Send: under way, or to be repeated as they are.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::client::SendId;

use super::reading::Reading;
use crate::profile::PointClass;

/// A Send.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Its name.
    pub(crate) id: SendId,
    /// Whether an answer is awaited; otherwise it is to be sent again.
    pub(crate) is_under_way: bool,
    /// When an answer is overdue; none once that was noted.
    pub(crate) overdue_at: Option<Instant>,
    /// What is in it, and behind that what was in it when it was larger: that goes next.
    pub(crate) items: Vec<Item>,
    /// How many of them it holds.
    pub(crate) part: usize,
}

/// One reading in a Send.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The reading.
    pub(crate) reading: Arc<Reading>,
    /// How much it matters.
    pub(crate) class: PointClass,
    /// Where it goes back to when the server does not take it.
    pub(crate) origin: Origin,
}

/// Where a reading is while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In memory.
    Memory,
    /// On disk.
    Disk,
    /// Maybe nowhere else: the disk had to let go of it or of its neighbors.
    Gone,
}

impl Flight {
    /// Returns what the Send holds.
    pub(crate) fn sent(&self) -> &[Item] {
        self.items.get(..self.part).unwrap_or(&self.items)
    }

    /// Has it go again, with `part` readings at most.
    pub(crate) fn repeat(&mut self, part: usize) {
        self.is_under_way = false;
        self.overdue_at = None;
        self.part = part.min(self.items.len());
    }

    /// Returns how many readings come from there.
    pub(crate) fn count(&self, origin: Origin) -> usize {
        self.items.iter().filter(|item| item.origin == origin).count()
    }

    /// Says whether a reading is in it.
    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.items.iter().any(|item| item.reading.seq == seq)
    }

    /// Says whether a reading in it has a number of this range.
    pub(crate) fn is_within(&self, seqs: &Range<u64>) -> bool {
        self.items.iter().any(|item| seqs.contains(&item.reading.seq))
    }
}
