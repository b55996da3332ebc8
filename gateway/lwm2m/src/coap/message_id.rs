//! Our own message ids: one after the other, and so slow that none comes again within EXCHANGE_LIFETIME.
//!
//! A peer answers a reused id from its cache, and what the message carried would be lost. Across a restart the
//! caller provides for it, with the first id it passes.

use std::time::{Duration, Instant};

/// Ids that may be taken at once after a pause.
const BURST: u32 = 128;
/// Ids per EXCHANGE_LIFETIME beside the burst; together they stay below 65,536.
const SUSTAINED: u32 = 65_400;

/// Gives out message ids.
#[derive(Debug)]
pub(super) struct MessageIds {
    next: u16,
    interval: Duration,
    /// When the ids taken so far would have been used up at the sustained rate.
    paid_until: Option<Instant>,
}

impl MessageIds {
    pub(super) fn new(first: u16, exchange_lifetime: Duration) -> Self {
        // Rounded up, so that the rate is never exceeded.
        let interval = exchange_lifetime / SUSTAINED + Duration::from_nanos(1);
        Self {
            next: first,
            interval,
            paid_until: None,
        }
    }

    /// Returns the next id, none while all are taken.
    pub(super) fn take(&mut self, now: Instant) -> Option<u16> {
        if self.available_at().is_some_and(|at| at > now) {
            return None;
        }
        self.paid_until = Some(self.paid_until.map_or(now, |until| until.max(now)) + self.interval);
        let id = self.next;
        self.next = id.wrapping_add(1);
        Some(id)
    }

    /// Returns when the next id is there, none where that is at once.
    pub(super) fn available_at(&self) -> Option<Instant> {
        self.paid_until
            .and_then(|until| until.checked_sub(self.interval * BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::tests::start;

    #[test]
    fn no_id_comes_again_within_the_exchange_lifetime() {
        let lifetime = Duration::from_secs(247);
        let start = start();
        let mut ids = MessageIds::new(65_000, lifetime);
        let mut last_use = vec![None; 65_536];
        let mut now = start;
        while now < start + lifetime * 3 {
            while let Some(id) = ids.take(now) {
                let before: Option<Instant> = last_use[usize::from(id)].replace(now);
                assert!(before.is_none_or(|at| now - at >= lifetime), "id {id} came again");
            }
            now = ids.available_at().unwrap().max(now + Duration::from_millis(1));
        }
    }

    #[test]
    fn the_sustained_rate_is_close_to_265_a_second() {
        let start = start();
        let mut ids = MessageIds::new(0, Duration::from_secs(247));
        let taken = (0..100_000)
            .filter(|ms| ids.take(start + Duration::from_millis(*ms)).is_some())
            .count();
        assert!((26_400..=26_650).contains(&taken), "{taken} in 100 s");
    }
}
