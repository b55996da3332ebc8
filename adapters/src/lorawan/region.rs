//! EU863-870 (LoRaWAN Regional Parameters RP002-1.0.4, section 2.4; duty cycles of ETSI EN 300 220-2 V3.2.1, annex B).

use std::fmt;
use std::time::Duration;

/// The frequency of the second receive window, in Hz.
pub const RX2_FREQUENCY_HZ: u32 = 869_525_000;
/// The data rate of the second receive window until the device was told another, and always for a join-accept.
pub const RX2_DATA_RATE: DataRate = DataRate::Dr0;
/// The channels that every device knows, in Hz.
pub const DEFAULT_CHANNELS_HZ: [u32; 3] = [868_100_000, 868_300_000, 868_500_000];
/// The channels that a join-accept adds (CFList), in Hz.
pub const ADDED_CHANNELS_HZ: [u32; 5] = [867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000];
/// From the end of an uplink to its first receive window.
pub const RX1_DELAY: Duration = Duration::from_secs(1);
/// From the end of a join-request to its first receive window.
pub const JOIN_RX1_DELAY: Duration = Duration::from_secs(5);
/// From the first receive window to the second.
pub const RX2_AFTER_RX1: Duration = Duration::from_secs(1);

/// Symbols of the preamble.
const PREAMBLE_SYMBOLS: u32 = 8;

/// A LoRa data rate of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataRate {
    /// SF12, 125 kHz
    Dr0,
    /// SF11, 125 kHz
    Dr1,
    /// SF10, 125 kHz
    Dr2,
    /// SF9, 125 kHz
    Dr3,
    /// SF8, 125 kHz
    Dr4,
    /// SF7, 125 kHz
    Dr5,
    /// SF7, 250 kHz
    Dr6,
}

impl DataRate {
    /// All of them, the slowest first.
    pub const ALL: [Self; 7] = [
        Self::Dr0,
        Self::Dr1,
        Self::Dr2,
        Self::Dr3,
        Self::Dr4,
        Self::Dr5,
        Self::Dr6,
    ];

    /// Returns the data rate of a number, where the region has it.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// Returns the data rate of a spreading factor and a bandwidth, where the region has it.
    pub fn from_modulation(spreading_factor: u8, bandwidth_khz: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|rate| rate.spreading_factor() == spreading_factor && rate.bandwidth_khz() == bandwidth_khz)
    }

    /// Returns its number, 0 to 6.
    pub const fn index(self) -> u8 {
        self as u8
    }

    /// Returns its spreading factor, 7 to 12.
    pub const fn spreading_factor(self) -> u8 {
        match self {
            Self::Dr6 => 7,
            Self::Dr0 | Self::Dr1 | Self::Dr2 | Self::Dr3 | Self::Dr4 | Self::Dr5 => 12 - self as u8,
        }
    }

    /// Returns its bandwidth, in kHz.
    pub const fn bandwidth_khz(self) -> u16 {
        match self {
            Self::Dr6 => 250,
            Self::Dr0 | Self::Dr1 | Self::Dr2 | Self::Dr3 | Self::Dr4 | Self::Dr5 => 125,
        }
    }

    /// Returns the longest FRMPayload without FOpts, in bytes (N of table 10).
    pub const fn max_payload(self) -> usize {
        match self {
            Self::Dr0 | Self::Dr1 | Self::Dr2 => 51,
            Self::Dr3 => 115,
            Self::Dr4 | Self::Dr5 | Self::Dr6 => 242,
        }
    }

    /// Returns the lowest signal to noise ratio at which it can be demodulated, in dB (SX1276 data sheet, table 13).
    pub fn snr_floor_db(self) -> f64 {
        -7.5 - 2.5 * f64::from(self.spreading_factor() - 7)
    }

    /// Returns the data rate of the first receive window after an uplink at this one.
    pub fn rx1(self, offset: u8) -> Self {
        Self::from_index(self.index().saturating_sub(offset)).expect("no index above its own")
    }

    /// Returns how long a PHYPayload of so many bytes is on the air (SX1276 data sheet, section 4.1.1.7): coding rate
    /// 4/5, explicit header; uplinks carry a CRC, downlinks none.
    pub fn time_on_air(self, bytes: usize, crc: bool) -> Duration {
        let factor = i64::from(self.spreading_factor());
        let symbol_us = (1_u32 << factor) * 1000 / u32::from(self.bandwidth_khz());
        // Symbols longer than 16 ms need the low data rate optimization.
        let bits_per_symbol = if symbol_us >= 16_000 { factor - 2 } else { factor };
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 16);
        let bits = 8 * bytes - 4 * factor + 28 + if crc { 16 } else { 0 };
        let codewords = u64::try_from(bits.max(0))
            .unwrap_or(0)
            .div_ceil(4 * bits_per_symbol.unsigned_abs());
        let symbols = u64::from(PREAMBLE_SYMBOLS) + 8 + codewords * 5;
        let quarters = symbols * 4 + 17;
        Duration::from_micros(quarters * u64::from(symbol_us) / 4)
    }
}

