//! One observation: what fires, what waits, what goes out.

use std::collections::VecDeque;
use std::time::Instant;

use crate::Path;
use crate::client::limits;
use crate::client::notification::{Monitor, Rule};
use crate::client::read;
use crate::client::view::View;
use crate::coap::NotificationId;
use crate::format::{ContentFormat, Entry, Record};

/// An observation and what is to be told of it.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) path: Path,
    pub(super) format: ContentFormat,
    pub(super) rule: Rule,
    pub(super) monitor: Monitor,
    pub(super) confirmed_at: Instant,
    /// The last notification; while it waits for its acknowledgement no other is sent.
    pub(super) last: Option<NotificationId>,
    pub(super) in_flight: bool,
    /// Whether the answer that begins it is held back, and so is everything that follows.
    pub(super) is_held: bool,
    /// What has fired meanwhile and is owed, oldest first.
    pub(super) waiting: VecDeque<Fired>,
    /// A Register went out since.
    pub(super) lapsed: bool,
    /// Whether the server has what has fired last.
    pub(super) is_newest_told: bool,
    /// The notification that carries what has fired last.
    pub(super) newest: Option<NotificationId>,
    /// When the present value is told once more, because an older one came after it.
    pub(super) repeat_at: Option<Instant>,
}

/// A notification that is to be told.
#[derive(Debug)]
pub(super) struct Fired {
    pub(super) records: Vec<Record>,
    pub(super) at: Instant,
}

impl Observation {
    /// Begins with what the answer to the Observe carries.
    pub(super) fn new(
        path: Path,
        format: ContentFormat,
        rule: Rule,
        entries: Vec<Entry>,
        now: Instant,
    ) -> Self {
        Self {
            path,
            format,
            rule,
            monitor: Monitor::new(entries, now),
            confirmed_at: now,
            last: None,
            in_flight: false,
            is_held: false,
            waiting: VecDeque::new(),
            lapsed: false,
            is_newest_told: true,
            newest: None,
            repeat_at: None,
        }
    }

    /// Evaluates what is due and returns what is to be told, with the times of measurement.
    pub(super) fn fire(&mut self, view: View<'_>, now: Instant) -> Option<Vec<Record>> {
        let path = self.path;
        let entries = self.monitor.poll(&self.rule, now, || view.entries(path))?;
        let records = read::timed(view, &entries);
        self.monitor.handle_sent(entries, now);
        self.repeat_at = None;
        self.is_newest_told = false;
        self.newest = None;
        Some(records)
    }

    /// Returns the present values, where it is time to repeat them.
    pub(super) fn repeat(&mut self, view: View<'_>, now: Instant) -> Option<Vec<Record>> {
        self.repeat_at.take_if(|at| *at <= now)?;
        let records = read::timed(view, &view.entries(self.path));
        (!records.is_empty()).then_some(records)
    }

    /// Says whether a notification may go out.
    pub(super) const fn is_free(&self) -> bool {
        !self.in_flight && !self.is_held
    }

    /// Says whether the format can tell older values with their times.
    pub(super) const fn carries_times(&self) -> bool {
        read::is_senml(self.format)
    }

    /// Says whether it is time for a confirmable notification.
    pub(super) fn is_confirmation_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.confirmed_at) >= limits::CONFIRMABLE_AT_LEAST_EVERY
    }

    /// Returns when something is to be told or evaluated.
    pub(super) fn poll_timeout(&self, owing: bool, live: bool) -> Option<Instant> {
        let is_free = self.is_free();
        let evaluated = (owing || (live && is_free)).then(|| self.monitor.poll_timeout(&self.rule));
        let repeat = self.repeat_at.filter(|_| live && is_free);
        let waiting = self.waiting.front().map(|fired| {
            if self.lapsed || (live && is_free) {
                fired.at
            } else {
                fired.at + limits::OWED_AFTER
            }
        });
        evaluated.flatten().into_iter().chain(repeat).chain(waiting).min()
    }
}
