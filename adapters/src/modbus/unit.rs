//! One unit on the bus: what is due, what it owes, and whether it answers.
//!
//! ```text
//!            first answer                3 failures and 3 time-outs
//!  Unknown ───────────────► Reachable ──────────────────────────────► Unreachable ─┐ probe after
//!     └───────────────── 3 failures ─────────────────────────────────►   │  ▲      │ 5, 10, 30, 60 s
//!                               ▲────────────── any answer ──────────────┘  └──────┘
//! ```

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::field::{Link, PointId, Reachability, ReadLimits, RegisterPoint, Table};

use super::bus::{UnitConfig, most};
use super::late::{Owed, Shape};
use super::limits;
use super::pdu::{Exception, ReadRequest, Request, read_code};
use super::plan::{Costs, Learned, holds, plan};
use super::statistics::UnitStatistics;

/// A point that is wanted this soon joins a read that is due anyway.
const LOOKAHEAD: Duration = Duration::from_millis(500);
/// First pause for a unit that says it is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Why a unit is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadPurpose {
    /// For its points.
    Poll,
    /// For an answer that proves that no older one can come; its content means nothing.
    Settle,
    /// To see whether it answers; its content means nothing.
    Probe,
}

/// Whether a unit answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Unknown,
    Reachable,
    Unreachable { probe_at: Instant, probes: usize },
}

/// What a row of failures looked like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing came.
    Silent,
    /// Bytes came that are no valid frame.
    Corrupt,
    /// A bridge said that it does not get through.
    Gateway(Exception),
}

/// One unit.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) link: Link,
    pub(super) limits: ReadLimits,
    pub(super) owed: Owed,
    pub(super) statistics: UnitStatistics,
    /// An answer came after its time-out since the last right one.
    pub(super) late_seen: bool,
    /// The unit needs its pause until then.
    pub(super) ready_at: Instant,
    points: Vec<Polled>,
    learned: Learned,
    reach: Reach,
    failures: u32,
    failing_since: Option<Instant>,
    busy: Option<(Instant, Duration)>,
    settles_ignored: u8,
    phase: f64,
    random: StdRng,
}

#[derive(Debug)]
struct Polled {
    point: RegisterPoint,
    due: Option<Instant>,
    attempts: u8,
    seen: bool,
}

