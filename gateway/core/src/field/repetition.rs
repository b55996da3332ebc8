//! How a frame is known that its sender repeats although it was taken: the acknowledgement may have got lost.

use super::ReceiptId;

/// What is said of a frame that may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// Whether no other frame has that fingerprint for a long time to come, so that it can be relied upon when the
    /// readings are durable and the frame comes again.
    pub is_unique: bool,
    /// Whether the frame may have come before.
    pub is_repeat: bool,
    /// Of the same source, no frame comes again whose receipt has a lower name or is of an earlier run; none where
    /// nothing is known of that.
    pub none_before: Option<ReceiptId>,
}

/// Stands for a frame: the same each time that the frame comes, in this run and in later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Returns that of a frame: the source is whatever numbers it and repeats it, the parts are all that tells it from
    /// other frames of the source.
    pub fn new(source: &str, parts: &[&[u8]]) -> Self {
        let of_source = hash(BASIS, source.as_bytes());
        let of_frame = parts.iter().fold(of_source, |state, part| {
            hash(hash(state, &(part.len() as u64).to_le_bytes()), part)
        });
        let folded = of_frame ^ of_frame >> FRAME_BITS;
        Self(fold_to_16(of_source) << FRAME_BITS | folded & ((1 << FRAME_BITS) - 1))
    }

    /// Returns what all frames of one source have in common, and those of another one hardly ever.
    pub const fn source(self) -> u16 {
        (self.0 >> FRAME_BITS) as u16
    }
}

const FRAME_BITS: u32 = 48;

/// FNV-1a with 64 bits (draft-eastlake-fnv, section 2): what is on disk has to mean the same to every version.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

fn hash(state: u64, bytes: &[u8]) -> u64 {
    let step = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(state, step)
}

const fn fold_to_16(hash: u64) -> u64 {
    (hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48) & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of draft-eastlake-fnv, appendix C.
        assert_eq!(hash(BASIS, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(BASIS, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(BASIS, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_frame_has_the_same_fingerprint_in_every_version() {
        let frame = Fingerprint::new("local", &[&[7, 0], b"tele/a/SENSOR", b"{}"]);
        assert_eq!(frame, Fingerprint(5_217_249_911_732_341_648));
    }

    #[test]
    fn frames_that_differ_anywhere_have_different_fingerprints_and_one_source_in_common() {
        let frames: [&[&[u8]]; 5] = [
            &[b"1", b"topic", b"21.5"],
            &[b"2", b"topic", b"21.5"],
            &[b"1", b"topi", b"c21.5"],
            &[b"1", b"topic", b"21.6"],
            &[b"1", b"topic", b"21.5", b""],
        ];
        let all: Vec<_> = frames.map(|parts| Fingerprint::new("local", parts)).to_vec();
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one));
            assert_eq!(one.source(), all[0].source());
        }
        let other = Fingerprint::new("other", frames[0]);
        assert!(other != all[0] && other.source() != all[0].source());
    }
}
