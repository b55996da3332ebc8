//! When the client registers again and when it updates, with the chance that keeps clients apart.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::config::RetryPolicy;
use super::limits;

/// Counts failures and draws waits.
#[derive(Debug)]
pub(super) struct Schedule {
    retry: RetryPolicy,
    /// Failed attempts of this sequence.
    failures: u32,
    /// Failed sequences.
    sequences: u32,
    rng: StdRng,
}

impl Schedule {
    pub(super) fn new(retry: RetryPolicy, seed: u64) -> Self {
        Self {
            retry,
            failures: 0,
            sequences: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Forgets the failures so far.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
        self.sequences = 0;
    }

    /// Counts a failure, and returns how long to wait for the next attempt; none when it is time to give up.
    pub(super) fn back_off(&mut self, at_least_secs: Option<u32>) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let wait = if self.failures < self.retry.attempts {
            let factor = 2u32.saturating_pow(self.failures - 1);
            Duration::from_secs(self.retry.timer_secs.into()).saturating_mul(factor)
        } else {
            self.failures = 0;
            self.sequences = self.sequences.saturating_add(1);
            if self.sequences >= self.retry.sequences {
                return None;
            }
            Duration::from_secs(self.retry.sequence_delay_secs.into())
        };
        let wait = wait
            .min(limits::BACK_OFF)
            .mul_f64(self.rng.random_range(1.0..=1.5));
        let at_least = Duration::from_secs(at_least_secs.unwrap_or(0).into());
        Some(wait.max(at_least).min(limits::BACK_OFF))
    }

    /// Returns how long after a Register or Update the next Update goes out: early enough for all its repetitions,
    /// and up to a tenth earlier, so that clients that were started together do not stay together.
    pub(super) fn update_after(&mut self, lifetime_secs: u32) -> Option<Duration> {
        if lifetime_secs == 0 {
            return None;
        }
        let lifetime = Duration::from_secs(lifetime_secs.into());
        let latest = lifetime - limits::UPDATE_MARGIN.min(lifetime / 2);
        Some(latest.mul_f64(self.rng.random_range(0.9..=1.0)))
    }
}
