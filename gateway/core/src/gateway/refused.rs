//! What is done about a request to save that is refused: which part of it is to blame, and that it harms nothing else.
//!
//! After a refusal half as much is tried at once, down to one subject. What is refused alone is tried again, alone, as
//! soon as something else was saved; when it is refused then too, it is to blame: a person is told, and it is tried now
//! and then. While nothing at all is saved, nobody is to blame: one is tried after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::Now;
use crate::gateway::Gateway;
use crate::gateway::saving::{Saving, Subject, pause};
use crate::limits;
use crate::output::{Event, StateEvent};
use crate::timer::Timer;

/// What was refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// How many subjects are tried at once.
    most: usize,
    /// What is not tried for now.
    aside: BTreeSet<Subject>,
    /// What goes alone since it was refused where other things are saved, and how often that was in a row.
    blamed: BTreeMap<Subject, u32>,
}

impl Default for Refused {
    fn default() -> Self {
        Self {
            most: limits::MAX_CHANGES_PER_SAVE,
            aside: BTreeSet::new(),
            blamed: BTreeMap::new(),
        }
    }
}

impl Refused {
    /// Says whether a subject waits for its turn to be tried again.
    pub(super) fn is_aside(&self, subject: &Subject) -> bool {
        self.aside.contains(subject)
    }

    /// Returns what matters most of what is not tried for now.
    pub(super) fn first_aside(&self) -> Option<&Subject> {
        self.aside.first()
    }

    /// Says whether a subject may go with these.
    pub(super) fn may_join(&self, subject: &Subject, others: &[Subject]) -> bool {
        let is_alone = self.is_blamed(subject) || others.iter().any(|other| self.is_blamed(other));
        others.is_empty() || others.len() < self.most && !is_alone
    }

    /// Says whether a subject is refused where other things are saved.
    pub(super) fn is_blamed(&self, subject: &Subject) -> bool {
        self.blamed.contains_key(subject)
    }

    /// Takes what was refused alone while nothing was saved.
    fn take_suspects(&mut self) -> BTreeSet<Subject> {
        let aside = std::mem::take(&mut self.aside).into_iter();
        let (blamed, suspects) = aside.partition(|subject| self.blamed.contains_key(subject));
        self.aside = blamed;
        suspects
    }
}

impl Gateway {
    /// Sets aside what was refused alone, and tells of it once.
    pub(super) fn set_aside(&mut self, subjects: Vec<Subject>, names: &[String], reason: String, now: Now) {
        let Some(saving) = &mut self.saving else { return };
        let mut is_news = false;
        for subject in subjects {
            let refusals = saving.refused.blamed.entry(subject.clone()).or_default();
            is_news |= *refusals == 0;
            *refusals = refusals.saturating_add(1);
            saving.refused.aside.insert(subject);
        }
        self.set_refused_due(now);
        if is_news {
            let name = names.first().cloned().unwrap_or_default();
            self.event(Event::State(StateEvent::NotSaved { name, reason }));
        }
    }

    /// Has what is to blame tried again after a pause.
    pub(super) fn set_refused_due(&mut self, now: Now) {
        let Some(refused) = self.saving.as_ref().map(|saving| &saving.refused) else {
            return;
        };
        let refusals = |subject| refused.blamed.get(subject).copied();
        let rarest = refused.aside.iter().filter_map(refusals).max();
        if let Some(refusals) = rarest.filter(|_| !self.timers.is_set(Timer::Refused)) {
            let due = now.instant.checked_add(pause(refusals));
            self.timers.set(Timer::Refused, due);
        }
    }

    /// Tries again what was set aside.
    pub(super) fn refused_are_due(&mut self, now: Now) {
        if let Some(saving) = &mut self.saving {
            saving.take_refused();
            self.save_next(now);
        }
    }
}

impl Saving {
    /// Has what was refused tried again in smaller parts; what was alone, behind all others.
    pub(super) fn retry(&mut self, subjects: Vec<Subject>) {
        self.refused.most = (subjects.len() / 2).max(1);
        if subjects.len() == 1 {
            self.refused.aside.extend(subjects);
        } else {
            self.due.extend(subjects);
        }
        if self.has_nothing_to_try() {
            let suspects = self.refused.take_suspects();
            self.due.extend(suspects);
        }
    }

    /// Notes that these are durable: more can be tried at once, and what was refused alone can be told from the others.
    pub(super) fn handle_durable(&mut self, subjects: &[Subject]) {
        let refused = &mut self.refused;
        refused.most = refused.most.saturating_mul(2).min(limits::MAX_CHANGES_PER_SAVE);
        for subject in subjects {
            refused.blamed.remove(subject);
        }
        let suspects = refused.take_suspects();
        refused
            .blamed
            .extend(suspects.iter().map(|subject| (subject.clone(), 0)));
        self.due.extend(suspects);
    }

    /// Has everything tried again that was set aside.
    pub(super) fn take_refused(&mut self) {
        self.due.append(&mut self.refused.aside);
    }

    /// Says whether nothing is due, but for the last word where that cannot be said.
    pub(super) fn has_nothing_to_try(&self) -> bool {
        let is_last_word = |subject: &Subject| *subject == Subject::Stopped;
        self.due.is_empty() || self.refused.first_aside().is_some() && self.due.iter().all(is_last_word)
    }
}
