//! A disk that fails, and one that is full.

use super::*;
use crate::buffer::GapReason;
use crate::limits;

#[test]
fn after_a_failed_sync_the_commit_goes_to_another_segment() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=10).unwrap();
    bench.disk().failing_syncs = vec![true];
    bench.store(&meter(), 11..=20).unwrap();
    let statistics = bench.statistics();
    assert_eq!(
        (
            statistics.failed_syncs,
            statistics.abandoned_segments,
            statistics.begun_segments
        ),
        (1, 1, 2)
    );
    bench.store(&meter(), 21..=30).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(
        bench.seqs(&meter()),
        Vec::from_iter(1..=30),
        "and it is not there twice"
    );
    bench.check_counts();
}

#[test]
fn where_no_segment_works_the_commit_fails_and_may_be_asked_for_again() {
    for syncs in [true, false] {
        let mut bench = Bench::new(small());
        bench.store(&meter(), 1..=10).unwrap();
        let failures = vec![true; 3];
        if syncs {
            bench.disk().failing_syncs = failures;
        } else {
            bench.disk().failing_writes = failures;
        }
        assert!(matches!(
            bench.store(&meter(), 11..=20),
            Err(DiskError::Failed(_))
        ));
        assert_eq!(bench.seqs(&meter()), Vec::from_iter(1..=10));
        bench.store(&meter(), 11..=20).unwrap();
        assert_eq!(bench.seqs(&meter()), Vec::from_iter(1..=20));
        bench.check_counts();
        let mut bench = bench.reopen();
        assert_eq!(bench.seqs(&meter()), Vec::from_iter(1..=20));
        assert_eq!(bench.gaps, []);
    }
}

#[test]
fn a_full_disk_keeps_the_newest_readings_and_says_what_had_to_go() {
    let disk = CrashDisk::with_capacity(4 * 4096);
    let options = Options {
        max_bytes: 1 << 20,
        ..small()
    };
    let mut bench = Bench::on(disk, options);
    for n in 0..300 {
        bench.store(&meter(), n * 20 + 1..=n * 20 + 20).unwrap();
    }
    assert!(bench.statistics().disk_full > 0);
    let left = bench.seqs(&meter());
    assert_eq!(left.last(), Some(&6_000));
    assert_eq!(left.len() as u64 + bench.lost(), 6_000);
    assert_eq!(left, Vec::from_iter(left[0]..=6_000), "the oldest went first");
    assert!(left.len() > 500, "{} readings in 16 KiB", left.len());
    assert!(bench.gaps.iter().any(|gap| gap.reason == GapReason::DiskFull));
    assert!(bench.gaps.iter().all(|gap| gap.times.is_some()));
    bench.check_counts();
    // When there is space again it is used again.
    bench.disk().capacity = None;
    for n in 300..600 {
        bench.store(&meter(), n * 20 + 1..=n * 20 + 20).unwrap();
    }
    assert!(bench.seqs(&meter()).len() > 5_000);
    assert_eq!(bench.reopen().seqs(&meter()).last(), Some(&12_000));
}

#[test]
fn a_full_disk_without_a_single_file_is_an_error_until_there_is_space() {
    let disk = CrashDisk::with_capacity(100);
    let mut bench = Bench::on(disk, small());
    assert_eq!(bench.store(&meter(), 1..=10), Err(DiskError::Full));
    bench.disk().capacity = None;
    bench.store(&meter(), 1..=10).unwrap();
    assert_eq!(bench.reopen().seqs(&meter()), Vec::from_iter(1..=10));
}

#[test]
fn with_a_single_file_the_log_works_until_that_is_full() {
    let disk = CrashDisk::with_capacity(4096);
    let mut bench = Bench::on(disk, small());
    let mut stored = 0;
    while bench.store(&meter(), stored + 1..=stored + 50).is_ok() {
        stored += 50;
    }
    assert!(stored > 300);
    assert_eq!(bench.seqs(&meter()).len() as u64 + bench.lost(), stored);
    bench.disk().capacity = None;
    bench.store(&meter(), stored + 1..=stored + 50).unwrap();
    let left = stored + 50 - bench.lost();
    assert_eq!(bench.reopen().seqs(&meter()).len() as u64, left);
}

#[test]
fn paying_goes_on_when_the_disk_is_full() {
    let disk = CrashDisk::with_capacity(4 * 4096);
    let mut bench = Bench::on(
        disk,
        Options {
            max_bytes: 1 << 20,
            ..small()
        },
    );
    for n in 0..100 {
        bench.store(&meter(), n * 20 + 1..=n * 20 + 20).unwrap();
    }
    let first = bench.seqs(&meter())[0];
    for seq in first..=2_000 {
        bench.settle(&meter(), 1..=seq).unwrap();
    }
    let bench = bench.reopen();
    assert_eq!(bench.contents.debts, []);
    assert_eq!(bench.contents.next_seq, 2_001);
}

