//! One command: its writes, how far each of them is, and what can be told of it.

use std::time::{Duration, Instant};

use lwm2m_client::client::Response;
use lwm2m_client::{Path, Value};

use super::answers::{outcome, response, timed_out, unseen};
use super::{Origin, Write};
use crate::field::{Delivery, Link};
use crate::limits;
use crate::output::CommandOutcome;
use crate::reading::Quality;
use crate::tree::{self, Key};

/// A command that is not forgotten yet.
#[derive(Debug)]
pub(crate) struct Command {
    /// Who waits.
    pub(super) origin: Origin,
    /// The number of the device.
    pub(super) device: usize,
    /// What is to be done, in order.
    pub(super) steps: Vec<Step>,
    /// How the device is reached.
    pub(super) link: Link,
    /// Until when its sender waits; none once it was answered.
    pub(super) answer_by: Option<Instant>,
    /// How long its sender waits.
    pub(super) patience: Duration,
    /// Until when it is remembered that its sender has waited in vain.
    pub(super) forget_at: Option<Instant>,
}

/// One write, and how far it is.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) write: Write,
    pub(super) stage: Stage,
}

/// How far a write is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// Others go first.
    Waiting,
    /// It is with the field side; maybe the device has shown the new value already.
    Out { is_seen: bool },
    /// It waits until the device listens.
    Queued,
    /// It was sent, and the device is to show the new value until then.
    Watched { until: Instant },
    /// It has ended.
    Over(CommandOutcome),
}

/// What can be told of a command: to whoever waits, and to the audit log.
#[derive(Debug)]
pub(crate) struct Report {
    /// Who wanted it.
    pub(crate) origin: Origin,
    /// The number of the device.
    pub(crate) device: usize,
    /// What was to be set.
    pub(crate) writes: Vec<(Path, Value)>,
    /// How many of these were done.
    pub(crate) done: usize,
    /// What became of it.
    pub(crate) outcome: CommandOutcome,
    /// The answer, where its sender still waits.
    pub(crate) response: Option<Response>,
}

impl Stage {
    /// Says whether nothing is to be done for it but wait.
    const fn is_accepted(&self) -> bool {
        match self {
            Self::Queued | Self::Watched { .. } => true,
            Self::Over(outcome) => outcome.is_done(),
            Self::Waiting | Self::Out { .. } => false,
        }
    }

    /// Returns what can be said of it now, nothing where it was not even sent.
    fn outcome(&self) -> Option<CommandOutcome> {
        match self {
            Self::Waiting | Self::Out { .. } => None,
            Self::Queued => Some(CommandOutcome::Queued),
            Self::Watched { .. } => Some(CommandOutcome::Sent),
            Self::Over(outcome) => Some(outcome.clone()),
        }
    }
}

impl Command {
    /// Returns when something is due for it.
    pub(super) fn due(&self) -> Option<Instant> {
        let watched = self.steps.iter().filter_map(|step| match step.stage {
            Stage::Watched { until } => Some(until),
            Stage::Waiting | Stage::Out { .. } | Stage::Queued | Stage::Over(_) => None,
        });
        watched.chain(self.answer_by).chain(self.forget_at).min()
    }

    /// Takes what became of one of its writes.
    pub(super) fn handle_delivery(&mut self, place: usize, delivery: &Delivery, now: Instant) {
        let Some(step) = self.steps.get_mut(place) else {
            return;
        };
        let is_seen = step.stage == Stage::Out { is_seen: true };
        let watched = step.write.watch.as_ref().filter(|_| !is_seen);
        step.stage = match (delivery, watched) {
            (Delivery::Queued, _) => Stage::Queued,
            (Delivery::Sent | Delivery::Confirmed(None), Some(watch)) => Stage::Watched {
                until: now + watch.within,
            },
            (Delivery::Sent, None) if is_seen => Stage::Over(CommandOutcome::Confirmed),
            (
                Delivery::Sent
                | Delivery::Confirmed(_)
                | Delivery::Refused(_)
                | Delivery::Unconfirmed(_)
                | Delivery::Unreachable { .. }
                | Delivery::Denied
                | Delivery::Expired
                | Delivery::Superseded,
                _,
            ) => Stage::Over(outcome(delivery)),
        };
    }

    /// Takes that a device has shown what a write was to do; says whether that write is done with it.
    pub(super) fn handle_seen(&mut self, place: usize) -> bool {
        let Some(step) = self.steps.get_mut(place) else {
            return false;
        };
        match step.stage {
            Stage::Out { .. } => step.stage = Stage::Out { is_seen: true },
            Stage::Watched { .. } => step.stage = Stage::Over(CommandOutcome::Confirmed),
            Stage::Waiting | Stage::Queued | Stage::Over(_) => {}
        }
        step.stage == Stage::Over(CommandOutcome::Confirmed)
    }

