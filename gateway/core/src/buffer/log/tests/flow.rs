//! Storing, loading and settling while the disk does what it should.

use std::ops::ControlFlow;

use super::*;

#[test]
fn what_was_stored_comes_back_in_order_until_it_is_settled() {
    let mut bench = Bench::new(small());
    assert_eq!((bench.contents.boot, bench.contents.next_seq), (1, 1));
    bench.store(&meter(), 1..=10).unwrap();
    bench.store(&meter(), 11..=20).unwrap();
    assert_eq!(bench.seqs(&meter()), Vec::from_iter(1..=20));
    let some = bench.load(&meter(), 5, 3).unwrap();
    assert_eq!(
        some.iter().map(|loaded| loaded.seq).collect::<Vec<_>>(),
        [5, 6, 7]
    );
    assert_eq!(some[0].moment, at(50));
    bench.settle(&meter(), 1..=12).unwrap();
    assert_eq!(bench.seqs(&meter()), Vec::from_iter(13..=20));
    bench.check_counts();
}

#[test]
fn everything_is_found_again_after_a_restart() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=10).unwrap();
    bench.settle(&meter(), 3..=4).unwrap();
    bench.settle(&meter(), 1..=1).unwrap();
    let mut bench = bench.reopen();
    assert_eq!((bench.contents.boot, bench.contents.next_seq), (2, 11));
    assert_eq!(bench.seqs(&meter()), [2, 5, 6, 7, 8, 9, 10]);
    let owing = &bench.contents.debts[0];
    assert_eq!((owing.count, owing.first), (7, 2));
    assert_eq!(owing.oldest, Some(Timestamp::from_unix_ms(T0 + 20)));
    assert_eq!(bench.contents.gaps, []);
    bench.check_counts();
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let mut bench = Bench::new(Options::default());
    bench.store(&meter(), 1..=10).unwrap();
    let before = (bench.disk().changes, bench.disk().syncs);
    for n in 1..100 {
        bench.store(&meter(), n * 10 + 1..=n * 10 + 10).unwrap();
    }
    assert_eq!(
        (bench.disk().changes, bench.disk().syncs),
        (before.0 + 198, before.1 + 99)
    );
}

#[test]
fn each_server_is_owed_what_it_has_not_settled() {
    let mut bench = Bench::new(small());
    let other = debt("water", "meter", PointClass::Measurement);
    let mut both = batch(&meter(), 1..=5);
    both.accounts.push("water".into());
    bench
        .commit(Commit {
            next_seq: 6,
            batches: vec![both],
            ..Commit::default()
        })
        .unwrap();
    bench.settle(&meter(), 1..=3).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.seqs(&meter()), [4, 5]);
    assert_eq!(bench.seqs(&other), [1, 2, 3, 4, 5]);
    assert_eq!(
        bench.seqs(&debt("nobody", "meter", PointClass::Measurement)),
        [0; 0]
    );
    assert_eq!(bench.seqs(&debt("city", "meter", PointClass::Alarm)), [0; 0]);
}

#[test]
fn space_comes_back_and_files_are_used_again() {
    let mut bench = Bench::new(small());
    let mut most = 0;
    for n in 0..400 {
        bench.store(&meter(), n * 20 + 1..=n * 20 + 20).unwrap();
        bench.settle(&meter(), 1..=n * 20 + 20).unwrap();
        most = most.max(bench.disk().used());
    }
    assert!(most <= 3 * 4096, "{most} bytes for a log that is empty");
    let statistics = bench.statistics();
    assert!(statistics.recycled_files > 5, "{statistics:?}");
    assert!(statistics.created_files <= 3, "{statistics:?}");
    assert_eq!(bench.gaps, []);
    let bench = bench.reopen();
    assert_eq!(
        bench.contents.next_seq, 8001,
        "numbers go on where nothing is owed"
    );
    assert_eq!(bench.contents.debts, []);
}

