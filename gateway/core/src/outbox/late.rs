//! What the next late notification carries: readings of one class that one observation covers, the oldest first.
//!
//! An observation shows a server one value after the other, so what is newer waits for what is older, in memory and on
//! disk alike; of different resources and classes none waits for another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::Path;
use lwm2m_client::client::SendId;

use super::{Item, Ledger, Origin, Outbox};

impl Outbox {
    /// Takes the next readings for a notification, with the path that covers them, one of those `observed`.
    pub(crate) fn take_late(
        &mut self,
        ledger: &mut Ledger<'_>,
        observed: &[Path],
        now: Instant,
    ) -> Option<(Path, SendId, &[Item])> {
        if !self.may_take(now) {
            return None;
        }
        // What was to be sent again as it was is not what an observation covers.
        if let Some(flight) = self.flight.take() {
            self.put_back(flight.items, ledger);
        }
        self.backlog.pass_over(|reading| covers(observed, reading.path));
        let (path, items) = self.compose_late(ledger, observed)?;
        let part = items.len();
        let (id, items) = self.begin_flight((items, part), now)?;
        Some((path, id, items))
    }

    fn compose_late(&mut self, ledger: &mut Ledger<'_>, observed: &[Path]) -> Option<(Path, Vec<Item>)> {
        let found = self.waiting_late(ledger, observed);
        let first = found.first().cloned()?;
        // The widest observation takes most at once.
        let path = observed.iter().copied();
        let path = path
            .filter(|path| path.contains(&first.reading.path))
            .min_by_key(|path| path.segments().len())?;
        let mut seen = BTreeSet::new();
        let chosen: Vec<Item> = found
            .into_iter()
            .filter(|item| item.class == first.class && path.contains(&item.reading.path))
            .take_while(|item| seen.insert((item.reading.path, item.reading.moment)))
            .take(self.batch)
            .collect();
        self.take_out(&chosen, ledger);
        Some((path, chosen))
    }

    /// Returns what waits and is observed, what matters most and then the oldest first; of the memory only where
    /// nothing older can be on disk.
    fn waiting_late(&self, ledger: &Ledger<'_>, observed: &[Path]) -> Vec<Item> {
        let stored = self.backlog.loaded().map(|(class, reading)| Item {
            reading: Arc::clone(reading),
            class,
            origin: Origin::Disk,
        });
        let in_memory = self.alarms.iter().chain(&self.others);
        let in_memory = in_memory
            .filter_map(|seq| ledger.memory.get(*seq))
            .filter(|held| self.backlog.is_all_seen(held.class))
            .map(|held| Item {
                reading: Arc::clone(&held.reading),
                class: held.class,
                origin: Origin::Memory,
            });
        let mut waiting: Vec<Item> = stored
            .chain(in_memory)
            .filter(|item| covers(observed, item.reading.path))
            .collect();
        waiting.sort_by_key(|item| (item.class, item.reading.seq));
        waiting
    }
}

/// Says whether one of these observations shows a resource.
pub(crate) fn covers(observed: &[Path], path: Path) -> bool {
    observed.iter().any(|observed| observed.contains(&path))
}
