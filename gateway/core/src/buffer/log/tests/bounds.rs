//! Bounds of bytes and age, and what goes first.

use super::*;
use crate::buffer::GapReason;

fn fill(bench: &mut Bench, debts: &[Debt], commits: u64) {
    for n in 0..commits {
        let batches = debts
            .iter()
            .zip(0..)
            .map(|(debt, at)| batch(debt, n * 100 + at * 20 + 1..=n * 100 + at * 20 + 20));
        let commit = Commit {
            next_seq: n * 100 + 101,
            wall: Some(Timestamp::from_unix_ms(T0 + n as i64 * 1_000)),
            batches: batches.collect(),
            ..Commit::default()
        };
        bench.commit(commit).unwrap();
    }
}

#[test]
fn the_least_urgent_class_goes_first_and_of_it_the_oldest() {
    let debts = [PointClass::Alarm, PointClass::Measurement, PointClass::Diagnostic]
        .map(|class| debt("city", "meter", class));
    let mut bench = Bench::new(small());
    fill(&mut bench, &debts, 100);
    let [alarms, measured, diagnosed] = debts.clone().map(|debt| bench.seqs(&debt));
    assert_eq!(alarms.len(), 2_000, "no alarm had to go");
    assert!(
        diagnosed.len() < measured.len(),
        "{} and {}",
        diagnosed.len(),
        measured.len()
    );
    assert_eq!(measured.last(), Some(&9_940));
    assert_eq!(
        alarms.len() as u64 + measured.len() as u64 + diagnosed.len() as u64 + bench.lost(),
        6_000
    );
    assert!(
        bench
            .gaps
            .iter()
            .all(|gap| gap.reason == GapReason::Bound && gap.debt.stream.class != PointClass::Alarm)
    );
    assert!(bench.disk().used() <= 8 * 4096);
    bench.check_counts();
    let mut bench = bench.reopen();
    assert_eq!(
        debts.map(|debt| bench.seqs(&debt)),
        [alarms, measured, diagnosed],
        "what went stays away"
    );
}

#[test]
fn alarms_are_not_evicted_for_measurements() {
    let alarm = debt("city", "meter", PointClass::Alarm);
    let mut bench = Bench::new(small());
    fill(&mut bench, std::slice::from_ref(&alarm), 300);
    let before = bench.seqs(&alarm);
    let mut refused = 0;
    for n in 0..20 {
        refused +=
            u64::from(bench.store(&meter(), 40_000 + n * 20..=40_019 + n * 20) == Err(DiskError::Full));
    }
    assert_eq!(bench.seqs(&alarm), before);
    assert!(refused < 20 || bench.seqs(&meter()).is_empty());
    bench.check_counts();
}

#[test]
fn a_server_has_a_bound_of_its_own() {
    let other = debt("water", "meter", PointClass::Measurement);
    let mut bench = Bench::new(bounded("city", 2_000, None));
    fill(&mut bench, &[meter(), other.clone()], 25);
    assert_eq!(bench.seqs(&other).len(), 500);
    let left = bench.seqs(&meter());
    assert!((150..400).contains(&left.len()), "{}", left.len());
    assert_eq!(left.len() as u64 + bench.lost(), 500);
    assert!(bench.statistics().evicted_records > 0);
    assert!(bench.gaps.iter().all(|gap| gap.debt == meter()));
    assert_eq!(bench.reopen().seqs(&meter()), left);
}

#[test]
fn what_is_too_old_goes() {
    let mut bench = Bench::new(bounded("city", 1 << 20, Some(30_000)));
    let other = debt("water", "meter", PointClass::Measurement);
    fill(&mut bench, &[meter(), other.clone()], 60);
    let left = bench.seqs(&meter());
    // 20 readings a second, kept 30 s, looked after every 10 s.
    assert!((580..=820).contains(&left.len()), "{}", left.len());
    assert_eq!(bench.seqs(&other).len(), 1_200);
    assert!(bench.gaps.iter().all(|gap| gap.reason == GapReason::Age));
    assert_eq!(bench.statistics().aged_records + left.len() as u64, 1_200);
    assert_eq!(bench.reopen().seqs(&meter()), left);
}

#[test]
fn a_gap_names_the_times_and_numbers_that_are_missing() {
    let mut bench = Bench::new(bounded("city", 300, None));
    bench.store(&meter(), 1..=40).unwrap();
    bench.store(&meter(), 41..=80).unwrap();
    bench.store(&meter(), 81..=120).unwrap();
    let gap = &bench.gaps[0];
    assert_eq!((gap.count, gap.seqs.clone()), (40, 1..=40));
    let time = |seq: i64| Timestamp::from_unix_ms(T0 + seq * 10);
    assert_eq!(gap.times, Some(time(1)..=time(40)));
}

#[test]
fn nobody_is_told_of_old_readings_that_were_never_owed_to_them() {
    let mut bench = Bench::new(bounded("city", 1 << 20, Some(30_000)));
    let water = debt("water", "meter", PointClass::Measurement);
    bench.store(&water, 1..=20).unwrap();
    bench.store(&meter(), 21..=40).unwrap();
    bench.store(&meter(), 100_000..=100_000).unwrap();
    assert_eq!(bench.lost(), 20);
    assert!(
        bench
            .gaps
            .iter()
            .all(|gap| gap.debt == meter() && gap.seqs == (21..=40))
    );
    assert_eq!(bench.seqs(&water), Vec::from_iter(1..=20));
    bench.check_counts();
}

#[test]
fn readings_of_one_stream_for_different_servers_count_both() {
    let mut bench = Bench::new(small());
    let water = debt("water", "meter", PointClass::Measurement);
    bench.store(&meter(), 1..=50).unwrap();
    let one = bench.statistics().live_bytes;
    bench.store(&water, 51..=100).unwrap();
    let both = bench.statistics().live_bytes;
    assert!(both > one * 3 / 2, "{one} and {both}");
    let shared = Batch {
        accounts: vec!["city".into(), "water".into()],
        ..batch(&debt("", "lamp", PointClass::Measurement), 101..=150)
    };
    bench
        .commit(Commit {
            next_seq: 151,
            batches: vec![shared],
            ..Commit::default()
        })
        .unwrap();
    let shared = bench.statistics().live_bytes - both;
    assert!(shared < one * 3 / 2, "{one} and {shared}");
}

#[test]
fn dropping_what_is_old_reads_each_segment_once() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    let debts: Vec<_> = (0..5)
        .map(|n| debt("city", &format!("meter-{n}"), PointClass::Measurement))
        .collect();
    fill(&mut bench, &debts, 200);
    let mut bench = bench.reopen();
    let before = bench.statistics();
    assert!(before.segments > 10);
    let than = Timestamp::from_unix_ms(T0 + 100_000);
    let replies = bench.log.handle(Request::DropOlder { than, account: None });
    assert!(matches!(replies.last(), Some(Reply::Dropped { count }) if *count > 5_000));
    let reads = bench.statistics().segment_reads - before.segment_reads;
    assert!(
        reads <= 2 * before.segments,
        "{reads} reads of {} segments",
        before.segments
    );
}
