//! The readings that one endpoint still owes its server by Send: a bounded queue in memory.
//!
//! ```text
//!            push                    take                    Delivered
//!  readings ──────► alarms, others ──────► under way ───────────────────► gone
//!                        ▲  │ full: oldest        │ anything else
//!                        │  └──► dropped          │
//!                        └────────────────────────┘ after a pause, in their old order
//! ```
//! Nothing here survives a restart.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use lwm2m_client::Timestamp;
use lwm2m_client::client::{SendId, SendOutcome};
use lwm2m_client::coap::Code;
use lwm2m_client::format::{Entry, Record, RecordTime};

use crate::limits;

/// A reading as the server is to be told it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owed {
    /// The value, in the server's model.
    pub(crate) entry: Entry,
    /// When it was measured.
    pub(crate) time: Option<Timestamp>,
    /// When it was received.
    pub(crate) received: Instant,
    /// Whether somebody should act on it.
    pub(crate) alarm: bool,
}

/// What an endpoint owes.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// How many readings the server has acknowledged.
    pub(crate) delivered: u64,
    /// How many readings were dropped.
    pub(crate) dropped: u64,
    capacity: usize,
    alarms: VecDeque<Owed>,
    others: VecDeque<Owed>,
    under_way: Option<(SendId, Vec<Owed>)>,
    next_send: u64,
    /// How many readings the next Send may hold.
    batch: usize,
    /// How often in a row the server has refused.
    refusals: u32,
    /// How often in a row it has called the readings bad.
    bad_requests: u32,
    paused_until: Option<Instant>,
}

/// What follows from the end of a Send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server has them.
    Paid,
    /// They go again later.
    Again,
    /// The server refuses this one reading for good: it was set aside.
    Poison,
}

impl Outbox {
    /// Returns an empty queue for at most `capacity` readings.
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            delivered: 0,
            dropped: 0,
            capacity,
            alarms: VecDeque::new(),
            others: VecDeque::new(),
            under_way: None,
            next_send: 0,
            batch: limits::MAX_READINGS_PER_SEND,
            refusals: 0,
            bad_requests: 0,
            paused_until: None,
        }
    }

    /// Returns how many readings wait or are under way.
    pub(crate) fn len(&self) -> usize {
        let under_way = self.under_way.as_ref().map_or(0, |(_, owed)| owed.len());
        self.alarms.len() + self.others.len() + under_way
    }

    /// Puts a reading behind the others of its kind; says how many older ones had to go for it.
    pub(crate) fn push(&mut self, owed: Owed) -> usize {
        if owed.alarm {
            self.alarms.push_back(owed);
        } else {
            self.others.push_back(owed);
        }
        self.evict()
    }

    /// Forgets everything; says how much that was.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.len();
        self.alarms.clear();
        self.others.clear();
        self.under_way = None;
        self.dropped += count as u64;
        count
    }

    /// Returns when a pause ends, where there is something to send after it.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.under_way.is_none() && self.len() > 0;
        self.paused_until.filter(|_| waits)
    }

    /// Takes the next readings to send: alarms first, then the others from the oldest on.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(SendId, Vec<Record>)> {
        if self.under_way.is_some() || self.paused_until.is_some_and(|until| until > now) {
            return None;
        }
        let mut owed: Vec<Owed> = Vec::new();
        while owed.len() < self.batch {
            let Some(next) = self.alarms.pop_front().or_else(|| self.others.pop_front()) else {
                break;
            };
            owed.push(next);
        }
        if owed.is_empty() {
            return None;
        }
        let owed = one_a_moment(owed);
        let id = SendId(self.next_send);
        self.next_send += 1;
        self.paused_until = None;
        let records = owed.iter().map(|owed| owed.record(now)).collect();
        self.under_way = Some((id, owed));
        Some((id, records))
    }

    /// Puts back what [`take`](Self::take) gave and could not be sent.
    pub(crate) fn put_back(&mut self, id: SendId) {
        if let Some((_, owed)) = self.under_way.take_if(|(under_way, _)| *under_way == id) {
            for owed in owed.into_iter().rev() {
                if owed.alarm {
                    self.alarms.push_front(owed);
                } else {
                    self.others.push_front(owed);
                }
            }
        }
    }

    /// Takes what became of a Send; what comes of it goes with the next [`take`](Self::take).
    pub(crate) fn handle_finished(&mut self, id: SendId, outcome: SendOutcome, now: Instant) -> Verdict {
        match outcome {
            SendOutcome::Delivered => self.pay(id),
            SendOutcome::Rejected(Code::BAD_REQUEST) => self.handle_bad_request(id, now),
            SendOutcome::Rejected(Code::REQUEST_ENTITY_TOO_LARGE) => self.split(id),
            SendOutcome::Rejected(_) | SendOutcome::TimedOut => {
                self.put_back(id);
                self.pause(now);
                Verdict::Again
            }
            SendOutcome::Lost => {
                self.put_back(id);
                Verdict::Again
            }
        }
    }

    /// Makes the next Send smaller because this one cannot be made; a single reading is set aside.
    pub(crate) fn split(&mut self, id: SendId) -> Verdict {
        let sent = self.under_way.as_ref().map_or(0, |(_, owed)| owed.len());
        if sent <= 1 {
            self.under_way = None;
            self.dropped += sent as u64;
            self.bad_requests = 0;
            return Verdict::Poison;
        }
        self.batch = sent / 2;
        self.put_back(id);
        Verdict::Again
    }

    /// Ends a pause: the server has just shown that it is there.
    pub(crate) fn resume(&mut self) {
        self.paused_until = None;
    }

    fn pay(&mut self, id: SendId) -> Verdict {
        if let Some((_, owed)) = self.under_way.take_if(|(under_way, _)| *under_way == id) {
            self.delivered += owed.len() as u64;
        }
        self.refusals = 0;
        self.bad_requests = 0;
        self.batch = (self.batch * 2).min(limits::MAX_READINGS_PER_SEND);
        Verdict::Paid
    }

    /// Some servers say 4.00 where they have no such registration: the first one is repeated as it is, after the
    /// Update that the client sends. Only from the second on are the readings themselves under suspicion.
    fn handle_bad_request(&mut self, id: SendId, now: Instant) -> Verdict {
        self.bad_requests += 1;
        if self.bad_requests > 1 {
            return self.split(id);
        }
        self.put_back(id);
        self.pause(now);
        Verdict::Again
    }

    fn pause(&mut self, now: Instant) {
        let factor = 1u32.checked_shl(self.refusals.min(16)).unwrap_or(u32::MAX);
        let pause = limits::SEND_BACKOFF
            .saturating_mul(factor)
            .min(limits::MAX_SEND_BACKOFF);
        self.refusals += 1;
        self.paused_until = now.checked_add(pause);
    }

    fn evict(&mut self) -> usize {
        let mut evicted = 0;
        while self.len() > self.capacity {
            if self
                .others
                .pop_front()
                .or_else(|| self.alarms.pop_front())
                .is_none()
            {
                break;
            }
            evicted += 1;
        }
        self.dropped += evicted as u64;
        evicted
    }
}

