//! A network that treats datagrams badly, the same way on every run with one seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::limits;

/// What happens to a datagram; the shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// How long every datagram takes.
    pub delay: Duration,
    /// How much longer it may take.
    pub jitter: Duration,
    /// The share that is lost.
    pub loss: f64,
    /// The share that arrives twice.
    pub duplication: f64,
    /// The share that is held back for three more delays, so that later ones overtake it.
    pub reordering: f64,
    /// When nothing gets through, as times since the start.
    pub partitions: Vec<Range<Duration>>,
}

impl Conditions {
    /// Returns a network that only takes 20 ms.
    pub const fn good() -> Self {
        Self {
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            partitions: Vec::new(),
        }
    }

    /// Returns a poor radio link: 100 to 300 ms, and of ten datagrams one is lost, one doubled and one overtaken.
    pub const fn poor() -> Self {
        Self {
            delay: Duration::from_millis(100),
            jitter: Duration::from_millis(200),
            loss: 0.1,
            duplication: 0.1,
            reordering: 0.1,
            partitions: Vec::new(),
        }
    }
}

/// Returns times of a run at which nothing gets through: about `share` of it, in pieces between the two lengths, short
/// ones as likely as long ones.
pub fn outages(
    seed: u64,
    run: Duration,
    lengths: &RangeInclusive<Duration>,
    share: f64,
) -> Vec<Range<Duration>> {
    let mut randomness = StdRng::seed_from_u64(seed);
    let (shortest, longest) = (
        lengths.start().as_secs_f64().ln(),
        lengths.end().as_secs_f64().ln(),
    );
    let mut outages = Vec::new();
    let mut at = Duration::ZERO;
    while at < run {
        let length = Duration::from_secs_f64(randomness.random_range(shortest..=longest).exp());
        at += length.mul_f64(randomness.random_range(0.0..=2.0) * (1.0 - share) / share);
        outages.push(at..at + length);
        at += length;
    }
    outages
}

/// A datagram that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its sender.
    pub from: SocketAddr,
    /// Where it arrived.
    pub to: SocketAddr,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// What happened to the datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// How many were sent.
    pub sent: u64,
    /// How many of them never arrive.
    pub lost: u64,
    /// How many of them arrive twice.
    pub duplicated: u64,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    conditions: Conditions,
    randomness: StdRng,
    start: Instant,
    under_way: BTreeMap<(Instant, u64), Datagram>,
    order: u64,
    counters: Counters,
}

impl Network {
    /// Makes a network; the times of its conditions count from `start`.
    pub fn new(conditions: Conditions, seed: u64, start: Instant) -> Self {
        Self {
            conditions,
            randomness: StdRng::seed_from_u64(seed),
            start,
            under_way: BTreeMap::new(),
            order: 0,
            counters: Counters::default(),
        }
    }

    /// Returns the conditions, to change them for what is sent from now on.
    pub const fn conditions_mut(&mut self) -> &mut Conditions {
        &mut self.conditions
    }

