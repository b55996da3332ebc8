//! Times of readings that were taken before the clock was set.

use super::*;
use crate::buffer::Anchor;

fn store_at(bench: &mut Bench, seq: u64, ms: u64, anchor: Option<Anchor>) {
    let boot = bench.contents.boot;
    let mut batch = batch(&meter(), [seq]);
    batch.records[0].moment = Moment::Boot { boot, ms };
    let wall = anchor.map(|anchor| anchor.wall);
    let commit = Commit {
        next_seq: seq + 1,
        wall,
        anchor,
        batches: vec![batch],
        ..Commit::default()
    };
    bench.commit(commit).unwrap();
}

fn times(bench: &mut Bench) -> Vec<(Option<i64>, bool)> {
    let loaded = bench.load(&meter(), 0, 100).unwrap();
    let time = |moment| match moment {
        Moment::Wall(time) => Some(time.unix_ms() - T0),
        Moment::Boot { .. } => None,
    };
    loaded
        .into_iter()
        .map(|loaded| (time(loaded.moment), loaded.is_estimated))
        .collect()
}

#[test]
fn an_anchor_dates_what_was_measured_before_it_without_writing_it_again() {
    let mut bench = Bench::new(small());
    store_at(&mut bench, 1, 1_000, None);
    assert_eq!(times(&mut bench), [(None, false)]);
    let wall = Timestamp::from_unix_ms(T0 + 60_000);
    store_at(&mut bench, 2, 2_000, Some(Anchor { ms: 5_000, wall }));
    let known = [(Some(56_000), false), (Some(57_000), false)];
    assert_eq!(times(&mut bench), known);
    assert_eq!(times(&mut bench.reopen()), known);
}

#[test]
fn starts_without_a_clock_are_placed_and_stay_where_they_are() {
    let mut bench = Bench::new(small());
    let wall = |ms| Timestamp::from_unix_ms(T0 + ms);
    store_at(&mut bench, 1, 0, Some(Anchor { ms: 0, wall: wall(0) }));
    let mut bench = bench.reopen();
    store_at(&mut bench, 2, 100, None);
    store_at(&mut bench, 3, 400, None);
    let mut bench = bench.reopen();
    store_at(&mut bench, 4, 50, None);
    assert_eq!(
        times(&mut bench)[1..],
        [(Some(101), true), (Some(401), true), (None, false)]
    );
    let mut bench = bench.reopen();
    store_at(
        &mut bench,
        5,
        10,
        Some(Anchor {
            ms: 10,
            wall: wall(10_010),
        }),
    );
    let placed = times(&mut bench);
    assert_eq!(placed[4], (Some(10_010), false));
    let between: Vec<i64> = placed[1..4].iter().map(|(time, _)| time.unwrap()).collect();
    assert!(placed[1..4].iter().all(|(_, is_estimated)| *is_estimated));
    assert!(
        between.is_sorted() && between[0] > 0 && between[2] < 10_000,
        "{between:?}"
    );
    bench.settle(&meter(), 1..=1).unwrap();
    // Through many segments the start of which nothing is owed any more is forgotten; the others keep their times.
    for n in 0..100 {
        let lamp = debt("city", "lamp", PointClass::Measurement);
        bench.store(&lamp, 100 + n * 40..=139 + n * 40).unwrap();
        bench.settle(&lamp, 100..=139 + n * 40).unwrap();
    }
    assert!(bench.statistics().begun_segments > 3);
    assert_eq!(times(&mut bench), placed[1..]);
    assert_eq!(times(&mut bench.reopen()), placed[1..]);
}

#[test]
fn a_clock_that_is_set_anew_moves_what_has_no_time_of_its_own() {
    let mut bench = Bench::new(small());
    let wall = |ms| Timestamp::from_unix_ms(T0 + ms);
    store_at(
        &mut bench,
        1,
        1_000,
        Some(Anchor {
            ms: 1_000,
            wall: wall(0),
        }),
    );
    store_at(
        &mut bench,
        2,
        2_000,
        Some(Anchor {
            ms: 2_000,
            wall: wall(100_000),
        }),
    );
    assert_eq!(
        times(&mut bench.reopen()),
        [(Some(99_000), false), (Some(100_000), false)]
    );
}

#[test]
fn the_time_of_a_start_is_kept_as_long_as_its_readings_are_owed() {
    let mut bench = Bench::new(small());
    store_at(&mut bench, 1, 1_000, None);
    let anchor = Anchor {
        ms: 5_000,
        wall: Timestamp::from_unix_ms(T0 + 60_000),
    };
    let told = Commit {
        wall: Some(anchor.wall),
        anchor: Some(anchor),
        ..Commit::default()
    };
    bench.commit(told).unwrap();
    let known = [(Some(56_000), false)];
    let mut bench = bench.reopen();
    assert_eq!(times(&mut bench), known);
    let lamp = debt("city", "lamp", PointClass::Measurement);
    for n in 0..40 {
        bench.store(&lamp, 100 + n * 40..=139 + n * 40).unwrap();
    }
    assert!(bench.statistics().begun_segments > 1);
    assert_eq!(times(&mut bench), known);
    assert_eq!(times(&mut bench.reopen()), known);
}

#[test]
fn what_is_copied_forward_is_not_taken_for_older_than_it_is() {
    let mut bench = Bench::new(small());
    let day = 8_640_000;
    bench.store(&meter(), 1..=1).unwrap();
    bench.store(&meter(), 100..=100).unwrap();
    bench.store(&meter(), day..=day).unwrap();
    let parcels = bench.log.carry(1).unwrap();
    let stored = parcels.iter().map(|parcel| (parcel.head.first, parcel.head.last));
    assert_eq!(Vec::from_iter(stored), [(1, 100), (day, day)]);
}
