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
