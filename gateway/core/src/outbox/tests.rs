//! The queue of one endpoint, without a gateway round it.

mod gaps;
mod late;
mod refusals;

use std::time::Duration;

use lwm2m_client::Value;
use lwm2m_client::client::SendOutcome;
use lwm2m_client::coap::Code;

use super::*;
use crate::buffer::{Debt, GapReason, Loaded, Owing, Stream};
use crate::testing;

const BAD_REQUEST: SendOutcome = SendOutcome::Rejected(Code::BAD_REQUEST);
const ALL: fn(&Reading) -> bool = |_| true;

/// Returns what the only endpoint has a share in.
fn ledger<'a>(memory: &'a mut Memory, settlements: &'a mut Settlements) -> Ledger<'a> {
    Ledger {
        memory,
        settlements,
        account: 0,
        endpoint: 0,
    }
}

/// One endpoint with the memory and the settlements that it shares with nobody.
struct Bench {
    outbox: Outbox,
    memory: Memory,
    settlements: Settlements,
}

impl Bench {
    fn new(values: std::ops::Range<i64>) -> Self {
        let mut bench = Self {
            outbox: Outbox::default(),
            memory: Memory::default(),
            settlements: Settlements::default(),
        };
        for value in values {
            bench.push(value, PointClass::Measurement);
        }
        bench
    }

    /// Takes a reading whose time is its value.
    fn push(&mut self, value: i64, class: PointClass) -> u64 {
        self.push_at(value, value, class)
    }

    fn push_at(&mut self, value: i64, unix_ms: i64, class: PointClass) -> u64 {
        let new = New {
            device: 0,
            class,
            path: Path::resource(3421, 0, 1),
            value: Value::Integer(value),
            moment: Moment::Wall(Timestamp::from_unix_ms(unix_ms)),
        };
        let seq = self.memory.push(new, Servers::one(0), at(0));
        self.outbox.push(seq, class);
        seq
    }

    fn take(&mut self, secs: u64) -> Option<(SendId, Vec<i64>)> {
        let mut ledger = ledger(&mut self.memory, &mut self.settlements);
        let (id, items) = self.outbox.take(&mut ledger, ALL, at(secs))?;
        let value = |item: &Item| item.reading.value.as_f64().unwrap() as i64;
        Some((id, items.iter().map(value).collect()))
    }

    fn finish(&mut self, id: SendId, outcome: SendOutcome, secs: u64) -> Verdict {
        let mut ledger = ledger(&mut self.memory, &mut self.settlements);
        self.outbox.handle_finished(id, outcome, &mut ledger, at(secs))
    }

    /// Has the server refuse a Send as bad, and confirm the registration thereafter.
    fn refuse(&mut self, id: SendId, secs: u64) -> Verdict {
        let verdict = self.finish(id, BAD_REQUEST, secs);
        self.outbox.resume();
        verdict
    }

    /// Sets aside what is loaded and does not fit; says how much that is.
    fn set_aside(&mut self, fits: impl Fn(&Reading) -> bool) -> usize {
        let mut ledger = ledger(&mut self.memory, &mut self.settlements);
        self.outbox.set_aside(fits, &mut ledger, at(0))
    }

    /// Makes everything in memory durable.
    fn store(&mut self) {
        self.memory.ripen(Duration::ZERO, at(0));
        for held in self.memory.take_due(limits::MAX_COMMIT_BYTES) {
            let stored = self.memory.stored(held.reading.seq).unwrap();
            self.outbox.stored(stored.class, &stored.reading);
        }
    }

    /// Loads what is wanted of these numbers, whose values they are.
    fn load(&mut self, on_disk: std::ops::Range<u64>) -> Option<Load> {
        self.load_where(on_disk, |_| true)
    }

    /// Does the same on a disk that has not all of them.
    fn load_where(&mut self, on_disk: std::ops::Range<u64>, is_there: fn(u64) -> bool) -> Option<Load> {
        let load = self.outbox.backlog.take_load()?;
        let loaded = on_disk
            .filter(|seq| *seq >= load.from && is_there(*seq))
            .take(limits::READINGS_PER_LOAD);
        let settlements = &self.settlements;
        self.outbox
            .handle_loaded(load, loaded.map(loaded_reading).collect(), |seq| {
                settlements.contains(0, load.class, seq)
            });
        Some(load)
    }

