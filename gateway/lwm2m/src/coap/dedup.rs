//! The peer's message ids of the last EXCHANGE_LIFETIME, and what was replied to each (RFC 7252, section 4.5).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::limits::{DEDUP_BYTES_MAX, DEDUP_ENTRIES_MAX};

/// What is known of a message that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// It is new and noted.
    First,
    /// It came before; this was replied, if anything was.
    Repeated(Option<Vec<u8>>),
}

#[derive(Debug)]
struct Entry {
    fingerprint: u64,
    safe: bool,
    seen: Instant,
    reply: Option<Vec<u8>>,
}

/// The table of message ids seen.
#[derive(Debug)]
pub(super) struct Dedup {
    lifetime: Duration,
    entries: BTreeMap<u16, Entry>,
    /// Those of safe requests, which are forgotten first: RFC 7252, section 4.5, lets what is idempotent be done
    /// again, but a burst of reads must not make an Execute happen twice.
    safe: VecDeque<(u16, Instant)>,
    others: VecDeque<(u16, Instant)>,
    reply_bytes: usize,
}

impl Dedup {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            entries: BTreeMap::new(),
            safe: VecDeque::new(),
            others: VecDeque::new(),
            reply_bytes: 0,
        }
    }

    /// Notes a message, and says whether it was seen before.
    ///
    /// An id that comes with other bytes is no repetition but that of a peer that restarted: its first request
    /// must not be answered with what its predecessor asked for.
    pub(super) fn note(&mut self, id: u16, safe: bool, datagram: &[u8], now: Instant) -> Sighting {
        self.expire(now);
        let fingerprint = fingerprint(datagram);
        if let Some(entry) = self
            .entries
            .get(&id)
            .filter(|entry| entry.fingerprint == fingerprint)
        {
            return Sighting::Repeated(entry.reply.clone());
        }
        self.remove(id);
        self.entries.insert(
            id,
            Entry {
                fingerprint,
                safe,
                seen: now,
                reply: None,
            },
        );
        self.order(safe).push_back((id, now));
        // The orders may name an id twice, the table does not: so their length is the one to bound.
        while self.safe.len() + self.others.len() > DEDUP_ENTRIES_MAX {
            self.remove_oldest(!self.safe.is_empty());
        }
        Sighting::First
    }

    /// Keeps what was replied to a message, in place of what was replied before.
    pub(super) fn set_reply(&mut self, id: u16, reply: &[u8]) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let before = entry.reply.replace(reply.to_vec()).map_or(0, |bytes| bytes.len());
        self.reply_bytes += reply.len();
        self.reply_bytes -= before;
        while self.reply_bytes > DEDUP_BYTES_MAX {
            self.remove_oldest(!self.safe.is_empty());
        }
    }

    const fn order(&mut self, safe: bool) -> &mut VecDeque<(u16, Instant)> {
        if safe { &mut self.safe } else { &mut self.others }
    }

    fn expire(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        for safe in [true, false] {
            let is_over = |seen: Instant| now.saturating_duration_since(seen) >= lifetime;
            while self.order(safe).front().is_some_and(|(_, seen)| is_over(*seen)) {
                self.remove_oldest(safe);
            }
        }
    }

    fn remove_oldest(&mut self, safe: bool) {
        let Some((id, seen)) = self.order(safe).pop_front() else {
            return;
        };
        // An id that was noted anew has a later place in an order too.
        if self
            .entries
            .get(&id)
            .is_some_and(|entry| entry.seen == seen && entry.safe == safe)
        {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u16) {
        let removed = self.entries.remove(&id);
        self.reply_bytes -= removed
            .and_then(|entry| entry.reply)
            .map_or(0, |bytes| bytes.len());
    }
}

/// FNV-1a, 64 bits: tells different bytes apart; an attacker who can choose them gains nothing.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::tests::start;

    const LIFETIME: Duration = Duration::from_secs(247);

    #[test]
    fn a_repetition_gets_the_reply_of_the_first() {
        let mut dedup = Dedup::new(LIFETIME);
        let now = start();
        assert_eq!(dedup.note(7, false, b"ask", now), Sighting::First);
        assert_eq!(dedup.note(7, false, b"ask", now), Sighting::Repeated(None));
        dedup.set_reply(7, b"wait");
        dedup.set_reply(7, b"answer");
        assert_eq!(
            dedup.note(7, false, b"ask", now + LIFETIME / 2),
            Sighting::Repeated(Some(b"answer".to_vec()))
        );
        assert_eq!(
            dedup.note(7, false, b"ask", now + LIFETIME),
            Sighting::First,
            "its time is over"
        );
    }

    #[test]
    fn an_id_with_other_bytes_is_that_of_a_peer_that_restarted() {
        let mut dedup = Dedup::new(LIFETIME);
        let now = start();
        assert_eq!(dedup.note(7, false, b"old", now), Sighting::First);
        dedup.set_reply(7, b"answer to old");
        assert_eq!(dedup.note(7, false, b"new", now), Sighting::First);
        assert_eq!(dedup.note(7, false, b"new", now), Sighting::Repeated(None));
    }

    #[test]
    fn the_oldest_ids_make_room() {
        let mut dedup = Dedup::new(LIFETIME);
        let now = start();
        for id in 0..u16::try_from(DEDUP_ENTRIES_MAX).unwrap() + 1 {
            assert_eq!(dedup.note(id, false, b"ask", now), Sighting::First);
        }
        assert_eq!(dedup.entries.len(), DEDUP_ENTRIES_MAX);
        assert_eq!(dedup.note(1, false, b"ask", now), Sighting::Repeated(None));
        assert_eq!(dedup.note(0, false, b"ask", now), Sighting::First);
    }

    #[test]
    fn the_ids_of_safe_requests_make_room_first() {
        let mut dedup = Dedup::new(LIFETIME);
        let now = start();
        dedup.note(0, false, b"execute", now);
        dedup.set_reply(0, b"done");
        for id in 1..2000 {
            assert_eq!(dedup.note(id, true, b"get", now), Sighting::First);
            dedup.set_reply(id, &[0; 1024]);
            assert!(dedup.reply_bytes <= DEDUP_BYTES_MAX);
        }
        let done = Sighting::Repeated(Some(b"done".to_vec()));
        assert_eq!(dedup.note(0, false, b"execute", now), done);
        assert_eq!(dedup.note(0, false, b"execute", now + LIFETIME), Sighting::First);
        assert_eq!((dedup.entries.len(), dedup.reply_bytes), (1, 0));
    }

    #[test]
    fn the_bytes_of_replies_are_bounded() {
        let mut dedup = Dedup::new(LIFETIME);
        let now = start();
        for id in 0..100 {
            dedup.note(id, false, b"ask", now);
            dedup.set_reply(id, &[0; 1024]);
            assert!(dedup.reply_bytes <= DEDUP_BYTES_MAX);
        }
        assert_eq!(dedup.entries.len(), DEDUP_BYTES_MAX / 1024);
    }

    #[test]
    fn a_peer_that_repeats_one_id_with_ever_other_bytes_takes_no_memory() {
        let mut dedup = Dedup::new(LIFETIME);
        let now = start();
        for round in 0..10_000u32 {
            dedup.note(7, false, &round.to_be_bytes(), now);
        }
        assert!(dedup.others.len() <= DEDUP_ENTRIES_MAX);
    }
}
