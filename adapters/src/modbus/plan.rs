//! Which reads fetch a set of points in the least time, and what a unit taught about its map.
//!
//! A request costs its frame, two gaps and the unit's turnaround whatever it reads, so that reading a few words that
//! nobody wants is often cheaper than asking twice. When to ask is not decided here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ucifi_core::field::{ReadLimits, RegisterPoint, Table};

use super::bus::most;
use super::limits;
use super::pdu::ReadRequest;
use super::rtu::LineTiming;

/// Bytes of a read request and of its answer on the line, without content (8 and 5).
const FRAMES: usize = 13;
/// What a word costs over TCP: nothing worth a second request, but not nothing.
const TCP_WORD: Duration = Duration::from_micros(1);
/// What a request costs over TCP while no turnaround was measured.
const TCP_REQUEST: Duration = Duration::from_millis(5);
/// The turnaround that is assumed while none was measured: that of a common meter.
const TURNAROUND: Duration = Duration::from_millis(25);

/// What reading costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    request: Duration,
    word: Duration,
}

impl Costs {
    /// Returns the costs on a serial line; a turnaround of zero is an unknown one.
    pub fn rtu(timing: LineTiming, turnaround: Duration, min_gap: Duration) -> Self {
        let turnaround = if turnaround.is_zero() {
            TURNAROUND
        } else {
            turnaround
        };
        let request = timing.bytes(FRAMES) + timing.gap + timing.gap.max(min_gap) + turnaround;
        Self {
            request,
            word: timing.bytes(2),
        }
    }

    /// Returns the costs over TCP; a turnaround of zero is an unknown one.
    pub fn tcp(turnaround: Duration, min_gap: Duration) -> Self {
        let turnaround = if turnaround.is_zero() {
            TCP_REQUEST
        } else {
            turnaround
        };
        Self {
            request: turnaround + min_gap,
            word: TCP_WORD,
        }
    }

    /// Returns how many unwanted words are as dear as a second request.
    pub fn break_even(&self) -> u64 {
        u64::try_from(self.request.as_nanos() / self.word.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    fn read(&self, table: Table, count: u32) -> Duration {
        let content = self.word * count;
        self.request + if table.is_bits() { content / 16 } else { content }
    }
}

/// Returns the reads that together hold every point, in the order of tables and addresses.
///
/// Points that the unit was seen to refuse are left out, and no read of several points touches them.
pub fn plan<'a>(
    points: impl IntoIterator<Item = &'a RegisterPoint>,
    limits: &ReadLimits,
    costs: Costs,
    learned: &Learned,
) -> Vec<ReadRequest> {
    let mut tables: BTreeMap<Table, Vec<&RegisterPoint>> = BTreeMap::new();
    for point in points.into_iter().filter(|p| !learned.refuses(p)) {
        tables.entry(point.table).or_default().push(point);
    }
    let rules = Rules {
        limits,
        costs,
        learned,
    };
    tables
        .into_iter()
        .flat_map(|(table, points)| rules.cover(table, points))
        .collect()
}

/// Returns the words or bits from the first of a point to behind its last.
pub(super) fn span(point: &RegisterPoint) -> (u32, u32) {
    let start = u32::from(point.address);
    (start, start + u32::from(point.count))
}

/// Says whether a read holds the whole of a point.
pub(super) fn holds(read: &ReadRequest, point: &RegisterPoint) -> bool {
    let (start, end) = span(point);
    read.table == point.table && u32::from(read.address) <= start && end <= read.end()
}

struct Rules<'a> {
    limits: &'a ReadLimits,
    costs: Costs,
    learned: &'a Learned,
}

