//! What is to outlive a restart: collected, asked to be made durable, and asked again when that fails.
//!
//! ```text
//!  something changes ─► due ─► under way ── Ok ──► durable
//!                        ▲         │ Err, or no answer: Event::StateFailed
//!                        └─────────┘ after a pause, with what has changed meanwhile, in smaller and smaller parts
//! ```
//! What is refused alone is set aside, so that it keeps nothing else from being saved (`refused.rs`).
//! One request is under way at a time, so that a value is never overtaken by an older one. What is due is written down
//! as what it is about, not as bytes: when its turn comes, the bytes are those of that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::{InstanceId, ObjectId, Path, client};

use crate::Now;
use crate::endpoint::Endpoint;
use crate::gateway::Gateway;
use crate::gateway::kept_values::Instances;
use crate::gateway::refused::Refused;
use crate::limits;
use crate::output::{CommandId, Event, Output};
use crate::state::{Change, Commands, Encoded, EndpointName, Name, SaveRequest, Saved, Stopped};
use crate::timer::Timer;

/// What a saved value is about. What goes comes first, since something else may take its name; then what matters most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A name that is not wanted any more, or all that begin with this where it ends with `/`.
    Forget(String),
    /// The command numbers that may be in use.
    Commands,
    /// The client of an endpoint, by its place.
    Client(usize),
    /// The endpoint name of a device, by its place.
    Endpoint(usize),
    /// The latest values of an instance of a device, by its place.
    Values(usize, ObjectId, InstanceId),
    /// That everything is saved; it goes when nothing else is due.
    Stopped,
}

/// What is to be saved, and what is being saved.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// The number of this start.
    pub(super) boot: u32,
    /// Whether the gateway is about to end.
    pub(super) is_stopping: bool,
    /// What is known of the instances of each device.
    pub(super) instances: Vec<Instances>,
    /// The values that a person was told are too long.
    pub(super) too_long: BTreeSet<(Arc<str>, Path)>,
    /// The clients in the request that is being made.
    pub(super) clients: Vec<(usize, client::Saved)>,
    pub(super) due: BTreeSet<Subject>,
    under_way: Option<UnderWay>,
    /// What stands under each name, as a fingerprint; none where that is not known.
    written: BTreeMap<String, Option<u64>>,
    next_request: u64,
    /// How often in a row it has failed.
    pub(super) failures: u32,
    /// What is refused, and how much is tried at once therefore.
    pub(super) refused: Refused,
    /// Whether it waits before it tries again.
    is_paused: bool,
}

#[derive(Debug)]
struct UnderWay {
    id: u64,
    subjects: Vec<Subject>,
    names: Vec<String>,
    /// The clients in it that have not been told to go on.
    clients: Vec<(usize, client::Saved)>,
    /// Whether it has taken too long already.
    is_late: bool,
}

impl Gateway {
    /// Takes whether what was asked for by [`Output::Save`] is durable.
    ///
    /// What could not be saved is tried again, at first after a second. Meanwhile the gateway goes on: it would rather
    /// use a message number again after a crash than be silent while a disk is broken.
    pub fn handle_saved(&mut self, id: u64, result: Result<(), String>, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        let Some(under_way) = saving.under_way.take_if(|under_way| under_way.id == id) else {
            return;
        };
        self.timers.set(Timer::Save, None);
        match result {
            Ok(()) => {
                saving.handle_durable(&under_way.subjects);
                if std::mem::take(&mut saving.failures) > 0 {
                    self.event(Event::StateWorks);
                }
                self.grant(under_way.clients, now);
                self.save_next(now);
            }
            Err(reason) => {
                let unknown = under_way.names.iter().map(|name| (name.clone(), None));
                saving.written.extend(unknown);
                if matches!(&under_way.subjects[..], [alone] if saving.refused.is_blamed(alone)) {
                    self.set_aside(under_way.subjects, &under_way.names, reason, now);
                } else {
                    saving.retry(under_way.subjects);
                    saving.is_paused = true;
                    self.tell_save_failed(reason, now);
                    self.set_refused_due(now);
                }
                self.grant(under_way.clients, now);
                self.save_next(now);
            }
        }
    }

    /// Ends in good order: everything that is not durable yet is asked to be, and nothing new is begun towards the
    /// servers, where the registrations stay. When [`is_stopped`](Self::is_stopped) says so, the process may end.
    pub fn begin_stop(&mut self, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        saving.is_stopping = true;
        saving.take_refused();
        saving.note(Subject::Stopped);
        // A pause would outlast the patience of whoever stops the process.
        saving.is_paused = false;
        for index in 0..self.endpoints.len() {
            self.pump(index, now);
        }
        let clients = 0..self.endpoints.len();
        if let Some(saving) = &mut self.saving {
            clients.for_each(|index| saving.note(Subject::Client(index)));
        }
        self.report_losses(now);
        self.note_all_values();
        self.begin_storing_all(now);
        self.save_next(now);
    }

