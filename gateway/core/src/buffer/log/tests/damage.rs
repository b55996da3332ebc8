//! Bytes that change by themselves, files that are cut short, and files that are none of ours.

use super::*;
use crate::buffer::GapReason;
use crate::buffer::log::OpenError;

/// A log of three segments with a settled beginning.
fn three_segments() -> (CrashDisk, Vec<u64>) {
    let mut bench = Bench::new(Options {
        segment_bytes: 1024,
        ..small()
    });
    for n in 0..9 {
        bench.store(&meter(), n * 40 + 1..=n * 40 + 40).unwrap();
        bench.settle(&meter(), 1..=n * 5 + 1).unwrap();
    }
    assert_eq!(
        bench.statistics().begun_segments,
        3,
        "the test means three segments"
    );
    let owed = bench.seqs(&meter());
    (bench.log.into_disk(), owed)
}

fn open(disk: CrashDisk) -> Bench {
    Bench::on(
        disk,
        Options {
            segment_bytes: 1024,
            ..small()
        },
    )
}

#[test]
fn any_single_byte_may_change() {
    let (disk, owed) = three_segments();
    let mut told = 0;
    let mut met = super::super::Statistics::default();
    for file in disk.names() {
        let len = disk.clone().bytes(&file).len();
        for at in 0..len {
            let mut damaged = disk.clone();
            damaged.bytes(&file)[at] ^= 0x41;
            let mut bench = open(damaged);
            let found = bench.seqs(&meter());
            // A lost settlement makes readings owed again; nothing else comes that was not there.
            assert!(found.iter().all(|seq| *seq <= 360), "{file} {at}");
            let missing = owed.iter().filter(|seq| !found.contains(seq)).count() as u64;
            assert!(missing <= 120, "{file} {at}: {missing} lost");
            told += u64::from(missing > 0 && bench.lost() == missing);
            assert!(bench.contents.next_seq >= 321, "{file} {at}");
            let statistics = bench.statistics();
            met.damaged_frames += statistics.damaged_frames;
            met.lost_stretches += statistics.lost_stretches;
            met.lost_checkpoints += statistics.lost_checkpoints;
            met.known_by_frames += statistics.known_by_frames;
            met.torn_tails += statistics.torn_tails;
            bench
                .store(&meter(), 400..=410)
                .unwrap_or_else(|error| panic!("{file} {at}: {error}"));
            bench.check_counts();
        }
    }
    assert!(told > 500, "in most cases it is told what is missing: {told}");
    let all = [
        met.damaged_frames,
        met.lost_stretches,
        met.lost_checkpoints,
        met.known_by_frames,
        met.torn_tails,
    ];
    assert!(all.iter().all(|count| *count > 0), "{met:?}");
}

#[test]
fn any_file_may_be_cut_anywhere() {
    let (disk, _) = three_segments();
    for file in disk.names() {
        let len = disk.clone().bytes(&file).len();
        for at in 0..len {
            let mut damaged = disk.clone();
            damaged.bytes(&file).truncate(at);
            let mut bench = open(damaged);
            assert!(bench.seqs(&meter()).iter().all(|seq| *seq <= 360), "{file} {at}");
            bench.check_counts();
        }
    }
}

#[test]
fn a_damaged_frame_is_told_once_and_what_stands_behind_it_is_kept() {
    let mut bench = Bench::new(small());
    for n in 0..3 {
        bench.store(&meter(), n * 10 + 1..=n * 10 + 10).unwrap();
    }
    let body = bench.log.files.segments[&1].end as usize;
    let mut bench = bench.reopen_with(|disk| {
        let file = disk.names().remove(0);
        // In the readings of the second of three frames.
        let at = (24 + body) / 2 + 40;
        disk.bytes(&file)[at] ^= 1;
    });
    assert_eq!(bench.seqs(&meter()), Vec::from_iter((1..=10).chain(21..=30)));
    let gap = &bench.gaps[0];
    assert_eq!(
        (gap.count, gap.seqs.clone(), gap.reason),
        (10, 11..=20, GapReason::Corrupt)
    );
    bench.store(&meter(), 31..=31).unwrap();
    bench.store(&meter(), 32..=32).unwrap();
    let bench = bench.reopen();
    assert_eq!(bench.gaps, [], "it was told");
    assert_eq!(bench.contents.debts[0].count, 22);
}

#[test]
fn damage_that_appears_while_the_log_is_open_is_told() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..100 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    let file = bench.log.files.segments[&1].name.clone();
    let at = bench.log.files.segments[&1].end as usize - 10;
    bench.disk().bytes(&file)[at] ^= 1;
    let left = bench.seqs(&meter());
    assert_eq!((left.len(), bench.lost()), (4_950, 50));
    assert_eq!(bench.statistics().rotten_segments, 1);
    bench.check_counts();
}

