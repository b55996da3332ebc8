//! What is said of a LoRaWAN device: its address, its frames, how they came through the air.

use std::fmt;

/// A device's IEEE EUI-64, in the order in which it is printed (the wire has the last byte first).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevEui(pub [u8; 8]);

impl fmt::Display for DevEui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for DevEui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A decrypted application payload of an uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoRaWanData {
    /// FPort, 1 to 223.
    pub f_port: u8,
    /// FRMPayload, decrypted, at most 242 bytes.
    pub payload: Vec<u8>,
}

/// An application payload for a downlink, not encrypted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoRaWanCommand {
    /// FPort, 1 to 223.
    pub f_port: u8,
    /// FRMPayload, at most 242 bytes, less at low data rates.
    pub payload: Vec<u8>,
    /// Whether the device is asked to acknowledge it.
    pub confirmed: bool,
}

/// How an uplink came through the air, at the gateway that heard it best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Radio {
    /// Received signal strength, in dBm.
    pub rssi_dbm: f64,
    /// Signal to noise ratio, in dB.
    pub snr_db: f64,
    /// The data rate of the region, DR0 to DR15.
    pub data_rate: u8,
    /// The frequency, in Hz.
    pub frequency_hz: u32,
    /// The device's 32-bit uplink counter.
    pub f_cnt_up: u32,
}

/// When a device listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceClass {
    /// After its own uplinks.
    A,
    /// Always.
    C,
}

impl DeviceClass {
    /// Returns its letter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::C => "C",
        }
    }
}

/// What the network server has to know of a kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoRaWanTraits {
    /// When it listens.
    pub class: DeviceClass,
    /// The data rate of its second receive window after a join, DR0 to DR5; none leaves the region's.
    pub rx2_data_rate: Option<u8>,
    /// How often it is expected to send, in seconds; it counts as unreachable after three of these.
    pub uplink_every_secs: u32,
}
