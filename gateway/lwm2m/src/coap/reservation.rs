//! Numbers that are never used twice, not even across a crash: they are taken from blocks that are reserved first.
//!
//! The owner makes `wanted_end` durable and says so with `confirm`; numbers below it may then be taken. After a
//! crash counting goes on at what was durable, so that whatever was taken lies below.

/// A counter whose numbers are reserved in blocks, or one that needs no reservation.
#[derive(Debug)]
pub(crate) struct Reservation {
    next: u64,
    /// Below this numbers may be taken; none where no reservation is needed.
    end: Option<u64>,
    /// How many are reserved at once: each time twice as many, so that a short life wastes few.
    block: u64,
    largest_block: u64,
    /// How many of the last block are left when more is asked for.
    low: u64,
}

impl Reservation {
    /// Begins at a number, below which everything counts as taken. Blocks begin with the first size and grow to the
    /// second.
    pub(crate) fn new(next: u64, (block, largest_block): (u64, u64), reserves: bool) -> Self {
        Self {
            next,
            end: reserves.then_some(next),
            block,
            largest_block,
            low: block / 2,
        }
    }

    /// Takes the next number; none while none is reserved.
    pub(crate) fn take(&mut self) -> Option<u64> {
        if self.is_exhausted() {
            return None;
        }
        let taken = self.next;
        self.next += 1;
        Some(taken)
    }

    /// Returns the number that is taken next.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Says whether all that is reserved is taken.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Says whether it is time to reserve more: half of a block is left, which outlasts the wait for the disk.
    pub(crate) fn is_due(&self) -> bool {
        self.end
            .is_some_and(|end| end.saturating_sub(self.next) <= self.low)
    }

    /// Returns the end to make durable: the present one, or the one of a new block where that is due.
    pub(crate) fn wanted_end(&self) -> u64 {
        let end = self.end.unwrap_or(self.next);
        if self.end.is_none() || self.is_due() {
            end + self.block
        } else {
            end
        }
    }

    /// Needs no reservation from here on.
    pub(crate) const fn stop(&mut self) {
        self.end = None;
    }

    /// Takes that an end is durable.
    pub(crate) fn confirm(&mut self, durable: u64) {
        if let Some(end) = self.end.as_mut().filter(|end| **end < durable) {
            self.low = (durable - *end) / 2;
            *end = durable;
            self.block = (self.block * 2).min(self.largest_block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_before_it_is_durable_and_more_is_asked_for_early() {
        let mut numbers = Reservation::new(100, (10, 10), true);
        assert!(numbers.is_due());
        assert_eq!(numbers.take(), None);
        numbers.confirm(numbers.wanted_end());
        assert!((100..105).all(|n| !numbers.is_due() && numbers.take() == Some(n)));
        assert!(numbers.is_due());
        let wanted = numbers.wanted_end();
        assert_eq!(wanted, 120);
        assert!((105..110).all(|n| numbers.take() == Some(n)));
        assert_eq!((numbers.take(), numbers.wanted_end()), (None, wanted));
        numbers.confirm(wanted);
        numbers.confirm(110);
        assert_eq!((numbers.take(), numbers.wanted_end()), (Some(110), 120));
    }

    #[test]
    fn blocks_grow_to_the_largest() {
        let mut numbers = Reservation::new(0, (10, 40), true);
        for expected in [10, 20, 40, 40] {
            assert_eq!(numbers.wanted_end() - numbers.next(), expected);
            numbers.confirm(numbers.wanted_end());
            assert!(!numbers.is_due());
            while numbers.take().is_some() {}
        }
    }

    #[test]
    fn without_reservations_every_number_is_there() {
        let mut numbers = Reservation::new(7, (10, 10), false);
        assert!((7..100).all(|n| numbers.take() == Some(n) && !numbers.is_due()));
        assert_eq!(numbers.wanted_end(), 110);
    }
}
