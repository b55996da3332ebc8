//! The power goes at every step of the work, and the process between them.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

/// Works until the power goes; says which commits were told to be durable.
fn work(bench: &mut Bench) -> (u64, u64) {
    let (mut stored, mut paid) = (0, 0);
    for n in 0..12u64 {
        let last = n * 200 + 200;
        if bench.store(&meter(), n * 200 + 1..=last).is_err() {
            break;
        }
        stored = last;
        if n % 4 == 3 {
            if bench.settle(&meter(), 1..=last - 245).is_err() {
                break;
            }
            paid = last - 245;
        }
    }
    (stored, paid)
}

#[test]
fn the_power_may_go_at_every_step() {
    let mut bench = Bench::new(small());
    work(&mut bench);
    let steps = bench.disk().changes;
    let mut met = super::super::Statistics::default();
    for step in 0..=steps {
        for seed in 0..4 {
            let mut disk = CrashDisk::default();
            disk.power_fails_in = Some(step);
            let mut bench = Bench::on(disk, small());
            let (stored, paid) = work(&mut bench);
            let mut rng = StdRng::seed_from_u64(step * 100 + seed);
            let mut bench = bench.reopen_with(|disk| disk.crash(&mut rng));
            let found = bench.seqs(&meter());
            // The commit that was cut off may be there, as may its settlement.
            let owed: Vec<u64> = found.iter().copied().filter(|seq| *seq <= stored).collect();
            assert!(
                owed.ends_with(&Vec::from_iter(paid.max(stored.saturating_sub(244)) + 1..=stored)),
                "step {step}"
            );
            assert!(
                found.first().is_none_or(|first| *first > paid),
                "step {step}: {paid} came back as {found:?}"
            );
            assert!(
                found.iter().all(|seq| *seq <= stored + 200),
                "step {step}: {found:?} after {stored}"
            );
            assert_eq!(bench.gaps, [], "step {step}");
            let statistics = bench.statistics();
            met.torn_tails += statistics.torn_tails;
            met.torn_beginnings += statistics.torn_beginnings;
            met.stale_segments += statistics.stale_segments;
            bench.store(&meter(), 50_000..=50_010).unwrap();
            let last = bench.reopen().seqs(&meter());
            assert_eq!(last.last(), Some(&50_010), "it goes on");
        }
    }
    assert!(
        met.torn_tails > 0 && met.torn_beginnings > 0 && met.stale_segments > 0,
        "{met:?}"
    );
}

#[test]
fn what_a_killed_process_left_unsynced_is_durable_with_the_first_commit_of_the_next() {
    for (before, after) in [(10, 10), (10, 3_000)] {
        let mut bench = Bench::new(small());
        bench.store(&meter(), 1..=before).unwrap();
        // The write succeeds, the sync never comes.
        bench.disk().power_fails_in = Some(1);
        assert!(bench.store(&meter(), before + 1..=before + 5).is_err());
        let mut bench = bench.reopen();
        assert_eq!(bench.seqs(&meter()).len() as u64, before + 5);
        bench.store(&meter(), 100..=100 + after).unwrap();
        let mut rng = StdRng::seed_from_u64(0);
        for _ in 0..8 {
            bench = bench.reopen_with(|disk| disk.crash(&mut rng));
            assert_eq!(bench.seqs(&meter()).len() as u64, before + 5 + after + 1);
            assert_eq!(bench.gaps, []);
        }
    }
}

#[test]
fn a_start_without_a_commit_does_not_use_up_a_number() {
    let bench = Bench::new(small());
    let mut bench = bench.reopen().reopen();
    assert_eq!(bench.contents.boot, 1);
    bench.store(&meter(), 1..=1).unwrap();
    assert_eq!(bench.reopen().contents.boot, 2);
}

/// A log whose first segment holds ten readings of the meter and ten of the lamp, and whose head nothing; with the
/// number of the next reading.
fn two_paid_but_for(meter: &Debt, lamp: &Debt) -> (Bench, u64) {
    let mut bench = Bench::new(small());
    bench.store(meter, 1..=10).unwrap();
    bench.store(lamp, 11..=20).unwrap();
    let pump = debt("city", "pump", PointClass::Measurement);
    let mut next = 21;
    while bench.statistics().begun_segments < 2 {
        bench.store(&pump, next..=next + 39).unwrap();
        next += 40;
    }
    bench.settle(&pump, 21..=next).unwrap();
    assert_eq!(
        bench.statistics().emptied_segments,
        0,
        "the test means two segments"
    );
    (bench, next)
}

