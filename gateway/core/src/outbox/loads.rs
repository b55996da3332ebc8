//! Who may load out of the buffer, and how much at once: thousands of endpoints share one disk and one memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::limits;

/// The loads of all endpoints.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// Who waits for a turn, by place in the gateway.
    queue: VecDeque<usize>,
    queued: BTreeSet<usize>,
    under_way: BTreeSet<usize>,
    /// How much each endpoint holds of what was loaded.
    held: BTreeMap<usize, usize>,
    held_sum: usize,
}

impl Loads {
    /// Lets an endpoint wait for its turn.
    pub(crate) fn want(&mut self, endpoint: usize) {
        if !self.under_way.contains(&endpoint) && self.queued.insert(endpoint) {
            self.queue.push_back(endpoint);
        }
    }

    /// Notes how much an endpoint holds.
    pub(crate) fn note(&mut self, endpoint: usize, held: usize) {
        let before = if held == 0 {
            self.held.remove(&endpoint)
        } else {
            self.held.insert(endpoint, held)
        };
        self.held_sum = self.held_sum + held - before.unwrap_or(0);
    }

    /// Returns whose turn it is, where there is room for a load.
    pub(crate) fn next(&mut self) -> Option<usize> {
        let expected = (self.under_way.len() + 1) * limits::READINGS_PER_LOAD;
        let has_room = self.under_way.len() < limits::MAX_LOADS
            && self.held_sum + expected <= limits::MAX_LOADED_READINGS;
        let endpoint = has_room.then(|| self.queue.pop_front())??;
        self.queued.remove(&endpoint);
        Some(endpoint)
    }

    /// Notes that an endpoint loads.
    pub(crate) fn begin(&mut self, endpoint: usize) {
        self.under_way.insert(endpoint);
    }

    /// Notes that an endpoint loads no more.
    pub(crate) fn finish(&mut self, endpoint: usize) {
        self.under_way.remove(&endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_load_at_once_and_each_in_its_turn() {
        let mut loads = Loads::default();
        for endpoint in 0..1_000 {
            loads.want(endpoint);
            loads.want(endpoint);
        }
        for expected in 0..limits::MAX_LOADS {
            assert_eq!(loads.next(), Some(expected));
            loads.begin(expected);
        }
        assert_eq!(loads.next(), None);
        loads.finish(3);
        loads.want(3);
        assert_eq!(loads.next(), Some(limits::MAX_LOADS), "the others were first");
    }

    #[test]
    fn what_is_loaded_stays_within_the_bound() {
        let mut loads = Loads::default();
        let mut held = 0;
        for endpoint in 0..100_000 {
            loads.want(endpoint);
        }
        while let Some(endpoint) = loads.next() {
            loads.begin(endpoint);
            loads.finish(endpoint);
            loads.note(endpoint, limits::READINGS_PER_LOAD);
            held += limits::READINGS_PER_LOAD;
        }
        assert!(held <= limits::MAX_LOADED_READINGS && held > limits::MAX_LOADED_READINGS / 2);
        loads.note(0, 0);
        assert!(loads.next().is_some());
    }
}
