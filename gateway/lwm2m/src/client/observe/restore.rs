//! Observations over a restart.

use std::time::Instant;

use super::Observations;
use super::observation::Observation;
use crate::Path;
use crate::client::attributes::Attributes;
use crate::client::limits;
use crate::client::notification::{Monitor, Rule};
use crate::client::saved::{SavedEntry, SavedObservation, SavedValue};
use crate::format::{ContentFormat, Entry};

/// The longest token (RFC 7252, section 3).
const TOKEN_BYTES: usize = 8;

impl Observations {
    /// Takes over an observation from before a restart, its rule aside. Values may have changed since.
    pub(in crate::client) fn restore(&mut self, saved: &SavedObservation, now: Instant) {
        let path = Path::from_segments(&saved.path).filter(|path| *path != Path::Root);
        let format = ContentFormat::from_code(saved.format).filter(|f| *f != ContentFormat::Link);
        let fits = saved.token.len() <= TOKEN_BYTES && self.by_token.len() < limits::OBSERVATIONS;
        let (Some(path), Some(format), true) = (path, format, fits) else {
            return;
        };
        let rule = Rule::new(&Attributes::default(), None, None);
        let mut observation = Observation::new(path, format, rule, Vec::new(), now);
        observation.monitor = Monitor::resume(saved.sent.as_deref().and_then(entries), now);
        self.by_token.insert(saved.token.clone(), observation);
    }

    /// Returns what is to be kept over a restart.
    pub(in crate::client) fn save(&self) -> Vec<SavedObservation> {
        let saved = self.by_token.iter().map(|(token, o)| {
            // What is not acknowledged yet may never arrive.
            let sent = o.monitor.sent().filter(|_| !o.in_flight && o.waiting.is_empty());
            SavedObservation {
                token: token.clone(),
                path: o.path.segments(),
                format: o.format.code(),
                sent: sent.and_then(saved_entries),
            }
        });
        saved.collect()
    }
}

fn saved_entries(entries: &[Entry]) -> Option<Vec<SavedEntry>> {
    let mut size = 0;
    let saved = entries.iter().map(|entry| {
        let entry = SavedEntry {
            path: entry.path.segments(),
            value: SavedValue::from(&entry.value),
        };
        size += entry.size();
        (size <= limits::SAVED_VALUES_BYTES).then_some(entry)
    });
    saved.collect()
}

fn entries(saved: &[SavedEntry]) -> Option<Vec<Entry>> {
    let entries = saved.iter().map(|entry| {
        let path = Path::from_segments(&entry.path)?;
        let value = entry.value.clone().into();
        Some(Entry { path, value })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::observe::NewObservation;
    use crate::client::tests::start;

    #[test]
    fn without_a_reserved_sequence_number_nothing_is_observed() {
        let mut observations = Observations::counting_from(0, true);
        let observe = |observations: &mut Observations| {
            let new = NewObservation {
                token: vec![1],
                path: Path::resource(3303, 0, 5700),
                format: ContentFormat::Text,
                rule: Rule::new(&Attributes::default(), None, None),
                entries: Vec::new(),
            };
            observations.insert(new, start())
        };
        assert_eq!(observe(&mut observations), None);
        observations.handle_reserved(observations.reserved_sequence());
        let begun = (0..limits::SEQUENCE_BLOCK + 5).filter(|_| observe(&mut observations).is_some());
        assert_eq!(begun.count() as u64, limits::SEQUENCE_BLOCK);
        assert!(observations.is_reservation_due());
        assert_eq!(observations.observed(), []);
    }
}
