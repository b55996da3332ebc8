//! What the io of every protocol shares: the clocks, and waiting for a moment.

use std::time::{Instant, SystemTime};

use lwm2m_client::Timestamp;
use tokio::time::sleep_until;
use ucifi_core::Now;

/// A wall clock before 2025-01-01T00:00:00Z was never set.
const CLOCK_SET_MS: i64 = 1_735_689_600_000;

/// Reads both clocks: the one place of the adapters that does.
#[expect(
    clippy::disallowed_methods,
    reason = "engines are told the time, and here is where it comes from"
)]
pub(crate) fn now() -> Now {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let unix_ms = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    let wall = (unix_ms >= CLOCK_SET_MS).then(|| Timestamp::from_unix_ms(unix_ms));
    Now {
        instant: Instant::now(),
        wall,
    }
}

/// Waits until a moment; for ever where there is none.
pub(crate) async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
