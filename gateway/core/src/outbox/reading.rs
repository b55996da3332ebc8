//! A reading on its way to the servers, and what its time is told by.

use std::time::Instant;

use lwm2m_client::format::RecordTime;
use lwm2m_client::{Path, Timestamp, Value};

use crate::buffer::{Loaded, Moment, Record};

/// A reading, in the newest model: a server is shown it in its own model when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// Its number.
    pub(crate) seq: u64,
    /// The resource or resource instance.
    pub(crate) path: Path,
    /// The value.
    pub(crate) value: Value,
    /// When it was measured.
    pub(crate) moment: Moment,
    /// Whether that time was placed between those of its neighbors.
    pub(crate) is_estimated: bool,
}

/// What the times of this run are counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The number of this start.
    pub(crate) boot: u32,
    /// When it was.
    pub(crate) start: Instant,
}

impl Reading {
    /// Returns about how many bytes it takes on disk: what a typical one does, and what its value brings along.
    pub(crate) fn size(&self) -> usize {
        const TYPICAL: usize = 8;
        TYPICAL
            + match &self.value {
                Value::String(text) | Value::Corelnk(text) => text.len(),
                Value::Opaque(bytes) => bytes.len(),
                Value::Integer(_)
                | Value::Unsigned(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Time(_)
                | Value::Objlnk(..) => 0,
            }
    }

    /// Returns it as it goes to disk.
    pub(crate) fn record(&self) -> Record {
        Record {
            seq: self.seq,
            path: self.path,
            value: self.value.clone(),
            moment: self.moment,
        }
    }

    /// Returns the wall time at which it was measured, where that is known.
    pub(crate) const fn wall(&self) -> Option<Timestamp> {
        match self.moment {
            Moment::Wall(time) => Some(time),
            Moment::Boot { .. } => None,
        }
    }
}

impl From<Loaded> for Reading {
    fn from(loaded: Loaded) -> Self {
        Self {
            seq: loaded.seq,
            path: loaded.path,
            value: loaded.value,
            moment: loaded.moment,
            is_estimated: loaded.is_estimated,
        }
    }
}

impl Clock {
    /// Returns the moment of what was measured at a wall time, where there was one, and received at an instant.
    pub(crate) fn moment(&self, time: Option<Timestamp>, received: Instant) -> Moment {
        match time {
            Some(time) => Moment::Wall(time),
            None => Moment::Boot {
                boot: self.boot,
                ms: self.ms(received),
            },
        }
    }

    /// Returns the milliseconds since the start.
    pub(crate) fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time of a moment as a server is told it: how long ago it was where the clock was not set. What an
    /// earlier start measured without a clock is at least as old as this start.
    pub(crate) fn tell(&self, moment: Moment, now: Instant) -> RecordTime {
        match moment {
            Moment::Wall(time) => RecordTime::Absolute(time),
            Moment::Boot { boot, ms } => {
                let ms = if boot == self.boot { ms } else { 0 };
                let age = self.ms(now).saturating_sub(ms);
                RecordTime::RelativeMs(i64::try_from(age).map_or(i64::MIN, |age| -age))
            }
        }
    }
}
