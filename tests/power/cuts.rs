//! The real buffer and state through many lives that end in a power cut.
//!
//! A life opens what the one before left, after ext4 has played its journal back, and writes until the power goes: at a
//! random moment, in the middle of opening, or at the first commits. After most cuts everything there is compared with
//! what was promised, more is written, and it is opened and compared again; the others are only found out about after
//! the next cut, so that recovering is cut short, too.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::ballast::fill;
use crate::drive::Survives;
use crate::kept::{Kept, look_at};
use crate::ledger::Ledger;
use crate::machine::Machine;
use crate::mount::format;
use crate::said::Said;
use crate::writer::{Kind, Writer};

const DRIVE_BYTES: u64 = 32 << 20;
/// What a ballast leaves of the drive in a run on a full one, at most.
const LITTLE_BYTES: u64 = 192 << 10;
/// When it comes: before it, the buffer and the state had the space to begin with.
const FULL_FROM: u32 = 2;
/// After so many cuts a new file system begins.
const CUTS_OF_A_DRIVE: u32 = 10;
const SAYS_WITHIN: Duration = Duration::from_secs(60);

/// When in a life the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Opening,
    FirstCommits,
    Later,
}

#[test]
fn what_was_promised_is_there_after_every_cut() {
    let cuts = crate::from_environment("UCIFI_POWER_CUTS", 12) as u32;
    let seed = crate::from_environment("UCIFI_SEED", 1);
    let mut rng = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let mut done: u32 = 0;
    while done < cuts {
        let count = CUTS_OF_A_DRIVE.min(cuts - done);
        // One drive of four has little room.
        let has_little_room = (done / CUTS_OF_A_DRIVE) % 4 == 1;
        wear_out(has_little_room, count, &mut rng);
        done += count;
    }
    eprintln!("{cuts} cuts in {} s, seed {seed}", began.elapsed().as_secs());
}

fn wear_out(has_little_room: bool, cuts: u32, rng: &mut StdRng) {
    let mut machine = Machine::new(format(DRIVE_BYTES).expect("mkfs")).expect("a machine");
    let mut ledger = Ledger::new();
    for cut in 0..cuts {
        if has_little_room && cut == FULL_FROM {
            fill_up(&mut machine, rng.random_range(0..LITTLE_BYTES)).expect("a ballast");
        }
        let survives = *Survives::ALL.choose(rng).expect("four of them");
        let moment = match rng.random_range(0..8) {
            0 => Moment::Opening,
            1 => Moment::FirstCommits,
            _ => Moment::Later,
        };
        let story = format!("cut {cut}, {moment:?}, {survives:?} survives, little room: {has_little_room}");
        if let Err(error) = one_life(&mut machine, &mut ledger, moment, survives, rng) {
            panic!("{story}: {error:#}");
        }
        // Not looking leaves the next life with what the cut left.
        let looks = cut + 1 == cuts || rng.random_range(0..4) > 0;
        if let Some(error) = looks
            .then(|| look(&mut machine, &mut ledger, has_little_room).err())
            .flatten()
        {
            panic!("{story}: {error:#}");
        }
    }
    eprintln!("{cuts} cuts, little room: {has_little_room}: {:?}", ledger.totals);
}

fn fill_up(machine: &mut Machine, leave: u64) -> anyhow::Result<()> {
    fill(&machine.start()?, leave)?;
    machine.stop()
}

fn one_life(
    machine: &mut Machine,
    ledger: &mut Ledger,
    moment: Moment,
    survives: Survives,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let life = ledger.next_life();
    let mut writer = Writer::start(Kind::Kept, &machine.start()?, life)?;
    let (line, count) = match moment {
        Moment::Opening => ("opens", 1),
        Moment::FirstCommits => ("{\"Opened", 1),
        Moment::Later => ("{\"Asks\"", rng.random_range(1..60)),
    };
    writer.wait_for(line, count, SAYS_WITHIN)?;
    let wait_ms = rng.random_range(0..15);
    writer.stay(Duration::from_millis(wait_ms))?;
    let (before, flash) = {
        let said = writer.said();
        (said.len(), machine.cut(survives, rng))
    };
    let said = writer.kill()?;
    for (place, line) in said.iter().enumerate() {
        if let Some(said) = Said::read(line) {
            ledger.take(said, place < before)?;
        }
    }
    machine.replace(flash)
}

/// Opens what a cut left, compares, writes some more, opens and compares again.
fn look(machine: &mut Machine, ledger: &mut Ledger, has_little_room: bool) -> anyhow::Result<()> {
    let folder = machine.start()?;
    for rounds in [5, 0] {
        let seen = look_at(&folder)?;
        let mut said = Vec::new();
        let life = ledger.next_life();
        let mut say = |line| said.push(line);
        let mut kept = Kept::open(&folder, life, &mut say)?;
        ensure!(
            has_little_room || !kept.may_be_old,
            "the state had to be taken from its copy"
        );
        let found = kept.find()?;
        ensure!(
            seen == found,
            "whoever only looks at the buffer sees something else"
        );
        for gap in kept.gaps.drain(..) {
            ledger.take_gap(&gap);
        }
        ledger.compare(has_little_room, &found, &kept.values)?;
        for _ in 0..rounds {
            kept.round()?;
        }
        kept.close()?;
        for said in said {
            ledger.take(said, true)?;
        }
    }
    machine.stop()
}