#[test]
fn reading_fails_while_the_disk_does_and_works_again_after() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..100 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    bench.disk().failing_reads.set(1);
    assert!(matches!(bench.load(&meter(), 0, 10), Err(DiskError::Failed(_))));
    assert_eq!(bench.seqs(&meter()).len(), 5_000);
    assert_eq!(bench.gaps, []);
}

#[test]
fn a_segment_that_cannot_be_read_for_good_stands_in_nobodys_way() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..100 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    let file = bench.log.files.segments[&1].name.clone();
    bench.disk().lose(&file);
    let mut failures = 0;
    while bench.load(&meter(), 0, 10).is_err() {
        failures += 1;
        assert!(failures <= limits::MAX_FAILED_LOADS);
    }
    let lost = bench.lost();
    assert!(lost > 100 && bench.gaps[0].reason == GapReason::Corrupt);
    assert_eq!(bench.seqs(&meter()).len() as u64 + lost, 5_000);
}

#[test]
fn a_commit_of_a_number_alone_is_written_when_the_disk_works_again() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=10).unwrap();
    bench.disk().failing_writes = vec![true; 3];
    let number = || Commit {
        next_seq: 500,
        ..Commit::default()
    };
    assert!(bench.commit(number()).is_err());
    bench.commit(number()).unwrap();
    assert_eq!(bench.reopen().contents.next_seq, 500);
}

#[test]
fn a_disk_that_does_not_give_a_part_at_the_start_loses_nothing_for_good() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..100 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    for failing in [1, 3, 6, 9, 15] {
        bench = bench.reopen_with(|disk| disk.failing_reads.set(failing));
        assert!(
            bench.contents.next_seq > 5_000,
            "numbers do not restart: {}",
            bench.contents.next_seq
        );
        assert!(bench.statistics().unreadable_chunks > 0 || failing == 1);
        bench.disk().failing_reads.set(0);
    }
    let mut bench = bench.reopen();
    assert_eq!(bench.seqs(&meter()), Vec::from_iter(1..=5_000));
}

#[test]
fn a_disk_that_gives_nothing_at_all_is_said_to_fail() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=10).unwrap();
    let disk = bench.log.into_disk();
    disk.failing_reads.set(1_000);
    let error = Log::open(disk, small()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the buffer cannot be read: the disk fails: a bad sector"
    );
}

#[test]
fn a_file_that_cannot_be_removed_does_no_harm() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..30 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    let file = bench.disk().names().remove(0);
    bench.settle(&meter(), 1..=1_400).unwrap();
    bench.disk().lose(&file);
    for n in 0..10 {
        bench.store(&meter(), 1_501 + n..=1_501 + n).unwrap();
    }
    assert_eq!(bench.reopen().seqs(&meter()), Vec::from_iter(1_401..=1_510));
}

#[test]
fn a_bad_sector_under_the_last_frame_of_another_process_does_not_stop_the_log() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=10).unwrap();
    bench.settle(&meter(), 1..=4).unwrap();
    let mut bench = bench.reopen();
    // Behind the last frame, that frame again, and the first file for the next segment.
    bench.disk().failing_writes = vec![true; 3];
    bench.store(&meter(), 11..=20).unwrap();
    assert_eq!(bench.seqs(&meter()), Vec::from_iter(5..=20));
    bench.check_counts();
    let mut bench = bench.reopen();
    assert_eq!(bench.seqs(&meter()), Vec::from_iter(5..=20));
    assert_eq!(bench.gaps, []);
}

#[test]
fn a_glitch_that_many_streams_meet_loses_nothing() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    let debts: Vec<_> = (0..64)
        .map(|n| debt("city", &format!("meter-{n}"), PointClass::Measurement))
        .collect();
    for n in 0..10 {
        for (debt, at) in debts.iter().zip(0..) {
            bench
                .store(debt, n * 1_280 + at * 20 + 1..=n * 1_280 + at * 20 + 20)
                .unwrap();
        }
    }
    for _ in 0..3 {
        bench.disk().failing_reads.set(64);
        for debt in &debts {
            assert!(bench.load(debt, 0, 10).is_err());
        }
    }
    bench.disk().failing_reads.set(0);
    assert_eq!(bench.gaps, []);
    for debt in &debts {
        assert_eq!(bench.seqs(debt).len(), 200);
    }
}

#[test]
fn what_must_go_while_the_disk_does_not_read_is_not_given_up_unread() {
    let mut bench = Bench::new(bounded("city", 6_000, None));
    let mut stored = 0;
    while bench.gaps.is_empty() {
        bench.store(&meter(), stored + 1..=stored + 20).unwrap();
        stored += 20;
    }
    let lost = bench.lost();
    bench.log.cache = super::super::Cache::default();
    bench.disk().failing_reads.set(4);
    bench.store(&meter(), stored + 1..=stored + 20).unwrap();
    assert!(bench.lost() <= lost + 60, "{lost} and then {}", bench.lost());
    bench.disk().failing_reads.set(0);
    assert_eq!(bench.seqs(&meter()).len() as u64 + bench.lost(), stored + 20);
    bench.check_counts();
}

