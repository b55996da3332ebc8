//! The observations of the server: one entry a token, bounded, each with the state of its notifications.

use std::collections::BTreeMap;
use std::time::Instant;

use super::attributes::Attributes;
use super::event::Observed;
use super::limits;
use super::notification::{Monitor, Rule};
use super::read;
use super::saved::{SavedEntry, SavedObservation, SavedValue};
use super::view::View;
use crate::Path;
use crate::coap::{Code, Notification, NotificationId, Reservation};
use crate::format::{ContentFormat, Entry};

/// The longest token (RFC 7252, section 3).
const TOKEN_BYTES: usize = 8;

#[derive(Debug)]
struct Observation {
    path: Path,
    format: ContentFormat,
    rule: Rule,
    monitor: Monitor,
    confirmed_at: Instant,
    /// The last notification; while it waits for its acknowledgement no other is sent.
    last: Option<NotificationId>,
    in_flight: bool,
}

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
}

impl Observations {
    /// None, with sequence numbers that go on behind those used.
    pub(super) fn counting_from(sequence_end: u64, reserves: bool) -> Self {
        Self {
            by_token: BTreeMap::new(),
            sequence: Reservation::new(sequence_end, limits::SEQUENCE_BLOCK, reserves),
        }
    }

    /// Takes over an observation from before a restart. Values may have changed since.
    pub(super) fn restore(&mut self, saved: &SavedObservation, now: Instant) {
        let path = Path::from_segments(&saved.path).filter(|path| *path != Path::Root);
        let format = ContentFormat::from_code(saved.format).filter(|f| *f != ContentFormat::Link);
        let fits = saved.token.len() <= TOKEN_BYTES && self.by_token.len() < limits::OBSERVATIONS;
        let (Some(path), Some(format), true) = (path, format, fits) else {
            return;
        };
        let observation = Observation {
            path,
            format,
            rule: Rule::new(&Attributes::default(), None, None),
            monitor: Monitor::resume(saved.sent.as_deref().and_then(entries), now),
            confirmed_at: now,
            last: None,
            in_flight: false,
        };
        self.by_token.insert(saved.token.clone(), observation);
    }

    /// Returns what is to be kept over a restart.
    pub(super) fn save(&self) -> Vec<SavedObservation> {
        let saved = self.by_token.iter().map(|(token, o)| SavedObservation {
            token: token.clone(),
            path: o.path.segments(),
            format: o.format.code(),
            sent: o.monitor.sent().and_then(saved_entries),
        });
        saved.collect()
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
        if self.by_token.len() >= limits::OBSERVATIONS && !self.by_token.contains_key(&new.token) {
            return None;
        }
        let sequence = self.next_sequence()?;
        let observation = Observation {
            path: new.path,
            format: new.format,
            rule: new.rule,
            monitor: Monitor::new(new.entries, now),
            confirmed_at: now,
            last: None,
            in_flight: false,
        };
        self.by_token.insert(new.token, observation);
        Some(sequence)
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
        self.by_token.retain(|_, o| o.path != path);
        ended
    }

    /// Ends the observation of a token.
    pub(super) fn remove(&mut self, token: &[u8]) -> bool {
        self.by_token.remove(token).is_some()
    }

    /// Ends every observation, and returns their tokens.
    pub(super) fn clear(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.by_token).into_keys().collect()
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
                self.by_token.remove(&token);
                self.end(token)
            })
            .collect()
    }

    /// Returns what tells the server that an observation is over; none while no sequence number is reserved.
    fn end(&mut self, token: Vec<u8>) -> Option<Notification> {
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

    /// Returns the notifications that are due.
    pub(super) fn poll(&mut self, view: View<'_>, confirmable: bool, now: Instant) -> Vec<Notification> {
        let mut due = Vec::new();
        for (token, observation) in &mut self.by_token {
            if self.sequence.is_exhausted() {
                break;
            }
            let Some((content_format, payload, confirmable)) = observation.poll(view, confirmable, now)
            else {
                continue;
            };
            let Some(observe) = next(&mut self.sequence) else {
                break;
            };
            due.push(Notification {
                token: token.clone(),
                confirmable,
                observe,
                code: Code::CONTENT,
                content_format: Some(content_format.code()),
                max_age_secs: None,
                payload,
            });
        }
        due
    }

    /// Notes under which number a notification went out.
    pub(super) fn handle_sent(&mut self, token: &[u8], id: NotificationId, confirmable: bool) {
        if let Some(observation) = self.by_token.get_mut(token) {
            observation.last = Some(id);
            observation.in_flight = confirmable;
        }
    }

    /// Notes that the server has a notification.
    pub(super) fn handle_acknowledged(&mut self, id: NotificationId, now: Instant) {
        if let Some(observation) = self.of(id) {
            observation.in_flight = false;
            observation.confirmed_at = now;
        }
    }

    /// Notes that a notification did not arrive: its observation owes another one.
    pub(super) fn handle_lost(&mut self, id: NotificationId, now: Instant) {
        if let Some(observation) = self.of(id) {
            observation.in_flight = false;
            observation.monitor.handle_lost(now);
        }
    }

    /// Notes that a notification did not go out: its observation owes it still.
    pub(super) fn handle_dropped(&mut self, id: NotificationId, now: Instant) {
        if let Some(observation) = self.of(id) {
            observation.in_flight = false;
            observation.monitor.handle_dropped(now);
        }
    }

    fn of(&mut self, id: NotificationId) -> Option<&mut Observation> {
        self.by_token.values_mut().find(|o| o.last == Some(id))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.sequence.is_exhausted() {
            return None;
        }
        let waiting = self.by_token.values().filter(|o| !o.in_flight);
        waiting.filter_map(|o| o.monitor.poll_timeout(&o.rule)).min()
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

    fn next_sequence(&mut self) -> Option<u32> {
        next(&mut self.sequence)
    }
}

/// Returns the next sequence number: 24 bits of the count (RFC 7641, section 3.4).
fn next(sequence: &mut Reservation) -> Option<u32> {
    let [.., high, middle, low] = sequence.take()?.to_be_bytes();
    Some(u32::from_be_bytes([0, high, middle, low]))
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

impl Observation {
    fn poll(
        &mut self,
        view: View<'_>,
        confirmable: bool,
        now: Instant,
    ) -> Option<(ContentFormat, Vec<u8>, bool)> {
        if self.in_flight {
            return None;
        }
        let path = self.path;
        let entries = self.monitor.poll(&self.rule, now, || view.entries(path))?;
        let encoded = read::encode_notification(view, path, self.format, &entries);
        self.monitor.handle_sent(entries, now);
        // What the format cannot carry (a NaN as text) is not told; the next change is.
        let payload = encoded.ok()?;
        let overdue = now.saturating_duration_since(self.confirmed_at) >= limits::CONFIRMABLE_AT_LEAST_EVERY;
        Some((self.format, payload, confirmable || overdue))
    }
}
