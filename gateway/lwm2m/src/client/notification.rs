//! When to notify: the algorithm of LwM2M Core 1.2, section 6.4.2, for one observation.
//!
//! It knows values and times, nothing of CoAP.

use std::time::{Duration, Instant};

use super::attributes::Attributes;
use super::limits;
use crate::Value;
use crate::format::Entry;

/// What holds for one observation: the effective attributes with the defaults of object 1 filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) pmin_secs: u32,
    pub(super) pmax_secs: Option<u32>,
    pub(super) epmin_secs: Option<u32>,
    pub(super) epmax_secs: Option<u32>,
    /// Only where a single numeric resource or resource instance is observed.
    thresholds: Option<Thresholds>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Thresholds {
    gt: Option<f64>,
    lt: Option<f64>,
    st: Option<f64>,
}

impl Rule {
    /// Fills in the defaults. A `pmax` of zero or below `pmin` is ignored, as the standard says.
    pub(super) fn new(attributes: &Attributes, default_pmin: Option<u32>, default_pmax: Option<u32>) -> Self {
        let pmin_secs = attributes.pmin.or(default_pmin).unwrap_or(0);
        let pmax_secs = attributes.pmax.or(default_pmax);
        let any = attributes.gt.is_some() || attributes.lt.is_some() || attributes.st.is_some();
        Self {
            pmin_secs,
            pmax_secs: pmax_secs.filter(|&pmax| pmax > 0 && pmax >= pmin_secs),
            epmin_secs: attributes.epmin,
            epmax_secs: attributes.epmax.filter(|&epmax| epmax > 0),
            thresholds: any.then_some(Thresholds {
                gt: attributes.gt,
                lt: attributes.lt,
                st: attributes.st,
            }),
        }
    }

    /// Says whether values differ from those last sent in a way that is to be told.
    fn fires(&self, sent: &[Entry], current: &[Entry]) -> bool {
        let Some(thresholds) = self.thresholds else {
            return sent != current;
        };
        let same_paths =
            sent.len() == current.len() && sent.iter().zip(current).all(|(s, c)| s.path == c.path);
        let mut pairs = sent.iter().zip(current);
        !same_paths || pairs.any(|(s, c)| thresholds.fire(&s.value, &c.value))
    }
}

impl Thresholds {
    fn fire(&self, sent: &Value, current: &Value) -> bool {
        let (Some(old), Some(new)) = (sent.as_f64(), current.as_f64()) else {
            return sent != current;
        };
        let crosses = |t: Option<f64>| t.is_some_and(|t| (old <= t && new > t) || (old >= t && new < t));
        let steps = self.st.is_some_and(|st| old != new && (new - old).abs() >= st);
        crosses(self.gt) || crosses(self.lt) || steps
    }
}

/// The state of one observation.
#[derive(Debug)]
pub(super) struct Monitor {
    sent: Vec<Entry>,
    sent_at: Instant,
    /// When the one before that was sent.
    sent_before: Instant,
    evaluated_at: Instant,
    /// Values may have changed since the last evaluation.
    changed: bool,
    /// A notification is owed, as soon as pmin allows.
    pending: bool,
    /// Before this nothing owed is sent, because the last one was lost only just now.
    not_before: Instant,
}

impl Monitor {
    /// Begins with what the answer to the Observe carried.
    pub(super) const fn new(sent: Vec<Entry>, now: Instant) -> Self {
        Self {
            sent,
            sent_at: now,
            sent_before: now,
            evaluated_at: now,
            changed: false,
            pending: false,
            not_before: now,
        }
    }

    /// Goes on after a restart: where it is not known what was sent last, whatever there is is sent.
    pub(super) fn resume(sent: Option<Vec<Entry>>, now: Instant) -> Self {
        let pending = sent.is_none();
        Self {
            changed: true,
            pending,
            ..Self::new(sent.unwrap_or_default(), now)
        }
    }

    /// Owes a notification with the values of then.
    pub(super) const fn owe(&mut self) {
        self.pending = true;
    }

    /// Returns what has fired last.
    pub(super) fn last(&self) -> &[Entry] {
        &self.sent
    }

    /// Returns the values last sent, none where something else is owed already.
    pub(super) fn sent(&self) -> Option<&[Entry]> {
        (!self.pending).then_some(self.sent.as_slice())
    }

    /// Notes that values may have changed.
    pub(super) const fn handle_changed(&mut self) {
        self.changed = true;
    }

    /// Notes that the last notification did not arrive: another one is owed, in a while.
    pub(super) fn handle_lost(&mut self, now: Instant) {
        self.pending = true;
        self.not_before = now + limits::REPEAT_LOST_AFTER;
    }

