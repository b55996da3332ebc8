//! When something is made durable: one commit at a time, none without need.
//!
//! A commit is wanted when a reading is due, or when the disk is to be told that one is paid or that a frame does not
//! come again. It is made a pause after
//! that and after the last one, so that what a poll brings goes in one; neither alarms nor many bytes wait for it. A
//! frame that is to be acknowledged in time brings it forward.
//! After a failure everything does.

use std::time::{Duration, Instant};

use super::memory::Memory;
use super::reading::Clock;
use super::servers::Servers;
use super::settlements::Settlements;
use crate::Now;
use crate::buffer::Anchor;
use crate::config::BufferConfig;
use crate::limits;

/// What decides when to commit.
#[derive(Debug)]
pub(crate) struct Commits {
    config: BufferConfig,
    next_id: u64,
    /// When the last one was asked for, or failed.
    last: Option<Instant>,
    under_way: Option<UnderWay>,
    has_failed: bool,
    is_stopping: bool,
    /// How far the wall clock was ahead of the start when the disk was last told, in milliseconds since 1970.
    anchored: Option<i64>,
    /// Whether the disk holds readings of this start that have no wall time.
    needs_anchor: bool,
}

/// A commit that waits for its answer.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// Its name.
    pub(crate) id: u64,
    /// What it stores: the number, and to whom it was owed then.
    pub(crate) stored: Vec<(u64, Servers)>,
    /// What it tells of the wall clock.
    pub(crate) anchor: Option<Anchor>,
    /// Whether one of its readings has no wall time.
    pub(crate) is_timeless: bool,
}

impl Commits {
    /// Returns the state of a gateway that has stored nothing yet.
    pub(crate) const fn new(config: BufferConfig) -> Self {
        Self {
            config,
            next_id: 0,
            last: None,
            under_way: None,
            has_failed: false,
            is_stopping: false,
            anchored: None,
            needs_anchor: false,
        }
    }

    /// Has everything stored that is not paid, as soon as it can be.
    pub(crate) const fn begin_stop(&mut self) {
        self.is_stopping = true;
    }

    /// Says whether nothing is left to wait for: a disk that fails is not waited for.
    pub(crate) fn is_done(&self, memory: &Memory, settlements: &Settlements) -> bool {
        let rests = memory.due_since().is_some() || memory.resting_since().is_some();
        self.under_way.is_none() && (self.has_failed || !rests && settlements.since().is_none())
    }

