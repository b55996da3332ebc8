//! What a device's point last said that was news.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lwm2m_client::{Timestamp, Value, ValueType};

use crate::limits;
use crate::profile::{Point, PointClass};
use crate::tree::Key;

/// A point of one device, as the site wants it.
#[derive(Debug)]
pub(crate) struct PointState {
    /// Where its values go.
    pub(crate) key: Key,
    /// The type that its values must have.
    pub(crate) value_type: ValueType,
    /// How its values are hurried.
    pub(crate) class: PointClass,
    /// How often it is measured when nobody asks for more, in milliseconds; 0 is once.
    pub(crate) every_ms: u64,
    /// How often the field side was last told to measure it.
    pub(crate) told_ms: u64,
    /// Whether its last value was one that cannot be.
    pub(crate) faulty: bool,
    deadband: f64,
    heartbeat: Option<Duration>,
    news: Option<(Value, Instant)>,
    /// What it said last with times of the device's own.
    dated: VecDeque<(Timestamp, Value)>,
}

impl PointState {
    /// Returns a point that has said nothing yet.
    pub(crate) fn new(point: &Point, key: Key, value_type: ValueType, every_ms: u64) -> Self {
        Self {
            key,
            value_type,
            class: point.class,
            every_ms,
            told_ms: point.every_ms,
            faulty: false,
            deadband: point.deadband.width(),
            heartbeat: point.heartbeat_ms.map(Duration::from_millis),
            news: None,
            dated: VecDeque::new(),
        }
    }

    /// Says whether a value is news, and remembers it if so.
    ///
    /// It is compared with the last news, not with the last value: a slow drift is news when it has gone far enough.
    pub(crate) fn is_news(&mut self, value: &Value, at: Instant) -> bool {
        let old = match &self.news {
            Some((last, since)) => self.within_deadband(last, value) && !self.heartbeat_is_due(*since, at),
            None => false,
        };
        if !old {
            self.news = Some((value.clone(), at));
        }
        !old
    }

    /// Says whether it has said this before: a log that a device sends now and then has much in it that the one before
    /// had, and a frame may come twice. If not, remembers it.
    pub(crate) fn has_said(&mut self, value: &Value, measured: Timestamp) -> bool {
        let mut dated = self.dated.iter();
        let is_known = dated.any(|(time, said)| *time == measured && said == value);
        if !is_known {
            self.dated.push_back((measured, value.clone()));
            if self.dated.len() > limits::MAX_DATED_VALUES {
                self.dated.pop_front();
            }
        }
        is_known
    }

    /// Returns its last news and when that was.
    pub(crate) const fn news(&self) -> Option<&(Value, Instant)> {
        self.news.as_ref()
    }

    /// Takes its last news from before a restart.
    pub(crate) fn restore(&mut self, value: Value, since: Instant) {
        self.news = Some((value, since));
    }

    /// Returns when its present value is too old to be trusted: twice its interval after it was received.
    pub(crate) fn stale_at(&self, received: Instant) -> Option<Instant> {
        let twice = Duration::from_millis(self.every_ms.saturating_mul(2));
        (self.every_ms > 0).then(|| received.checked_add(twice))?
    }

    fn within_deadband(&self, last: &Value, value: &Value) -> bool {
        match (last.as_f64(), value.as_f64()) {
            (Some(last), Some(value)) if self.deadband > 0.0 => (value - last).abs() < self.deadband,
            _ => last == value,
        }
    }

    fn heartbeat_is_due(&self, since: Instant, at: Instant) -> bool {
        self.heartbeat
            .is_some_and(|heartbeat| at.saturating_duration_since(since) >= heartbeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn point(deadband: f64, heartbeat_ms: Option<u64>) -> PointState {
        let point = Point {
            deadband: crate::profile::Deadband::new(deadband).unwrap(),
            heartbeat_ms,
            ..testing::point("voltage", "/3421/0/1")
        };
        let key = crate::tree::key(point.path).unwrap();
        PointState::new(&point, key, ValueType::Float, 10_000)
    }

    fn news(point: &mut PointState, value: f64, after_secs: u64) -> bool {
        let at = testing::start().instant + Duration::from_secs(after_secs);
        point.is_news(&Value::Float(value), at)
    }

    #[test]
    fn without_a_deadband_any_change_is_news() {
        let mut point = point(0.0, None);
        assert!(news(&mut point, 230.0, 0), "the first value is");
        assert!(!news(&mut point, 230.0, 1));
        assert!(news(&mut point, 230.001, 2));
    }

    #[test]
    fn a_slow_drift_is_news_when_it_leaves_the_deadband() {
        let mut point = point(1.0, None);
        assert!(news(&mut point, 230.0, 0));
        assert!(!news(&mut point, 230.6, 1));
        assert!(news(&mut point, 231.0, 2));
        assert!(!news(&mut point, 230.5, 3));
    }

    #[test]
    fn the_heartbeat_makes_an_unchanged_value_news() {
        let mut point = point(1.0, Some(60_000));
        assert!(news(&mut point, 230.0, 0));
        assert!(!news(&mut point, 230.0, 59));
        assert!(news(&mut point, 230.0, 60));
        assert!(!news(&mut point, 230.0, 61));
    }
}