impl Rules<'_> {
    /// Finds the cheapest cover from the last point to the first: what follows a block is known when it is weighed.
    fn cover(&self, table: Table, mut points: Vec<&RegisterPoint>) -> Vec<ReadRequest> {
        points.sort_by_key(|p| (p.address, p.count));
        let mut best: Vec<(Duration, u32, usize)> = vec![(Duration::ZERO, 0, points.len()); points.len() + 1];
        for first in (0..points.len()).rev() {
            let mut chosen: Option<(Duration, u32, usize)> = None;
            for (end, next) in self.blocks(table, points.get(first..).unwrap_or_default()) {
                let rest = best.get(first + next).map_or(Duration::ZERO, |b| b.0);
                let count = end - u32::from(points.get(first).map_or(0, |p| p.address));
                let cost = self.costs.read(table, count) + rest;
                if chosen.is_none_or(|c| cost <= c.0) {
                    chosen = Some((cost, end, first + next));
                }
            }
            if let (Some(slot), Some(chosen)) = (best.get_mut(first), chosen) {
                *slot = chosen;
            }
        }
        walk(table, &points, &best)
    }

    /// Returns the end of each block that begins with the first of these points, and the place of the point after it.
    fn blocks(&self, table: Table, points: &[&RegisterPoint]) -> Vec<(u32, usize)> {
        let Some((first, others)) = points.split_first() else {
            return Vec::new();
        };
        let (start, mut end) = span(first);
        let mut blocks = vec![(end, 1)];
        for (place, point) in others.iter().enumerate() {
            let (from, to) = span(point);
            let gap = from.saturating_sub(end);
            let longer = end.max(to);
            let too_wide = self.limits.max_gap.is_some_and(|max| gap > u32::from(max));
            let too_long = longer - start > u32::from(most(table, self.limits));
            if too_wide || too_long || self.is_crossed(table, start, longer) {
                break;
            }
            end = longer;
            blocks.push((end, place + 2));
        }
        blocks
    }

    fn is_crossed(&self, table: Table, start: u32, end: u32) -> bool {
        let inside = |boundary: u32| start < boundary && boundary < end;
        self.limits.no_cross.iter().any(|b| inside(u32::from(*b)))
            || self.learned.is_crossed(table, start, end)
    }
}

fn walk(table: Table, points: &[&RegisterPoint], best: &[(Duration, u32, usize)]) -> Vec<ReadRequest> {
    let mut reads = Vec::new();
    let mut place = 0;
    while let (Some(point), Some((_, end, next))) = (points.get(place), best.get(place)) {
        let count =
            u16::try_from(*end - u32::from(point.address)).expect("a block is within the read limits");
        reads.push(ReadRequest {
            table,
            address: point.address,
            count,
        });
        place = *next;
    }
    reads
}

/// What a unit taught by refusing reads; each lesson is forgotten after an hour.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    tables: BTreeMap<Table, Instant>,
    refused: Vec<Lesson>,
    cuts: Vec<Lesson>,
}

/// Addresses that are not read, or with `start` = `end` a boundary that no read crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lesson {
    table: Table,
    start: u32,
    end: u32,
    until: Instant,
}

impl Learned {
    /// Remembers that a table does not exist.
    pub fn note_unsupported(&mut self, table: Table, now: Instant) {
        self.tables.insert(table, until(now));
    }

    /// Learns from a read that was refused for its addresses, given the unit's points in it; says whether that names
    /// the culprit.
    ///
    /// A read that can be is halved next time. One that cannot, because a single point needs all of it, names the
    /// culprit: the point is left alone, and the boundaries that led to it go, since the rest may do in one read again.
    pub fn note_refused(&mut self, read: &ReadRequest, inside: &[&RegisterPoint], now: Instant) -> bool {
        if let Some(middle) = self.middle(read, inside) {
            let cut = lesson(read.table, (middle, middle), now);
            remember(&mut self.cuts, cut);
            return false;
        }
        let spans = || inside.iter().map(|point| span(point));
        let start = spans().map(|(start, _)| start).min();
        let end = spans().map(|(_, end)| end).max();
        let refused = (
            start.unwrap_or(u32::from(read.address)),
            end.unwrap_or(read.end()),
        );
        self.cuts.retain(|cut| cut.table != read.table);
        remember(&mut self.refused, lesson(read.table, refused, now));
        true
    }