    /// Returns when to commit, none while nothing is to be or one is under way.
    pub(crate) fn due(
        &self,
        memory: &mut Memory,
        settlements: &Settlements,
        clock: &Clock,
        now: Now,
    ) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        memory.ripen(self.hold(), now.instant);
        let is_urgent =
            self.is_stopping || memory.alarm_is_due() || memory.due_bytes() >= self.config.commit_bytes;
        let pause = Duration::from_millis(self.config.commit_ms);
        let gathers = if is_urgent { Duration::ZERO } else { pause };
        let wanted = [
            memory.due_since().and_then(|since| since.checked_add(gathers)),
            memory.outdated_since().and_then(|since| since.checked_add(pause)),
            memory
                .resting_since()
                .and_then(|since| since.checked_add(self.hold())),
            settlements
                .since()
                .and_then(|since| since.checked_add(if self.is_stopping { Duration::ZERO } else { pause })),
            self.anchor(clock, now)
                .filter(|_| self.needs_anchor)
                .map(|_| now.instant),
        ];
        let rests = |wanted: Instant, pause: Duration| {
            let rested = self.last.and_then(|last| last.checked_add(pause));
            rested.map_or(wanted, |rested| wanted.max(rested))
        };
        let wanted = wanted.into_iter().flatten().min().map(|wanted| {
            if self.has_failed || !is_urgent {
                rests(wanted, pause)
            } else {
                wanted
            }
        });
        let settling = if self.has_failed {
            pause
        } else {
            limits::SETTLE_PAUSE.min(pause)
        };
        let settles = memory.commit_by().map(|by| rests(by, settling));
        [wanted, settles].into_iter().flatten().min()
    }

    /// Returns how many bytes the next commit takes: little, as long as nobody knows whether the disk works again.
    pub(crate) const fn max_bytes(&self) -> usize {
        if self.has_failed {
            limits::TRIAL_COMMIT_BYTES
        } else {
            limits::MAX_COMMIT_BYTES
        }
    }

    /// Begins a commit; returns its name.
    pub(crate) fn begin(
        &mut self,
        stored: Vec<(u64, Servers)>,
        is_timeless: bool,
        clock: &Clock,
        now: Now,
    ) -> &UnderWay {
        let id = self.next_id;
        self.next_id += 1;
        self.last = Some(now.instant);
        let anchor = self.anchor(clock, now);
        self.under_way.insert(UnderWay {
            id,
            stored,
            anchor,
            is_timeless,
        })
    }

    /// Takes the commit that an answer is for.
    pub(crate) fn finish(&mut self, id: u64) -> Option<UnderWay> {
        self.under_way.take_if(|under_way| under_way.id == id)
    }

    /// Notes that a commit is durable; says whether that is news after a failure.
    pub(crate) fn handle_done(&mut self, done: &UnderWay) -> bool {
        if let Some(anchor) = done.anchor {
            self.anchored = Some(offset(anchor));
            self.needs_anchor = false;
        }
        // What has a wall time needs no anchor, and neither does this start once it has one.
        self.needs_anchor |= done.is_timeless && self.anchored.is_none();
        std::mem::take(&mut self.has_failed)
    }

    /// Notes that a commit has failed; says whether it is the first one in a row.
    pub(crate) fn handle_failed(&mut self, now: Instant) -> bool {
        self.last = Some(now);
        !std::mem::replace(&mut self.has_failed, true)
    }

    fn hold(&self) -> Duration {
        if self.is_stopping {
            Duration::ZERO
        } else {
            Duration::from_millis(self.config.hold_ms)
        }
    }

    /// Returns what the disk does not know of the wall clock.
    fn anchor(&self, clock: &Clock, now: Now) -> Option<Anchor> {
        let wall = now.wall?;
        let ms = clock.ms(now.instant);
        let anchor = Anchor { ms, wall };
        let moved = |known: i64| known.abs_diff(offset(anchor)) >= limits::CLOCK_JUMP_MS;
        self.anchored.is_none_or(moved).then_some(anchor)
    }
}

fn offset(anchor: Anchor) -> i64 {
    anchor
        .wall
        .unix_ms()
        .saturating_sub(i64::try_from(anchor.ms).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use lwm2m_client::Timestamp;

    use super::*;
    use crate::testing;

    fn anchor_told(commits: &mut Commits, ms: u64, wall_ms: i64) -> bool {
        let clock = Clock {
            boot: 1,
            start: testing::start().instant,
        };
        let now = Now {
            instant: clock.start + Duration::from_millis(ms),
            wall: Some(Timestamp::from_unix_ms(wall_ms)),
        };
        let id = commits.begin(Vec::new(), false, &clock, now).id;
        let done = commits.finish(id).expect("it is under way");
        commits.handle_done(&done);
        done.anchor.is_some()
    }

    #[test]
    fn the_disk_is_told_of_the_clock_once_and_again_when_it_jumps() {
        let mut commits = Commits::new(BufferConfig::default());
        let jump = i64::try_from(limits::CLOCK_JUMP_MS).unwrap();
        assert!(anchor_told(&mut commits, 0, 10_000));
        assert!(!anchor_told(&mut commits, 5_000, 15_000 + jump - 1));
        assert!(anchor_told(&mut commits, 6_000, 16_000 - jump));
        assert!(!anchor_told(&mut commits, 7_000, 17_000 - jump));
    }
}
