//! What devices a run has, and over which protocols they give their readings.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use ucifi_sim::cabinet::Plan;

use super::log_uniform;

/// How likely a run has devices of all three protocols; of the others each has one.
const ALL_THREE: f64 = 0.4;

/// The devices with a radio.
pub(super) const NODES: [&str; 2] = ["e", "f"];

/// Adds the devices of a run: with one protocol there are more of them, and they say more.
pub(super) fn with_devices(mut plan: Plan, randomness: &mut StdRng) -> Plan {
    let is_all = randomness.random_bool(ALL_THREE);
    let only = randomness.random_range(0..3);
    let count = if is_all { 1 } else { randomness.random_range(1..=2) };
    let fastest_ms = if is_all { 1_500 } else { 500 };
    if is_all || only == 0 {
        for id in ["a", "b"].into_iter().take(count) {
            plan = plan.with_scripted(id, period(randomness, fastest_ms, 20_000));
        }
    }
    if is_all || only == 1 {
        for id in ["c", "d"].into_iter().take(count) {
            plan = plan.with_scripted_messages(id, period(randomness, fastest_ms, 20_000));
        }
    }
    if is_all || only == 2 {
        let is_confirmed = randomness.random_bool(0.5);
        for (id, is_confirmed) in NODES.into_iter().zip([is_confirmed, !is_confirmed]) {
            plan = plan.with_scripted_node(id, period(randomness, 4_000, 40_000), is_confirmed);
        }
    }
    plan
}

fn period(randomness: &mut StdRng, low_ms: u64, high_ms: u64) -> Duration {
    Duration::from_millis(log_uniform(randomness, low_ms, high_ms))
}
