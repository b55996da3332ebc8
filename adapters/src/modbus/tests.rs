//! The client against simulated units.

use std::sync::OnceLock;
use std::time::Instant;

/// Returns the instant at which simulated time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; tests add to it"
)]
pub(super) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
