//! Simulated time.

use std::time::{Duration, Instant};

use lwm2m_client::Timestamp;
use ucifi_core::Now;

/// A monotonic clock that moves only when told, and a wall clock that may be unset or jump.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
    instant: Instant,
    /// What the wall clock would have said at the origin.
    wall_at_origin: Option<i64>,
}

impl Clock {
    /// Makes a clock that stands at its origin; its wall clock is not set.
    pub fn new() -> Self {
        let origin = Instant::now();
        Self {
            origin,
            instant: origin,
            wall_at_origin: None,
        }
    }

    /// Returns what both clocks say.
    pub fn now(&self) -> Now {
        let elapsed_ms = i64::try_from(self.elapsed().as_millis()).expect("no run takes so long");
        let wall = self
            .wall_at_origin
            .map(|at_origin| Timestamp::from_unix_ms(at_origin + elapsed_ms));
        Now {
            instant: self.instant,
            wall,
        }
    }

    /// Returns where the clock started: runs are compared by the time since then.
    pub const fn origin(&self) -> Instant {
        self.origin
    }

    /// Returns the time since the origin.
    pub fn elapsed(&self) -> Duration {
        self.instant - self.origin
    }

    /// Moves both clocks on; a time that has passed moves nothing.
    pub fn advance_to(&mut self, instant: Instant) {
        self.instant = self.instant.max(instant);
    }

    /// Sets the wall clock.
    pub fn set_wall(&mut self, wall: Timestamp) {
        let elapsed_ms = i64::try_from(self.elapsed().as_millis()).expect("no run takes so long");
        self.wall_at_origin = Some(wall.unix_ms() - elapsed_ms);
    }

    /// Moves the wall clock by so many milliseconds, if it is set.
    pub fn jump_wall(&mut self, by_ms: i64) {
        self.wall_at_origin = self.wall_at_origin.map(|at_origin| at_origin + by_ms);
    }

    /// Takes the wall clock away.
    pub const fn unset_wall(&mut self) {
        self.wall_at_origin = None;
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_unset_at_first_and_then_goes_with_the_monotonic_one() {
        let mut clock = Clock::new();
        assert_eq!(clock.now().wall, None);
        clock.advance_to(clock.origin() + Duration::from_millis(1500));
        clock.set_wall(Timestamp::from_unix_ms(1_000_000));
        clock.advance_to(clock.origin() + Duration::from_millis(2500));
        assert_eq!(clock.now().wall, Some(Timestamp::from_unix_ms(1_001_000)));
        clock.jump_wall(-500);
        assert_eq!(clock.now().wall, Some(Timestamp::from_unix_ms(1_000_500)));
        clock.advance_to(clock.origin());
        assert_eq!(clock.elapsed(), Duration::from_millis(2500));
        clock.unset_wall();
        assert_eq!(clock.now().wall, None);
    }
}
