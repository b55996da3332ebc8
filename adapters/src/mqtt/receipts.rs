//! Which messages of this connection are still to be acknowledged, in the order of receipt.
//!
//! MQTT 3.1.1, 4.6: PUBACK and PUBREC go out in the order in which the messages came. What an earlier connection
//! brought is not among them: the broker sends it again, unless it had the acknowledgement.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ucifi_core::field::{Qos, ReceiptId};

use super::broker::{Action, PLACE_SHIFT};
use super::limits;

#[derive(Debug)]
pub(super) struct Receipts {
    /// The name of the first one in the queue; the names of the others follow.
    first: u64,
    queue: VecDeque<Owed>,
    unsettled: usize,
    /// The broker has the acknowledgements of all below, or they are of an earlier connection.
    over: u64,
    /// When all below were acknowledged.
    acknowledged: Option<(Instant, u64)>,
}

#[derive(Debug)]
struct Owed {
    packet_id: u16,
    qos: Qos,
    is_settled: bool,
}

impl Receipts {
    pub(super) fn new(place: u16) -> Self {
        Self {
            first: u64::from(place) << PLACE_SHIFT,
            queue: VecDeque::new(),
            unsettled: 0,
            over: u64::from(place) << PLACE_SHIFT,
            acknowledged: None,
        }
    }

    /// Takes a message that is to be acknowledged once it is settled.
    pub(super) fn push(&mut self, packet_id: u16, qos: Qos) -> ReceiptId {
        self.unsettled += 1;
        self.append(packet_id, qos, false)
    }

    /// Takes one that owes nothing and is acknowledged in its turn.
    pub(super) fn push_settled(&mut self, packet_id: u16, qos: Qos) {
        self.append(packet_id, qos, true);
    }

    fn append(&mut self, packet_id: u16, qos: Qos, is_settled: bool) -> ReceiptId {
        self.queue.push_back(Owed {
            packet_id,
            qos,
            is_settled,
        });
        ReceiptId(self.first + self.queue.len() as u64 - 1)
    }

    /// Says whether the message is one of this connection.
    pub(super) fn settle(&mut self, id: ReceiptId) -> bool {
        let place = id.0.checked_sub(self.first).and_then(|p| usize::try_from(p).ok());
        let Some(owed) = place.and_then(|place| self.queue.get_mut(place)) else {
            return false;
        };
        if !owed.is_settled {
            owed.is_settled = true;
            self.unsettled -= 1;
        }
        true
    }

    /// Returns the next acknowledgement whose turn it is.
    pub(super) fn next(&mut self, now: Instant) -> Option<Action> {
        if !self.queue.front()?.is_settled {
            return None;
        }
        let owed = self.queue.pop_front()?;
        self.first += 1;
        self.acknowledged.get_or_insert((now, self.first));
        Some(Action::Acknowledge {
            packet_id: owed.packet_id,
            qos: owed.qos,
        })
    }

    /// Says whether a packet identifier is under way.
    pub(super) fn has(&self, packet_id: u16) -> bool {
        self.queue.iter().any(|owed| owed.packet_id == packet_id)
    }

    /// Forgets all: the connection is gone.
    pub(super) fn clear(&mut self) {
        self.first += self.queue.len() as u64;
        self.queue.clear();
        self.unsettled = 0;
        self.over = self.first;
        self.acknowledged = None;
    }

    /// Takes note that the connection brings a message.
    pub(super) fn hear(&mut self, now: Instant) {
        let ago = Duration::from_millis(limits::ACKNOWLEDGED_MS);
        let is_over = |(at, _): &mut (Instant, u64)| now.saturating_duration_since(*at) >= ago;
        if let Some((_, over)) = self.acknowledged.take_if(is_over) {
            self.over = over;
            self.acknowledged = (self.first > over).then_some((now, self.first));
        }
    }

    /// Returns the name below which no message of this connection or an earlier one comes again, once the broker has
    /// sent again what it had to.
    pub(super) const fn over(&self) -> ReceiptId {
        ReceiptId(self.over)
    }

    /// Returns how many messages of this connection the broker may take for unacknowledged.
    pub(super) fn under_way(&self) -> usize {
        let acknowledged = usize::try_from(self.first - self.over).unwrap_or(usize::MAX);
        acknowledged.saturating_add(self.queue.len())
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns how many are not settled yet.
    pub(super) const fn unsettled(&self) -> usize {
        self.unsettled
    }
}