#[test]
fn files_of_others_are_left_alone() {
    let mut disk = CrashDisk::default();
    disk.put("notes.txt", b"mine".to_vec());
    disk.put("segment-0000", vec![7; 9000]);
    disk.put("segment-0001", Vec::new());
    let mut bench = Bench::on(disk, small());
    assert_eq!(bench.statistics().set_aside_files, 2);
    for n in 0..100 {
        bench.store(&meter(), n * 20 + 1..=n * 20 + 20).unwrap();
    }
    assert_eq!(bench.disk().bytes("notes.txt"), b"mine");
    assert_eq!(bench.disk().bytes("segment-0000"), &vec![7; 9000]);
}

#[test]
fn another_format_is_refused_by_name_and_not_destroyed() {
    let (mut disk, _) = three_segments();
    let file = disk.names().remove(0);
    let mut header = disk.bytes(&file)[..20].to_vec();
    header[8] = 2;
    let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&header);
    header.extend(check.to_le_bytes());
    disk.bytes(&file)[..24].copy_from_slice(&header);
    let error = Log::open(disk, small()).unwrap_err();
    assert_eq!(error, OpenError::Version { file, version: 2 });
    assert!(error.to_string().contains("format 2"), "{error}");
}

#[test]
fn a_file_that_somebody_took_away_is_noticed() {
    let (mut disk, _) = three_segments();
    let file = disk.names().remove(0);
    disk.lose(&file);
    assert_eq!(open(disk).statistics().missing_segments, 1);
}

#[test]
fn a_reading_that_stands_twice_counts_once() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=20).unwrap();
    bench.store(&meter(), 11..=30).unwrap();
    assert_eq!(bench.seqs(&meter()), Vec::from_iter(1..=30));
    assert!(bench.statistics().duplicates > 0);
    bench.settle(&meter(), 1..=30).unwrap();
    assert_eq!(bench.reopen().contents.debts, []);
}

#[test]
fn a_lost_block_of_a_stream_of_which_nothing_else_is_left_is_told_once() {
    let lamp = debt("city", "lamp", PointClass::Measurement);
    let mut bench = Bench::new(small());
    bench.store(&lamp, 1..=10).unwrap();
    let mut next = 11;
    while bench.statistics().begun_segments < 2 {
        bench.store(&lamp, next..=next + 39).unwrap();
        next += 40;
    }
    // Its device stays known by another class.
    let alarms = debt("city", "meter", PointClass::Alarm);
    bench.store(&alarms, next..=next + 9).unwrap();
    let body = bench.log.files.segments[&2].end as usize;
    bench.store(&meter(), next + 10..=next + 19).unwrap();
    let end = bench.log.files.segments[&2].end as usize;
    bench.store(&lamp, next + 20..=next + 29).unwrap();
    let file = bench.log.files.segments[&2].name.clone();
    let mut bench = bench.reopen_with(|disk| disk.bytes(&file)[end - 3] ^= 1);
    assert!(body < end - 3);
    assert_eq!((bench.lost(), bench.gaps.len()), (10, 1));
    // The first segment goes, and with it every stream of which nothing is left.
    bench.settle(&lamp, 1..=next - 1).unwrap();
    bench.settle(&alarms, next..=next).unwrap();
    assert_eq!(bench.log.files.segments.len(), 1);
    let bench = bench.reopen();
    assert_eq!(bench.gaps, [], "it was told");
}

#[test]
fn what_rots_while_the_log_is_open_is_told_once() {
    let mut bench = Bench::new(Options {
        max_bytes: 1 << 20,
        ..small()
    });
    for n in 0..100 {
        bench.store(&meter(), n * 50 + 1..=n * 50 + 50).unwrap();
    }
    let file = bench.log.files.segments[&1].name.clone();
    bench.log.cache.remove(1);
    bench.disk().bytes(&file)[2_000] ^= 1;
    let left = bench.seqs(&meter());
    assert_eq!(left.len() as u64 + bench.lost(), 5_000);
    assert!(bench.lost() > 0);
    bench.store(&meter(), 5_001..=5_050).unwrap();
    bench.store(&meter(), 5_051..=5_060).unwrap();
    let mut bench = bench.reopen();
    assert_eq!(bench.gaps, []);
    assert_eq!(bench.seqs(&meter()).len(), left.len() + 60);
}

#[test]
fn of_a_damaged_block_no_more_is_told_than_was_not_paid() {
    let mut bench = Bench::new(small());
    bench.store(&meter(), 1..=10).unwrap();
    bench.store(&meter(), 11..=20).unwrap();
    let end = bench.log.files.segments[&1].end as usize;
    bench.store(&meter(), 21..=30).unwrap();
    bench.settle(&meter(), 11..=15).unwrap();
    let bench = bench.reopen_with(|disk| {
        let file = disk.names().remove(0);
        disk.bytes(&file)[end - 5] ^= 1;
    });
    let gap = &bench.gaps[0];
    assert_eq!((gap.count, gap.seqs.clone()), (5, 11..=20));
}