    /// Says whether after [`begin_stop`](Self::begin_stop) nothing is left to wait for. A disk that fails is not
    /// waited for.
    pub fn is_stopped(&self) -> bool {
        self.saving.as_ref().is_none_or(|saving| {
            let is_idle = saving
                .under_way
                .as_ref()
                .is_none_or(|under_way| under_way.is_late);
            saving.is_stopping
                && is_idle
                && (saving.has_nothing_to_try() || saving.failures > 0)
                && self.has_stored_all()
        })
    }

    /// Says whether nothing new is to be begun.
    pub(super) fn is_stopping(&self) -> bool {
        self.saving.as_ref().is_some_and(|saving| saving.is_stopping)
    }

    /// Says whether the last word may be said. With it, the next start believes what servers are said to have been
    /// told: so it comes after what was measured meanwhile, and not at all where a reading is lost, which has to be
    /// news again.
    fn may_be_last(&mut self) -> bool {
        let waiting = |endpoint: &Endpoint| endpoint.outbox.waiting();
        if self.endpoints.iter().any(|endpoint| waiting(endpoint) > 0) {
            return false;
        }
        let is_all = !self.note_touched();
        if let Some(saving) = self.saving.as_mut().filter(|_| !is_all) {
            saving.note(Subject::Stopped);
        }
        is_all
    }

    /// Has something saved, soon.
    pub(super) fn want_saved(&mut self, subject: Subject, now: Now) {
        if let Some(saving) = &mut self.saving {
            saving.note(subject);
            self.save_next(now);
        }
    }

    /// Has a client saved, soon; while nothing can be saved it does not wait for that.
    pub(super) fn save_client(&mut self, index: usize, now: Now) {
        self.want_saved(Subject::Client(index), now);
        let is_refused = |saving: &Saving| saving.refused.is_aside(&Subject::Client(index));
        if self
            .saving
            .as_ref()
            .is_some_and(|saving| saving.failures > 0 || is_refused(saving))
        {
            let client = &mut self.endpoints[index].client;
            client.handle_saved(&client.save(), now.instant);
        }
    }

    /// Returns the name of a new command; more are reserved before they run out.
    pub(super) fn next_command(&mut self, now: Now) -> CommandId {
        let id = self.commands.next_id();
        if self.saving.is_some() && self.commands.reserve() {
            self.want_saved(Subject::Commands, now);
        }
        id
    }

    /// Tries again, or stops waiting for an answer.
    pub(super) fn save_is_due(&mut self, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        match &mut saving.under_way {
            None => {
                saving.is_paused = false;
                self.save_next(now);
            }
            Some(under_way) => {
                under_way.is_late = true;
                let clients = std::mem::take(&mut under_way.clients);
                self.tell_save_failed("the disk does not answer".to_owned(), now);
                self.grant(clients, now);
            }
        }
    }

    /// Asks for the next values to be made durable, where nothing stands in the way.
    pub(super) fn save_next(&mut self, now: Now) {
        let Some(saving) = &self.saving else { return };
        if saving.under_way.is_some() || saving.is_paused {
            return;
        }
        let (subjects, changes) = self.next_changes(now);
        let Some(saving) = &mut self.saving else { return };
        let clients = std::mem::take(&mut saving.clients);
        if changes.is_empty() {
            // Everything that was due is durable already.
            return self.grant(clients, now);
        }
        let id = saving.next_request;
        saving.next_request += 1;
        saving.under_way = Some(UnderWay {
            id,
            subjects,
            names: changes.iter().map(|change| change.name.clone()).collect(),
            clients,
            is_late: false,
        });
        let is_current = saving.is_current();
        self.outputs.push_back(Output::Save(SaveRequest {
            id,
            changes,
            is_current,
        }));
        let due = now.instant.checked_add(limits::SAVE_ANSWER);
        self.timers.set(Timer::Save, due);
    }

    /// Takes what is due, up to the bounds of one request.
    fn next_changes(&mut self, now: Now) -> (Vec<Subject>, Vec<Change>) {
        let (mut subjects, mut changes, mut bytes) = (Vec::new(), Vec::new(), 0);
        while changes.len() < limits::MAX_CHANGES_PER_SAVE && bytes < limits::MAX_SAVE_BYTES {
            let may_stop = changes.is_empty() && self.has_stored_all();
            let next = |saving: &mut Saving| saving.next(&subjects, may_stop);
            let Some(subject) = self.saving.as_mut().and_then(next) else {
                break;
            };
            if subject == Subject::Stopped && !self.may_be_last() {
                continue;
            }
            let (under, values) = self.present(&subject, now);
            let Some(saving) = &mut self.saving else { break };
            let before = changes.len();
            for change in saving.differences(&under, values) {
                bytes += change.name.len() + change.value.as_ref().map_or(0, Vec::len);
                changes.push(change);
            }
            // What is durable already cannot be what is refused.
            if changes.len() > before {
                subjects.push(subject);
            }
        }
        (subjects, changes)
    }