    fn settled(&mut self) -> Vec<std::ops::RangeInclusive<u64>> {
        let told = self.settlements.tell().flat_map(|(_, _, seqs)| seqs).collect();
        self.settlements.told();
        told
    }

    /// Says whether every reading is accounted for.
    fn adds_up(&self, at_start: u64) -> bool {
        let (totals, outbox) = (self.outbox.totals, &self.outbox);
        totals.produced + at_start
            == totals.delivered_live
                + totals.delivered_late
                + totals.dropped
                + outbox.waiting() as u64
                + outbox.backlog.count()
    }
}

fn loaded_reading(seq: u64) -> Loaded {
    let value = i64::try_from(seq).unwrap();
    Loaded {
        seq,
        path: Path::resource(3421, 0, 1),
        value: Value::Integer(value),
        moment: Moment::Wall(Timestamp::from_unix_ms(value)),
        is_estimated: false,
    }
}

fn restored(count: u64, first: u64) -> Bench {
    let mut bench = Bench::new(0..0);
    bench.outbox.backlog.restore(&Owing {
        debt: debt(PointClass::Measurement),
        count,
        first,
        oldest: None,
    });
    bench.memory = Memory::new(first + count, Vec::new());
    bench
}

fn debt(class: PointClass) -> Debt {
    Debt {
        account: "city".into(),
        stream: Stream {
            device: "meter-1".into(),
            class,
        },
    }
}

fn at(secs: u64) -> Instant {
    testing::start().instant + Duration::from_secs(secs)
}

#[test]
fn readings_go_in_order_and_alarms_before_them() {
    let mut bench = Bench::new(0..3);
    bench.push(9, PointClass::Alarm);
    let (id, values) = bench.take(0).unwrap();
    assert_eq!(values, [9, 0, 1, 2]);
    assert!(bench.take(0).is_none(), "one Send at a time");
    assert_eq!(bench.finish(id, SendOutcome::Delivered, 1), Verdict::Paid);
    assert_eq!(
        (bench.outbox.waiting(), bench.outbox.totals.delivered_live),
        (0, 4)
    );
    assert_eq!((bench.memory.len(), bench.settled()), (0, vec![]));
}

#[test]
fn the_second_value_of_a_resource_at_one_moment_waits_for_the_next_send() {
    let mut bench = Bench::new(0..2);
    bench.push_at(77, 1, PointClass::Measurement);
    bench.push(5, PointClass::Measurement);
    let (id, values) = bench.take(0).unwrap();
    assert_eq!(values, [0, 1]);
    bench.finish(id, SendOutcome::Delivered, 0);
    assert_eq!(bench.take(0).unwrap().1, [77, 5]);
}

#[test]
fn a_send_holds_no_more_readings_than_a_server_takes() {
    let mut bench = Bench::new(0..100);
    assert_eq!(bench.take(0).unwrap().1.len(), limits::MAX_READINGS_PER_SEND);
}

#[test]
fn what_the_server_did_not_take_goes_again_after_a_pause_that_grows() {
    let mut bench = Bench::new(0..2);
    let (id, _) = bench.take(0).unwrap();
    assert_eq!(bench.finish(id, SendOutcome::TimedOut, 0), Verdict::Again);
    bench.push(2, PointClass::Measurement);
    assert_eq!(bench.outbox.poll_timeout(), Some(at(5)));
    assert!(bench.take(4).is_none());
    let (id, values) = bench.take(5).unwrap();
    assert_eq!(values, [0, 1, 2]);
    bench.finish(id, SendOutcome::TimedOut, 5);
    assert_eq!(bench.outbox.poll_timeout(), Some(at(15)));
    for _ in 0..40 {
        let (id, _) = bench.take(100_000).unwrap();
        bench.finish(id, SendOutcome::TimedOut, 0);
    }
    assert_eq!(
        bench.outbox.poll_timeout(),
        Some(at(300)),
        "the pause has a bound"
    );
}

