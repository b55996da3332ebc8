//! The network server with devices made of the device side of the crate `lorawan`, in simulated time.

mod cabinet;
mod class_a;
mod class_c;
#[cfg(feature = "io")]
mod io;
mod join;
mod lamp;
mod power_cut;
mod refused;

use std::sync::OnceLock;
use std::time::Instant;

/// Returns some instant to begin at.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; the test then owns the time"
)]
pub(super) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
