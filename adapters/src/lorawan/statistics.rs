//! Counters of the network.

use std::collections::BTreeMap;

use super::event::WhyRefused;

/// Everything that was counted since the network server began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkStatistics {
    /// Frames that came.
    pub frames: u64,
    /// Uplinks that were taken.
    pub uplinks: u64,
    /// Uplinks among those that may have been taken before a crash.
    pub uncertain: u64,
    /// Frames that a device sent again.
    pub repeats: u64,
    /// Join-requests that were taken.
    pub joins: u64,
    /// Frames of devices that are not configured.
    pub unknown: u64,
    /// Frames of other servers, or of kinds that nobody here needs.
    pub foreign: u64,
    /// Frames that were refused.
    pub refused: BTreeMap<WhyRefused, u64>,
    /// Frames handed over for the windows after an uplink, join-accepts among them.
    pub answers: u64,
    /// Answers that were ready too late for any window.
    pub answers_missed: u64,
    /// Commands handed over for a device that always listens.
    pub commands: u64,
    /// Transmissions that a forwarder took.
    pub on_air: u64,
    /// Transmissions that none took.
    pub not_sent: u64,
    /// Saves that failed.
    pub save_failures: u64,
    /// Notices that were not told, since there were too many.
    pub notices_dropped: u64,
}