    /// Returns where to halve a read; nowhere if that was tried, or if one point needs all of it.
    fn middle(&self, read: &ReadRequest, inside: &[&RegisterPoint]) -> Option<u32> {
        let all = (u32::from(read.address), read.end());
        if inside.iter().any(|point| span(point) == all) {
            return None;
        }
        let mut starts: Vec<u32> = inside.iter().map(|point| span(point).0).collect();
        starts.sort_unstable();
        starts.dedup();
        let middle = starts
            .get(starts.len() / 2)
            .copied()
            .filter(|_| starts.len() > 1)?;
        let is_known = |cut: &Lesson| cut.table == read.table && cut.start == middle;
        (!self.cuts.iter().any(is_known)).then_some(middle)
    }

    /// Forgets what is older than an hour.
    pub fn forget_old(&mut self, now: Instant) {
        self.tables.retain(|_, until| *until > now);
        self.refused.retain(|lesson| lesson.until > now);
        self.cuts.retain(|lesson| lesson.until > now);
    }

    /// Says whether a point is left alone: it needs all of what was refused. One that needs a part of it may do.
    pub fn refuses(&self, point: &RegisterPoint) -> bool {
        let (start, end) = span(point);
        let hit = |l: &Lesson| l.table == point.table && start <= l.start && l.end <= end;
        self.tables.contains_key(&point.table) || self.refused.iter().any(hit)
    }

    /// Returns when the next lesson is forgotten.
    pub fn next_forgotten(&self) -> Option<Instant> {
        let lessons = self.refused.iter().chain(&self.cuts).map(|lesson| lesson.until);
        self.tables.values().copied().chain(lessons).min()
    }

    fn is_crossed(&self, table: Table, start: u32, end: u32) -> bool {
        let refused = |l: &Lesson| l.table == table && l.start < end && start < l.end;
        let cut = |l: &Lesson| l.table == table && start < l.start && l.start < end;
        self.refused.iter().any(refused) || self.cuts.iter().any(cut)
    }
}

fn remember(lessons: &mut Vec<Lesson>, lesson: Lesson) {
    if lessons.len() >= limits::EXCLUSIONS {
        lessons.remove(0);
    }
    lessons.push(lesson);
}

fn lesson(table: Table, (start, end): (u32, u32), now: Instant) -> Lesson {
    Lesson {
        table,
        start,
        end,
        until: until(now),
    }
}

