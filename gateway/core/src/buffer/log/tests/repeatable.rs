//! Frames that may come again: known with the readings that came of them, or not at all.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::buffer::{Fingerprint, Repeatable};
use crate::limits;

/// A frame that came with the reading of that number.
fn frame(seq: u64) -> Repeatable {
    Repeatable {
        fingerprint: Fingerprint(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        received: Some(Timestamp::from_unix_ms(T0 + seq as i64 * 10 - 3)),
    }
}

fn frames(seqs: impl IntoIterator<Item = u64>) -> Vec<Repeatable> {
    seqs.into_iter().map(frame).collect()
}

/// Stores readings of the meter with the frames that may come again then.
fn store(
    bench: &mut Bench,
    seqs: std::ops::RangeInclusive<u64>,
    frames: Vec<Repeatable>,
) -> Result<(), DiskError> {
    bench.commit(Commit {
        next_seq: seqs.end() + 1,
        wall: Some(Timestamp::from_unix_ms(T0 + *seqs.end() as i64 * 10)),
        batches: vec![batch(&meter(), seqs)],
        repeatable: Some(frames),
        ..Commit::default()
    })
}

fn forget(bench: &mut Bench, frames: Vec<Repeatable>) -> Result<(), DiskError> {
    bench.commit(Commit {
        repeatable: Some(frames),
        ..Commit::default()
    })
}

#[test]
fn frames_are_known_after_a_restart_as_they_were_told_last() {
    let mut bench = Bench::new(small());
    store(&mut bench, 1..=3, frames(1..=3)).unwrap();
    store(&mut bench, 4..=5, frames([2, 4, 5])).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.contents.repeatable, frames([2, 4, 5]));
    bench.store(&meter(), 6..=6).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(
        bench.contents.repeatable,
        frames([2, 4, 5]),
        "who says nothing changes nothing"
    );
    forget(&mut bench, frames([5])).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.contents.repeatable, frames([5]));
    forget(&mut bench, Vec::new()).unwrap();
    let bench = bench.reopen();
    assert_eq!(bench.contents.repeatable, []);
}

#[test]
fn a_time_that_is_not_known_or_that_is_to_come_is_none() {
    let mut bench = Bench::new(small());
    let timeless = Repeatable {
        received: None,
        ..frame(1)
    };
    store(&mut bench, 1..=2, vec![timeless, frame(900)]).unwrap();
    let bench = bench.reopen();
    let times: Vec<_> = bench
        .contents
        .repeatable
        .iter()
        .map(|frame| frame.received)
        .collect();
    assert_eq!(times, [None, None]);
}

#[test]
fn what_is_told_again_is_not_written_again() {
    let mut bench = Bench::new(small());
    store(&mut bench, 1..=1, frames(1..=9)).unwrap();
    let before = bench.disk().written_bytes;
    forget(&mut bench, frames(1..=9)).unwrap();
    assert_eq!(bench.disk().written_bytes, before);
}

#[test]
fn a_frame_takes_a_dozen_bytes_once() {
    let written = |of_commit: u64, has_frames: bool| {
        let mut bench = Bench::new(Options {
            segment_bytes: 1 << 20,
            max_bytes: 8 << 20,
            ..small()
        });
        for n in 1..=10 {
            let seqs = n * of_commit + 1..=n * of_commit + of_commit;
            // Those of the commit before do not come again.
            let known = if has_frames {
                frames(seqs.clone())
            } else {
                Vec::new()
            };
            store(&mut bench, seqs, known).unwrap();
        }
        bench.disk().written_bytes
    };
    for (of_commit, most) in [(1, 18), (100, 12)] {
        let more = written(of_commit, true) - written(of_commit, false);
        let of_frame = more.div_ceil(10 * of_commit);
        eprintln!("{of_commit} frames in a commit: {more} bytes, {of_frame} a frame");
        assert!(of_frame <= most, "{of_frame} bytes");
    }
}

#[test]
fn a_log_of_a_version_that_knew_no_such_frames_is_read_and_gone_on_with() {
    // Written before there were any: two readings of the meter.
    const OLD: &str = "75434946496c6f670100000001000000000000001b0d2c3f4600000003339cac578668e9030101a880e682b9\
        6605000100056d65746572010104636974790401000000030302000100000202000101020102154e0901021f0183ba350002\
        9480e682b9664a1e4c149401";
    let pairs = OLD
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    let mut bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=2).unwrap();
    let name = bench.disk().names().remove(0);
    assert!(
        bench.disk().bytes(&name).starts_with(&bytes),
        "without any, nothing is written of them"
    );
    bytes.resize(4096, 0);
    let mut disk = CrashDisk::default();
    disk.put(&name, bytes);
    let mut bench = Bench::on(disk, small());
    assert_eq!(
        (bench.seqs(&meter()), &*bench.contents.repeatable),
        (vec![1, 2], &[][..])
    );
    store(&mut bench, 3..=3, frames([3])).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(
        (bench.seqs(&meter()), &bench.contents.repeatable),
        (vec![1, 2, 3], &frames([3]))
    );
}

