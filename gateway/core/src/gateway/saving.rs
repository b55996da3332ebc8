//! What is to outlive a restart: collected, asked to be made durable, and asked again when that fails.
//!
//! ```text
//!  something changes ─► due ─► under way ── Ok ──► durable
//!                        ▲         │ Err, or no answer: Event::StateFailed
//!                        └─────────┘ after a pause, with what has changed meanwhile
//! ```
//! One request is under way at a time, so that a value is never overtaken by an older one. What is due is written down
//! as what it is about, not as bytes: when its turn comes, the bytes are those of that moment.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Now;
use crate::gateway::Gateway;
use crate::limits;
use crate::output::{CommandId, Event, Output};
use crate::state::{Change, Commands, Encoded, EndpointName, Name, SaveRequest, Stopped};
use crate::timer::Timer;

/// What a saved value is about. What matters most comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The command numbers that may be in use.
    Commands,
    /// The endpoint name of a device, by its place.
    Endpoint(usize),
    /// A value that is not wanted any more.
    Forget(Name),
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
    due: BTreeSet<Subject>,
    under_way: Option<UnderWay>,
    next_request: u64,
    /// How often in a row it has failed.
    failures: u32,
    /// Whether it waits before it tries again.
    is_paused: bool,
}

#[derive(Debug)]
struct UnderWay {
    id: u64,
    subjects: Vec<Subject>,
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
        match result {
            Ok(()) => self.handle_save_done(now),
            Err(reason) => {
                saving.due.extend(under_way.subjects);
                self.handle_save_failed(reason, now);
            }
        }
    }

    /// Ends in good order: everything that is not durable yet is asked to be, and nothing new is begun towards the
    /// servers, where the registrations stay. When [`is_stopped`](Self::is_stopped) says so, the process may end.
    pub fn begin_stop(&mut self, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        saving.is_stopping = true;
        saving.due.insert(Subject::Stopped);
        // A pause would outlast the patience of whoever stops the process.
        saving.is_paused = false;
        self.save_next(now);
    }

    /// Says whether after [`begin_stop`](Self::begin_stop) nothing is left to wait for. A disk that fails is not
    /// waited for.
    pub fn is_stopped(&self) -> bool {
        self.saving.as_ref().is_none_or(|saving| {
            let is_over = saving.due.is_empty() || saving.failures > 0;
            saving.is_stopping && saving.under_way.is_none() && is_over
        })
    }

    /// Has something saved, soon.
    pub(super) fn want_saved(&mut self, subject: Subject, now: Now) {
        if let Some(saving) = &mut self.saving {
            saving.due.insert(subject);
            self.save_next(now);
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
                self.tell_save_failed("the disk does not answer".to_owned());
            }
        }
    }

    /// Asks for the next values to be made durable, where nothing stands in the way.
    pub(super) fn save_next(&mut self, now: Now) {
        let Some(saving) = &self.saving else { return };
        if saving.under_way.is_some() || saving.is_paused {
            return;
        }
        let (subjects, changes) = self.next_changes();
        let Some(saving) = self.saving.as_mut().filter(|_| !subjects.is_empty()) else {
            return;
        };
        let id = saving.next_request;
        saving.next_request += 1;
        saving.under_way = Some(UnderWay {
            id,
            subjects,
            is_late: false,
        });
        self.outputs.push_back(Output::Save(SaveRequest { id, changes }));
        let due = now.instant.checked_add(limits::SAVE_ANSWER);
        self.timers.set(Timer::Save, due);
    }

    /// Takes what is due, up to the bounds of one request.
    fn next_changes(&mut self) -> (Vec<Subject>, Vec<Change>) {
        let (mut subjects, mut changes, mut bytes) = (Vec::new(), Vec::new(), 0);
        while changes.len() < limits::MAX_CHANGES_PER_SAVE && bytes < limits::MAX_SAVE_BYTES {
            let Some(subject) = self.saving.as_mut().and_then(|saving| saving.next(&subjects)) else {
                break;
            };
            for change in self.changes(&subject) {
                bytes += change.name.len() + change.value.as_ref().map_or(0, Vec::len);
                changes.push(change);
            }
            subjects.push(subject);
        }
        (subjects, changes)
    }

    fn changes(&self, subject: &Subject) -> Vec<Change> {
        let change = |name: &Name, value: Option<Vec<u8>>| {
            let name = name.to_string();
            vec![Change { name, value }]
        };
        match subject {
            Subject::Commands => {
                let reserved = self.commands.reserved();
                change(&Name::Commands, Some(Commands { reserved }.to_bytes()))
            }
            Subject::Endpoint(device) => {
                let device = &self.devices[*device];
                let name = device.endpoint.to_string();
                let value = EndpointName { name }.to_bytes();
                change(&Name::Endpoint(device.owner.clone()), Some(value))
            }
            Subject::Forget(name) => change(name, None),
            Subject::Stopped => {
                let boot = self.saving.as_ref().map_or(0, |saving| saving.boot);
                change(&Name::Stopped, Some(Stopped { boot }.to_bytes()))
            }
        }
    }

    fn handle_save_done(&mut self, now: Now) {
        self.timers.set(Timer::Save, None);
        let Some(saving) = &mut self.saving else { return };
        if std::mem::take(&mut saving.failures) > 0 {
            self.event(Event::StateWorks);
        }
        self.save_next(now);
    }

    fn handle_save_failed(&mut self, reason: String, now: Now) {
        self.tell_save_failed(reason);
        let Some(saving) = &mut self.saving else { return };
        saving.is_paused = true;
        let due = now.instant.checked_add(pause(saving.failures));
        self.timers.set(Timer::Save, due);
    }

    /// Counts a failure, and tells of the first one in a row.
    fn tell_save_failed(&mut self, reason: String) {
        let Some(saving) = &mut self.saving else { return };
        saving.failures = saving.failures.saturating_add(1);
        if saving.failures == 1 {
            self.event(Event::StateFailed { reason });
        }
    }
}

impl Saving {
    /// Returns what a gateway saves whose start has this number.
    pub(super) fn new(boot: u32) -> Self {
        Self {
            boot,
            ..Self::default()
        }
    }

    /// Notes what is to be saved with the first request.
    pub(super) fn note(&mut self, subject: Subject) {
        self.due.insert(subject);
    }

    /// Takes the next subject for a request with these; the last word is said alone.
    fn next(&mut self, chosen: &[Subject]) -> Option<Subject> {
        let next = self.due.first()?;
        if *next == Subject::Stopped && !chosen.is_empty() {
            return None;
        }
        self.due.pop_first()
    }
}

fn pause(failures: u32) -> Duration {
    let factor = 1u32
        .checked_shl(failures.saturating_sub(1).min(16))
        .unwrap_or(u32::MAX);
    limits::SAVE_BACKOFF
        .saturating_mul(factor)
        .min(limits::MAX_SAVE_BACKOFF)
}
