//! Two endpoints and a made-up wire, in simulated time.

use std::time::Instant;

/// Returns the moment a simulated run begins at.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has no other origin; only differences to it are used"
)]
pub(super) fn start() -> Instant {
    Instant::now()
}
