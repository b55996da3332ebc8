//! Tests of the client in simulated time, against a server played by hand.
//!
//! The server's datagrams are written and read by coap-lite alone, so that no mistake of ours can cancel itself out.

mod device;
mod discover;
mod exchange;
mod hostile;
mod management;
mod observe;
mod owed;
mod peer;
mod read;
mod registration;
mod restart;
mod send;
mod server_object;

use std::time::Instant;

/// Where the clock of a test begins; from there on time is a number that is added.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to make an Instant"
)]
pub(super) fn start() -> Instant {
    Instant::now()
}
