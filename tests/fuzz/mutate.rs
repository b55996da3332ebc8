//! Makes new inputs out of old ones: the mutations of the usual fuzzers, from a seeded generator.

use rand::Rng;
use rand::rngs::StdRng;

/// No input grows beyond this.
const MAX_LEN: usize = 4096;

/// Bytes that sit on the edges of length fields, signs and delimiters.
const EDGES: [u8; 20] = [
    0x00, 0x01, 0x0d, 0x0e, 0x0f, 0x10, 0x18, 0x1b, 0x1f, 0x3f, 0x40, 0x7f, 0x80, 0x9f, 0xbf, 0xc0, 0xe0,
    0xf9, 0xfb, 0xff,
];

/// Returns a new input made from one or two of `corpus`, or from nothing.
pub(crate) fn mutate(corpus: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut input = pick(corpus, rng);
    if rng.random_ratio(1, 8) {
        let other = pick(corpus, rng);
        let (cut, from) = (place(&input, rng), place(&other, rng));
        input.truncate(cut);
        input.extend_from_slice(other.get(from..).unwrap_or_default());
    }
    for _ in 0..rng.random_range(1..=6) {
        change(&mut input, rng);
    }
    input.truncate(MAX_LEN);
    input
}

fn pick(corpus: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    if corpus.is_empty() || rng.random_ratio(1, 50) {
        let len = rng.random_range(0..64);
        return (0..len).map(|_| rng.random()).collect();
    }
    corpus
        .get(rng.random_range(0..corpus.len()))
        .cloned()
        .unwrap_or_default()
}

/// Returns a place in the input, its end included.
fn place(input: &[u8], rng: &mut StdRng) -> usize {
    rng.random_range(0..=input.len())
}

fn change(input: &mut Vec<u8>, rng: &mut StdRng) {
    let at = place(input, rng);
    match rng.random_range(0..8) {
        0 => input.truncate(at),
        1 => input.insert(at, rng.random()),
        2 => input.insert(at, EDGES[rng.random_range(0..EDGES.len())]),
        3 => repeat(input, at, rng),
        4 => remove(input, at, rng),
        kind => {
            if let Some(byte) = input.get_mut(at) {
                *byte = match kind {
                    5 => *byte ^ (1 << rng.random_range(0..8)),
                    6 => EDGES[rng.random_range(0..EDGES.len())],
                    _ => byte.wrapping_add(rng.random_range(0..=16)).wrapping_sub(8),
                };
            }
        }
    }
}

/// Writes a short run of the input again behind itself.
fn repeat(input: &mut Vec<u8>, at: usize, rng: &mut StdRng) {
    let end = (at + rng.random_range(1..=16)).min(input.len());
    let run = input
        .get(at..end)
        .unwrap_or_default()
        .repeat(rng.random_range(1..=8));
    input.splice(at..at, run);
}

fn remove(input: &mut Vec<u8>, at: usize, rng: &mut StdRng) {
    let end = (at + rng.random_range(1..=16)).min(input.len());
    input.drain(at..end);
}