impl Owed {
    fn record(&self, now: Instant) -> Record {
        let time = match self.time {
            Some(time) => RecordTime::Absolute(time),
            None => RecordTime::RelativeMs(-milliseconds(now.saturating_duration_since(self.received))),
        };
        Record {
            entry: self.entry.clone(),
            time: Some(time),
        }
    }
}

/// Leaves of each resource and moment the last value only: a server cannot tell two of them apart.
fn one_a_moment(owed: Vec<Owed>) -> Vec<Owed> {
    let mut seen = BTreeSet::new();
    let mut latest: Vec<Owed> = owed
        .into_iter()
        .rev()
        .filter(|owed| seen.insert((owed.entry.path, owed.time, owed.received)))
        .collect();
    latest.reverse();
    latest
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use lwm2m_client::{Path, Value};

    use super::*;
    use crate::testing;

    const BAD_REQUEST: SendOutcome = SendOutcome::Rejected(Code::BAD_REQUEST);

    fn owed(number: i64, alarm: bool) -> Owed {
        Owed {
            entry: Entry {
                path: Path::resource(3421, 0, 1),
                value: Value::Integer(number),
            },
            time: Some(Timestamp::from_unix_ms(number)),
            received: testing::start().instant,
            alarm,
        }
    }

    fn filled(capacity: usize, numbers: std::ops::Range<i64>) -> Outbox {
        let mut outbox = Outbox::new(capacity);
        for number in numbers {
            outbox.push(owed(number, false));
        }
        outbox
    }

    fn numbers(records: &[Record]) -> Vec<i64> {
        let number = |record: &Record| record.entry.value.as_f64().unwrap() as i64;
        records.iter().map(number).collect()
    }

    fn at(secs: u64) -> Instant {
        testing::start().instant + Duration::from_secs(secs)
    }

    #[test]
    fn readings_go_in_order_and_alarms_before_them() {
        let mut outbox = filled(10, 0..3);
        outbox.push(owed(9, true));
        let (id, records) = outbox.take(at(0)).unwrap();
        assert_eq!(numbers(&records), [9, 0, 1, 2]);
        assert!(outbox.take(at(0)).is_none(), "one Send at a time");
        assert_eq!(
            outbox.handle_finished(id, SendOutcome::Delivered, at(1)),
            Verdict::Paid
        );
        assert_eq!((outbox.len(), outbox.delivered), (0, 4));
    }

    #[test]
    fn a_resource_has_one_value_at_one_moment() {
        let mut outbox = filled(10, 0..2);
        outbox.push(Owed {
            entry: Entry {
                value: Value::Integer(77),
                ..owed(1, false).entry
            },
            ..owed(1, false)
        });
        let (_, records) = outbox.take(at(0)).unwrap();
        assert_eq!(numbers(&records), [0, 77]);
    }

    #[test]
    fn a_send_holds_no_more_readings_than_a_server_takes() {
        let mut outbox = filled(1_000, 0..100);
        let (_, records) = outbox.take(at(0)).unwrap();
        assert_eq!(records.len(), limits::MAX_READINGS_PER_SEND);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_them() {
        let mut outbox = filled(3, 0..3);
        assert_eq!(outbox.push(owed(3, false)), 1);
        assert_eq!(outbox.push(owed(4, true)), 1);
        assert_eq!((outbox.len(), outbox.dropped), (3, 2));
        let (_, records) = outbox.take(at(0)).unwrap();
        assert_eq!(numbers(&records), [4, 2, 3], "an alarm outlives a measurement");
    }

    #[test]
    fn what_the_server_did_not_take_goes_again_after_a_pause_that_grows() {
        let mut outbox = filled(10, 0..2);
        let (id, _) = outbox.take(at(0)).unwrap();
        assert_eq!(
            outbox.handle_finished(id, SendOutcome::TimedOut, at(0)),
            Verdict::Again
        );
        outbox.push(owed(2, false));
        assert_eq!(outbox.poll_timeout(), Some(at(5)));
        assert!(outbox.take(at(4)).is_none());
        let (id, records) = outbox.take(at(5)).unwrap();
        assert_eq!(numbers(&records), [0, 1, 2]);
        outbox.handle_finished(id, SendOutcome::TimedOut, at(5));
        assert_eq!(outbox.poll_timeout(), Some(at(15)));
        for _ in 0..40 {
            let (id, _) = outbox.take(at(100_000)).unwrap();
            outbox.handle_finished(id, SendOutcome::TimedOut, at(0));
        }
        assert_eq!(outbox.poll_timeout(), Some(at(300)), "the pause has a bound");
    }

    #[test]
    fn only_a_repeated_bad_request_is_halved_until_the_bad_reading_is_alone() {
        let mut outbox = filled(10, 0..4);
        let (id, first) = outbox.take(at(0)).unwrap();
        assert_eq!(outbox.handle_finished(id, BAD_REQUEST, at(0)), Verdict::Again);
        let mut delivered = Vec::new();
        let mut verdicts = Vec::new();
        for round in 1..10 {
            let Some((id, records)) = outbox.take(at(round * 1000)) else {
                break;
            };
            if round == 1 {
                assert_eq!(records, first, "first the same Send again");
            }
            let poisoned = numbers(&records).contains(&2);
            let outcome = if poisoned {
                BAD_REQUEST
            } else {
                SendOutcome::Delivered
            };
            if !poisoned {
                delivered.extend(numbers(&records));
            }
            verdicts.push(outbox.handle_finished(id, outcome, at(round * 1000)));
        }
        assert_eq!(delivered, [0, 1, 3]);
        assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Poison).count(), 1);
        assert_eq!((outbox.len(), outbox.dropped), (0, 1));
    }

    #[test]
    fn a_send_that_is_too_large_becomes_smaller_at_once() {
        let mut outbox = filled(10, 0..4);
        let (id, _) = outbox.take(at(0)).unwrap();
        let too_large = SendOutcome::Rejected(Code::REQUEST_ENTITY_TOO_LARGE);
        outbox.handle_finished(id, too_large, at(0));
        let (_, records) = outbox.take(at(0)).unwrap();
        assert_eq!(numbers(&records), [0, 1]);
    }

    #[test]
    fn without_a_clock_the_time_is_how_long_ago_it_was() {
        let mut outbox = Outbox::new(10);
        outbox.push(Owed {
            time: None,
            ..owed(1, false)
        });
        let (_, records) = outbox.take(at(7)).unwrap();
        assert_eq!(records[0].time, Some(RecordTime::RelativeMs(-7_000)));
    }
}
