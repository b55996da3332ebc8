use super::*;

const FILE: &str = "0001";
const LEN: u64 = 16 * PAGE_BYTES;

fn disk(seed: u64) -> SimulatedDisk {
    let mut disk = SimulatedDisk::new(4 * LEN, seed);
    disk.create(FILE, LEN).unwrap();
    disk
}

fn content(disk: &SimulatedDisk) -> Vec<u8> {
    disk.read(FILE, 0, LEN as usize).unwrap()
}

/// Writes eight pages of ones without a sync, cuts, and returns what is left, sector by sector.
fn left_after(cut: PowerCut, seed: u64) -> (Vec<bool>, Counters) {
    let mut disk = disk(seed);
    for page in 0..8 {
        disk.write(FILE, page * PAGE_BYTES, &[1; PAGE_BYTES as usize])
            .unwrap();
    }
    disk.cut_power(cut);
    assert!(
        disk.read(FILE, 0, 1).is_err(),
        "a disk without power does nothing"
    );
    disk.power_on();
    let content = content(&disk);
    let sectors = content.chunks(SECTOR_BYTES as usize);
    let kept = sectors.map(|sector| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
        sector[0] == 1
    });
    (kept.collect(), disk.counters())
}

#[test]
fn what_was_synced_survives_every_cut() {
    for (seed, cut) in (0..).zip(PowerCut::ALL) {
        let mut disk = disk(seed);
        disk.write(FILE, 100, b"durable").unwrap();
        disk.sync(FILE).unwrap();
        disk.write(FILE, PAGE_BYTES * 5, b"volatile").unwrap();
        disk.cut_power(cut);
        disk.power_on();
        assert_eq!(disk.read(FILE, 100, 7).unwrap(), b"durable", "{cut:?}");
    }
}

#[test]
fn what_was_not_synced_survives_as_the_cut_says() {
    let kept = |cut, seed| left_after(cut, seed).0.into_iter().filter(|kept| *kept).count();
    assert_eq!(kept(PowerCut::KeepAll, 1), 64);
    assert_eq!(kept(PowerCut::DropAll, 1), 0);
    let subsets: Vec<usize> = (0..50).map(|seed| kept(PowerCut::Subset, seed)).collect();
    assert!(subsets.iter().all(|kept| (1..64).contains(kept)), "{subsets:?}");
    for seed in 0..50 {
        let (sectors, _) = left_after(PowerCut::Prefix, seed);
        assert!(
            sectors.is_sorted_by(|a, b| a >= b),
            "a prefix has no holes: {sectors:?}"
        );
    }
    let torn = (0..50).filter(|seed| left_after(PowerCut::Prefix, *seed).1.torn_writes > 0);
    assert!(torn.count() > 10);
}

#[test]
fn of_two_writes_to_one_sector_the_later_never_survives_without_the_earlier() {
    for seed in 0..200 {
        let mut disk = disk(seed);
        disk.write(FILE, 0, b"first").unwrap();
        disk.write(FILE, 5, b"second").unwrap();
        disk.cut_power(PowerCut::ALL[seed as usize % 4]);
        disk.power_on();
        let left = disk.read(FILE, 0, 11).unwrap();
        let allowed: [&[u8]; 3] = [&[0; 11], b"first\0\0\0\0\0\0", b"firstsecond"];
        assert!(allowed.contains(&&*left), "seed {seed}: {left:?}");
    }
}

#[test]
fn the_same_seed_leaves_the_same() {
    for cut in PowerCut::ALL {
        assert_eq!(left_after(cut, 7), left_after(cut, 7));
    }
    assert_ne!(
        left_after(PowerCut::Subset, 7).0,
        left_after(PowerCut::Subset, 8).0
    );
}

#[test]
fn the_power_goes_in_the_middle_of_the_change_that_was_said() {
    for seed in 0..40 {
        let mut disk = disk(seed);
        disk.fail_power_in(2);
        disk.write(FILE, 0, &[1; 2048]).unwrap();
        disk.sync(FILE).unwrap();
        assert!(disk.has_power());
        assert!(disk.write(FILE, 2048, &[1; 2048]).is_err());
        assert!(!disk.has_power());
        assert!(disk.sync(FILE).is_err() && disk.list().is_err());
        disk.cut_power(PowerCut::Subset);
        disk.power_on();
        assert_eq!(disk.read(FILE, 0, 2048).unwrap(), [1; 2048]);
        assert_eq!(disk.counters().cuts_in_write, 1);
    }
}

