//! Watches that no message id is used for two messages to one peer within EXCHANGE_LIFETIME, also across restarts: a
//! server would answer the second one from its memory of the first (RFC 7252, sections 4.4 and 4.8.2).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// RFC 7252, section 4.8.2, with the default parameters.
const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);

/// The header of a CoAP message, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether the sender chose the message id: a confirmable or non-confirmable message.
    pub(super) is_own: bool,
    /// Whether it acknowledges the message with its id.
    pub(super) is_acknowledgement: bool,
    pub(super) id: u16,
}

impl Header {
    pub(super) fn of(datagram: &[u8]) -> Option<Self> {
        let [first, _, high, low, ..] = datagram else {
            return None;
        };
        let kind = first >> 4 & 0b11;
        Some(Self {
            is_own: kind < 2,
            is_acknowledgement: kind == 2,
            id: u16::from_be_bytes([*high, *low]),
        })
    }
}

/// The message ids that were used lately.
#[derive(Debug, Default)]
pub(super) struct MessageIds {
    used: BTreeMap<(SocketAddr, u16), Use>,
    pub(super) reused: Vec<Reuse>,
    pub(super) count: u64,
}

#[derive(Debug)]
struct Use {
    at: Duration,
    start: u32,
    datagram: Vec<u8>,
}

/// A message id that was used again too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// From where.
    pub from: SocketAddr,
    /// The message id.
    pub id: u16,
    /// When it was used first.
    pub first: Duration,
    /// When it was used for another message.
    pub again: Duration,
}

impl MessageIds {
    /// Takes a datagram of the gateway, which has been started so often.
    pub(super) fn note(&mut self, from: SocketAddr, datagram: &[u8], start: u32, at: Duration) {
        let Some(Header { is_own: true, id, .. }) = Header::of(datagram) else {
            return;
        };
        if let Some(used) = self
            .used
            .get(&(from, id))
            .filter(|used| at < used.at + EXCHANGE_LIFETIME)
        {
            let is_repetition = used.start == start && used.datagram == datagram;
            if !is_repetition {
                self.reused.push(Reuse {
                    from,
                    id,
                    first: used.at,
                    again: at,
                });
            }
            return;
        }
        self.count += 1;
        let datagram = datagram.to_vec();
        self.used.insert((from, id), Use { at, start, datagram });
    }

    /// Returns when a message was sent first, and by which start of the gateway.
    pub(super) fn sent_at(&self, from: SocketAddr, id: u16) -> Option<(Duration, u32)> {
        self.used.get(&(from, id)).map(|used| (used.at, used.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reuses(first: (&[u8], u32), again: (&[u8], u32), after: Duration) -> usize {
        let mut ids = MessageIds::default();
        let from = SocketAddr::from(([192, 0, 2, 1], 5683));
        ids.note(from, first.0, first.1, SECOND);
        ids.note(from, again.0, again.1, SECOND + after);
        ids.reused.len()
    }

    #[test]
    fn a_message_id_belongs_to_one_message_for_its_lifetime() {
        let (a, b, ack) = (&[0x40, 2, 0, 7, 1], &[0x40, 2, 0, 7, 2], &[0x60, 69, 0, 7]);
        assert_eq!(reuses((a, 1), (a, 1), SECOND * 40), 0, "a repetition");
        assert_eq!(reuses((a, 1), (b, 1), SECOND * 246), 1);
        assert_eq!(
            reuses((a, 1), (a, 2), SECOND * 40),
            1,
            "a restart knows of no repetition"
        );
        assert_eq!(reuses((a, 1), (b, 2), SECOND * 247), 0);
        assert_eq!(
            reuses((a, 1), (ack, 1), SECOND),
            0,
            "the other side chose that one"
        );
        assert_eq!(reuses((a, 1), (&[0x40, 2, 0, 8], 1), SECOND), 0);
    }
}
