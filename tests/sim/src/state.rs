//! What a gateway keeps beside its buffer, with the crash rules of the real store: a save is durable when it is
//! confirmed; of one that a power cut interrupts, the first changes survive, all or none.
//!
//! It also plays the store that cannot be opened any more and is rebuilt from a copy some minutes old.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::state::{Change, MAX_VALUE_BYTES, SaveRequest, Saved};

/// What happened to the store so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Saves that were made durable.
    pub saves: u64,
    /// The bytes of their names and values.
    pub bytes: u64,
    /// Saves that failed.
    pub failed: u64,
    /// Saves that a power cut interrupted with all changes made.
    pub cut_whole: u64,
    /// With some.
    pub cut_partly: u64,
    /// With none.
    pub cut_before: u64,
    /// Times that the store was rebuilt from its copy.
    pub rebuilt: u64,
}

/// The store.
#[derive(Debug)]
pub struct SimulatedState {
    values: BTreeMap<String, Vec<u8>>,
    copy: BTreeMap<String, Vec<u8>>,
    may_be_old: bool,
    failing: f64,
    counters: Counters,
    randomness: StdRng,
}

impl SimulatedState {
    /// Makes an empty store.
    pub fn new(seed: u64) -> Self {
        Self {
            values: BTreeMap::new(),
            copy: BTreeMap::new(),
            may_be_old: false,
            failing: 0.0,
            counters: Counters::default(),
            randomness: StdRng::seed_from_u64(seed),
        }
    }

    /// Returns what a start of the gateway is given.
    pub fn load(&self) -> Saved {
        Saved {
            values: self.values.clone(),
            may_be_old: self.may_be_old,
        }
    }

    /// Makes changes durable.
    ///
    /// # Errors
    /// When the store fails: then some of the changes may be durable.
    ///
    /// # Panics
    /// When a value is longer than a store takes.
    pub fn save(&mut self, request: &SaveRequest) -> Result<(), String> {
        for change in &request.changes {
            let len = change.value.as_ref().map_or(0, Vec::len);
            assert!(len <= MAX_VALUE_BYTES, "{} has {len} bytes", change.name);
        }
        if self.failing > 0.0 && self.randomness.random_bool(self.failing) {
            self.counters.failed += 1;
            self.make_some(request);
            return Err("the state cannot be written".to_owned());
        }
        self.make(&request.changes);
        self.counters.saves += 1;
        self.may_be_old &= !request.is_current;
        Ok(())
    }

    /// Lets the power go in the middle of a save.
    pub fn interrupt(&mut self, request: &SaveRequest) {
        let (made, of) = (self.make_some(request), request.changes.len());
        match made {
            made if made == of => self.counters.cut_whole += 1,
            0 => self.counters.cut_before += 1,
            _ => self.counters.cut_partly += 1,
        }
    }

    /// Sets the share of saves that fail, from 0 to 1.
    pub const fn set_failing(&mut self, share: f64) {
        self.failing = share;
    }

    /// Takes the copy from which the store is rebuilt.
    pub fn take_copy(&mut self) {
        self.copy.clone_from(&self.values);
    }

    /// Loses what is newer than the copy: the next start is told so.
    pub fn rebuild_from_copy(&mut self) {
        self.values.clone_from(&self.copy);
        self.may_be_old = true;
        self.counters.rebuilt += 1;
    }

    /// Returns what happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Makes the first changes, as many as chance will have; says how many.
    fn make_some(&mut self, request: &SaveRequest) -> usize {
        let some = self.randomness.random_range(0..=request.changes.len());
        self.make(&request.changes[..some]);
        some
    }

    fn make(&mut self, changes: &[Change]) {
        for Change { name, value } in changes {
            self.counters.bytes += (name.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            match value {
                Some(value) => self.values.insert(name.clone(), value.clone()),
                None => self.values.remove(name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&str, Option<&str>)]) -> SaveRequest {
        let change = |(name, value): &(&str, Option<&str>)| Change {
            name: (*name).to_owned(),
            value: value.map(|value| value.as_bytes().to_vec()),
        };
        SaveRequest {
            id: 1,
            changes: changes.iter().map(change).collect(),
            is_current: true,
        }
    }

    #[test]
    fn a_save_that_is_confirmed_is_durable() {
        let mut state = SimulatedState::new(1);
        state
            .save(&request(&[("a", Some("1")), ("b", Some("2"))]))
            .unwrap();
        state.save(&request(&[("a", None)])).unwrap();
        let names: Vec<String> = state.load().values.into_keys().collect();
        assert_eq!((names, state.counters().saves), (vec!["b".to_owned()], 2));
    }

    #[test]
    fn of_a_save_that_is_cut_the_first_changes_survive() {
        let changes = [("a", Some("1")), ("b", Some("2")), ("c", Some("3"))];
        let mut state = SimulatedState::new(1);
        for _ in 0..100 {
            state
                .save(&request(&[("a", None), ("b", None), ("c", None)]))
                .unwrap();
            state.interrupt(&request(&changes));
            let saved = state.load().values;
            let first = changes.iter().take(saved.len());
            assert!(first.map(|(name, _)| *name).eq(saved.keys().map(String::as_str)));
        }
        let counters = state.counters();
        assert!(counters.cut_whole > 5 && counters.cut_partly > 5 && counters.cut_before > 5);
    }

    #[test]
    fn a_store_that_is_rebuilt_says_that_it_may_be_old_until_it_is_written() {
        let mut state = SimulatedState::new(1);
        state.save(&request(&[("a", Some("old"))])).unwrap();
        state.take_copy();
        state.save(&request(&[("a", Some("new"))])).unwrap();
        assert!(!state.load().may_be_old);
        state.rebuild_from_copy();
        let saved = state.load();
        assert_eq!(
            (saved.values["a"].as_slice(), saved.may_be_old),
            (&b"old"[..], true)
        );
        state.save(&request(&[("a", Some("newer"))])).unwrap();
        assert!(!state.load().may_be_old);
    }

    #[test]
    fn saves_fail_as_often_as_they_are_to() {
        let mut state = SimulatedState::new(1);
        state.set_failing(0.5);
        let failed = (0..100).filter(|_| state.save(&request(&[("a", Some("1"))])).is_err());
        assert!((30..70).contains(&failed.count()));
    }
}