#[test]
fn files_go_back_to_the_disk_after_a_drain() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..100 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    assert!(bench.disk().used() > 5 * 4096);
    bench.settle(&meter(), 1..=5_000).unwrap();
    for _ in 0..20 {
        bench.store(&meter(), 5_001..=5_001).unwrap();
    }
    assert!(bench.disk().used() <= 3 * 4096, "{}", bench.disk().used());
    assert!(bench.statistics().removed_files > 0);
    assert_eq!(bench.reopen().seqs(&meter()), [5_001]);
}

#[test]
fn what_a_stuck_server_keeps_is_copied_forward_and_the_rest_is_freed() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    let stuck = debt("city", "stuck", PointClass::Measurement);
    let mut kept = Vec::new();
    for n in 0..200 {
        let seq = n * 50 + 1;
        let batches = vec![batch(&meter(), seq..=seq + 40), batch(&stuck, [seq + 41])];
        kept.push(seq + 41);
        bench
            .commit(Commit {
                next_seq: seq + 42,
                batches,
                ..Commit::default()
            })
            .unwrap();
    }
    let before = bench.disk().used();
    bench.settle(&meter(), 1..=100_000).unwrap();
    for n in 0..100 {
        bench.settle(&meter(), 100_001..=100_001 + n).unwrap();
        bench.store(&meter(), 100_200 + n..=100_200 + n).unwrap();
    }
    let after = bench.disk().used();
    assert!(
        after <= 6 * 4096 && before > 2 * after,
        "{before} before, {after} after"
    );
    assert!(
        bench.statistics().emptied_segments > 3,
        "{:?}",
        bench.statistics()
    );
    bench.check_counts();
    assert_eq!(bench.seqs(&stuck), kept);
    let mut bench = bench.reopen();
    assert_eq!(bench.seqs(&stuck), kept);
    assert_eq!(bench.gaps, []);
}

#[test]
fn what_was_paid_of_a_stream_stays_paid_when_all_the_rest_of_it_is_copied_forward() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    let of = |account: &str, n: u64| debt(account, &format!("rare-{n}"), PointClass::Measurement);
    let store = |bench: &mut Bench, n: u64, seqs: std::ops::RangeInclusive<u64>| {
        let accounts = vec!["city".into(), "utility".into()];
        let batches = vec![Batch {
            accounts,
            ..batch(&of("city", n), seqs)
        }];
        bench
            .commit(Commit {
                batches,
                ..Commit::default()
            })
            .unwrap();
    };
    // Each stands in a segment of its own. One server has got some of it, the other nothing.
    for n in 0..8 {
        let first = n * 10_000;
        store(&mut bench, n, first + 1..=first + 30);
        bench.settle(&of("utility", n), first + 1..=first + 10).unwrap();
        bench.settle(&of("utility", n), first + 15..=first + 20).unwrap();
        for block in 1..40 {
            let first = first + block * 50;
            bench.store(&meter(), first..=first + 40).unwrap();
        }
    }
    bench.settle(&meter(), 1..=100_000).unwrap();
    for n in 0..20 {
        bench.store(&meter(), 100_001 + n..=100_001 + n).unwrap();
    }
    assert!(
        bench.statistics().emptied_segments > 2,
        "{:?}",
        bench.statistics()
    );
    bench.check_counts();
    for n in 0..8 {
        store(&mut bench, n, 200_000 + n..=200_000 + n);
    }
    bench.check_counts();
    let mut bench = bench.reopen();
    for n in 0..8 {
        let first = n * 10_000;
        let all = (first + 1..=first + 30).chain([200_000 + n]);
        assert_eq!(bench.seqs(&of("city", n)), Vec::from_iter(all));
        let open = (first + 11..=first + 14)
            .chain(first + 21..=first + 30)
            .chain([200_000 + n]);
        assert_eq!(bench.seqs(&of("utility", n)), Vec::from_iter(open));
    }
    assert_eq!(bench.gaps, []);
}

#[test]
fn a_commit_that_is_longer_than_a_segment_gets_a_longer_file() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    bench.store(&meter(), 1..=6_000).unwrap();
    bench.store(&meter(), 6_001..=6_010).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.seqs(&meter()).len(), 6_010);
    bench.settle(&meter(), 1..=6_010).unwrap();
    for n in 0..200 {
        bench.store(&meter(), 6_011 + n * 10..=6_020 + n * 10).unwrap();
        bench.settle(&meter(), 1..=6_020 + n * 10).unwrap();
    }
    assert!(
        bench.disk().used() <= 3 * 4096,
        "odd files are given back: {}",
        bench.disk().used()
    );
}

