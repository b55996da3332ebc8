//! What the tests of this crate share: a clock that stands still, small devices, a server, and a cabinet of all that.

mod buffer;
mod cabinet;
mod disk;
mod node;
mod profile;
mod server;
mod state_store;
mod wire;

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use lwm2m_client::Timestamp;
use lwm2m_client::object::ObjectTable;

pub(crate) use buffer::TestBuffer;
pub(crate) use cabinet::{TestCabinet, device, one_server};
pub(crate) use disk::CrashDisk;
pub(crate) use node::{Node, VERIFY_MS, Way, broker, data, lamp, message, presence, radio};
pub(crate) use profile::{ABSENT, IMPOSSIBLE, Meter, Relay, coils, confirmed, point, words};
pub(crate) use server::Got;
pub(crate) use state_store::{Saves, StateStore};
pub(crate) use wire::Wire;

use crate::Now;

/// Returns the moment at which every test begins.
pub(crate) fn start() -> Now {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; all tests count from this one"
    )]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Now {
        instant: *START,
        wall: Some(Timestamp::from_unix_ms(1_760_000_000_000)),
    }
}

/// Returns the object table, read once.
pub(crate) fn table() -> Arc<ObjectTable> {
    static TABLE: LazyLock<Arc<ObjectTable>> = LazyLock::new(|| Arc::new(ObjectTable::builtin()));
    Arc::clone(&TABLE)
}
