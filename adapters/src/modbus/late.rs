//! Why a late answer never passes for the next one on a serial line.
//!
//! An RTU answer names the unit, the function and its length, not the request. So an answer that comes after its
//! time-out could be taken for that of a later request to the same unit with the same function and count: its
//! *shape*. The rules that prevent it:
//!
//! 1. Between requests the line must be silent, and what arrives while no request is open is thrown away. An answer
//!    of another unit or of another shape than the open request's is thrown away too.
//! 2. After a time-out the unit owes an answer of that shape. It is not asked anything for twice its time-out;
//!    others are meanwhile. An answer delayed up to that is caught by rule 1, in whatever order answers come.
//! 3. After that pause nothing of an owed shape is asked for its content. The unit is asked in another shape: fewer
//!    points of a block, another block, else one word of another table, whose answer may be an exception as well.
//!    A unit works off its requests in order and a line keeps the order. So the answer to a shape that was not owed
//!    proves that nothing older can come, and all debts are forgotten. This holds for any delay.
//! 4. An exception tells the function alone. While an answer with the same function is owed it proves nothing, and
//!    its own request is owed from then on.
//! 5. A unit that answers neither another table nor another length leaves no other shape. Debts are forgotten by time
//!    (twenty time-outs, at least 10 s, at most 60 s): the one place where a bound on the delay is assumed.
//!
//! Over TCP the transaction identifier does all this, and nothing is ever owed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::limits;
use super::pdu::Request;

/// All that an RTU answer tells of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// The function and how many bytes: seven bits look like eight.
    Read(u8, usize),
    /// The function, the address, and the value or how many.
    Write(u8, u16, u16),
}

impl Shape {
    pub(super) fn of(request: &Request) -> Self {
        let code = request.function_code();
        match request {
            Request::Read(_) => Self::Read(code, request.answer_len()),
            Request::Write(write) => {
                let (address, word) = write.echoed();
                Self::Write(code, address, word)
            }
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Read(code, _) | Self::Write(code, ..) => code,
        }
    }
}

/// The answers that may still come from one unit.
#[derive(Debug, Default)]
pub(super) struct Owed {
    shapes: BTreeMap<Shape, Instant>,
    silent_until: Option<Instant>,
}

impl Owed {
    /// Takes note that a request was not answered by its `deadline`, or not beyond doubt.
    pub(super) fn note_unanswered(
        &mut self,
        shape: Shape,
        timeout: Duration,
        deadline: Instant,
        now: Instant,
    ) {
        let from = deadline.max(now);
        let bound = |ms| Duration::from_millis(ms);
        let wait = (timeout * 20).clamp(bound(limits::OWED_MIN_MS), bound(limits::OWED_MAX_MS));
        let mut silent = from + timeout * 2;
        self.forget_old(now);
        if self.shapes.len() < limits::OWED_ANSWERS || self.shapes.contains_key(&shape) {
            self.shapes.insert(shape, from + wait);
        } else {
            silent = from + wait;
        }
        self.silent_until = Some(silent);
    }

    /// Takes note of an answer, and says whether it can be none but that of the open request.
    pub(super) fn note_answer(&mut self, shape: Shape, exception: bool, now: Instant) -> bool {
        self.forget_old(now);
        let doubtful = if exception {
            self.owes_code(shape.code())
        } else {
            self.shapes.contains_key(&shape)
        };
        if !doubtful {
            self.shapes.clear();
        }
        !doubtful
    }

    /// Returns until when the unit is left alone.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.silent_until.filter(|until| *until > now)
    }

    /// Says whether an answer of this shape would be beyond doubt.
    pub(super) fn allows(&self, shape: Shape, now: Instant) -> bool {
        self.shapes.get(&shape).is_none_or(|until| *until <= now)
    }

    /// Says whether any answer with this function, an exception too, would be beyond doubt.
    pub(super) fn allows_code(&self, code: u8, now: Instant) -> bool {
        !self
            .shapes
            .iter()
            .any(|(shape, until)| shape.code() == code && *until > now)
    }

    /// Says whether anything is owed.
    pub(super) fn is_empty(&self, now: Instant) -> bool {
        self.shapes.values().all(|until| *until <= now)
    }

    /// Returns when the next debt is forgotten.
    pub(super) fn next_forgotten(&self, now: Instant) -> Option<Instant> {
        self.shapes.values().copied().filter(|until| *until > now).min()
    }

    fn owes_code(&self, code: u8) -> bool {
        self.shapes.keys().any(|shape| shape.code() == code)
    }

    fn forget_old(&mut self, now: Instant) {
        self.shapes.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    #[test]
    fn an_owed_shape_is_not_asked_until_another_one_is_answered() {
        let now = crate::modbus::tests::start();
        let mut owed = Owed::default();
        owed.note_unanswered(Shape::Read(3, 2), TIMEOUT, now, now);
        assert!(!owed.allows(Shape::Read(3, 2), now));
        assert!(owed.allows(Shape::Read(3, 4), now));
        assert!(
            !owed.note_answer(Shape::Read(3, 2), false, now),
            "its own shape proves nothing"
        );
        assert!(owed.note_answer(Shape::Read(3, 4), false, now));
        assert!(owed.allows(Shape::Read(3, 2), now));
        assert_eq!(owed.silent_until(now), Some(now + 2 * TIMEOUT), "the pause stays");
    }

    #[test]
    fn an_exception_proves_nothing_while_its_function_is_owed() {
        let now = crate::modbus::tests::start();
        let mut owed = Owed::default();
        owed.note_unanswered(Shape::Read(3, 2), TIMEOUT, now, now);
        assert!(!owed.note_answer(Shape::Read(3, 4), true, now));
        assert!(owed.note_answer(Shape::Read(4, 1), true, now));
    }

    #[test]
    fn beyond_the_bound_the_unit_waits_until_debts_are_forgotten() {
        let now = crate::modbus::tests::start();
        let mut owed = Owed::default();
        for count in 1..=40 {
            owed.note_unanswered(Shape::Read(3, count), TIMEOUT, now, now);
        }
        assert_eq!(owed.shapes.len(), limits::OWED_ANSWERS);
        let forgotten = now + Duration::from_millis(limits::OWED_MIN_MS);
        assert_eq!(owed.silent_until(now), Some(forgotten));
        assert!(owed.is_empty(forgotten));
    }
}