impl Unit {
    pub(super) fn new(config: UnitConfig, link: Link, seed: u64, now: Instant) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ u64::from(config.unit));
        let polled = |point| Polled {
            point,
            due: Some(now),
            attempts: 0,
            seen: false,
        };
        Self {
            link,
            limits: config.limits,
            owed: Owed::default(),
            statistics: UnitStatistics::default(),
            late_seen: false,
            ready_at: now,
            points: config.points.into_iter().map(polled).collect(),
            learned: Learned::default(),
            reach: Reach::Unknown,
            failures: 0,
            failing_since: None,
            busy: None,
            settles_ignored: 0,
            phase: random.random_range(0.5..1.0),
            random,
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.limits.timeout_ms.max(1))
    }

    pub(super) fn min_gap(&self) -> Duration {
        Duration::from_millis(self.limits.min_gap_ms)
    }

    /// Returns when the unit may be asked anything at all.
    pub(super) fn askable_at(&self, now: Instant) -> Instant {
        self.owed
            .silent_until(now)
            .map_or(self.ready_at, |until| until.max(self.ready_at))
    }

    /// Begins anew after the port was opened: every point is due, as if the unit had just been switched on.
    pub(super) fn handle_connected(&mut self, now: Instant) {
        self.reach = Reach::Unknown;
        self.failures = 0;
        self.failing_since = None;
        self.ready_at = now;
        for polled in &mut self.points {
            polled.due = Some(now);
            polled.attempts = 0;
        }
    }

    /// Says whether the unit was not already known to be out of reach.
    pub(super) fn handle_disconnected(&mut self) -> bool {
        let news = !matches!(self.reach, Reach::Unreachable { .. });
        self.reach = Reach::Unknown;
        news
    }

    pub(super) fn handle_interest(&mut self, point: PointId, every_ms: u64, now: Instant) {
        for polled in self.points.iter_mut().filter(|p| p.point.id == point) {
            polled.point.every_ms = every_ms;
            let latest = now + Duration::from_millis(every_ms);
            polled.due = match (polled.due, every_ms) {
                (due, 0) => due.filter(|_| !polled.seen),
                (Some(due), _) => Some(due.min(latest)),
                (None, _) => Some(latest),
            };
        }
    }

    /// Returns the next read that is due, unless an answer to it could be mistaken.
    pub(super) fn next_read(&self, costs: Costs, now: Instant) -> Option<(ReadRequest, ReadPurpose)> {
        if self.probe_at().is_some() || self.busy.is_some_and(|(until, _)| until > now) {
            return None;
        }
        let due = |polled: &&Polled, by: Instant| polled.due.is_some_and(|due| due <= by);
        self.wanted().find(|p| due(p, now))?;
        let points: Vec<&RegisterPoint> = self
            .wanted()
            .filter(|p| due(p, now + lookahead(p)))
            .map(|p| &p.point)
            .collect();
        let reads = plan(points.iter().copied(), &self.limits, costs, &self.learned);
        let allowed = |read: &ReadRequest| self.owed.allows(Shape::of(&Request::Read(*read)), now);
        reads
            .iter()
            .copied()
            .find(&allowed)
            .or_else(|| reads.iter().find_map(|read| shorten(read, &points, allowed)))
            .map(|read| (read, ReadPurpose::Poll))
            .or_else(|| self.settling(now).map(|read| (read, ReadPurpose::Settle)))
    }

    /// Returns a read whose answer, of whatever kind, proves that no older one can come.
    pub(super) fn settling(&self, now: Instant) -> Option<ReadRequest> {
        let first = self.probe();
        match self.settles_ignored {
            0 => {
                let free = |table: &Table| self.owed.allows_code(read_code(*table), now);
                let table = other_tables(first.table).into_iter().find(free)?;
                Some(ReadRequest {
                    table,
                    address: first.address,
                    count: 1,
                })
            }
            // Some units ignore a table that they don't have: another length of one that they have must do.
            1 => [
                first.count.checked_sub(1)?,
                first.count.checked_add(1)?,
                first.count.checked_add(8)?,
            ]
            .into_iter()
            .map(|count| ReadRequest { count, ..first })
            .filter(|read| self.bears(read.table, read.count) && read.end() <= 0x1_0000)
            .find(|read| self.owed.allows(Shape::of(&Request::Read(*read)), now)),
            _ => None,
        }
    }

    /// Returns when the unit is probed next, if it is unreachable.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        match self.reach {
            Reach::Unreachable { probe_at, .. } => Some(probe_at),
            Reach::Unknown | Reach::Reachable => None,
        }
    }

    /// Returns the cheapest read of the unit; one without points may answer with an exception, which is as good.
    pub(super) fn probe(&self) -> ReadRequest {
        let cheapest = self
            .wanted()
            .map(|p| &p.point)
            .min_by_key(|p| (p.count, p.address));
        let (table, address, count) =
            cheapest.map_or((Table::HoldingRegisters, 0, 1), |p| (p.table, p.address, p.count));
        ReadRequest {
            table,
            address,
            count,
        }
    }

    /// Returns when something is to be done for this unit without anything new from outside.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        if let Some(probe_at) = self.probe_at() {
            return Some(probe_at.max(self.askable_at(now)));
        }
        let due = self.wanted().filter_map(|p| p.due).min();
        let stuck = self.owed.next_forgotten(now);
        let busy = self.busy.map(|(until, _)| until);
        let next = due.map(|due| busy.map_or(due, |busy| busy.max(due)).max(self.askable_at(now)));
        let blocked = next.is_some_and(|next| next <= now);
        let later = if blocked { stuck } else { next };
        [later, self.learned.next_forgotten()].into_iter().flatten().min()
    }

    /// Takes note that a block was read: every point in it has its next turn.
    pub(super) fn note_read(&mut self, read: &ReadRequest, now: Instant) -> bool {
        let mut any = false;
        for polled in self.points.iter_mut().filter(|p| holds(read, &p.point)) {
            polled.advance(self.phase, now);
            any = true;
        }
        any
    }

    /// Takes note of an answer of any kind; true if the unit was not known to be reachable.
    pub(super) fn note_answer(&mut self, now: Instant) -> bool {
        self.failures = 0;
        self.failing_since = None;
        self.late_seen = false;
        let news = self.reach != Reach::Reachable;
        if self.probe_at().is_some() {
            // It may be another device or firmware by now: what is read once is read again.
            for polled in self.points.iter_mut().filter(|p| p.point.every_ms == 0) {
                polled.due = Some(now);
            }
        }
        self.reach = Reach::Reachable;
        if self.owed.is_empty(now) {
            self.settles_ignored = 0;
        }
        news
    }

    /// Learns from an exception to a poll.
    pub(super) fn note_exception(&mut self, read: &ReadRequest, exception: Exception, now: Instant) {
        match exception {
            Exception::IllegalFunction => self.learned.note_unsupported(read.table, now),
            Exception::IllegalDataAddress | Exception::IllegalDataValue => {
                let inside: Vec<_> = self
                    .points
                    .iter()
                    .map(|p| &p.point)
                    .filter(|p| holds(read, p))
                    .collect();
                if self.learned.note_refused(read, &inside, now) {
                    // Should the lesson be forgotten early, the point still waits for its next turn.
                    self.postpone(read, 1, now);
                }
            }
            Exception::Acknowledge | Exception::ServerDeviceBusy => {
                let longest = Duration::from_millis(limits::BUSY_PAUSE_MS);
                let pause = self.busy.map_or(BUSY_PAUSE, |(_, last)| (last * 2).min(longest));
                self.busy = Some((now + pause, pause));
            }
            Exception::ServerDeviceFailure
            | Exception::MemoryParityError
            | Exception::GatewayPathUnavailable
            | Exception::GatewayTargetDeviceFailedToRespond
            | Exception::Unknown(_) => self.postpone(read, 1, now),
        }
    }

    /// Takes note that the unit is not busy.
    pub(super) fn note_served(&mut self) {
        self.busy = None;
    }

    /// Gives the points of an unanswered read their next turn once they had their attempts.
    pub(super) fn note_unread(&mut self, read: &ReadRequest, now: Instant) {
        self.postpone(read, limits::READ_ATTEMPTS, now);
    }

    /// Takes note that a settling read was not answered: this unit may be one that ignores it.
    pub(super) fn note_settling_ignored(&mut self) {
        self.settles_ignored = self.settles_ignored.saturating_add(1);
    }

    /// Takes note of a request that went wrong, and returns the news if the unit counts as unreachable by it.
    pub(super) fn note_failure(
        &mut self,
        failure: &Failure,
        sent: Instant,
        now: Instant,
    ) -> Option<Reachability> {
        self.failures += 1;
        let since = *self.failing_since.get_or_insert(sent);
        let passed = now.saturating_duration_since(since);
        match self.reach {
            Reach::Unreachable { probes, .. } => {
                self.set_unreachable(probes + 1, now);
                None
            }
            Reach::Unknown | Reach::Reachable => {
                let long_enough = passed >= self.timeout() * limits::FAILURES;
                if self.failures < limits::FAILURES || !long_enough {
                    return None;
                }
                self.set_unreachable(0, now);
                Some(Reachability::Unreachable(self.reason(failure, passed)))
            }
        }
    }

    fn set_unreachable(&mut self, probes: usize, now: Instant) {
        let [.., longest] = limits::PROBE_PAUSES_SECS;
        let secs = limits::PROBE_PAUSES_SECS.get(probes).copied().unwrap_or(longest);
        // Up to a tenth more, so that units that died together are not probed together.
        let pause = Duration::from_secs(secs).mul_f64(self.random.random_range(1.0..1.1));
        self.reach = Reach::Unreachable {
            probe_at: now + pause,
            probes,
        };
    }

    fn reason(&self, failure: &Failure, passed: Duration) -> String {
        let (count, secs) = (self.failures, passed.as_secs_f64());
        match failure {
            Failure::Gateway(exception) => format!("the bridge says: {exception}"),
            Failure::Silent | Failure::Corrupt if self.late_seen => {
                format!(
                    "answers come only after the time-out of {} ms, raise it",
                    self.limits.timeout_ms
                )
            }
            Failure::Silent => format!("no answer to {count} requests in {secs:.1} s"),
            Failure::Corrupt => {
                format!(
                    "only corrupt answers to {count} requests in {secs:.1} s, look for a second unit with this address"
                )
            }
        }
    }

    fn postpone(&mut self, read: &ReadRequest, attempts: u8, now: Instant) {
        for polled in self.points.iter_mut().filter(|p| holds(read, &p.point)) {
            polled.attempts += 1;
            if polled.attempts >= attempts {
                polled.attempts = 0;
                polled.due = Some(now + polled.retry_after());
            }
        }
    }

    /// Forgets lessons that are too old, so that what they kept from being read is tried again.
    pub(super) fn forget_old(&mut self, now: Instant) {
        if self.learned.next_forgotten().is_some_and(|at| at <= now) {
            self.learned.forget_old(now);
        }
        if self.owed.is_empty(now) {
            self.settles_ignored = 0;
        }
    }

    /// Says whether a read of so many is within what the unit allows.
    pub(super) fn bears(&self, table: Table, count: u16) -> bool {
        (1..=most(table, &self.limits)).contains(&count)
    }

    fn wanted(&self) -> impl Iterator<Item = &Polled> {
        self.points.iter().filter(|p| !self.learned.refuses(&p.point))
    }
}

