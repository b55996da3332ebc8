//! What a forwarder plans to send (`jitqueue.c` of Lora-net/sx1302_hal, class A and C): times are counters in
//! microseconds that wrap.

use std::time::Duration;

const TX_START_DELAY: u32 = 1_500;
const TX_MARGIN_DELAY: u32 = 1_000;
const TX_JIT_DELAY: u32 = 40_000;
const TX_MAX_ADVANCE_DELAY: u32 = 512_000_000;
const JIT_QUEUE_MAX: usize = 32;
const PRE_DELAY: u32 = TX_START_DELAY + TX_JIT_DELAY;

/// The frames that are planned.
#[derive(Debug)]
pub(super) struct Queue<T> {
    planned: Vec<Planned<T>>,
}

#[derive(Debug)]
struct Planned<T> {
    count: u32,
    post_delay: u32,
    frame: T,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { planned: Vec::new() }
    }

    /// Plans a frame for a count, or with none for the first that is free.
    pub(super) fn enqueue(
        &mut self,
        now: u32,
        at: Option<u32>,
        airtime: Duration,
        frame: T,
    ) -> Result<(), &'static str> {
        if self.planned.len() >= JIT_QUEUE_MAX {
            return Err("COLLISION_PACKET");
        }
        let post_delay = u32::try_from(airtime.as_micros()).expect("a frame is short");
        let count = at.unwrap_or_else(|| self.first_free(now, post_delay));
        let ahead = count.wrapping_sub(now);
        if ahead <= TX_START_DELAY + TX_MARGIN_DELAY + TX_JIT_DELAY {
            return Err("TOO_LATE");
        }
        if at.is_some() && ahead > TX_MAX_ADVANCE_DELAY {
            return Err("TOO_EARLY");
        }
        if self
            .planned
            .iter()
            .any(|planned| planned.collides(count, post_delay))
        {
            return Err("COLLISION_PACKET");
        }
        self.planned.push(Planned {
            count,
            post_delay,
            frame,
        });
        self.planned
            .sort_by_key(|planned| planned.count.wrapping_sub(now).cast_signed());
        Ok(())
    }

    /// Returns the count of the next frame.
    pub(super) fn next(&self) -> Option<u32> {
        self.planned.first().map(|planned| planned.count)
    }

    /// Takes the next frame if its time has come.
    pub(super) fn take(&mut self, now: u32) -> Option<T> {
        let count = self.next()?;
        (now.wrapping_sub(count).cast_signed() >= 0).then(|| self.planned.remove(0).frame)
    }

    fn first_free(&self, now: u32, post_delay: u32) -> u32 {
        let soonest = now.wrapping_add(2 * TX_JIT_DELAY);
        let after = self.planned.iter().map(|planned| {
            let end = planned.count.wrapping_add(planned.post_delay);
            end.wrapping_add(PRE_DELAY + TX_JIT_DELAY + TX_MARGIN_DELAY)
        });
        std::iter::once(soonest)
            .chain(after)
            .find(|count| {
                !self
                    .planned
                    .iter()
                    .any(|planned| planned.collides(*count, post_delay))
            })
            .unwrap_or(soonest)
    }
}

impl<T> Planned<T> {
    fn collides(&self, count: u32, post_delay: u32) -> bool {
        count.wrapping_sub(self.count) <= PRE_DELAY + self.post_delay + TX_MARGIN_DELAY
            || self.count.wrapping_sub(count) <= PRE_DELAY + post_delay + TX_MARGIN_DELAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIRTIME: Duration = Duration::from_millis(100);

    #[test]
    fn a_frame_must_come_42_and_a_half_milliseconds_before_its_time() {
        let mut queue = Queue::new();
        assert_eq!(
            queue.enqueue(u32::MAX - 9, Some(42_490), AIRTIME, 1),
            Err("TOO_LATE")
        );
        assert_eq!(queue.enqueue(u32::MAX - 9, Some(42_491), AIRTIME, 2), Ok(()));
        assert_eq!(queue.enqueue(0, Some(u32::MAX), AIRTIME, 3), Err("TOO_EARLY"));
        assert_eq!(
            (queue.take(42_490), queue.take(42_491), queue.take(42_491)),
            (None, Some(2), None)
        );
    }

    #[test]
    fn frames_do_not_overlap_and_one_without_a_time_finds_its_place() {
        let mut queue = Queue::new();
        assert_eq!(queue.enqueue(0, Some(1_000_000), AIRTIME, 1), Ok(()));
        assert_eq!(
            queue.enqueue(0, Some(1_142_500), AIRTIME, 2),
            Err("COLLISION_PACKET")
        );
        assert_eq!(queue.enqueue(0, Some(1_142_501), AIRTIME, 2), Ok(()));
        assert_eq!(queue.enqueue(900_000, None, AIRTIME, 3), Ok(()));
        assert_eq!(queue.take(1_000_000), Some(1));
        assert_eq!(queue.take(1_142_501), Some(2));
        assert_eq!(queue.next(), Some(1_325_001));
    }

    #[test]
    fn no_more_than_32_are_planned() {
        let mut queue = Queue::new();
        for frame in 1..=32 {
            assert_eq!(queue.enqueue(0, Some(frame * 1_000_000), AIRTIME, frame), Ok(()));
        }
        assert_eq!(
            queue.enqueue(0, Some(40_000_000), AIRTIME, 33),
            Err("COLLISION_PACKET")
        );
    }
}