    /// Notes that the last notification did not go out or was given up: pmin and pmax count from the one before it.
    pub(super) fn handle_dropped(&mut self, now: Instant) {
        self.sent_at = self.sent_before;
        self.handle_lost(now);
    }

    /// Evaluates what is due, and returns the values to send, where some are. Reads at most once.
    pub(super) fn poll(
        &mut self,
        rule: &Rule,
        now: Instant,
        read: impl FnOnce() -> Vec<Entry>,
    ) -> Option<Vec<Entry>> {
        if self.poll_timeout(rule).is_none_or(|at| now < at) {
            return None;
        }
        let current = read();
        if self.evaluation_at(rule).is_some_and(|at| now >= at) {
            self.pending |= rule.fires(&self.sent, &current);
            self.evaluated_at = now;
            self.changed = false;
        }
        if self.sending_at(rule).is_none_or(|at| now < at) {
            return None;
        }
        if current.is_empty() {
            // Nothing has a value: there is nothing to tell until the next change or the next pmax.
            self.pending = false;
            self.sent_at = now;
            return None;
        }
        Some(current)
    }

    /// Notes that a notification with these values went out.
    pub(super) fn handle_sent(&mut self, sent: Vec<Entry>, now: Instant) {
        let sent_before = self.sent_at;
        *self = Self {
            sent_before,
            ..Self::new(sent, now)
        };
    }

    /// Returns when [`poll`](Self::poll) has something to do.
    pub(super) fn poll_timeout(&self, rule: &Rule) -> Option<Instant> {
        let times = [self.evaluation_at(rule), self.sending_at(rule)];
        times.into_iter().flatten().min()
    }

    fn evaluation_at(&self, rule: &Rule) -> Option<Instant> {
        let earliest = self
            .changed
            .then(|| after(self.evaluated_at, rule.epmin_secs.unwrap_or(0)));
        let latest = rule.epmax_secs.map(|epmax| after(self.evaluated_at, epmax));
        earliest.into_iter().chain(latest).min()
    }

    fn sending_at(&self, rule: &Rule) -> Option<Instant> {
        let owed = self
            .pending
            .then(|| after(self.sent_at, rule.pmin_secs).max(self.not_before));
        let latest = rule
            .pmax_secs
            .map(|pmax| after(self.sent_at, pmax).max(self.not_before));
        owed.into_iter().chain(latest).min()
    }
}

fn after(start: Instant, secs: u32) -> Instant {
    start + Duration::from_secs(secs.into())
}

#[cfg(test)]
mod tests {
    use super::super::attributes::{AttributeChange, AttributeTable};
    use super::super::tests::start;
    use super::*;
    use crate::Path;

