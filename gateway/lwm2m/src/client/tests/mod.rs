//! Tests of the client in simulated time, against a server played by hand.

use std::time::Instant;

/// Where the clock of a test begins; from there on time is a number that is added.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to make an Instant"
)]
pub(super) fn start() -> Instant {
    Instant::now()
}
