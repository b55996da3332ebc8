//! The observations of the server: one entry a token, bounded, each with the state of its notifications.
//!
//! | file | what it does |
//! |---|---|
//! | `observation` | one observation: what fires, what waits, what goes out |
//! | `under_way` | what becomes of notifications |
//! | `late` | notifications of what was owed |
//! | `restore` | over a restart |
//!
//! Where the server wants its notifications kept (/1/x/6) and they are owed, each one that fires is confirmable, and
//! none is forgotten:
//!
//! ```text
//!  fires ──► waits for the one before it ──► under way ──acknowledged──► told
//!    │                    │                      │
//!    │ a Register is      │ too long, too many,  │ not acknowledged, dropped, or not yet after
//!    ▼ under way          ▼ or that one is lost  ▼ OWED_AFTER
//!   owed ◄────────────────┴──────────────────────┘
//! ```

mod late;
mod observation;
mod restore;
mod under_way;

use std::collections::BTreeMap;
use std::time::Instant;

pub(super) use late::Late;
use observation::Observation;
use under_way::Flight;
pub(super) use under_way::Outgoing;

use super::event::Observed;
use super::limits;
use super::notification::Rule;
use super::view::View;
use crate::Path;
use crate::coap::{Code, Notification, NotificationId, Reservation};
use crate::format::{ContentFormat, Entry, Record};

/// What begins an observation.
pub(super) struct NewObservation {
    pub(super) token: Vec<u8>,
    pub(super) path: Path,
    pub(super) format: ContentFormat,
    pub(super) rule: Rule,
    pub(super) entries: Vec<Entry>,
}

/// All observations.
#[derive(Debug)]
pub(super) struct Observations {
    by_token: BTreeMap<Vec<u8>, Observation>,
    sequence: Reservation,
    /// Whether what is not acknowledged is owed.
    owing: bool,
    /// The notifications under way whose end means something, by their number.
    under_way: BTreeMap<NotificationId, Flight>,
    /// What is owed and was not told yet, oldest first.
    owed: Vec<Vec<Record>>,
}

impl Observations {
    /// None, with sequence numbers that go on behind those used.
    pub(super) fn counting_from(sequence_end: u64, reserves: bool) -> Self {
        Self {
            by_token: BTreeMap::new(),
            sequence: Reservation::new(
                sequence_end,
                (limits::SEQUENCE_BLOCK, limits::SEQUENCE_BLOCK),
                reserves,
            ),
            owing: false,
            under_way: BTreeMap::new(),
            owed: Vec::new(),
        }
    }

    /// Returns the sequence numbers to make durable, by their end.
    pub(super) fn reserved_sequence(&self) -> u64 {
        self.sequence.wanted_end()
    }

    /// Says whether sequence numbers are to be reserved soon.
    pub(super) fn is_reservation_due(&self) -> bool {
        self.sequence.is_due()
    }

    /// Takes that sequence numbers are durably reserved.
    pub(super) fn handle_reserved(&mut self, sequence_end: u64) {
        self.sequence.confirm(sequence_end);
    }

    /// Begins an observation, or begins it anew. Returns its first sequence number; none when there is no room.
    pub(super) fn insert(&mut self, new: NewObservation, now: Instant) -> Option<u32> {
        self.end(&new.token);
        if self.by_token.len() >= limits::OBSERVATIONS {
            return None;
        }
        let sequence = self.next_sequence()?;
        let observation = Observation::new(new.path, new.format, new.rule, new.entries, now);
        self.by_token.insert(new.token, observation);
        Some(sequence)
    }

    /// Tells nothing of an observation until [`release`](Self::release).
    pub(super) fn hold(&mut self, token: &[u8]) {
        if let Some(observation) = self.by_token.get_mut(token) {
            observation.is_held = true;
        }
    }

    /// Notes that the answer which begins an observation is out.
    pub(super) fn release(&mut self, token: &[u8]) {
        if let Some(observation) = self.by_token.get_mut(token) {
            observation.is_held = false;
        }
    }