    /// One observation of /3303/0/5700 that begins at second 0 with the first value: the attributes, the values by
    /// the second at which they come, the notifications expected by the second at which they go out.
    type Row = (&'static str, &'static [(u64, f64)], &'static [(u64, f64)]);

    const ROWS: &[Row] = &[
        // Without attributes every change is told at once, and what is measured anew without a change is not.
        (
            "",
            &[(0, 20.0), (1, 20.0), (2, 21.0), (3, 20.0)],
            &[(2, 21.0), (3, 20.0)],
        ),
        // pmin holds back and sends the value of then, even if it has come back by then.
        (
            "pmin=10",
            &[(0, 20.0), (2, 25.0), (4, 26.0), (30, 27.0)],
            &[(10, 26.0), (30, 27.0)],
        ),
        ("pmin=10", &[(0, 20.0), (2, 25.0), (4, 20.0)], &[(10, 20.0)]),
        // pmax sends without any change, and starts anew with every notification.
        (
            "pmax=20",
            &[(0, 20.0), (5, 21.0)],
            &[(5, 21.0), (25, 21.0), (45, 21.0)],
        ),
        // A pmax of zero or below pmin is ignored.
        ("pmin=10&pmax=5", &[(0, 20.0)], &[]),
        ("pmax=0", &[(0, 20.0)], &[]),
        // gt and lt fire on crossing, in both directions, and not on staying beyond.
        (
            "gt=30",
            &[(0, 20.0), (1, 30.0), (2, 31.0), (3, 40.0), (4, 29.0), (5, 28.0)],
            &[(2, 31.0), (4, 29.0)],
        ),
        (
            "lt=10",
            &[(0, 20.0), (1, 10.0), (2, 9.0), (3, 5.0), (4, 10.5)],
            &[(2, 9.0), (4, 10.5)],
        ),
        // st compares with what was sent last, not with what was measured last.
        (
            "st=2",
            &[(0, 20.0), (1, 21.0), (2, 21.9), (3, 22.0), (4, 20.5), (5, 20.0)],
            &[(3, 22.0), (5, 20.0)],
        ),
        // The three are alternatives of each other.
        (
            "gt=30&st=5",
            &[(0, 28.0), (1, 31.0), (2, 33.0), (3, 36.0)],
            &[(1, 31.0), (3, 36.0)],
        ),
        // All three at once.
        (
            "lt=-10&gt=45&st=10",
            &[
                (0, 20.0),
                (1, 29.0),
                (2, 30.0),
                (3, 44.0),
                (4, 46.0),
                (5, -9.0),
                (6, -11.0),
            ],
            &[(2, 30.0), (3, 44.0), (4, 46.0), (5, -9.0), (6, -11.0)],
        ),
        // A threshold that fires within pmin is told at its end.
        ("pmin=10&gt=30", &[(0, 20.0), (3, 31.0), (5, 20.0)], &[(10, 20.0)]),
        // epmin spares evaluations: what comes and goes in between is not seen.
        ("epmin=10", &[(0, 20.0), (2, 25.0), (4, 20.0)], &[]),
        ("epmin=10", &[(0, 20.0), (2, 25.0)], &[(10, 25.0)]),
        (
            "epmin=5&epmax=10&pmax=30",
            &[(0, 20.0), (7, 21.0)],
            &[(7, 21.0), (37, 21.0)],
        ),
    ];

    #[test]
    fn an_observation_notifies_as_its_attributes_say() {
        for (attributes, values, expected) in ROWS {
            assert_eq!(
                simulate(attributes, values),
                *expected,
                "{attributes:?} {values:?}"
            );
        }
    }

    #[test]
    fn a_rule_takes_the_defaults_of_the_server_object() {
        let rule = Rule::new(&Attributes::default(), Some(5), Some(60));
        assert_eq!((rule.pmin_secs, rule.pmax_secs), (5, Some(60)));
        let own = Attributes {
            pmin: Some(0),
            pmax: Some(0),
            ..Attributes::default()
        };
        let rule = Rule::new(&own, Some(5), Some(60));
        assert_eq!((rule.pmin_secs, rule.pmax_secs), (0, None));
    }

    #[test]
    fn a_lost_notification_is_owed_again_but_not_at_once() {
        let start = start();
        let rule = Rule::new(&Attributes::default(), None, None);
        let mut monitor = Monitor::new(vec![entry(1.0)], start);
        assert_eq!(monitor.poll_timeout(&rule), None);
        monitor.handle_lost(start);
        assert_eq!(monitor.poll(&rule, start, || vec![entry(1.0)]), None);
        let later = start + limits::REPEAT_LOST_AFTER;
        assert_eq!(monitor.poll_timeout(&rule), Some(later));
        assert_eq!(
            monitor.poll(&rule, later, || vec![entry(1.0)]),
            Some(vec![entry(1.0)])
        );
    }

    #[test]
    fn what_has_no_value_is_not_told() {
        let start = start();
        let rule = Rule::new(&Attributes::default(), None, Some(10));
        let mut monitor = Monitor::new(vec![entry(1.0)], start);
        monitor.handle_changed();
        assert_eq!(monitor.poll(&rule, start, Vec::new), None);
        assert_eq!(monitor.poll(&rule, after(start, 10), Vec::new), None);
        assert_eq!(monitor.poll_timeout(&rule), Some(after(start, 20)));
    }

    fn simulate(attributes: &str, values: &[(u64, f64)]) -> Vec<(u64, f64)> {
        let rule = rule(attributes);
        let start = start();
        let mut value = values[0].1;
        let mut monitor = Monitor::new(vec![entry(value)], start);
        let mut told = Vec::new();
        for second in 1..=50 {
            if let Some((_, new)) = values.iter().find(|(at, _)| *at == second) {
                value = *new;
                monitor.handle_changed();
            }
            let now = start + Duration::from_secs(second);
            if let Some(entries) = monitor.poll(&rule, now, || vec![entry(value)]) {
                told.push((second, entries[0].value.as_f64().unwrap()));
                monitor.handle_sent(entries, now);
            }
        }
        told
    }

    fn rule(attributes: &str) -> Rule {
        let query: Vec<String> = attributes
            .split('&')
            .filter(|q| !q.is_empty())
            .map(str::to_owned)
            .collect();
        let mut table = AttributeTable::default();
        let path = Path::resource(3303, 0, 5700);
        table
            .apply(path, &AttributeChange::parse(&query).unwrap())
            .unwrap();
        Rule::new(&table.effective(path), None, None)
    }

    fn entry(value: f64) -> Entry {
        Entry {
            path: Path::resource(3303, 0, 5700),
            value: Value::Float(value),
        }
    }
}
