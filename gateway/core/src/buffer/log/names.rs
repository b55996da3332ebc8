//! The numbers that stand for device ids and server names on disk.
//!
//! A number means the same in every segment and is never given to another name while some segment mentions it; each
//! segment says again what the numbers in it mean. Where damage has left a name with two numbers, the first one counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names and their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    ids: BTreeMap<Arc<str>, u32>,
    names: BTreeMap<u32, Arc<str>>,
    /// Numbers whose name has another number too.
    aliases: BTreeMap<u32, u32>,
    next: u32,
}

impl Names {
    /// Returns the number of a name, a new one if it has none.
    pub(super) fn intern(&mut self, name: &Arc<str>) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.next;
        self.next += 1;
        self.ids.insert(Arc::clone(name), id);
        self.names.insert(id, Arc::clone(name));
        id
    }

    /// Takes what a segment says that a number means.
    pub(super) fn learn(&mut self, id: u32, name: &str) {
        self.see(id);
        if let Some(first) = self.ids.get(name) {
            if *first != id {
                self.aliases.insert(id, *first);
            }
        } else if !self.names.contains_key(&id) {
            let name: Arc<str> = name.into();
            self.ids.insert(Arc::clone(&name), id);
            self.names.insert(id, name);
        }
    }

    /// Takes note that a number is in use, whatever it means.
    pub(super) fn see(&mut self, id: u32) {
        self.next = self.next.max(id.saturating_add(1));
    }

    /// Leaves numbers out that may be in use without anybody knowing.
    pub(super) fn skip(&mut self, count: u32) {
        self.next = self.next.saturating_add(count);
    }

    /// Returns the number that a number read from disk stands for.
    pub(super) fn resolve(&self, id: u32) -> Option<u32> {
        let id = *self.aliases.get(&id).unwrap_or(&id);
        self.names.contains_key(&id).then_some(id)
    }

    /// Returns the number of a name.
    pub(super) fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// Returns the name of a number.
    pub(super) fn name(&self, id: u32) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// Forgets all names but these.
    pub(super) fn retain(&mut self, used: &BTreeSet<u32>) {
        self.ids.retain(|_, id| used.contains(id));
        self.names.retain(|id, _| used.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_once() {
        let mut names = Names::default();
        let meter: Arc<str> = "meter-1".into();
        assert_eq!(names.intern(&meter), 0);
        assert_eq!(names.intern(&"city".into()), 1);
        names.retain(&BTreeSet::from([1]));
        assert_eq!(names.intern(&meter), 2, "the old number may still stand on disk");
        names.see(9);
        assert_eq!(names.intern(&"lamp".into()), 10);
    }

    #[test]
    fn a_name_with_two_numbers_is_known_by_the_first() {
        let mut names = Names::default();
        names.learn(3, "meter-1");
        names.learn(7, "meter-1");
        assert_eq!((names.resolve(3), names.resolve(7)), (Some(3), Some(3)));
        assert_eq!((names.resolve(4), names.id("meter-1")), (None, Some(3)));
    }
}
