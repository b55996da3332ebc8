//! What goes by late notification.

use super::*;

const VOLTAGE: Path = Path::resource(3421, 0, 1);
const ELSEWHERE: Path = Path::resource(3421, 0, 6);

impl Bench {
    fn take_late(&mut self, observed: &[Path], secs: u64) -> Option<(Path, SendId, Vec<i64>)> {
        let mut ledger = ledger(&mut self.memory, &mut self.settlements);
        let (path, id, items) = self.outbox.take_late(&mut ledger, observed, at(secs))?;
        let value = |item: &Item| item.reading.value.as_f64().unwrap() as i64;
        Some((path, id, items.iter().map(value).collect()))
    }

    fn return_flight(&mut self, id: SendId) {
        let mut ledger = ledger(&mut self.memory, &mut self.settlements);
        self.outbox.return_flight(id, &mut ledger);
    }

    fn split(&mut self) -> Verdict {
        let mut ledger = ledger(&mut self.memory, &mut self.settlements);
        self.outbox.split(&mut ledger, at(0))
    }
}

#[test]
fn the_oldest_goes_first_and_what_is_on_disk_before_what_is_in_memory() {
    let mut bench = Bench::new(0..100);
    bench.store();
    for value in 100..110 {
        bench.push(value, PointClass::Measurement);
    }
    assert!(
        bench.take_late(&[VOLTAGE], 0).is_none(),
        "the disk is not asked yet"
    );
    let mut arrived = Vec::new();
    for secs in 0..20 {
        bench.load(0..100);
        if let Some((_, id, values)) = bench.take_late(&[VOLTAGE], secs) {
            arrived.extend(values);
            bench.finish(id, SendOutcome::Delivered, secs);
        }
    }
    assert_eq!(arrived, (0..110).collect::<Vec<_>>());
    assert!(bench.adds_up(0));
}

#[test]
fn an_observation_that_is_busy_does_not_undo_what_was_made_smaller() {
    let mut bench = Bench::new(0..64);
    let (_, _, values) = bench.take_late(&[VOLTAGE], 0).unwrap();
    assert_eq!(values.len(), 64);
    assert_eq!(bench.split(), Verdict::Again);
    let (_, id, values) = bench.take_late(&[VOLTAGE], 0).unwrap();
    assert_eq!(values, (0..32).collect::<Vec<_>>());
    bench.return_flight(id);
    let (_, id, values) = bench.take_late(&[VOLTAGE], 0).unwrap();
    assert_eq!(values, (0..32).collect::<Vec<_>>());
    assert_eq!(bench.split(), Verdict::Again);
    let (_, again, values) = bench.take_late(&[VOLTAGE], 0).unwrap();
    assert_ne!(again, id);
    assert_eq!(values, (0..16).collect::<Vec<_>>());
    bench.finish(again, SendOutcome::Delivered, 0);
    assert_eq!(bench.take_late(&[VOLTAGE], 0).unwrap().2[0], 16);
    assert!(bench.adds_up(0));
}

#[test]
fn one_reading_that_no_notification_can_carry_is_set_aside_alone() {
    let mut bench = Bench::new(0..8);
    while bench.take_late(&[VOLTAGE], 0).is_some() {
        if bench.split() == Verdict::Poison {
            break;
        }
    }
    let (_, id, values) = bench.take_late(&[VOLTAGE], 0).unwrap();
    assert_eq!(values, [1]);
    bench.finish(id, SendOutcome::Delivered, 0);
    assert_eq!(bench.outbox.totals.dropped, 1);
    assert!(bench.adds_up(0));
}

#[test]
fn a_send_that_was_to_be_repeated_goes_by_notification_in_the_order_of_its_times() {
    let mut bench = restored(64, 0);
    for value in 64..128 {
        bench.push(value, PointClass::Measurement);
    }
    bench.load(0..64);
    let (id, values) = bench.take(0).unwrap();
    assert_eq!(values[0], 64, "a Send has the live ones first");
    bench.refuse(id, 0);
    let mut arrived = Vec::new();
    for secs in 1_000..1_010 {
        bench.load(0..64);
        if let Some((_, id, values)) = bench.take_late(&[VOLTAGE], secs) {
            arrived.extend(values);
            bench.finish(id, SendOutcome::Delivered, secs);
        }
    }
    assert_eq!(arrived, (0..128).collect::<Vec<_>>());
    assert!(bench.adds_up(64));
}

#[test]
fn what_was_passed_over_is_counted_once_when_something_older_is_stored_behind_it() {
    let mut bench = Bench::new(0..1);
    for value in 1..11 {
        let seq = bench.push(value, PointClass::Measurement);
        bench.memory.hurry(seq, testing::start().instant);
    }
    for held in bench.memory.take_due(limits::MAX_COMMIT_BYTES) {
        let stored = bench.memory.stored(held.reading.seq).unwrap();
        bench.outbox.stored(stored.class, &stored.reading);
    }
    bench.load(1..11);
    assert!(bench.take_late(&[ELSEWHERE], 0).is_none());
    bench.store();
    bench.load(0..11);
    assert!(bench.take_late(&[ELSEWHERE], 0).is_none());
    assert_eq!(bench.outbox.backlog.count(), 11);
    bench.outbox.backlog.unload();
    bench.load(0..11);
    assert_eq!(bench.take(0).unwrap().1, (0..11).collect::<Vec<_>>());
    assert!(bench.adds_up(0));
}

#[test]
fn what_was_passed_over_and_is_lost_is_found_missing() {
    let mut bench = restored(20, 0);
    bench.load(0..20);
    assert!(bench.take_late(&[ELSEWHERE], 0).is_none());
    bench.outbox.handle_gap(&Gap {
        debt: debt(PointClass::Measurement),
        count: 5,
        seqs: 0..=9,
        times: None,
        reason: GapReason::Corrupt,
    });
    bench.load_where(0..20, |seq| seq % 2 == 1 || seq > 9);
    assert!(bench.take_late(&[ELSEWHERE], 0).is_none());
    assert_eq!(bench.outbox.backlog.count(), 15);
    assert!(bench.adds_up(20));
}
