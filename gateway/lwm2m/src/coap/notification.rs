//! Which notification a reset or an acknowledgement is about.
//!
//! Confirmable ones are known while they are repeated; of the others the last few are remembered, since the peer
//! ends an observation by rejecting any notification of it (RFC 7641, section 3.6).

use std::collections::{BTreeMap, VecDeque};

use super::exchange::NotificationId;
use super::limits::TRACKED_NOTIFICATIONS_MAX;

/// The non-confirmable notifications sent last.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    tokens: BTreeMap<u16, (NotificationId, Vec<u8>)>,
    order: VecDeque<u16>,
}

impl Tracked {
    /// Notes the message id that a notification went out with.
    pub(super) fn note(&mut self, message_id: u16, id: NotificationId, token: Vec<u8>) {
        self.tokens.insert(message_id, (id, token));
        self.order.push_back(message_id);
        while self.order.len() > TRACKED_NOTIFICATIONS_MAX {
            let oldest = self.order.pop_front().unwrap_or_default();
            self.tokens.remove(&oldest);
        }
    }

    /// Takes out the notification that was rejected.
    pub(super) fn take(&mut self, message_id: u16) -> Option<(NotificationId, Vec<u8>)> {
        self.tokens.remove(&message_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_notifications_are_found_by_their_message_id() {
        let mut tracked = Tracked::default();
        let count = u16::try_from(TRACKED_NOTIFICATIONS_MAX).unwrap() + 1;
        for id in 0..count {
            tracked.note(id, NotificationId(id.into()), vec![1]);
        }
        assert_eq!(tracked.take(0), None, "the oldest made room");
        assert_eq!(tracked.take(1), Some((NotificationId(1), vec![1])));
        assert_eq!(tracked.take(1), None);
    }
}
