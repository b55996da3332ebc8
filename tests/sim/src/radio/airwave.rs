//! What is on the air: where, how, from when until when.

use std::time::{Duration, Instant};

/// Where and how somebody sends or listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The frequency, in Hz.
    pub frequency_hz: u32,
    /// The spreading factor.
    pub spreading_factor: u32,
    /// The bandwidth, in Hz.
    pub bandwidth_hz: u32,
}

impl Channel {
    /// Returns how long a symbol lasts.
    pub fn symbol(&self) -> Duration {
        Duration::from_micros((1_u64 << self.spreading_factor) * 1_000_000 / u64::from(self.bandwidth_hz))
    }

    /// Returns how long so many bytes are on the air (SX1276 data sheet, section 4.1.1.7): 8 symbols of preamble, explicit
    /// header, coding rate 4/5.
    pub fn time_on_air(&self, bytes: usize, crc: bool) -> Duration {
        let factor = i64::from(self.spreading_factor);
        let optimized = if self.symbol() > Duration::from_millis(16) {
            2
        } else {
            0
        };
        let bits =
            8 * i64::try_from(bytes).expect("a frame is short") - 4 * factor + 28 + if crc { 16 } else { 0 };
        let per_codeword = 4 * (factor - optimized);
        let codewords = (bits.max(0) + per_codeword - 1) / per_codeword;
        let quarters = 4 * (8 + 8 + 5 * codewords) + 17;
        self.symbol() * u32::try_from(quarters).expect("a frame is short") / 4
    }
}

/// A frame on the air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnAir {
    pub(super) phy: Vec<u8>,
    pub(super) channel: Channel,
    pub(super) from: Instant,
    pub(super) until: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    // Figures of the Semtech LoRa calculator.
    #[test]
    fn the_time_on_air_is_that_of_the_calculator() {
        let channel = |spreading_factor| Channel {
            frequency_hz: 868_100_000,
            spreading_factor,
            bandwidth_hz: 125_000,
        };
        assert_eq!(channel(7).time_on_air(23, true).as_micros(), 61_696);
        assert_eq!(channel(12).time_on_air(23, true).as_micros(), 1_482_752);
    }
}
