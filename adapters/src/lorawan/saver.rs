//! What is to be made durable, and in which order: one save at a time, the urgent first, others along with them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ucifi_core::field::DevEui;

use super::limits;
use super::session::SavedCounters;

/// What is to be made durable.
#[derive(Debug)]
pub(super) struct Saver {
    urgent: BTreeSet<Item>,
    lazy: BTreeSet<Item>,
    lazy_since: Option<Instant>,
    open: Option<Open>,
    retry_at: Option<Instant>,
    next_id: u64,
    /// Whether the mark of a clean stop is on disk, and whether it is to be.
    mark: (bool, bool),
}

/// A value of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Nonces(DevEui),
    Session(DevEui),
    Queue(DevEui),
}

/// What a value says that was handed over to be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// The next JoinNonce.
    Nonces(u32),
    /// The counters of the sessions.
    Session(Vec<SavedCounters>),
    /// The number above that of every command.
    Queue(u64),
}

/// A save that is not answered yet.
#[derive(Debug)]
pub(super) struct Open {
    id: u64,
    since: Instant,
    /// What is in it.
    pub(super) items: Vec<(Item, Snapshot)>,
    mark: Option<bool>,
}

/// What goes into the next save.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: u64,
    pub(super) items: Vec<Item>,
    /// Whether the mark of a clean stop is set or removed.
    pub(super) mark: Option<bool>,
    /// Whether nothing urgent is left.
    pub(super) is_current: bool,
}

impl Saver {
    pub(super) const fn new(is_marked: bool) -> Self {
        Self {
            urgent: BTreeSet::new(),
            lazy: BTreeSet::new(),
            lazy_since: None,
            open: None,
            retry_at: None,
            next_id: 1,
            mark: (is_marked, false),
        }
    }

    /// Saves it as soon as possible.
    pub(super) fn urgent(&mut self, item: Item) {
        self.urgent.insert(item);
    }

    /// Saves it along with others.
    pub(super) fn lazy(&mut self, item: Item, now: Instant) {
        if self.mark.1 {
            self.urgent.insert(item);
            return;
        }
        self.lazy.insert(item);
        self.lazy_since.get_or_insert(now);
    }

    /// Says whether the mark of the last clean stop is gone from the disk.
    pub(super) const fn is_unmarked(&self) -> bool {
        !self.mark.0
    }

    /// Ends in good order: everything is saved, and at last the mark.
    pub(super) fn stop(&mut self) {
        self.mark.1 = true;
        self.retry_at = None;
        self.urgent.append(&mut self.lazy);
        self.lazy_since = None;
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.mark.1
    }

    /// Says whether everything and the mark is saved.
    pub(super) fn is_stopped(&self) -> bool {
        self.mark == (true, true) && self.urgent.is_empty() && self.open.is_none()
    }

    /// Returns what to save now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Batch> {
        let is_blocked = self.open.is_some() || self.retry_at.is_some_and(|at| at > now);
        if is_blocked || !self.is_due(now) {
            return None;
        }
        self.retry_at = None;
        let mut items = Vec::new();
        while items.len() < limits::CHANGES_PER_SAVE {
            let Some(item) = self.urgent.pop_first().or_else(|| self.lazy.pop_first()) else {
                break;
            };
            self.lazy.remove(&item);
            items.push(item);
        }
        self.lazy_since = self.lazy_since.filter(|_| !self.lazy.is_empty());
        let is_current = self.urgent.is_empty();
        let mark = Some(self.mark.1).filter(|_| self.mark.0 != self.mark.1 && (is_current || !self.mark.1));
        let id = self.next_id;
        self.next_id += 1;
        Some(Batch {
            id,
            items,
            mark,
            is_current,
        })
    }

    /// Takes note of what was handed over.
    pub(super) fn handed(&mut self, batch: &Batch, items: Vec<(Item, Snapshot)>, now: Instant) {
        self.open = Some(Open {
            id: batch.id,
            since: now,
            items,
            mark: batch.mark,
        });
    }

    /// Takes the open save if it has this name.
    pub(super) fn answered(&mut self, id: u64) -> Option<Open> {
        self.open.take_if(|open| open.id == id)
    }

    /// Returns the name of a save that has not been answered for too long.
    pub(super) fn overdue(&self, now: Instant) -> Option<u64> {
        let open = self
            .open
            .as_ref()
            .filter(|open| open.since + answer_wait() <= now);
        open.map(|open| open.id)
    }

    /// Takes note that it is durable.
    pub(super) fn succeeded(&mut self, open: &Open) {
        self.mark.0 = open.mark.unwrap_or(self.mark.0);
    }

    /// Takes note that it is not, and that it is to be tried again.
    pub(super) fn failed(&mut self, open: &Open, now: Instant) {
        self.urgent.extend(open.items.iter().map(|(item, _)| *item));
        self.retry_at = Some(now + Duration::from_secs(limits::SAVE_RETRY_SECS));
    }

    /// Returns when something is to be saved.
    pub(super) fn wake(&self) -> Option<Instant> {
        match &self.open {
            Some(open) => Some(open.since + answer_wait()),
            None => self.retry_at.or_else(|| self.lazy_due()),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.mark.0 != self.mark.1 || !self.urgent.is_empty() || self.lazy_due().is_some_and(|at| at <= now)
    }

    fn lazy_due(&self) -> Option<Instant> {
        self.lazy_since
            .map(|since| since + Duration::from_secs(limits::COMMIT_SECS))
    }
}

const fn answer_wait() -> Duration {
    Duration::from_secs(limits::SAVE_WAIT_SECS)
}
