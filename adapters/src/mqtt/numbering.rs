//! Whether the broker counts its packet identifiers, so that the one of a message is not that of another one soon.
//!
//! A message that comes again is known by its identifier, topic and payload. Some brokers give the lowest free identifier
//! to the next message, which may say the same as the one before: of those nothing is relied upon. What they repeat is
//! owed twice, and nothing is lost. MQTT 3.1.1, 2.3.1 leaves the choice to them, so it is seen from what they send: a
//! broker counts that goes beyond what it needs for the messages under way, and never back but from the end to 1.

use super::limits;

/// The highest packet identifier.
const LAST: u32 = u16::MAX as u32;

/// How the broker numbers the messages of a session.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Whether the broker knew the session when it was connected last.
    is_resumed: bool,
    /// The identifier of the newest message.
    newest: Option<u16>,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Manner {
    /// It cannot be told yet.
    #[default]
    Unknown,
    /// No identifier is used again before all others were.
    Counts,
    /// One is, or may be.
    Reuses,
}

impl Numbering {
    /// Begins a connection; another session has messages of its own.
    pub(super) fn begin(&mut self, is_session_present: bool) {
        if !is_session_present {
            *self = Self::default();
        }
        self.is_resumed = is_session_present;
    }

    /// Takes the identifier of a message that comes for the first time, while at most so many others are under way.
    pub(super) fn note(&mut self, packet_id: u16, under_way: usize) {
        let newest = self.newest.replace(packet_id);
        if newest.is_some_and(|newest| !is_ahead(newest, packet_id)) {
            self.manner = Manner::Reuses;
        } else if self.manner == Manner::Unknown && usize::from(packet_id) > under_way + 1 {
            self.manner = Manner::Counts;
        }
    }

    /// Says whether an identifier stands for one message for a long time.
    pub(super) fn is_counting(&self) -> bool {
        self.manner == Manner::Counts
    }

    /// Says whether what an earlier connection brought may come again.
    pub(super) const fn is_resumed(&self) -> bool {
        self.is_resumed
    }
}

/// Says whether one identifier comes a little behind another, where 1 follows the last one.
fn is_ahead(earlier: u16, later: u16) -> bool {
    let distance = (u32::from(later) + LAST - u32::from(earlier)) % LAST;
    (1..=limits::RECEIPTS as u32).contains(&distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ids: impl IntoIterator<Item = u16>, under_way: usize) -> Numbering {
        let mut numbering = Numbering::default();
        numbering.begin(true);
        ids.into_iter().for_each(|id| numbering.note(id, under_way));
        numbering
    }

    #[test]
    fn a_broker_counts_that_goes_beyond_what_it_needs() {
        assert!(!seen([1], 0).is_counting());
        assert!(seen([1, 2], 0).is_counting());
        assert!(!seen(1..=4, 3).is_counting());
        assert!(seen(1..=5, 3).is_counting());
        assert!(seen([u16::MAX - 1, u16::MAX, 1, 2], 0).is_counting());
    }

    #[test]
    fn one_that_ever_went_back_does_not() {
        for back in [
            [7, 7, 8, 9],
            [7, 6, 7, 8],
            [7, 8, 1, 2],
            [7, 60_000, 60_001, 60_002],
        ] {
            assert!(!seen(back, 0).is_counting(), "{back:?}");
        }
    }

    #[test]
    fn another_session_begins_anew() {
        let mut numbering = seen([7, 7], 0);
        numbering.begin(true);
        numbering.note(8, 0);
        assert!(!numbering.is_counting() && numbering.is_resumed());
        numbering.begin(false);
        assert!(!numbering.is_resumed());
        numbering.note(1, 0);
        assert!(!numbering.is_counting());
        numbering.note(2, 0);
        assert!(numbering.is_counting());
    }
}