impl Polled {
    /// Keeps the beat where it can; the first beat is shortened by the unit's phase, so that units that began
    /// together don't stay together.
    fn advance(&mut self, phase: f64, now: Instant) {
        let every = Duration::from_millis(self.point.every_ms);
        self.attempts = 0;
        if every.is_zero() {
            self.due = None;
        } else if self.seen {
            let beat = self.due.filter(|due| *due <= now).map(|due| due + every);
            self.due = Some(beat.filter(|next| *next > now).unwrap_or(now + every));
        } else {
            self.due = Some(now + every.mul_f64(phase));
        }
        self.seen = true;
    }

    /// Returns when a point that cannot be had is asked for again: at its next turn, and once a minute if it has none.
    fn retry_after(&self) -> Duration {
        let every = if self.point.every_ms == 0 {
            60_000
        } else {
            self.point.every_ms
        };
        Duration::from_millis(every)
    }
}

fn other_tables(table: Table) -> [Table; 3] {
    match table {
        Table::InputRegisters => [Table::HoldingRegisters, Table::Coils, Table::DiscreteInputs],
        Table::HoldingRegisters => [Table::InputRegisters, Table::Coils, Table::DiscreteInputs],
        Table::Coils => [
            Table::DiscreteInputs,
            Table::HoldingRegisters,
            Table::InputRegisters,
        ],
        Table::DiscreteInputs => [Table::Coils, Table::HoldingRegisters, Table::InputRegisters],
    }
}

fn lookahead(polled: &Polled) -> Duration {
    LOOKAHEAD.min(Duration::from_millis(polled.point.every_ms / 10))
}

/// Returns the longest read of fewer points of a block whose answer could not be mistaken.
fn shorten(
    read: &ReadRequest,
    points: &[&RegisterPoint],
    allowed: impl Fn(&ReadRequest) -> bool,
) -> Option<ReadRequest> {
    let inside = points.iter().filter(|p| holds(read, p));
    let ends = inside
        .map(|p| p.address - read.address + p.count)
        .filter(|count| *count < read.count);
    ends.map(|count| ReadRequest { count, ..*read })
        .filter(|r| allowed(r))
        .max_by_key(|r| r.count)
}
