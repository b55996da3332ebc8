//! What a server does not take: the bad reading is found, and no good one is lost for it.

use super::*;

const TOO_LARGE: SendOutcome = SendOutcome::Rejected(Code::REQUEST_ENTITY_TOO_LARGE);

#[test]
fn only_a_repeated_bad_request_is_halved_until_the_bad_reading_is_alone() {
    let mut bench = Bench::new(0..4);
    let (id, first) = bench.take(0).unwrap();
    assert_eq!(bench.refuse(id, 0), Verdict::Again);
    bench.push(9, PointClass::Alarm);
    let (mut delivered, mut verdicts) = (Vec::new(), Vec::new());
    for round in 1..10 {
        let Some((id, values)) = bench.take(round * 1000) else {
            break;
        };
        if round == 1 {
            assert_eq!(
                values, first,
                "first the same Send again, whatever came meanwhile"
            );
        }
        if values.contains(&2) {
            verdicts.push(bench.refuse(id, round * 1000));
        } else {
            verdicts.push(bench.finish(id, SendOutcome::Delivered, round * 1000));
            delivered.extend(values);
        }
    }
    assert_eq!(delivered, [0, 1, 9, 3]);
    assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Poison).count(), 1);
    assert_eq!((bench.outbox.waiting(), bench.outbox.totals.dropped), (0, 1));
    assert!(bench.adds_up(0));
}

#[test]
fn readings_are_not_suspected_until_the_server_has_confirmed_the_registration() {
    let mut bench = Bench::new(0..1);
    for round in 0..20 {
        let (id, values) = bench.take(round * 1_000).unwrap();
        assert_eq!(values, [0]);
        assert_eq!(bench.finish(id, BAD_REQUEST, round * 1_000), Verdict::Again);
    }
    bench.outbox.resume();
    let (id, _) = bench.take(20_000).unwrap();
    assert_eq!(bench.finish(id, BAD_REQUEST, 20_000), Verdict::Poison);
}

#[test]
fn a_server_that_refuses_everything_costs_a_few_readings_only() {
    for refusal in [BAD_REQUEST, TOO_LARGE] {
        let mut bench = Bench::new(0..100);
        let mut poison = 0;
        for round in 0..200 {
            let (id, _) = bench.take(round * 1_000).expect("it goes on");
            poison += usize::from(bench.finish(id, refusal, round * 1_000) == Verdict::Poison);
            bench.outbox.resume();
        }
        assert_eq!(poison, limits::MAX_SET_ASIDE_IN_ROW);
        assert_eq!(bench.outbox.totals.dropped, limits::MAX_SET_ASIDE_IN_ROW as u64);
        let (id, _) = bench.take(300_000).unwrap();
        bench.finish(id, SendOutcome::Delivered, 300_000);
        assert!(bench.adds_up(0));
    }
}

#[test]
fn after_a_single_reading_that_is_too_large_there_is_a_pause() {
    let mut bench = Bench::new(0..2);
    let (id, _) = bench.take(0).unwrap();
    bench.finish(id, TOO_LARGE, 0);
    let (id, values) = bench.take(0).unwrap();
    assert_eq!(values, [0]);
    assert_eq!(bench.finish(id, TOO_LARGE, 0), Verdict::Poison);
    assert!(bench.take(4).is_none());
    assert_eq!(bench.take(5).unwrap().1, [1]);
}

#[test]
fn a_bad_stored_reading_is_found_while_live_ones_keep_coming() {
    for refusal in [BAD_REQUEST, TOO_LARGE] {
        let mut bench = restored(10, 0);
        let mut poison = 0;
        for round in 0..60 {
            for value in 0..40 {
                bench.push(1_000 + round * 40 + value, PointClass::Measurement);
            }
            let secs = 1_000 * round.unsigned_abs();
            bench.load(0..10);
            let (id, values) = bench.take(secs).expect("there is something to send");
            let outcome = if values.contains(&0) {
                refusal
            } else {
                SendOutcome::Delivered
            };
            poison += usize::from(bench.finish(id, outcome, secs) == Verdict::Poison);
            bench.outbox.resume();
        }
        assert_eq!((poison, bench.outbox.totals.dropped), (1, 1));
        assert_eq!(
            bench.outbox.backlog.count(),
            0,
            "the others of the backlog arrive"
        );
        assert!(bench.adds_up(10));
    }
}

#[test]
fn what_waits_for_its_instance_holds_up_no_others_while_there_is_room() {
    let count = 4 * limits::MAX_BLOCKED_READINGS as u64;
    let mut bench = restored(count, 0);
    let may_go = |reading: &Reading| reading.seq >= 500;
    while bench.outbox.backlog.wants_load(may_go) {
        bench.load(0..count);
    }
    assert!(bench.outbox.backlog.loaded().any(|(_, reading)| may_go(reading)));
    let mut bench = restored(count, 0);
    while bench.outbox.backlog.wants_load(|_| false) {
        bench.load(0..count);
    }
    let held = bench.outbox.backlog.loaded_len();
    assert_eq!(held, limits::MAX_BLOCKED_READINGS + limits::READINGS_PER_LOAD);
}