#[test]
fn a_send_that_is_too_large_becomes_smaller_at_once() {
    let mut bench = Bench::new(0..4);
    let (id, _) = bench.take(0).unwrap();
    bench.finish(id, SendOutcome::Rejected(Code::REQUEST_ENTITY_TOO_LARGE), 0);
    assert_eq!(bench.take(0).unwrap().1, [0, 1]);
}

#[test]
fn a_server_that_knows_no_registration_gets_the_same_send_again() {
    let mut bench = Bench::new(0..4);
    for round in 0..5 {
        let (id, values) = bench.take(round * 1_000).unwrap();
        assert_eq!(values, [0, 1, 2, 3]);
        bench.push(9, PointClass::Alarm);
        bench.finish(id, SendOutcome::Rejected(Code::NOT_FOUND), round * 1_000);
    }
}

#[test]
fn the_backlog_goes_from_the_oldest_on_and_is_paid_in_one_range() {
    let mut bench = restored(100, 1_000);
    let mut delivered = Vec::new();
    loop {
        bench.load(1_000..1_100);
        let Some((id, values)) = bench.take(0) else { break };
        delivered.extend(values);
        bench.finish(id, SendOutcome::Delivered, 0);
        assert!(bench.adds_up(100));
    }
    assert_eq!(delivered, (1_000..1_100).collect::<Vec<_>>());
    assert_eq!(bench.settled(), [1_000..=1_099]);
    assert_eq!(bench.outbox.totals.delivered_late, 100);
}

#[test]
fn neither_live_readings_nor_the_backlog_keep_the_other_waiting() {
    let mut bench = restored(1_000, 0);
    for value in 0..1_000 {
        bench.push(10_000 + value, PointClass::Measurement);
    }
    for round in 0..5 {
        bench.load(0..1_000);
        let (id, values) = bench.take(0).unwrap();
        let live = values.iter().filter(|value| **value >= 10_000).count();
        assert_eq!((live, values.len()), (32, 64), "in round {round}");
        assert!(values[0] >= 10_000, "live readings go first");
        bench.finish(id, SendOutcome::Delivered, 0);
    }
}

#[test]
fn what_becomes_durable_on_its_way_is_not_sent_a_second_time() {
    let mut bench = Bench::new(0..3);
    let (id, _) = bench.take(0).unwrap();
    bench.store();
    assert_eq!((bench.memory.len(), bench.outbox.waiting()), (0, 0));
    assert_eq!(bench.outbox.backlog.count(), 3);
    bench.load(0..3);
    assert_eq!(bench.outbox.backlog.loaded_len(), 0, "all of it is under way");
    bench.finish(id, SendOutcome::Delivered, 0);
    assert_eq!(bench.settled(), [0..=2]);
    assert!(bench.take(0).is_none());
    assert!(bench.adds_up(0));
}

#[test]
fn what_became_durable_on_its_way_and_was_not_taken_is_loaded_again() {
    let mut bench = Bench::new(0..3);
    let (id, _) = bench.take(0).unwrap();
    bench.store();
    bench.finish(id, SendOutcome::TimedOut, 0);
    assert_eq!(
        bench.outbox.backlog.loaded_len(),
        0,
        "a pause is long, and memory is dear"
    );
    assert!(bench.take(10).is_none());
    assert!(bench.load(0..3).is_some());
    assert_eq!(bench.take(10).unwrap().1, [0, 1, 2]);
    assert!(bench.adds_up(0));
}

#[test]
fn a_reading_paid_while_it_is_being_stored_is_settled() {
    let mut bench = Bench::new(0..1);
    let (id, _) = bench.take(0).unwrap();
    bench.memory.ripen(Duration::ZERO, at(0));
    assert_eq!(bench.memory.take_due(limits::MAX_COMMIT_BYTES).len(), 1);
    bench.finish(id, SendOutcome::Delivered, 0);
    assert!(bench.memory.stored(0).is_none());
    assert_eq!(bench.settled(), [0..=0]);
    assert_eq!(bench.outbox.totals.delivered_live, 1);
    assert!(bench.adds_up(0));
}

