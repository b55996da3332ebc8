//! Readings over three protocols through power cuts, torn pages, failing disks, outages and refusals.
//!
//! `UCIFI_SEED=7` runs one seed and tells all that happened in it; `UCIFI_POWER_SEEDS=100000` runs so many.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::power::Run;

/// How many seeds an ordinary run of the tests goes through.
const SEEDS: u64 = 200;

/// What the runs of one thread came to.
#[derive(Default)]
struct Outcome {
    /// The seeds that showed what must not be, and what that was.
    bad: Vec<(u64, String)>,
    hits: BTreeMap<&'static str, u64>,
}

#[test]
fn no_durable_reading_is_lost_none_invented_and_every_start_works() {
    if let Some(seed) = number("UCIFI_SEED") {
        let mut run = Run::of(seed);
        let faults = run.verdict();
        eprintln!("{run}{faults:#?}");
        assert!(faults.is_empty());
        return;
    }
    let seeds = number("UCIFI_POWER_SEEDS").unwrap_or(SEEDS);
    let outcome = run_all(seeds);
    for (seed, why) in &outcome.bad {
        eprintln!("UCIFI_SEED={seed}: {why}");
    }
    assert!(
        outcome.bad.is_empty(),
        "{} of {seeds} seeds are bad",
        outcome.bad.len()
    );
    eprintln!("{seeds} seeds: {:#?}", outcome.hits);
    let missed: Vec<_> = outcome.hits.iter().filter(|(_, count)| **count == 0).collect();
    assert!(missed.is_empty() || seeds < SEEDS, "no run hit {missed:?}");
}

#[test]
fn the_same_seed_gives_the_same_outputs_through_power_cuts() {
    let (mut traces, mut has_all) = (Vec::new(), false);
    for seed in 1..=3 {
        let run = Run::of(seed);
        has_all |= run.has_all_protocols();
        assert!(run.cabinet.downs().len() > 2, "seed {seed}");
        assert_eq!(run.trace(), Run::of(seed).trace(), "seed {seed}");
        assert!(!traces.contains(&run.trace()), "seed {seed}");
        traces.push(run.trace());
    }
    assert!(has_all, "none of the runs has devices of all protocols");
}

fn run_all(seeds: u64) -> Outcome {
    let next = AtomicU64::new(1);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&next, seeds))).collect();
        let mut all = Outcome::default();
        for worker in workers {
            let outcome = worker.join().expect("a worker catches what its runs do");
            all.bad.extend(outcome.bad);
            for (name, count) in outcome.hits {
                *all.hits.entry(name).or_default() += count;
            }
        }
        all
    })
}

fn work(next: &AtomicU64, last: u64) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed > last {
            return outcome;
        }
        let run = || {
            let mut run = Run::of(seed);
            (run.verdict(), run.hits())
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok((faults, hits)) => {
                outcome
                    .bad
                    .extend(faults.into_iter().take(1).map(|fault| (seed, fault)));
                for (name, count) in hits {
                    *outcome.hits.entry(name).or_default() += count;
                }
            }
            Err(_) => outcome.bad.push((seed, "panicked".to_owned())),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
