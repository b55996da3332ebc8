//! What is known of one packet forwarder.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::airtime::Airtime;
use super::clock::Clock;
use super::limits;
use super::statistics::{Counters, ForwarderStatistics};
use crate::lorawan::gwmp::Version;

/// One packet forwarder.
#[derive(Debug)]
pub(super) struct Forwarder {
    /// The host that speaks for it.
    host: IpAddr,
    /// When it was last heard.
    heard: Instant,
    /// Where its latest PULL_DATA came from, and when.
    pulled: Option<(SocketAddr, Instant)>,
    /// Whether whoever listens believes it connected.
    pub(super) is_told: bool,
    /// The version that it speaks.
    pub(super) version: Version,
    /// Its counter.
    pub(super) clock: Clock,
    /// Its airtime.
    pub(super) airtime: Airtime,
    /// What is counted.
    pub(super) counters: Counters,
}

impl Forwarder {
    pub(super) fn new(host: IpAddr, version: Version, now: Instant) -> Self {
        Self {
            host,
            heard: now,
            pulled: None,
            is_told: false,
            version,
            clock: Clock::default(),
            airtime: Airtime::new(now),
            counters: Counters::default(),
        }
    }

    /// Notes that a host speaks for it; says whether it may. Whoever would take its place has to wait until it is silent.
    pub(super) fn note_heard(&mut self, host: IpAddr, version: Version, now: Instant) -> bool {
        if host != self.host {
            if now.saturating_duration_since(self.heard) < limits::HELD {
                self.counters.contested += 1;
                return false;
            }
            self.host = host;
            self.pulled = None;
        }
        self.heard = now;
        self.version = version;
        true
    }

    /// Notes where it can be reached.
    pub(super) fn note_pull(&mut self, from: SocketAddr, now: Instant) {
        self.pulled = Some((from, now));
    }

    /// Returns where it can be reached; none when it has not said so for a while.
    pub(super) fn address(&self, now: Instant) -> Option<SocketAddr> {
        let (address, at) = self.pulled?;
        (now < at + limits::CONNECTED).then_some(address)
    }

    /// Returns until when it counts as connected; none when it does not.
    pub(super) fn connected_until(&self) -> Option<Instant> {
        self.pulled.map(|(_, at)| at + limits::CONNECTED)
    }

    /// Says whether it was heard of late.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        now < self.heard + limits::CONNECTED
    }

    pub(super) fn statistics(&self, now: Instant) -> ForwarderStatistics {
        ForwarderStatistics {
            address: self.address(now),
            heard_ago: now.saturating_duration_since(self.heard),
            counters: self.counters,
            airtime: self.airtime.report(now),
        }
    }
}