#[test]
fn what_is_paid_but_not_yet_told_to_the_disk_is_not_taken_from_it() {
    let mut bench = restored(100, 0);
    bench.load(0..100);
    let (id, _) = bench.take(0).unwrap();
    let load = bench.outbox.backlog.take_load().unwrap();
    assert_eq!(load.from, 64);
    bench.finish(id, SendOutcome::Delivered, 0);
    bench.outbox.backlog.unload();
    // The answer to an older question counts for nothing once everything was unloaded, and is filtered otherwise.
    let settlements = &bench.settlements;
    bench
        .outbox
        .handle_loaded(load, (0..64).map(loaded_reading).collect(), |seq| {
            settlements.contains(0, load.class, seq)
        });
    assert_eq!(bench.outbox.backlog.loaded_len(), 0);
    bench.load(0..100);
    assert_eq!(bench.take(0).unwrap().1, (64..100).collect::<Vec<_>>());
}

#[test]
fn a_gap_takes_what_is_not_under_way() {
    let mut bench = restored(100, 0);
    bench.load(0..100);
    let (id, _) = bench.take(0).unwrap();
    bench.outbox.handle_gap(&Gap {
        debt: debt(PointClass::Measurement),
        count: 80,
        seqs: 0..=79,
        times: None,
        reason: GapReason::Bound,
    });
    assert!(bench.adds_up(100));
    assert_eq!(
        (bench.outbox.totals.dropped, bench.outbox.backlog.count()),
        (16, 20)
    );
    bench.finish(id, SendOutcome::Delivered, 0);
    assert!(bench.adds_up(100));
    bench.load(80..100);
    assert_eq!(bench.take(0).unwrap().1, (80..100).collect::<Vec<_>>());
}

#[test]
fn what_the_disk_does_not_have_after_all_is_counted_as_dropped() {
    let mut bench = restored(10, 0);
    bench.load(4..10);
    assert_eq!(
        (bench.outbox.totals.dropped, bench.outbox.backlog.count()),
        (4, 6)
    );
    assert!(bench.adds_up(10));
}

#[test]
fn a_load_that_fails_is_tried_again_later() {
    let mut bench = restored(10, 0);
    let load = bench.outbox.backlog.take_load().unwrap();
    assert!(bench.outbox.backlog.take_load().is_none(), "one at a time");
    bench.outbox.backlog.handle_load_failed(load, at(0));
    bench.outbox.backlog.end_pause(at(1));
    assert!(bench.outbox.backlog.take_load().is_none());
    assert_eq!(bench.outbox.poll_timeout(), Some(at(5)));
    bench.outbox.backlog.end_pause(at(5));
    assert_eq!(bench.outbox.backlog.take_load(), Some(load));
}

#[test]
fn without_a_clock_the_time_is_how_long_ago_it_was() {
    use lwm2m_client::format::RecordTime;
    let clock = Clock {
        boot: 3,
        start: at(10),
    };
    let moment = clock.moment(None, at(12));
    assert_eq!(moment, Moment::Boot { boot: 3, ms: 2_000 });
    assert_eq!(clock.tell(moment, at(19)), RecordTime::RelativeMs(-7_000));
    let of_earlier_start = Moment::Boot { boot: 2, ms: 9_000 };
    assert_eq!(
        clock.tell(of_earlier_start, at(19)),
        RecordTime::RelativeMs(-9_000)
    );
}

#[test]
fn a_pause_that_is_over_wakes_nobody_while_the_disk_is_at_work() {
    let mut bench = restored(10, 1);
    bench.load(1..3);
    let (id, _) = bench.take(0).unwrap();
    bench.finish(id, SendOutcome::TimedOut, 0);
    bench.outbox.backlog.unload();
    let pause = bench.outbox.poll_timeout().expect("there is a pause");
    bench.outbox.end_pauses(pause - Duration::from_millis(1));
    assert_eq!(bench.outbox.poll_timeout(), Some(pause));
    bench.outbox.end_pauses(pause);
    let load = bench.outbox.backlog.take_load().unwrap();
    assert_eq!(
        bench.outbox.poll_timeout(),
        None,
        "the load is what is waited for"
    );
    bench.outbox.backlog.handle_load_failed(load, pause);
    let retry = bench.outbox.poll_timeout().expect("it is tried again");
    bench.outbox.end_pauses(retry);
    assert_eq!(bench.outbox.poll_timeout(), None);
    assert!(bench.outbox.backlog.wants_load(ALL));
}
