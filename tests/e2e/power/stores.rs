//! What the buffer of a run is kept on, and how much it may hold.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use ucifi_core::buffer::{AccountBound, Options};
use ucifi_sim::cabinet::StorePlan;

/// A buffer that holds all that a run has.
pub(super) fn store(randomness: &mut StdRng) -> StorePlan {
    let segment_bytes = [4 << 10, 16 << 10][randomness.random_range(0..2)];
    StorePlan {
        capacity: 1 << 20,
        options: Options {
            segment_bytes,
            max_bytes: 512 << 10,
            ..Options::default()
        },
        latency: Duration::from_millis([0, 20, 100][randomness.random_range(0..3)]),
    }
}

/// A buffer that readings outgrow: by bytes in all, by bytes of the server, or by age.
pub(super) fn small_store(randomness: &mut StdRng) -> StorePlan {
    let bound = [(2 << 10, None), (48 << 20, Some(60_000)), (48 << 20, None)];
    let (max_bytes, max_age_ms) = bound[randomness.random_range(0..bound.len())];
    let bound = AccountBound {
        max_bytes,
        max_age_ms,
    };
    StorePlan {
        capacity: 1 << 20,
        options: Options {
            segment_bytes: 4 << 10,
            max_bytes: 8 << 10,
            accounts: [("city".into(), bound)].into(),
        },
        ..StorePlan::default()
    }
}