fn until(now: Instant) -> Instant {
    now + Duration::from_secs(limits::EXCLUSION_SECS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ucifi_core::field::PointId;

    use super::*;
    use crate::modbus::tests::start;

    fn at(address: u16, count: u16) -> RegisterPoint {
        RegisterPoint {
            id: PointId(address),
            table: Table::InputRegisters,
            address,
            count,
            every_ms: 1_000,
        }
    }

    fn costs(baud: u32) -> Costs {
        Costs::rtu(
            LineTiming::new(baud, 11),
            Duration::from_millis(25),
            Duration::ZERO,
        )
    }

    fn reads(points: &[RegisterPoint], limits: &ReadLimits, learned: &Learned) -> Vec<(u16, u16)> {
        plan(points, limits, costs(9_600), learned)
            .iter()
            .map(|r| (r.address, r.count))
            .collect()
    }

    // Arithmetic of an 11-bit line with a turnaround of 25 ms.
    #[test]
    fn the_break_even_gap_follows_the_line_speed() {
        assert_eq!(costs(9_600).break_even(), 20);
        assert_eq!(costs(19_200).break_even(), 31);
        assert_eq!(costs(115_200).break_even(), 155);
    }

    #[test]
    fn a_narrow_gap_is_read_along_and_a_wide_one_is_not() {
        let (limits, learned) = (ReadLimits::default(), Learned::default());
        assert_eq!(reads(&[at(0, 2), at(20, 2)], &limits, &learned), [(0, 22)]);
        assert_eq!(
            reads(&[at(0, 2), at(40, 2)], &limits, &learned),
            [(0, 2), (40, 2)]
        );
    }

    #[test]
    fn a_set_gap_binds_whatever_the_line_speed() {
        let limits = ReadLimits {
            max_gap: Some(4),
            ..ReadLimits::default()
        };
        assert_eq!(
            reads(&[at(0, 2), at(6, 2), at(13, 2)], &limits, &Learned::default()),
            [(0, 8), (13, 2)]
        );
    }

    #[test]
    fn no_read_crosses_a_boundary_or_the_longest_read() {
        let limits = ReadLimits {
            max_registers: 6,
            no_cross: vec![4],
            ..ReadLimits::default()
        };
        let points: Vec<_> = (0..8).map(|n| at(n * 2, 2)).collect();
        assert_eq!(
            reads(&points, &limits, &Learned::default()),
            [(0, 4), (4, 6), (10, 6)]
        );
    }

    #[test]
    fn a_refused_point_is_found_by_halving_and_the_others_are_read_in_few_requests() {
        let points: Vec<_> = (0..16).map(|n| at(n * 2, 2)).collect();
        let (limits, mut learned) = (ReadLimits::default(), Learned::default());
        let bad = points[5].clone();
        for round in 0.. {
            assert!(round < 12, "the culprit must be found");
            let planned = plan(&points, &limits, costs(9_600), &learned);
            let Some(read) = planned.iter().find(|r| holds(r, &bad)) else {
                break;
            };
            let inside: Vec<_> = points.iter().filter(|p| holds(read, p)).collect();
            learned.note_refused(read, &inside, start());
        }
        assert_eq!(reads(&points, &limits, &learned), [(0, 10), (12, 20)]);
        learned.forget_old(start() + Duration::from_secs(limits::EXCLUSION_SECS));
        assert_eq!(
            reads(&points, &limits, &learned),
            [(0, 32)],
            "after an hour it is tried again"
        );
    }

    #[test]
    fn lessons_are_bounded() {
        let mut learned = Learned::default();
        for n in 0..600 {
            let point = at(n * 10, 1);
            let read = ReadRequest {
                table: point.table,
                address: point.address,
                count: 1,
            };
            assert!(learned.note_refused(&read, &[&point], start()));
            let pair = ReadRequest { count: 3, ..read };
            let table = Table::HoldingRegisters;
            let points = [at(n * 10, 1), at(n * 10 + 2, 1)].map(|p| RegisterPoint { table, ..p });
            assert!(!learned.note_refused(
                &ReadRequest { table, ..pair },
                &points.iter().collect::<Vec<_>>(),
                start()
            ));
        }
        assert_eq!(learned.refused.len(), limits::EXCLUSIONS);
        assert_eq!(learned.cuts.len(), limits::EXCLUSIONS);
    }

    fn any_point() -> impl Strategy<Value = RegisterPoint> {
        let table = prop_oneof![
            Just(Table::Coils),
            Just(Table::DiscreteInputs),
            Just(Table::HoldingRegisters),
            Just(Table::InputRegisters)
        ];
        (table, 0u16..400, 1u16..8, 0u16..100).prop_map(|(table, address, count, id)| RegisterPoint {
            id: PointId(id),
            table,
            address,
            count,
            every_ms: 1_000,
        })
    }

    proptest! {
        #[test]
        fn every_point_is_in_one_read_and_every_read_is_within_the_limits(
            points in prop::collection::vec(any_point(), 0..60),
            max_registers in 8u16..=125,
            max_bits in 8u16..=2_000,
            max_gap in prop::option::of(0u16..50),
            no_cross in prop::collection::vec(0u16..400, 0..5),
        ) {
            let limits = ReadLimits { max_registers, max_bits, max_gap, no_cross, ..ReadLimits::default() };
            let planned = plan(&points, &limits, costs(9_600), &Learned::default());
            for point in &points {
                prop_assert!(planned.iter().any(|r| holds(r, point)));
            }
            for read in &planned {
                prop_assert!(read.count <= most(read.table, &limits));
                let crossed = limits.no_cross.iter().any(|b| read.address < *b && u32::from(*b) < read.end());
                let single = points.iter().any(|p| p.table == read.table && (p.address, p.count) == (read.address, read.count));
                prop_assert!(!crossed || single);
            }
        }
    }
}
