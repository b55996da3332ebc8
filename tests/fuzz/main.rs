//! Hostile bytes for every decoder: no panic, no allocation out of proportion.
//!
//! As an ordinary test each target replays its corpus (`corpus/<target>.hex`) and a few thousand mutated inputs.
//! `UCIFI_FUZZ_INPUTS` sets how many, `UCIFI_SEED` which; `.ci/soak fuzz` runs a million each.

mod mutate;
mod targets;

use std::path::Path;
use std::sync::Mutex;

use peak_alloc::PeakAlloc;
use rand::SeedableRng;
use rand::rngs::StdRng;

use targets::TARGETS;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Targets run one after the other: the allocator counts for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a decoder may allocate beside what grows with its input.
const ALLOWANCE_BYTES: usize = 256 * 1024;
/// And how many times its input.
const ALLOWANCE_FACTOR: usize = 400;

/// One decoder under attack.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) decode: fn(&[u8]),
    /// Inputs that the decoder takes, to start from.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

#[test]
fn no_decoder_panics_or_allocates_out_of_proportion() {
    let inputs = from_environment("UCIFI_FUZZ_INPUTS", 3_000);
    let seed = from_environment("UCIFI_SEED", 1);
    // Built once for the process, whatever the input.
    targets::table();
    for target in TARGETS {
        attack(target, inputs, seed);
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a whole number"))
}

fn attack(target: &Target, inputs: u64, seed: u64) {
    let _alone = ONE_AT_A_TIME.lock().expect("a target that failed ends the run");
    let mut corpus = (target.seeds)();
    corpus.extend(stored_corpus(target.name));
    assert!(!corpus.is_empty(), "{} has no input to start from", target.name);
    let mut most = 0;
    for input in &corpus {
        most = most.max(run(target, input));
    }
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..inputs {
        most = most.max(run(target, &mutate::mutate(&corpus, &mut rng)));
    }
    eprintln!(
        "{}: {} stored and {inputs} mutated inputs, seed {seed}, at most {most} bytes",
        target.name,
        corpus.len()
    );
}

/// Feeds one input and returns how much was allocated at most meanwhile.
fn run(target: &Target, input: &[u8]) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let outcome = std::panic::catch_unwind(|| (target.decode)(input));
    let used = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(outcome.is_ok(), "{} panicked on {}", target.name, hex(input));
    assert!(
        used <= ALLOWANCE_BYTES + ALLOWANCE_FACTOR * input.len(),
        "{} allocated {used} bytes for the {} of {}",
        target.name,
        input.len(),
        hex(input)
    );
    used
}

/// Reads `corpus/<target>.hex`: one input a line, found by a fuzzer that saw which code each of them reached.
fn stored_corpus(target: &str) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/corpus/{target}.hex"));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| bytes(line).expect("a corpus file has pairs of hex digits"))
        .collect()
}

fn bytes(line: &str) -> Option<Vec<u8>> {
    let digits = line.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
