//! What a run put out, as one number.

use std::time::Duration;

/// A summary of everything that went out, with its times: two runs that are the same have the same summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How many outputs there were.
    pub outputs: u64,
    /// FNV-1a over all of them.
    pub hash: u64,
}

impl Trace {
    pub(super) const fn new() -> Self {
        Self {
            outputs: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(super) fn note(&mut self, at: Duration, from: &str, output: &[u8]) {
        self.outputs += 1;
        self.add(&at.as_nanos().to_be_bytes());
        self.add(from.as_bytes());
        self.add(&output.len().to_be_bytes());
        self.add(output);
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(at_ms: u64, from: &str, output: &[u8]) -> Trace {
        let mut trace = Trace::new();
        trace.note(Duration::from_millis(at_ms), from, output);
        trace
    }

    #[test]
    fn any_difference_in_time_origin_or_content_shows() {
        let one = trace(1, "bus", b"ab");
        assert_eq!(one, trace(1, "bus", b"ab"));
        assert_ne!(one, trace(2, "bus", b"ab"));
        assert_ne!(one, trace(1, "server", b"ab"));
        assert_ne!(one, trace(1, "bus", b"ac"));
    }
}