    /// Ends an observation, and returns the tokens of what has ended. A server that cancels with another token
    /// means the path.
    pub(super) fn cancel(&mut self, token: &[u8], path: Path) -> Vec<Vec<u8>> {
        if self.remove(token) {
            return vec![token.to_vec()];
        }
        let ended: Vec<_> = self
            .by_token
            .iter()
            .filter(|(_, o)| o.path == path)
            .map(|(t, _)| t.clone())
            .collect();
        for token in &ended {
            self.remove(token);
        }
        ended
    }

    /// Ends the observation of a token; the server wants no more of it.
    pub(super) fn remove(&mut self, token: &[u8]) -> bool {
        self.forget(token);
        self.by_token.remove(token).is_some()
    }

    /// Ends every observation, and returns their tokens. What was not told is owed.
    pub(super) fn clear(&mut self) -> Vec<Vec<u8>> {
        let tokens: Vec<_> = self.by_token.keys().cloned().collect();
        for token in &tokens {
            self.end(token);
        }
        tokens
    }

    /// Notes that a Register goes out: it ends the observations that there are once it is answered. Until then they
    /// are evaluated for what is owed.
    pub(super) fn lapse(&mut self) {
        for observation in self.by_token.values_mut() {
            observation.lapsed = true;
        }
    }

    /// Ends the observations from before the Register, and returns their tokens.
    pub(super) fn end_lapsed(&mut self) -> Vec<Vec<u8>> {
        let lapsed = self.by_token.iter().filter(|(_, o)| o.lapsed);
        let tokens: Vec<_> = lapsed.map(|(t, _)| t.clone()).collect();
        for token in &tokens {
            self.end(token);
        }
        tokens
    }

    /// Notes that values may have changed.
    pub(super) fn handle_changed(&mut self, paths: &[Path]) {
        for observation in self.by_token.values_mut() {
            let own = observation.path;
            if paths.iter().any(|p| own.contains(p) || p.contains(&own)) {
                observation.monitor.handle_changed();
            }
        }
    }

    /// Ends the observations of nodes that are gone, and returns what tells the server so.
    pub(super) fn handle_instances_changed(&mut self, view: View<'_>) -> Vec<Notification> {
        let is_gone = |path: Path| match path.object_id().zip(path.instance_id()) {
            Some((o, i)) => !view.has_instance(o, i),
            None => !view.exists(path),
        };
        let gone: Vec<_> = self
            .by_token
            .iter()
            .filter(|(_, o)| is_gone(o.path))
            .map(|(t, _)| t.clone())
            .collect();
        for observation in self.by_token.values_mut() {
            observation.monitor.handle_changed();
        }
        gone.into_iter()
            .filter_map(|token| {
                self.end(&token);
                self.farewell(token)
            })
            .collect()
    }

    /// Returns what tells the server that an observation is over; none while no sequence number is reserved.
    fn farewell(&mut self, token: Vec<u8>) -> Option<Notification> {
        Some(Notification {
            token,
            confirmable: true,
            observe: self.next_sequence()?,
            code: Code::NOT_FOUND,
            content_format: None,
            max_age_secs: None,
            payload: Vec::new(),
        })
    }

    /// Sets the rules anew, after attributes or defaults have changed; says whether one is different.
    pub(super) fn set_rules(&mut self, rule: impl Fn(Path) -> Rule) -> bool {
        let mut different = false;
        for observation in self.by_token.values_mut() {
            let new = rule(observation.path);
            different |= observation.rule != new;
            observation.rule = new;
        }
        different
    }

    pub(super) fn observed(&self) -> Vec<Observed> {
        let observed = self.by_token.values().map(|o| Observed {
            path: o.path,
            pmin_secs: o.rule.pmin_secs,
            pmax_secs: o.rule.pmax_secs,
            epmin_secs: o.rule.epmin_secs,
            epmax_secs: o.rule.epmax_secs,
        });
        let mut observed: Vec<_> = observed.collect();
        observed.sort_by_key(|o| o.path);
        observed
    }

    /// Ends the observation of a token, though not by the server's will: what was not told is owed.
    fn end(&mut self, token: &[u8]) {
        self.owe_all(token);
        self.by_token.remove(token);
    }

    /// Returns the next sequence number: 24 bits of the count (RFC 7641, section 3.4).
    fn next_sequence(&mut self) -> Option<u32> {
        let [.., high, middle, low] = self.sequence.take()?.to_be_bytes();
        Some(u32::from_be_bytes([0, high, middle, low]))
    }
}