#[test]
fn a_number_that_was_taken_before_its_stream_was_paid_and_is_stored_after_it_is_owed() {
    let lamp = debt("city", "lamp", PointClass::Measurement);
    for at_once in [false, true] {
        let (mut bench, next) = two_paid_but_for(&meter(), &lamp);
        let paid = Commit {
            next_seq: next + 20,
            settled: vec![settled(&meter(), [1..=10])],
            ..Commit::default()
        };
        bench.commit(paid).unwrap();
        let stored = Commit {
            next_seq: next + 20,
            batches: vec![batch(&meter(), next + 5..=next + 9)],
            ..Commit::default()
        };
        let settled = vec![settled(&lamp, [11..=20])];
        if at_once {
            bench.commit(Commit { settled, ..stored }).unwrap();
        } else {
            bench
                .commit(Commit {
                    settled,
                    ..Commit::default()
                })
                .unwrap();
            bench.commit(stored).unwrap();
        }
        assert_eq!(bench.seqs(&meter()), Vec::from_iter(next + 5..=next + 9));
        let mut bench = bench.reopen();
        assert_eq!(bench.seqs(&meter()), Vec::from_iter(next + 5..=next + 9));
        bench.check_counts();
    }
}

/// Stores until the power goes in a log that is too small for it, and gives what was said and what was promised.
fn overflow(bench: &mut Bench) -> (u64, u64) {
    let mut told = 0;
    for n in 0..20u64 {
        let heard = bench.gaps.len();
        if bench.store(&meter(), n * 200 + 1..=n * 200 + 200).is_err() {
            // Nobody hears the answer.
            bench.gaps.truncate(heard);
            return (told, n * 200);
        }
        told = bench.lost();
    }
    (told, 4_000)
}

#[test]
fn what_went_in_a_commit_that_nobody_heard_of_is_told_at_the_next_start() {
    let options = Options {
        max_bytes: 2 * 4096,
        ..small()
    };
    let mut bench = Bench::new(options.clone());
    overflow(&mut bench);
    let steps = bench.disk().changes;
    let mut late = 0;
    for step in 0..=steps {
        for seed in 0..4 {
            let mut disk = CrashDisk::default();
            disk.power_fails_in = Some(step);
            let mut bench = Bench::on(disk, options.clone());
            let (told, promised) = overflow(&mut bench);
            let mut rng = StdRng::seed_from_u64(step * 100 + seed);
            let mut bench = bench.reopen_with(|disk| disk.crash(&mut rng));
            let first = bench.seqs(&meter()).first().copied();
            let gone = first.map_or(0, |first| first - 1);
            let again = bench.lost();
            assert!(gone <= promised, "step {step}");
            assert!(
                gone == told || gone == told + again,
                "step {step}: {told} and {again} were told of {gone}"
            );
            late += u64::from(gone > told);
            // As long as nobody can have heard it, it is told again.
            let bench = bench.reopen();
            assert_eq!(bench.lost(), again, "step {step}");
        }
    }
    assert!(late > 0);
}

#[test]
fn a_loss_is_not_told_any_more_when_whoever_commits_knows_of_it() {
    let options = Options {
        max_bytes: 2 * 4096,
        ..small()
    };
    let mut bench = Bench::new(options);
    overflow(&mut bench);
    let gap = bench.gaps.pop();
    let mut bench = bench.reopen();
    assert_eq!(bench.gaps.pop(), gap, "nobody has asked for anything since");
    bench.commit(Commit::default()).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.gaps.pop(), gap, "that may have come of the opening");
    bench.commit(Commit::default()).unwrap();
    bench.commit(Commit::default()).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.gaps, []);
    let changes = bench.disk().changes;
    bench.commit(Commit::default()).unwrap();
    bench.commit(Commit::default()).unwrap();
    assert!(bench.disk().changes <= changes + 2, "that is written once");
}