impl fmt::Display for DataRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SF{}BW{}", self.spreading_factor(), self.bandwidth_khz())
    }
}

/// A part of the band with its own duty cycle and power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubBand {
    /// Its lower edge, in Hz.
    pub from_hz: u32,
    /// Its upper edge, in Hz.
    pub to_hz: u32,
    /// The share of the time in which a station may send, in thousandths.
    pub duty_permille: u32,
    /// The highest radiated power (EIRP), in whole dBm.
    pub max_power_dbm: i8,
}

/// The sub-bands in which a station may send.
pub const SUB_BANDS: [SubBand; 6] = [
    sub_band(863_000_000, 865_000_000, 1, 16),
    sub_band(865_000_000, 868_000_000, 10, 16),
    sub_band(868_000_000, 868_600_000, 10, 16),
    sub_band(868_700_000, 869_200_000, 1, 16),
    sub_band(869_400_000, 869_650_000, 100, 29),
    sub_band(869_700_000, 870_000_000, 10, 16),
];

/// Returns the sub-band of a frequency; none where nobody may send.
pub fn sub_band_of(frequency_hz: u32) -> Option<&'static SubBand> {
    SUB_BANDS.get(sub_band_place(frequency_hz)?)
}

/// Returns the place of that sub-band in [`SUB_BANDS`].
pub(super) fn sub_band_place(frequency_hz: u32) -> Option<usize> {
    SUB_BANDS
        .iter()
        .position(|band| (band.from_hz..band.to_hz).contains(&frequency_hz))
}

const fn sub_band(from_hz: u32, to_hz: u32, duty_permille: u32, max_power_dbm: i8) -> SubBand {
    SubBand {
        from_hz,
        to_hz,
        duty_permille,
        max_power_dbm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenths_ms(rate: DataRate, bytes: usize) -> u128 {
        (rate.time_on_air(bytes, true).as_micros() + 50) / 100
    }

    // Figures of the Semtech LoRa calculator: 125 kHz, 8 symbols of preamble, explicit header, 4/5, CRC.
    #[test]
    fn the_time_on_air_is_that_of_the_calculator() {
        let rates = [
            DataRate::Dr5,
            DataRate::Dr4,
            DataRate::Dr3,
            DataRate::Dr2,
            DataRate::Dr1,
            DataRate::Dr0,
        ];
        let expected = [
            (13, [463, 824, 1649, 2888, 5775, 11551]),
            (23, [617, 1132, 2058, 3707, 8233, 14828]),
            (33, [719, 1336, 2468, 4526, 9871, 18104]),
            (64, [1180, 2156, 3901, 6984, 15606, 27935]),
        ];
        for (bytes, row) in expected {
            assert_eq!(rates.map(|rate| tenths_ms(rate, bytes)), row, "{bytes} bytes");
        }
    }

    #[test]
    fn a_data_rate_is_found_by_its_modulation() {
        for rate in DataRate::ALL {
            assert_eq!(DataRate::from_index(rate.index()), Some(rate));
            let found = DataRate::from_modulation(rate.spreading_factor(), rate.bandwidth_khz());
            assert_eq!(found, Some(rate));
        }
        assert_eq!(DataRate::from_modulation(12, 250), None);
        assert_eq!(DataRate::Dr6.to_string(), "SF7BW250");
    }

    #[test]
    fn the_first_window_is_never_slower_than_the_slowest() {
        assert_eq!(DataRate::Dr5.rx1(2), DataRate::Dr3);
        assert_eq!(DataRate::Dr1.rx1(5), DataRate::Dr0);
    }

    #[test]
    fn every_channel_lies_in_a_sub_band() {
        for frequency in DEFAULT_CHANNELS_HZ.iter().chain(&ADDED_CHANNELS_HZ) {
            assert_eq!(sub_band_of(*frequency).map(|b| b.duty_permille), Some(10));
        }
        assert_eq!(sub_band_of(RX2_FREQUENCY_HZ).map(|b| b.duty_permille), Some(100));
        assert_eq!(sub_band_of(868_650_000), None);
    }
}