#[test]
fn a_bad_sector_costs_no_more_than_what_is_round_it_and_the_file_is_kept() {
    let options = Options {
        segment_bytes: 1 << 18,
        max_bytes: 1 << 21,
        ..small()
    };
    let mut bench = Bench::new(options);
    for n in 0..2_000 {
        bench.store(&meter(), n * 60 + 1..=n * 60 + 60).unwrap();
    }
    assert!(bench.statistics().segments >= 2);
    let file = bench.log.files.segments[&1].name.clone();
    bench.log.cache.remove(1);
    bench.disk().bad_sector = Some((file.clone(), 100_000));
    let mut failures = 0;
    while bench.load(&meter(), 0, 10).is_err() {
        failures += 1;
        assert!(failures <= limits::MAX_FAILED_LOADS);
    }
    assert_eq!(failures, limits::MAX_FAILED_LOADS);
    let first = bench.log.index.segment(1).owed;
    let left = bench.seqs(&meter());
    let lost = bench.lost();
    assert_eq!(left.len() as u64 + lost, 120_000);
    assert!(
        0 < lost && lost < first,
        "{lost} are lost beside the {first} that are left"
    );
    assert_eq!(bench.gaps[0].reason, GapReason::Corrupt);
    let before = bench.disk().bytes(&file).clone();
    bench.settle(&meter(), 1..=100_000).unwrap();
    for n in 2_000..3_000 {
        bench.store(&meter(), n * 60 + 1..=n * 60 + 60).unwrap();
    }
    assert_eq!(
        bench.disk().bytes(&file),
        &before,
        "what was not read is not written over"
    );
}

#[test]
fn what_is_paid_while_the_disk_does_not_read_is_counted_when_it_does() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..100 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    bench.log.cache = super::super::Cache::default();
    bench.disk().failing_reads.set(4);
    bench.settle(&meter(), 1..=30).unwrap();
    bench.disk().failing_reads.set(0);
    bench.settle(&meter(), 1_000_000..=1_000_001).unwrap();
    bench.check_counts();
    for n in 0..166 {
        bench.settle(&meter(), 1..=(n + 1) * 30).unwrap();
    }
    bench.settle(&meter(), 1..=5_000).unwrap();
    assert_eq!(bench.statistics().live_bytes, 0);
}

/// A log of a few segments, the file of one of which does not read at the next start; `newest` says which.
fn half_read(newest: bool) -> (Bench, u64) {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    let mut last = 0;
    while bench.statistics().segments < 4 {
        bench.store(&meter(), last + 1..=last + 50).unwrap();
        last += 50;
    }
    let segments = &bench.log.files.segments;
    let file = if newest {
        segments.values().next_back()
    } else {
        segments.values().nth(1)
    };
    let file = file.unwrap().name.clone();
    let bench = bench.reopen_with(|disk| disk.bad_sector = Some((file, 60)));
    (bench, last)
}

#[test]
fn what_is_not_read_at_one_start_is_there_at_the_next() {
    for newest in [false, true] {
        let (mut bench, last) = half_read(newest);
        let boot = bench.contents.boot;
        let next = bench.contents.next_seq;
        assert!(next > last);
        // Enough to use every spare file again.
        for n in 0..40 {
            bench.store(&meter(), next + n * 50..=next + n * 50 + 49).unwrap();
        }
        bench.settle(&meter(), next..=next + 999).unwrap();
        for n in 40..60 {
            bench.store(&meter(), next + n * 50..=next + n * 50 + 49).unwrap();
        }
        let mut bench = bench.reopen_with(|disk| {
            disk.bad_sector = None;
            disk.restart();
        });
        let expected = (1..=last).chain(next + 1_000..=next + 2_999);
        assert_eq!(bench.seqs(&meter()), Vec::from_iter(expected), "newest: {newest}");
        bench.check_counts();
        assert!(bench.contents.boot > boot);
        assert_eq!(bench.gaps, [], "newest: {newest}");
    }
}

#[test]
fn a_newest_segment_that_never_reads_stops_nothing() {
    let (mut bench, _) = half_read(true);
    for _ in 0..5 {
        let next = bench.contents.next_seq;
        let before = bench.seqs(&meter()).len();
        bench.store(&meter(), next..=next + 49).unwrap();
        bench = bench.reopen();
        assert_eq!(bench.seqs(&meter()).len(), before + 50);
    }
}

#[test]
fn where_a_segment_is_emptied_no_more_goes_than_does_not_fit() {
    let mut bench = Bench::on(CrashDisk::with_capacity(3 * 4096), small());
    let (mut last, mut most) = (0, 0);
    for _ in 0..60 {
        let before = bench.lost();
        bench.store(&meter(), last + 1..=last + 250).unwrap();
        last += 250;
        most = most.max(bench.lost() - before);
    }
    let left = bench.seqs(&meter());
    assert_eq!(left.len() as u64 + bench.lost(), last);
    assert_eq!(left.last(), Some(&last), "the newest stay");
    bench.check_counts();
    assert!(most <= 500, "{most} readings went for 250");
}