    /// Returns the value of a write as it can be read now, if it can: what its sender is told to be on its way is believed,
    /// what the device is to show first is not.
    pub(super) fn shown(&self, place: usize) -> Option<(Key, Value, Quality)> {
        let Step { write, stage } = self.steps.get(place)?;
        let quality = match stage {
            Stage::Over(CommandOutcome::Confirmed) => Quality::Good,
            Stage::Over(CommandOutcome::Sent) => Quality::Derived,
            Stage::Watched { .. } if self.is_slow() => Quality::Derived,
            Stage::Waiting | Stage::Out { .. } | Stage::Queued | Stage::Watched { .. } | Stage::Over(_) => {
                return None;
            }
        };
        Some((write.key, write.value.clone(), quality))
    }

    /// Gives up on what should have been seen by now.
    pub(super) fn stop_watching(&mut self, now: Instant) {
        for step in &mut self.steps {
            if let (Stage::Watched { until }, Some(watch)) = (&step.stage, &step.write.watch)
                && *until <= now
            {
                step.stage = Stage::Over(unseen(watch.within));
            }
        }
    }

    /// Returns the place of the next write to send.
    pub(super) fn next(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.stage == Stage::Waiting)
    }

    /// Says whether it has ended, and how: with the first write that failed, or with the last.
    pub(super) fn end(&self) -> Option<CommandOutcome> {
        let failed = self.steps.iter().find_map(|step| match &step.stage {
            Stage::Over(outcome) if !outcome.is_done() => Some(outcome.clone()),
            Stage::Waiting | Stage::Out { .. } | Stage::Queued | Stage::Watched { .. } | Stage::Over(_) => {
                None
            }
        });
        let is_over = || self.steps.iter().all(|step| matches!(step.stage, Stage::Over(_)));
        failed.or_else(|| is_over().then(|| self.standing())?)
    }

    /// Says whether its sender is to be answered although its end is not known: everything is on its way over a radio
    /// that may take long, or durably queued.
    pub(super) fn is_answered_early(&self) -> bool {
        let is_queued = self.steps.iter().any(|step| step.stage == Stage::Queued);
        let is_accepted = self.steps.iter().all(|step| step.stage.is_accepted());
        self.answer_by.is_some() && is_accepted && (self.is_slow() || is_queued)
    }

    /// Says whether its sender has its answer.
    pub(super) const fn is_answered(&self) -> bool {
        self.answer_by.is_none()
    }

    /// Returns what can be said of it now.
    pub(super) fn standing(&self) -> Option<CommandOutcome> {
        let mut outcomes = self.steps.iter().filter_map(|step| step.stage.outcome());
        let last = outcomes.clone().next_back();
        outcomes.find(|outcome| !outcome.is_done()).or(last)
    }

    /// Takes the end of its sender's patience.
    pub(super) fn time_out(&mut self, now: Instant) -> Report {
        let report = self.report(timed_out(self.patience));
        self.answer_by = None;
        self.forget_at = Some(now + limits::LATE_DELIVERY);
        report
    }

    /// Says whether nothing was heard of one of its writes.
    pub(super) fn is_unheard(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.stage, Stage::Out { .. } | Stage::Waiting))
    }

    /// Returns what is to be told of it.
    pub(super) fn report(&self, outcome: CommandOutcome) -> Report {
        let response = (!self.is_answered()).then(|| response(&outcome, &self.reached()));
        Report {
            origin: self.origin,
            device: self.device,
            writes: self.steps.iter().map(|step| step.write.requested()).collect(),
            done: self.done(),
            outcome,
            response,
        }
    }

    const fn is_slow(&self) -> bool {
        matches!(self.link, Link::LoRaWan { .. })
    }

    /// Returns how many of the writes were sent, from the first on.
    fn done(&self) -> usize {
        let is_done = |step: &&Step| step.stage.is_accepted() && step.stage != Stage::Queued;
        self.steps.iter().take_while(is_done).count()
    }

    /// Says in words how far a command of several values got, nothing for one of one value.
    fn reached(&self) -> String {
        if self.steps.len() < 2 {
            return String::new();
        }
        let paths = |steps: &[Step]| {
            let paths: Vec<String> = steps
                .iter()
                .map(|step| tree::path(step.write.key).to_string())
                .collect();
            paths.join(", ")
        };
        let accepted = self.steps.iter().take_while(|step| step.stage.is_accepted());
        let (accepted, rest) = self.steps.split_at(accepted.count());
        let is_queued = accepted.iter().any(|step| step.stage == Stage::Queued);
        let done = if is_queued { "done or queued" } else { "done" };
        match (accepted, rest) {
            (_, []) => String::new(),
            ([], rest) => format!("nothing done, not {}: ", paths(rest)),
            (accepted, rest) => format!("{done} {}, not {}: ", paths(accepted), paths(rest)),
        }
    }
}
