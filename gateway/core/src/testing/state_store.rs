//! A place where a gateway's state is kept, which works, fails or says nothing as a test wants it.

use std::collections::VecDeque;

use crate::state::{Change, MAX_VALUE_BYTES, SaveRequest, Saved};

/// What becomes of a request to save.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Saves {
    /// It is durable at once.
    #[default]
    Work,
    /// It fails.
    Fail,
    /// It fails when it has a name that begins with this.
    Refuse(&'static str),
    /// It waits until it is told.
    Wait,
}

/// What is durable, and what was asked.
#[derive(Debug, Default)]
pub(crate) struct StateStore {
    /// What is durable.
    pub(crate) saved: Saved,
    /// What becomes of requests from now on.
    pub(crate) saves: Saves,
    /// What waits.
    pub(crate) waiting: VecDeque<SaveRequest>,
    /// How many changes each request had.
    pub(crate) changes: Vec<usize>,
    /// How many bytes of names and values.
    pub(crate) bytes: Vec<usize>,
}

impl StateStore {
    /// Returns an empty one.
    pub(crate) fn which(saves: Saves) -> Self {
        Self {
            saves,
            ..Self::default()
        }
    }

    /// Takes a request; returns the answer, where there is one at once.
    pub(crate) fn handle(&mut self, request: SaveRequest) -> Option<(u64, Result<(), String>)> {
        let values = request.changes.iter().filter_map(|change| change.value.as_ref());
        assert!(values.into_iter().all(|value| value.len() <= MAX_VALUE_BYTES));
        assert!(self.waiting.is_empty(), "one request at a time");
        self.changes.push(request.changes.len());
        let bytes = |change: &Change| change.name.len() + change.value.as_ref().map_or(0, Vec::len);
        self.bytes.push(request.changes.iter().map(bytes).sum());
        match self.saves {
            Saves::Work => Some((request.id, self.keep(request))),
            Saves::Fail => Some((request.id, Err("the disk is broken".to_owned()))),
            Saves::Refuse(bad) if request.changes.iter().any(|change| change.name.starts_with(bad)) => {
                Some((request.id, Err("no such value".to_owned())))
            }
            Saves::Refuse(_) => Some((request.id, self.keep(request))),
            Saves::Wait => {
                self.waiting.push_back(request);
                None
            }
        }
    }

    /// Makes the request that waits durable; returns the answer.
    pub(crate) fn finish(&mut self) -> Option<(u64, Result<(), String>)> {
        let request = self.waiting.pop_front()?;
        Some((request.id, self.keep(request)))
    }

    /// Returns the names of what is durable.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.saved.values.keys().map(String::as_str).collect()
    }

    fn keep(&mut self, request: SaveRequest) -> Result<(), String> {
        self.saved.may_be_old &= !request.is_current;
        for change in request.changes {
            match change.value {
                Some(value) => self.saved.values.insert(change.name, value),
                None => self.saved.values.remove(&change.name),
            };
        }
        Ok(())
    }
}
