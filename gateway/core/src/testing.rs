//! What the tests of this crate share: a clock that stands still, and a small device.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Instant;

use lwm2m_client::Timestamp;

use crate::Now;
use crate::profile::{Deadband, Point, PointClass};

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

/// Returns a point that is measured every ten seconds.
pub(crate) fn point(name: &str, path: &str) -> Point {
    Point {
        name: Arc::from(name),
        path: path.parse().unwrap(),
        unit: "".into(),
        class: PointClass::Measurement,
        every_ms: 10_000,
        deadband: Deadband::default(),
        heartbeat_ms: None,
    }
}
