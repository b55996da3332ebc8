//! The method held against itself: a writer that syncs must lose nothing, and one that does not must be caught.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::drive::Survives;
use crate::machine::Machine;
use crate::mount::format;
use crate::writer::{Kind, Writer, say};

const DRIVE_BYTES: u64 = 32 << 20;
const CUTS_OF_EACH: u32 = 2;
const WORDS_AT_ONCE: u64 = 64;
const SAYS_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn a_file_that_is_synced_is_whole_after_every_cut() {
    for life in lives(Kind::Synced, "noatime", 1) {
        assert_eq!(
            life.lost, 0,
            "what was flushed is lost where {:?} survives",
            life.survives
        );
    }
}

#[test]
fn a_file_that_is_not_synced_is_caught() {
    for life in lives(Kind::Unsynced, "noatime", 2) {
        assert_ne!(life.lost, 0, "nothing is lost of what was never synced");
    }
}

#[test]
fn a_sync_without_a_flush_of_the_drive_is_caught() {
    for life in lives(Kind::Synced, "noatime,nobarrier", 3) {
        let must_lose = life.survives == Survives::Nothing;
        let must_keep = life.survives == Survives::Everything;
        assert!(
            !must_lose || life.lost > 0,
            "nothing is lost of what was never flushed"
        );
        assert!(
            !must_keep || life.lost == 0,
            "{} words that the drive kept are lost",
            life.lost
        );
    }
}

struct Life {
    survives: Survives,
    lost: u64,
}

/// Cuts the power some times, each time on a new file system.
fn lives(kind: Kind, options: &str, seed: u64) -> Vec<Life> {
    let mut rng = StdRng::seed_from_u64(seed);
    let empty = format(DRIVE_BYTES).expect("mkfs");
    let mut machine = Machine::new(empty.clone()).expect("a machine");
    let mut life = |survives| {
        machine.replace(empty.clone()).expect("a new drive");
        let (promised, found) = one_life(&mut machine, kind, options, survives, &mut rng).expect("a life");
        eprintln!("{kind:?} on {options}, {survives:?} survives: {promised} words promised, {found} found");
        let lost = promised.saturating_sub(found);
        Life { survives, lost }
    };
    (0..CUTS_OF_EACH)
        .flat_map(|_| Survives::ALL)
        .map(&mut life)
        .collect()
}

fn one_life(
    machine: &mut Machine,
    kind: Kind,
    options: &str,
    survives: Survives,
    rng: &mut StdRng,
) -> anyhow::Result<(u64, u64)> {
    let mut writer = Writer::start(kind, &machine.start_with(options)?, 0)?;
    writer.wait_for("has ", rng.random_range(1..100), SAYS_WITHIN)?;
    let promised = writer
        .said()
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("has ")?.parse().ok());
    let flash = machine.cut(survives, rng);
    drop(writer.kill()?);
    machine.replace(flash)?;
    let found = words(&machine.start()?.join("words"))?;
    Ok((promised.unwrap_or(0), found))
}

/// Appends rising numbers to a file, and says how many there are.
pub(crate) fn write(folder: &Path, is_synced: bool) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("words"))
        .expect("a file");
    if is_synced {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .expect("a folder");
    }
    // Until there is no more room, which is later than any cut.
    for count in (0..1 << 20).step_by(WORDS_AT_ONCE as usize) {
        let words: Vec<u8> = (count..count + WORDS_AT_ONCE).flat_map(word).collect();
        file.write_all(&words).expect("room");
        if is_synced {
            file.sync_data().expect("a sync");
        }
        say(&format!("has {}", count + WORDS_AT_ONCE));
    }
}

fn word(number: u64) -> [u8; 8] {
    (number ^ 0xA5A5_A5A5_A5A5_A5A5).to_be_bytes()
}

/// Counts the words that are as they were written, from the first on.
fn words(file: &Path) -> anyhow::Result<u64> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let words = (0u64..).zip(bytes.chunks(8));
    Ok(words
        .take_while(|(number, found)| *found == word(*number))
        .count() as u64)
}
