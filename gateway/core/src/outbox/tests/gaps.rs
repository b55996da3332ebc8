//! What goes that nobody paid: it takes nothing healthy with it.

use super::*;

#[test]
fn setting_a_reading_aside_settles_none_that_is_under_way() {
    let mut bench = restored(129, 0);
    bench.load(0..129);
    let (id, _) = bench.take(0).unwrap();
    bench.finish(id, SendOutcome::Delivered, 0);
    bench.load(0..129);
    assert_eq!(bench.settled(), [0..=63]);
    let (id, values) = bench.take(0).unwrap();
    assert_eq!(values, (64..128).collect::<Vec<_>>());
    bench.load(0..129);
    assert_eq!(bench.set_aside(|reading| reading.seq != 128), 1);
    assert_eq!(bench.settled(), [128..=128], "the others may come back yet");
    bench.finish(id, SendOutcome::TimedOut, 0);
    bench.load(64..128);
    assert_eq!(bench.take(10).unwrap().1, values);
    assert!(bench.adds_up(129));
}

fn gap(count: u64, seqs: std::ops::RangeInclusive<u64>) -> Gap {
    Gap {
        debt: debt(PointClass::Measurement),
        count,
        seqs,
        times: None,
        reason: GapReason::Corrupt,
    }
}

/// Sends all there is and returns what the server got.
fn drain(bench: &mut Bench, is_on_disk: fn(u64) -> bool) -> Vec<i64> {
    let mut delivered = Vec::new();
    for secs in 1_000.. {
        bench.load_where(0..129, is_on_disk);
        let Some((id, values)) = bench.take(secs) else {
            break;
        };
        delivered.extend(values);
        bench.finish(id, SendOutcome::Delivered, secs);
        assert!(bench.adds_up(129));
    }
    delivered
}

#[test]
fn what_a_gap_spans_and_the_disk_still_has_is_loaded_again() {
    let is_on_disk = |seq| seq != 70 && seq != 110;
    let mut bench = restored(129, 0);
    bench.load(0..129);
    let (id, _) = bench.take(0).unwrap();
    bench.load(0..129);
    // Two readings are lost, and the gap spans all between them.
    bench.outbox.handle_gap(&gap(2, 70..=110));
    bench.finish(id, SendOutcome::Delivered, 0);
    let expected: Vec<i64> = (64..129).filter(|seq| *seq != 70 && *seq != 110).collect();
    assert_eq!(drain(&mut bench, is_on_disk), expected);
    assert_eq!(
        (bench.outbox.totals.dropped, bench.outbox.backlog.count()),
        (2, 0)
    );
}

#[test]
fn what_is_under_way_and_only_spanned_by_a_gap_is_settled_when_it_is_paid() {
    let mut bench = restored(129, 0);
    bench.load(0..129);
    let (id, _) = bench.take(0).unwrap();
    bench.outbox.handle_gap(&gap(2, 10..=100));
    bench.finish(id, SendOutcome::Delivered, 0);
    assert_eq!(bench.settled(), [0..=63], "the disk may hold most of them");
    drain(&mut bench, |seq| seq > 63 && seq != 70 && seq != 100);
    assert_eq!(
        (bench.outbox.totals.dropped, bench.outbox.backlog.count()),
        (2, 0)
    );
}

#[test]
fn what_is_under_way_and_only_spanned_by_a_gap_goes_back_when_it_is_not_paid() {
    let is_on_disk = |seq| seq != 70 && seq != 100;
    for is_reloaded_before in [false, true] {
        let mut bench = restored(129, 0);
        bench.load(0..129);
        let (id, _) = bench.take(0).unwrap();
        bench.outbox.handle_gap(&gap(2, 10..=100));
        if is_reloaded_before {
            bench.load_where(0..129, is_on_disk);
        }
        bench.finish(id, SendOutcome::TimedOut, 0);
        assert!(bench.adds_up(129));
        assert_eq!(drain(&mut bench, is_on_disk).len(), 127);
        assert_eq!(
            (bench.outbox.totals.dropped, bench.outbox.backlog.count()),
            (2, 0)
        );
    }
}
