//! Counters of a bus and of each unit on it.

use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that was counted since the client began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// What belongs to no unit.
    pub bus: BusStatistics,
    /// By unit address.
    pub units: BTreeMap<u8, UnitStatistics>,
    /// The time since the client began.
    pub elapsed: Duration,
}

impl Statistics {
    /// Returns the share of the time in which the bus was occupied by a unit, 0 to 1.
    pub fn busy_share(&self, unit: u8) -> f64 {
        let busy = self.units.get(&unit).map_or(Duration::ZERO, |u| u.busy);
        if self.elapsed.is_zero() {
            0.0
        } else {
            busy.as_secs_f64() / self.elapsed.as_secs_f64()
        }
    }
}

/// Counters of a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusStatistics {
    /// Bytes that were part of no frame.
    pub garbage_bytes: u64,
    /// Whole frames of units that are not configured.
    pub foreign_frames: u64,
    /// Times the port or the connection was opened.
    pub connections: u64,
    /// Commands that found the queue full.
    pub commands_dropped: u64,
}

/// Counters of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitStatistics {
    /// Requests sent.
    pub requests: u64,
    /// Requests answered with what was asked for.
    pub ok: u64,
    /// Requests that nothing valid answered in time.
    pub timeouts: u64,
    /// Requests among those where bytes came, but no valid frame: corrupt or cut short.
    pub crc_errors: u64,
    /// Requests answered with an exception.
    pub exceptions: u64,
    /// Whole frames of this unit that answered no open request.
    pub late_discarded: u64,
    /// Bytes sent to it.
    pub bytes_sent: u64,
    /// Bytes of its valid frames.
    pub bytes_received: u64,
    /// The time that the bus was occupied by requests to it and their answers.
    pub busy: Duration,
    /// The smoothed time from the end of a request to the begin of its answer; zero until one is known.
    pub turnaround: Duration,
    /// The longest such time.
    pub turnaround_max: Duration,
}

impl UnitStatistics {
    /// Takes a measured turnaround into the smoothed one, an eighth each.
    pub(super) fn note_turnaround(&mut self, measured: Duration) {
        self.turnaround = if self.turnaround.is_zero() {
            measured
        } else {
            (self.turnaround * 7 + measured) / 8
        };
        self.turnaround_max = self.turnaround_max.max(measured);
    }
}