#[test]
fn a_segment_that_begins_names_all_of_them() {
    let mut bench = Bench::new(small());
    store(&mut bench, 1..=1, frames([1, 7])).unwrap();
    let mut next = 2;
    while bench.statistics().begun_segments < 3 {
        bench.store(&meter(), next..=next + 100).unwrap();
        bench.settle(&meter(), 1..=next + 100).unwrap();
        next += 101;
    }
    assert_eq!(
        bench.statistics().segments,
        1,
        "nothing else is left of the first one"
    );
    assert_eq!(bench.reopen().contents.repeatable, frames([1, 7]));
}

#[test]
fn no_more_are_known_than_may_be_and_the_newest_of_them() {
    let mut bench = Bench::new(Options {
        segment_bytes: 1 << 20,
        max_bytes: 8 << 20,
        ..small()
    });
    let many = limits::MAX_REPEATABLE as u64;
    store(&mut bench, 2_000..=2_000, frames(0..many + 5)).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.contents.repeatable, frames(5..many + 5));
    store(&mut bench, 2_001..=2_001, frames(9..many + 9)).unwrap();
    assert_eq!(bench.reopen().contents.repeatable, frames(9..many + 9));
}

#[test]
fn a_commit_that_fails_leaves_what_was_known() {
    let mut bench = Bench::new(small());
    store(&mut bench, 1..=1, frames([1])).unwrap();
    bench.disk().failing_writes = vec![true; 3];
    assert!(store(&mut bench, 2..=2, frames([1, 2])).is_err());
    bench.store(&meter(), 3..=3).unwrap();
    assert_eq!(bench.reopen().contents.repeatable, frames([1]));
}

/// Stores until the power goes, a hundred readings and a frame at a time; says how often that was told to be durable.
fn work(bench: &mut Bench) -> u64 {
    let mut told = 0;
    for n in 1..=20 {
        let known = frames((n - 1).max(1)..=n);
        if store(bench, n * 100 - 99..=n * 100, known).is_err() {
            break;
        }
        told = n;
        if n % 5 == 0 && bench.settle(&meter(), 1..=n * 100 - 150).is_err() {
            break;
        }
    }
    told
}

#[test]
fn wherever_the_power_goes_a_frame_is_known_exactly_when_its_readings_are_there() {
    let mut bench = Bench::new(small());
    work(&mut bench);
    assert!(
        bench.statistics().begun_segments > 2,
        "several segments are meant"
    );
    for step in 0..=bench.disk().changes {
        for seed in 0..4 {
            let mut disk = CrashDisk::default();
            disk.power_fails_in = Some(step);
            let mut bench = Bench::on(disk, small());
            let told = work(&mut bench);
            let mut rng = StdRng::seed_from_u64(step * 100 + seed);
            let mut bench = bench.reopen_with(|disk| disk.crash(&mut rng));
            let n = bench.seqs(&meter()).last().map_or(0, |last| last / 100);
            assert!(n == told || n == told + 1, "step {step}: {n} after {told}");
            let known = if n == 0 {
                Vec::new()
            } else {
                frames((n - 1).max(1)..=n)
            };
            assert_eq!(bench.contents.repeatable, known, "step {step}");
        }
    }
}

#[test]
fn where_a_byte_has_changed_no_frame_is_known_that_was_forgotten() {
    let mut bench = Bench::new(small());
    for n in 1..=8 {
        store(&mut bench, n..=n, frames([n])).unwrap();
    }
    let disk = bench.log.into_disk();
    let name = disk.names().remove(0);
    let mut met = 0;
    for at in 0..disk.clone().bytes(&name).len() {
        let mut damaged = disk.clone();
        damaged.bytes(&name)[at] ^= 0x41;
        let bench = Bench::on(damaged, small());
        let newest = bench.contents.next_seq - 1;
        let known = &bench.contents.repeatable;
        // The last commit may be gone, and with it all that it says.
        assert!(known.is_empty() || *known == frames([newest]), "{at}: {known:?}");
        met += u64::from(known.is_empty());
    }
    assert!(met > 100, "{met}");
}
