//! When to do what: one deadline for each thing that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::output::{CommandId, EndpointId};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// When to let the next endpoint of an account register.
    Start(usize),
    /// When to try again at a server that no endpoint of its account reaches.
    Probe(usize),
    /// When an endpoint has something to do: its client, its queue, a new object list.
    Endpoint(EndpointId),
    /// When a value of a device becomes too old.
    Stale(usize),
    /// When to make readings durable.
    Commit,
    /// When a command must be answered, or is forgotten.
    Command(CommandId),
    /// When to report what was lost.
    Losses,
    /// When to save the latest values of a device.
    Values(usize),
    /// When to try again to save what must outlive a restart, or to wait no more for an answer.
    Save,
    /// When to try again to save what was set aside.
    Refused,
}

/// Deadlines, at most one for each [`Timer`].
#[derive(Debug, Default)]
pub(crate) struct TimerTable {
    by_time: BTreeSet<(Instant, Timer)>,
    by_timer: BTreeMap<Timer, Instant>,
}

impl TimerTable {
    /// Sets a deadline, or with none takes it away.
    pub(crate) fn set(&mut self, timer: Timer, due: Option<Instant>) {
        let before = match due {
            Some(due) => self.by_timer.insert(timer, due),
            None => self.by_timer.remove(&timer),
        };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, timer));
        }
        if let Some(due) = due {
            self.by_time.insert((due, timer));
        }
    }

    /// Says whether something is waited for.
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.by_timer.contains_key(&timer)
    }

    /// Returns the earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Takes all deadlines that have come, the earliest first.
    ///
    /// What is set again meanwhile, be it in the past, waits for the next call: nothing can keep the caller busy.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some((time, timer)) = self.by_time.first().copied().filter(|(time, _)| *time <= now) {
            self.by_time.remove(&(time, timer));
            self.by_timer.remove(&timer);
            due.push(timer);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_timer_has_one_deadline_and_the_last_one_set_counts() {
        let (mut timers, start) = (TimerTable::default(), crate::testing::start().instant);
        let at = |secs| start + Duration::from_secs(secs);
        timers.set(Timer::Stale(1), Some(at(5)));
        timers.set(Timer::Start(0), Some(at(3)));
        timers.set(Timer::Stale(1), Some(at(2)));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.take_due(at(2)), [Timer::Stale(1)]);
        assert_eq!(timers.take_due(at(2)), []);
        timers.set(Timer::Stale(0), Some(at(1)));
        assert_eq!(timers.take_due(at(3)), [Timer::Stale(0), Timer::Start(0)]);
        timers.set(Timer::Start(0), Some(at(4)));
        timers.set(Timer::Start(0), None);
        assert_eq!(timers.next(), None);
    }
}
