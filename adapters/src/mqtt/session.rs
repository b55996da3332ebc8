//! Whether the broker is connected, and when it is tried again.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::limits;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) state: State,
    /// Since when there is no connection; none while there is one.
    away_since: Option<Instant>,
    pause: Duration,
    rng: StdRng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is no connection, and the next attempt is due then.
    Waiting { until: Instant },
    /// One is being made, at most until then.
    Connecting { until: Instant },
    /// There is one.
    Connected { since: Instant },
    /// It is to be dropped, and nothing on it counts any more.
    Dropping,
}

impl Session {
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        Self {
            state: State::Waiting { until: now },
            away_since: Some(now),
            pause: Duration::from_millis(limits::FIRST_PAUSE_MS),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    pub(super) const fn handle_connected(&mut self, now: Instant) {
        self.state = State::Connected { since: now };
        self.away_since = None;
    }

    pub(super) fn handle_disconnected(&mut self, now: Instant) {
        self.away_since.get_or_insert(now);
        let good = Duration::from_millis(limits::GOOD_CONNECTION_MS);
        if let State::Connected { since } = self.state
            && now.saturating_duration_since(since) >= good
        {
            self.pause = Duration::from_millis(limits::FIRST_PAUSE_MS);
        }
        // So that a street of gateways does not come back to its broker in one moment.
        let share = self.rng.random_range(0.75..1.25);
        self.state = State::Waiting {
            until: now + self.pause.mul_f64(share),
        };
        self.pause = (self.pause * 2).min(Duration::from_millis(limits::LAST_PAUSE_MS));
    }

    /// Says whether it is time to connect, and takes note that it is done.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.state, State::Waiting { until } if until <= now);
        if is_due {
            let until = now + Duration::from_millis(limits::CONNECT_MS);
            self.state = State::Connecting { until };
        }
        is_due
    }

    /// Returns seconds until the broker is tried again.
    pub(super) fn retry_after_secs(&self, now: Instant) -> u32 {
        let until = match self.state {
            State::Waiting { until } | State::Connecting { until } => until,
            State::Connected { .. } | State::Dropping => now,
        };
        let millis = until.saturating_duration_since(now).as_millis();
        u32::try_from(millis.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
    }

    /// Returns since when the broker counts as away, or will.
    pub(super) fn away_at(&self) -> Option<Instant> {
        self.away_since
            .map(|since| since + Duration::from_millis(limits::AWAY_MS))
    }

    pub(super) const fn wake(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } | State::Connecting { until } => Some(until),
            State::Connected { .. } | State::Dropping => None,
        }
    }
}
