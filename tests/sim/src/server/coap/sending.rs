//! Messages on their way out, and message ids that have come in.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{EXCHANGE_LIFETIME, Transmission};
use crate::limits;

/// Confirmable messages that wait for their acknowledgement.
#[derive(Debug)]
pub(in crate::server) struct Sending {
    transmission: Transmission,
    randomness: StdRng,
    next_id: u16,
    open: BTreeMap<(SocketAddr, u16), Open>,
}

#[derive(Debug)]
struct Open {
    token: Vec<u8>,
    datagram: Vec<u8>,
    due: Instant,
    wait: Duration,
    repeats: u32,
}

/// What became of a confirmable message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum SendingEnd {
    /// Nobody acknowledged it: the token it carried.
    TimedOut { peer: SocketAddr, token: Vec<u8> },
    /// It is to be sent again.
    Repeat { peer: SocketAddr, datagram: Vec<u8> },
}

impl Sending {
    pub(in crate::server) fn new(transmission: Transmission, seed: u64) -> Self {
        let mut randomness = StdRng::seed_from_u64(seed);
        let next_id = randomness.random();
        Self {
            transmission,
            randomness,
            next_id,
            open: BTreeMap::new(),
        }
    }

    pub(in crate::server) const fn next_id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// Remembers a confirmable message that has just been sent.
    pub(in crate::server) fn sent(
        &mut self,
        peer: SocketAddr,
        id: u16,
        token: Vec<u8>,
        datagram: Vec<u8>,
        now: Instant,
    ) {
        let factor = self
            .randomness
            .random_range(1.0..=self.transmission.ack_random_factor.max(1.0));
        let wait = self.transmission.ack_timeout.mul_f64(factor);
        let open = Open {
            token,
            datagram,
            due: now + wait,
            wait,
            repeats: 0,
        };
        self.open.insert((peer, id), open);
    }

    /// Ends the repetition of a message that was acknowledged or reset; returns its token.
    pub(in crate::server) fn acknowledged(&mut self, peer: SocketAddr, id: u16) -> Option<Vec<u8>> {
        self.open.remove(&(peer, id)).map(|open| open.token)
    }

    /// Ends the repetition of whatever carries this token: its answer has come.
    pub(in crate::server) fn answered(&mut self, peer: SocketAddr, token: &[u8]) {
        self.open
            .retain(|(to, _), open| *to != peer || open.token != token);
    }

    /// Says whether a message to this peer waits for its acknowledgement.
    pub(in crate::server) fn is_busy(&self, peer: SocketAddr) -> bool {
        self.open.range((peer, 0)..=(peer, u16::MAX)).next().is_some()
    }

    pub(in crate::server) fn due(&mut self, now: Instant) -> Vec<SendingEnd> {
        let keys: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.due <= now)
            .map(|(key, _)| *key)
            .collect();
        keys.into_iter().filter_map(|key| self.repeat(key, now)).collect()
    }

    fn repeat(&mut self, key: (SocketAddr, u16), now: Instant) -> Option<SendingEnd> {
        let open = self.open.get_mut(&key)?;
        if open.repeats >= self.transmission.max_retransmit {
            let token = self.open.remove(&key)?.token;
            return Some(SendingEnd::TimedOut { peer: key.0, token });
        }
        open.repeats += 1;
        open.wait *= 2;
        open.due = now + open.wait;
        Some(SendingEnd::Repeat {
            peer: key.0,
            datagram: open.datagram.clone(),
        })
    }

    pub(in crate::server) fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|open| open.due).min()
    }
}

/// Message ids that came in, and what was replied to them.
#[derive(Debug, Default)]
pub(in crate::server) struct Seen {
    replies: BTreeMap<(SocketAddr, u16), Option<Vec<u8>>>,
    order: VecDeque<(Instant, (SocketAddr, u16))>,
}

impl Seen {
    /// Notes a message; returns what was replied to it before, where it is a repetition.
    pub(in crate::server) fn note(
        &mut self,
        peer: SocketAddr,
        id: u16,
        now: Instant,
    ) -> Option<Option<Vec<u8>>> {
        self.forget_old(now);
        if let Some(reply) = self.replies.get(&(peer, id)) {
            return Some(reply.clone());
        }
        self.replies.insert((peer, id), None);
        self.order.push_back((now, (peer, id)));
        None
    }

    /// Keeps the reply to a message, for its repetitions.
    pub(in crate::server) fn replied(&mut self, peer: SocketAddr, id: u16, datagram: &[u8]) {
        if let Some(reply) = self.replies.get_mut(&(peer, id)) {
            *reply = Some(datagram.to_vec());
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, key)) = self.order.front() {
            let old = now.saturating_duration_since(*at) >= EXCHANGE_LIFETIME;
            if !old && self.order.len() < limits::MAX_SEEN {
                return;
            }
            self.replies.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 5683))
    }

    #[test]
    fn a_message_is_repeated_at_doubled_intervals_and_then_given_up() {
        let start = Instant::now();
        let mut sending = Sending::new(Transmission::default(), 1);
        sending.sent(peer(), 7, vec![1], vec![9], start);
        let mut waits = Vec::new();
        let mut last = start;
        let end = loop {
            let due = sending.next_due().unwrap();
            waits.push(due - last);
            last = due;
            match sending.due(due).pop().unwrap() {
                SendingEnd::Repeat { .. } => {}
                end @ SendingEnd::TimedOut { .. } => break end,
            }
        };
        assert_eq!(
            end,
            SendingEnd::TimedOut {
                peer: peer(),
                token: vec![1]
            }
        );
        assert_eq!(waits.len(), 5);
        assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2), "{waits:?}");
        assert!((Duration::from_secs(2)..=Duration::from_secs(3)).contains(&waits[0]));
    }

    #[test]
    fn a_repetition_gets_the_first_reply_until_the_exchange_is_over() {
        let start = Instant::now();
        let mut seen = Seen::default();
        assert_eq!(seen.note(peer(), 7, start), None);
        assert_eq!(seen.note(peer(), 7, start), Some(None));
        seen.replied(peer(), 7, b"reply");
        assert_eq!(seen.note(peer(), 7, start), Some(Some(b"reply".to_vec())));
        assert_eq!(seen.note(peer(), 7, start + EXCHANGE_LIFETIME), None);
    }

    #[test]
    fn no_more_message_ids_are_remembered_than_the_bound_allows() {
        let start = Instant::now();
        let mut seen = Seen::default();
        for i in 0..limits::MAX_SEEN + 10 {
            let peer = SocketAddr::from(([10, 0, 0, 1], (i / 65_536) as u16));
            seen.note(peer, (i % 65_536) as u16, start);
        }
        assert!(seen.replies.len() <= limits::MAX_SEEN && seen.order.len() <= limits::MAX_SEEN);
    }
}
