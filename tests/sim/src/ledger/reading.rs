//! One reading on its way to one server: how often the gateway heard it, and how far it got.

use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::{Path, Timestamp};

use super::Carrier;

/// How long a Send may be under way before it is given up: what a time that is told as so many seconds ago may be off.
const UNDER_WAY: Duration = Duration::from_secs(100);

/// Times go through seconds with a fraction.
const ROUNDING_MS: i64 = 1;

/// Whether a reading that was lost comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It does not.
    Once,
    /// It may, until whoever gives it is told that it was taken.
    MayRepeat,
    /// It does, until then.
    Repeats,
}

/// The circumstances in which the gateway was given a reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) at: Duration,
    /// What the gateway's clock said.
    pub(crate) wall: Option<Timestamp>,
    pub(crate) true_wall: Timestamp,
    pub(crate) start: u32,
}

/// Where a value came from, and how far it got.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) device: Arc<str>,
    pub(super) path: Path,
    pub(super) source: Source,
    /// Each time that the gateway heard it.
    pub(super) hearings: Vec<Hearing>,
    /// Whether whoever gave it was told that it was taken.
    pub(super) is_confirmed: bool,
    pub(super) was_stored: bool,
    pub(super) is_gone: bool,
    pub(super) lost_at: Option<Duration>,
}

/// One time that the gateway heard a reading.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) given: Given,
    /// Whether it was durable by then.
    pub(super) was_stored: bool,
    pub(super) arrivals: Vec<Carrier>,
}

impl Reading {
    pub(super) const fn new(device: Arc<str>, path: Path, source: Source) -> Self {
        Self {
            device,
            path,
            source,
            hearings: Vec::new(),
            is_confirmed: false,
            was_stored: false,
            is_gone: false,
            lost_at: None,
        }
    }

    pub(super) fn hear(&mut self, given: Given) {
        self.lost_at = None;
        self.hearings.push(Hearing {
            given,
            was_stored: self.was_stored,
            arrivals: Vec::new(),
        });
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.hearings.iter().any(Hearing::has_arrived)
    }

    /// Says whether nothing can lose it any more.
    pub(super) fn is_safe(&self) -> bool {
        self.has_arrived() || self.was_stored || self.is_gone
    }

    /// Says whether it is still to arrive.
    pub(super) fn is_open(&self) -> bool {
        !self.has_arrived() && self.lost_at.is_none() && !self.is_gone
    }

    /// Says whether it arrived after an earlier start had heard it.
    pub(super) fn is_late(&self) -> bool {
        let first = self.hearings.iter().find(|hearing| hearing.has_arrived());
        let late =
            first.and_then(|hearing| Some(hearing.arrivals.first()?.message.start > hearing.given.start));
        late.unwrap_or(false)
    }

    /// Returns under how many times it arrived, and under how many of them though it was durable before.
    pub(super) fn times(&self) -> (usize, usize) {
        let arrived = self.hearings.iter().filter(|hearing| hearing.has_arrived());
        let times: Vec<&Hearing> = arrived.collect();
        let again = times.iter().skip(1).filter(|hearing| hearing.was_stored);
        (times.len(), again.count())
    }

    /// Returns when the gateway heard it first after a time.
    pub(super) fn heard_since(&self, down: Option<Duration>) -> Option<Duration> {
        let mut times = self.hearings.iter().map(|hearing| hearing.given.at);
        times.find(|at| down.is_none_or(|down| *at > down))
    }
}

impl Hearing {
    pub(super) fn has_arrived(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Says how little is known of the time that it is told with: 0 is all.
    pub(super) fn doubt(&self, carrier: Carrier) -> u8 {
        match self.given.wall {
            Some(_) => 0,
            None if carrier.message.start == self.given.start => 1,
            None => 2,
        }
    }

    /// Says whether it may be told with this time. Without a clock the time is how long ago it was; of an earlier
    /// start that never had one, no more is known than what came before and after it.
    pub(super) fn allows(&self, time: Option<Timestamp>, carrier: Carrier) -> bool {
        let Some(time) = time else { return false };
        let given = &self.given;
        let late_ms = |from: Timestamp| time.unix_ms() - from.unix_ms();
        let since_given = carrier.sent.saturating_sub(given.at) + UNDER_WAY;
        let (low, high) = match given.wall {
            Some(wall) => return late_ms(wall).abs() <= ROUNDING_MS,
            None if carrier.message.start == given.start => (Duration::ZERO, UNDER_WAY),
            None => (given.at, since_given),
        };
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).expect("no run takes so long");
        (-ms(low) - ROUNDING_MS..=ms(high)).contains(&late_ms(given.true_wall))
    }
}
