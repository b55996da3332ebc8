//! Counters of the forwarders.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub use super::airtime::BandAirtime;
use crate::lorawan::ForwarderId;

/// Everything that was counted since the begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// By forwarder.
    pub forwarders: BTreeMap<ForwarderId, ForwarderStatistics>,
    /// Datagrams that are none of the protocol.
    pub undecodable: u64,
    /// Datagrams of forwarders that are not on the list, or one too many.
    pub unwelcome: u64,
    /// Frames that found nobody to take them.
    pub dropped: u64,
}

/// What is known of a forwarder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwarderStatistics {
    /// Where it can be reached; none while it cannot.
    pub address: Option<SocketAddr>,
    /// The time since it was last heard.
    pub heard_ago: Duration,
    /// What it has said and was told.
    pub counters: Counters,
    /// Its airtime in each sub-band.
    pub airtime: Vec<BandAirtime>,
}

/// Counters of a forwarder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that it was the first to report.
    pub frames: u64,
    /// Copies of frames that were reported before, by it or by another.
    pub duplicates: u64,
    /// Frames that it heard with a wrong CRC or none, as it counts itself.
    pub crc_errors: u64,
    /// Frames that it reported and that cannot be used.
    pub unusable: u64,
    /// Frames that it was told to send.
    pub told: u64,
    /// Frames among them that it took.
    pub sent: u64,
    /// Frames among them that it refused.
    pub refused: u64,
    /// Frames among them of which it said nothing in time.
    pub unanswered: u64,
    /// Frames that it sent with another power than asked for.
    pub other_power: u64,
    /// Datagrams from another host in its name.
    pub contested: u64,
}