#[test]
fn a_creation_or_removal_that_is_cut_is_there_or_not() {
    let mut lengths = Vec::new();
    let mut removed = 0;
    for seed in 0..60 {
        let mut disk = disk(seed);
        disk.fail_power_in(0);
        assert!(disk.create("0002", LEN).is_err());
        disk.cut_power(PowerCut::DropAll);
        disk.power_on();
        lengths.push(disk.list().unwrap().get(1).map(|(_, len)| *len));
        disk.fail_power_in(0);
        assert!(disk.remove(FILE).is_err());
        disk.cut_power(PowerCut::KeepAll);
        disk.power_on();
        removed += usize::from(disk.list().unwrap().iter().all(|(name, _)| name != FILE));
    }
    assert!((10..50).contains(&removed));
    for expected in [None, Some(0), Some(LEN)] {
        assert!(lengths.contains(&expected), "{lengths:?}");
    }
}

#[test]
fn a_full_disk_takes_no_new_file_and_its_files_can_be_written() {
    let mut disk = disk(1);
    assert_eq!(disk.create("0002", 4 * LEN), Err(DiskError::Full));
    assert_eq!(disk.list().unwrap(), [(FILE.to_owned(), LEN)]);
    disk.set_capacity(0);
    disk.write(FILE, 0, b"goes on").unwrap();
    disk.sync(FILE).unwrap();
    disk.remove(FILE).unwrap();
    assert_eq!((disk.used(), disk.counters().full), (0, 1));
}

#[test]
fn nothing_reaches_beyond_the_end_of_a_file() {
    let mut disk = disk(1);
    assert!(disk.write(FILE, LEN - 1, b"ab").is_err());
    assert_eq!(disk.read(FILE, LEN - 1, 10).unwrap().len(), 1);
    assert!(disk.read(FILE, LEN + 1, 10).unwrap().is_empty());
    assert_eq!(disk.sync("none"), Err(DiskError::Missing("none".to_owned())));
}

#[test]
fn after_a_failed_sync_another_sync_makes_nothing_durable() {
    let (mut looked_written, mut gone, mut durable) = (0, 0, 0);
    for seed in 0..60 {
        let mut disk = disk(seed);
        disk.write(FILE, 0, b"x").unwrap();
        disk.set_faults(Faults {
            syncs: 1.0,
            ..Faults::default()
        });
        assert!(disk.sync(FILE).is_err());
        disk.set_faults(Faults::default());
        disk.sync(FILE).unwrap();
        let cached = disk.read(FILE, 0, 1).unwrap() == b"x";
        disk.cut_power(PowerCut::KeepAll);
        disk.power_on();
        match (cached, disk.read(FILE, 0, 1).unwrap() == b"x") {
            (true, false) => looked_written += 1,
            (false, false) => gone += 1,
            (_, true) => durable += 1,
        }
    }
    assert!(looked_written > 5 && gone > 5 && durable > 5);
}

#[test]
fn reads_writes_and_names_fail_as_often_as_they_are_to() {
    let mut disk = disk(1);
    disk.set_faults(Faults {
        reads: 0.5,
        writes: 0.5,
        names: 1.0,
        ..Faults::default()
    });
    for _ in 0..100 {
        drop((disk.read(FILE, 0, 1), disk.write(FILE, 0, &[1; 2048])));
    }
    assert!(disk.create("0002", 1).is_err() && disk.remove(FILE).is_err());
    let counters = disk.counters();
    assert!((30..70).contains(&counters.failed_reads) && (30..70).contains(&counters.failed_writes));
    assert_eq!(
        (counters.failed_names, counters.creates, counters.removes),
        (2, 1, 0)
    );
}

#[test]
fn a_bit_that_rots_is_another_one_for_good() {
    let mut disk = disk(1);
    disk.write(FILE, 3, &[0b101]).unwrap();
    disk.sync(FILE).unwrap();
    assert!(disk.flip_bit(FILE, 3, 1) && !disk.flip_bit(FILE, LEN, 0));
    disk.cut_power(PowerCut::KeepAll);
    disk.power_on();
    assert_eq!(disk.read(FILE, 3, 1).unwrap(), [0b111]);
    assert_eq!(disk.counters().rotten_bits, 1);
}

#[test]
fn handles_are_of_one_disk() {
    let mut disk = disk(1);
    let other = disk.clone();
    disk.write(FILE, 0, b"seen").unwrap();
    assert_eq!(other.read(FILE, 0, 4).unwrap(), b"seen");
}