#[test]
fn a_number_that_is_stored_after_its_range_was_settled_is_owed() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=9).unwrap();
    bench.settle(&meter(), 1..=9).unwrap();
    bench
        .store(&debt("city", "lamp", PointClass::Alarm), 30..=30)
        .unwrap();
    bench.settle(&meter(), 1..=29).unwrap();
    bench.store(&meter(), 20..=21).unwrap();
    assert_eq!(bench.seqs(&meter()), [20, 21]);
    assert_eq!(bench.reopen().seqs(&meter()), [20, 21]);
}

#[test]
fn live_readings_that_overtake_the_backlog_cost_a_bounded_number_of_ranges() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=400).unwrap();
    for n in 0..150 {
        bench.settle(&meter(), n * 2 + 2..=n * 2 + 2).unwrap();
    }
    assert!(bench.statistics().forgotten_ranges > 0);
    bench.check_counts();
    let odd: Vec<u64> = (1..=400).filter(|seq| seq % 2 == 1 || *seq > 300).collect();
    let left = bench.seqs(&meter());
    assert!(
        odd.iter().all(|seq| left.contains(seq)),
        "nothing that is owed is forgotten"
    );
    let mut bench = bench.reopen();
    assert_eq!(bench.seqs(&meter()), left);
    bench.settle(&meter(), 1..=400).unwrap();
    assert_eq!(bench.seqs(&meter()), [0; 0]);
}

#[test]
fn a_commit_without_anything_to_say_writes_nothing() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=3).unwrap();
    let before = bench.disk().changes;
    bench.commit(Commit::default()).unwrap();
    bench
        .settle(&debt("city", "ghost", PointClass::Alarm), 1..=3)
        .unwrap();
    assert_eq!(bench.disk().changes, before);
}

#[test]
fn a_person_can_drop_what_is_old() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=100).unwrap();
    let request = Request::DropOlder {
        than: Timestamp::from_unix_ms(T0 + 400),
        account: Some("city".into()),
    };
    let replies = bench.log.handle(request);
    let [Reply::Gap(gap), Reply::Dropped { count: 39 }] = &replies[..] else {
        panic!("{replies:?}");
    };
    assert_eq!((gap.count, gap.seqs.clone()), (39, 1..=39));
    assert_eq!(bench.seqs(&meter()), Vec::from_iter(40..=100));
    assert_eq!(bench.reopen().seqs(&meter()), Vec::from_iter(40..=100));
}

#[test]
fn the_index_of_a_thousand_streams_in_64_segments_stays_within_ten_megabytes() {
    let runs = 1_000 * 64;
    let each = size_of::<super::super::index::Run>() + 16 + 8;
    assert!(runs * each < 10 << 20, "{each} bytes a run");
}

#[test]
fn a_log_can_be_looked_at_without_a_change() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=100).unwrap();
    bench.settle(&meter(), 1..=10).unwrap();
    let before = bench.disk().changes;
    let inspection = super::super::inspect(bench.log.disk()).unwrap();
    assert_eq!(inspection.contents.debts[0].count, 90);
    let mut seen = Vec::new();
    let mut see = |debt: &Debt, loaded: &Loaded| {
        assert_eq!(debt, &meter());
        seen.push(loaded.seq);
        ControlFlow::Continue(())
    };
    super::super::visit(bench.log.disk(), &mut see).unwrap();
    assert_eq!(seen, Vec::from_iter(11..=100));
    assert_eq!(bench.disk().changes, before);
}

#[test]
fn a_look_ends_when_enough_is_seen() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=100).unwrap();
    let mut seen = 0;
    let mut see = |_: &Debt, loaded: &Loaded| {
        seen += 1;
        if loaded.seq < 3 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    super::super::visit(bench.log.disk(), &mut see).unwrap();
    assert_eq!(seen, 3);
}
