//! The engine of one bus.

use std::collections::VecDeque;
use std::time::Instant;

use ucifi_core::field::PointId;
use ucifi_core::{Downlink, Now};

use super::bus::{self, BusConfig, ConfigError, Event, UnitConfig};
use super::statistics::Statistics;

/// A Modbus client on one bus.
pub struct Client {
    events: VecDeque<Event>,
    statistics: Statistics,
}

impl Client {
    /// Begins without a connection: nothing is asked before [`Client::handle_connected`].
    ///
    /// # Errors
    /// When units or points cannot be polled as configured.
    pub fn new(
        config: BusConfig,
        units: Vec<UnitConfig>,
        seed: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        bus::check(&config, &units)?;
        let _ = (seed, now);
        Ok(Self {
            events: VecDeque::new(),
            statistics: Statistics::default(),
        })
    }

    /// Takes note that the port or the connection is open.
    pub fn handle_connected(&mut self, _now: Instant) {}

    /// Takes note that it is gone: every unit becomes unreachable.
    pub fn handle_disconnected(&mut self, _now: Instant) {}

    /// Takes received bytes, in any pieces.
    pub fn handle_bytes(&mut self, _bytes: &[u8], _now: Now) {}

    /// Takes a command; its end is told by [`Event::Delivery`].
    pub fn handle_downlink(&mut self, _downlink: Downlink, _now: Instant) {}

    /// Changes how often a point is wanted; 0 is once, at each connection.
    pub fn handle_interest(&mut self, _unit: u8, _point: PointId, _every_ms: u64, _now: Instant) {}

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// Returns the next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Returns the next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Client::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Returns the counters.
    pub fn statistics(&self, _now: Instant) -> Statistics {
        self.statistics.clone()
    }
}
