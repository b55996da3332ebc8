//! A bad line between gateway and server: it delays, loses, doubles and reorders datagrams, the same way each time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::EndpointId;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// From this endpoint to the server.
    Server(EndpointId),
    /// From the server to this endpoint.
    Gateway(EndpointId),
}

/// What is under way.
pub(crate) struct Wire {
    random: StdRng,
    loss: f64,
    doubling: f64,
    under_way: BTreeMap<(Instant, u64), (Destination, Vec<u8>)>,
    count: u64,
}

impl Wire {
    /// Returns a line that loses and doubles this share of the datagrams and takes up to half a second for one.
    pub(crate) fn new(seed: u64, loss: f64, doubling: f64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            loss,
            doubling,
            under_way: BTreeMap::new(),
            count: 0,
        }
    }

    /// Takes a datagram.
    pub(crate) fn carry(&mut self, to: Destination, datagram: Vec<u8>, now: Instant) {
        let copies = 1 + usize::from(self.random.random_bool(self.doubling));
        for _ in 0..copies {
            if !self.random.random_bool(self.loss) {
                let at = now + Duration::from_millis(self.random.random_range(5..500));
                self.count += 1;
                self.under_way.insert((at, self.count), (to, datagram.clone()));
            }
        }
    }

    /// Returns when the next datagram arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// Takes what has arrived.
    pub(crate) fn arrived(&mut self, now: Instant) -> Vec<(Destination, Vec<u8>)> {
        let later = self.under_way.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.under_way, later)
            .into_values()
            .collect()
    }
}