    /// Returns what is to stand under a name, or under all names that begin with this where it ends with `/`.
    fn present(&mut self, subject: &Subject, now: Now) -> (String, Vec<(String, Vec<u8>)>) {
        let one = |name: &Name, value: Vec<u8>| (name.to_string(), vec![(name.to_string(), value)]);
        match subject {
            Subject::Commands => {
                let reserved = self.commands.reserved();
                one(&Name::Commands, Commands { reserved }.to_bytes())
            }
            Subject::Client(index) => self.present_client(*index),
            Subject::Endpoint(device) => {
                let device = &self.devices[*device];
                let name = device.endpoint.to_string();
                one(
                    &Name::Endpoint(device.owner.clone()),
                    EndpointName { name }.to_bytes(),
                )
            }
            Subject::Values(device, object, instance) => {
                self.present_values(*device, *object, *instance, now)
            }
            Subject::Forget(under) => (under.clone(), Vec::new()),
            Subject::Stopped => {
                let boot = self.saving.as_ref().map_or(0, |saving| saving.boot);
                one(&Name::Stopped, Stopped { boot }.to_bytes())
            }
        }
    }

    /// Counts a failure and sees to the next attempt; at the first one in a row, tells of it and lets everybody go on
    /// who waits for the disk.
    fn tell_save_failed(&mut self, reason: String, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        saving.failures = saving.failures.saturating_add(1);
        if saving.is_paused {
            let due = now.instant.checked_add(pause(saving.failures));
            self.timers.set(Timer::Save, due);
        }
        if saving.failures > 1 {
            return;
        }
        let waiting = saving.due.iter().filter_map(|subject| match subject {
            Subject::Client(index) => Some(*index),
            Subject::Forget(_)
            | Subject::Commands
            | Subject::Endpoint(_)
            | Subject::Values(..)
            | Subject::Stopped => None,
        });
        let clients = |index: usize| (index, self.endpoints[index].client.save());
        let waiting = waiting.map(clients).collect();
        self.event(Event::StateFailed { reason });
        self.grant(waiting, now);
    }
}

impl Saving {
    /// Returns what a gateway saves whose start has this number, and that finds this.
    pub(super) fn new(boot: u32, saved: &Saved) -> Self {
        let written = saved.values.iter().filter(|(name, _)| Name::is_ours(name));
        let written = written.map(|(name, bytes)| (name.clone(), Some(fingerprint(bytes))));
        Self {
            boot,
            written: written.collect(),
            ..Self::default()
        }
    }

    /// Notes what is to be saved with the next request.
    pub(super) fn note(&mut self, subject: Subject) {
        if !self.refused.is_aside(&subject) {
            self.due.insert(subject);
        }
    }

    /// Says whether nothing is due that must not be used twice.
    fn is_current(&self) -> bool {
        let mut first = self.due.first().into_iter().chain(self.refused.first_aside());
        first.all(|subject| *subject >= Subject::Endpoint(0))
    }

    /// Takes the next subject of a request that has these already; the last word is said alone, when it may be, and
    /// never while something is refused.
    fn next(&mut self, others: &[Subject], may_stop: bool) -> Option<Subject> {
        let next = self.due.first()?;
        let may_stop = may_stop && self.refused.first_aside().is_none();
        if *next == Subject::Stopped && !may_stop || !self.refused.may_join(next, others) {
            return None;
        }
        self.due.pop_first()
    }

    /// Returns what has to change so that under these names stands what is wanted, and nothing else.
    fn differences(&mut self, under: &str, wanted: Vec<(String, Vec<u8>)>) -> Vec<Change> {
        let is_under = |name: &String| name == under || (under.ends_with('/') && name.starts_with(under));
        let old = self.written.range(under.to_owned()..).map(|(name, _)| name);
        let old: Vec<String> = old.take_while(|name| name.starts_with(under)).cloned().collect();
        let mut changes = Vec::new();
        for (name, value) in &wanted {
            let fingerprint = Some(fingerprint(value));
            if self.written.get(name) != Some(&fingerprint) {
                self.written.insert(name.clone(), fingerprint);
                let (name, value) = (name.clone(), Some(value.clone()));
                changes.push(Change { name, value });
            }
        }
        let is_wanted = |name: &String| wanted.iter().any(|(wanted, _)| wanted == name);
        for name in old.into_iter().filter(|name| is_under(name) && !is_wanted(name)) {
            self.written.remove(&name);
            changes.push(Change { name, value: None });
        }
        changes
    }
}

/// Returns a number that tells bytes apart within a run.
fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

pub(super) fn pause(failures: u32) -> Duration {
    let factor = 1u32
        .checked_shl(failures.saturating_sub(1).min(16))
        .unwrap_or(u32::MAX);
    limits::SAVE_BACKOFF
        .saturating_mul(factor)
        .min(limits::MAX_SAVE_BACKOFF)
}
