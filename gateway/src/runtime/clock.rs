//! The two clocks of the machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lwm2m_client::Timestamp;
use ucifi_core::Now;

/// 2024-01-01T00:00:00Z: a machine whose clock shows less has not been told the time since it was switched on.
const EARLIEST_UNIX_MS: i64 = 1_704_067_200_000;

/// Returns what the clocks show.
pub(crate) fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let unix_ms = since_1970.and_then(|d| i64::try_from(d.as_millis()).ok());
    Now {
        instant: Instant::now(),
        wall: wall(unix_ms),
    }
}

/// Says whether the time of day is known.
pub(crate) fn is_set() -> bool {
    now().wall.is_some()
}

fn wall(unix_ms: Option<i64>) -> Option<Timestamp> {
    unix_ms
        .filter(|ms| *ms >= EARLIEST_UNIX_MS)
        .map(Timestamp::from_unix_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_2024_counts_as_not_set() {
        assert_eq!(wall(Some(EARLIEST_UNIX_MS - 1)), None);
        assert_eq!(
            wall(Some(EARLIEST_UNIX_MS)),
            Some(Timestamp::from_unix_ms(EARLIEST_UNIX_MS))
        );
        assert_eq!(wall(None), None);
    }
}