    /// Returns what happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, datagram: Datagram, now: Instant) {
        self.counters.sent += 1;
        if self.loses(now) {
            self.counters.lost += 1;
            return;
        }
        if self.randomness.random_bool(self.conditions.duplication) {
            self.counters.duplicated += 1;
            self.carry(datagram.clone(), now);
        }
        self.carry(datagram, now);
    }

    /// Returns the next datagram that has arrived by `now`.
    pub fn poll_datagram(&mut self, now: Instant) -> Option<Datagram> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Returns when the next datagram arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    fn loses(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.start);
        let parted = self
            .conditions
            .partitions
            .iter()
            .any(|times| times.contains(&elapsed));
        let lost = self.randomness.random_bool(self.conditions.loss);
        parted || lost || self.under_way.len() >= limits::MAX_DATAGRAMS
    }

    fn carry(&mut self, datagram: Datagram, now: Instant) {
        let jitter = self
            .conditions
            .jitter
            .mul_f64(self.randomness.random_range(0.0..=1.0));
        let overtaken = self.randomness.random_bool(self.conditions.reordering);
        let held = if overtaken {
            self.conditions.delay * 3
        } else {
            Duration::ZERO
        };
        self.order += 1;
        self.under_way.insert(
            (now + self.conditions.delay + jitter + held, self.order),
            datagram,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(conditions: Conditions, seed: u64, count: u32) -> (Vec<(Duration, u32)>, Counters) {
        let start = Instant::now();
        let mut network = Network::new(conditions, seed, start);
        let address = SocketAddr::from(([192, 0, 2, 1], 5683));
        for number in 0..count {
            let bytes = number.to_be_bytes().to_vec();
            let datagram = Datagram {
                from: address,
                to: address,
                bytes,
            };
            network.handle_datagram(datagram, start + Duration::from_millis(u64::from(number)));
        }
        let mut arrived = Vec::new();
        while let Some(at) = network.poll_timeout() {
            let datagram = network.poll_datagram(at).unwrap();
            arrived.push((at - start, u32::from_be_bytes(datagram.bytes.try_into().unwrap())));
        }
        (arrived, network.counters())
    }

    #[test]
    fn a_good_network_delivers_everything_in_order_after_its_delay() {
        let (arrived, counters) = run(Conditions::good(), 1, 3);
        let expected = [20, 21, 22]
            .map(Duration::from_millis)
            .into_iter()
            .zip(0..3)
            .collect::<Vec<_>>();
        assert_eq!(arrived, expected);
        assert_eq!(
            counters,
            Counters {
                sent: 3,
                lost: 0,
                duplicated: 0
            }
        );
    }

    #[test]
    fn a_poor_network_loses_doubles_and_reorders_the_same_datagrams_with_the_same_seed() {
        let (arrived, counters) = run(Conditions::poor(), 7, 1000);
        assert_eq!(run(Conditions::poor(), 7, 1000), (arrived.clone(), counters));
        assert_ne!(run(Conditions::poor(), 8, 1000).0, arrived);
        assert!(
            (50..150).contains(&counters.lost) && (50..150).contains(&counters.duplicated),
            "{counters:?}"
        );
        assert!(arrived.windows(2).any(|pair| pair[0].1 > pair[1].1));
    }

    #[test]
    fn nothing_gets_through_a_partition() {
        let partitions = vec![Duration::from_millis(10)..Duration::from_millis(20)];
        let (arrived, counters) = run(
            Conditions {
                partitions,
                ..Conditions::good()
            },
            1,
            30,
        );
        assert_eq!((arrived.len(), counters.lost), (20, 10));
    }

    #[test]
    fn outages_take_their_share_of_a_run_in_pieces_of_every_length() {
        let (run, lengths) = (
            Duration::from_secs(1_000_000),
            Duration::from_secs(1)..=Duration::from_secs(10_000),
        );
        let mut total = Duration::ZERO;
        let mut seen = [0; 4];
        for seed in 0..20 {
            let outages = outages(seed, run, &lengths, 0.25);
            assert!(outages.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for length in outages.iter().map(|outage| outage.end - outage.start) {
                total += length;
                seen[length.as_secs().ilog10().min(3) as usize] += 1;
            }
        }
        let share = total.as_secs_f64() / (run * 20).as_secs_f64();
        assert!((0.15..0.35).contains(&share), "{share}");
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
    }

    #[test]
    fn no_more_datagrams_are_under_way_than_the_bound_allows() {
        let count = limits::MAX_DATAGRAMS as u32 + 10;
        let delay = Duration::from_secs(1000);
        let (arrived, counters) = run(
            Conditions {
                delay,
                ..Conditions::good()
            },
            1,
            count,
        );
        assert_eq!((arrived.len(), counters.lost), (limits::MAX_DATAGRAMS, 10));
    }
}
