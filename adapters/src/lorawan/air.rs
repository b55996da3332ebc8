//! What goes through the air, and what is told of it: the seam between the forwarders and the network server.

use std::fmt;
use std::time::Duration;

use ucifi_core::Now;

use super::region::DataRate;

/// A packet forwarder's EUI-64, in the order in which it is printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwarderId(pub [u8; 8]);

impl fmt::Display for ForwarderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for ForwarderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How one forwarder heard a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Who heard it.
    pub forwarder: ForwarderId,
    /// The forwarder's counter at the end of the reception, in microseconds; it wraps.
    pub tmst: u32,
    /// The frequency, in Hz.
    pub frequency_hz: u32,
    /// The data rate.
    pub data_rate: DataRate,
    /// Received signal strength, in dBm.
    pub rssi_dbm: f64,
    /// Signal to noise ratio, in dB.
    pub snr_db: f64,
}

/// A frame that came through the air, once, whoever heard it.
#[derive(Clone, Debug, PartialEq)]
pub struct AirFrame {
    /// The PHYPayload.
    pub phy: Vec<u8>,
    /// How it was heard, the best first; never empty.
    pub copies: Vec<Heard>,
    /// When it was received.
    pub received: Now,
}

/// Names a transmission until it is known what became of it; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransmissionId(pub u64);

/// A frame to send once, in the first window that takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transmission {
    /// Its name.
    pub id: TransmissionId,
    /// The PHYPayload.
    pub phy: Vec<u8>,
    /// Where and when it may go out, tried in this order.
    pub windows: Vec<Window>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a transmission is for: what gives way when airtime is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A join-accept.
    Join,
    /// An answer to an uplink, in its windows.
    Answer,
    /// A command to a device that always listens.
    Command,
}

/// One chance to send a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The forwarder to send it.
    pub forwarder: ForwarderId,
    /// When.
    pub at: When,
    /// The frequency, in Hz.
    pub frequency_hz: u32,
    /// The data rate.
    pub data_rate: DataRate,
    /// The radiated power (EIRP), in dBm.
    pub power_dbm: i8,
}

/// When a window opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this value of the forwarder's counter, in microseconds.
    Tmst(u32),
    /// As soon as the forwarder and the duty cycle allow: the device listens all the time.
    Soonest,
}

/// What became of a transmission.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// A forwarder took it.
    OnAir,
    /// The forwarder of the last window refused it.
    Refused(TxError, String),
    /// The forwarder said nothing: it may have been sent.
    NoAnswer,
    /// The duty cycle leaves no time for it.
    NoAirtime {
        /// When there is again.
        retry_after: Duration,
    },
    /// No forwarder of a window is connected.
    NoForwarder,
}

/// Why a forwarder refuses (PROTOCOL.TXT of the packet forwarder, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxError {
    /// It came too late to be sent at its time.
    TooLate,
    /// Its time is too far ahead, or past by more than the counter can tell.
    TooEarly,
    /// Another frame is sent at that time.
    CollisionPacket,
    /// A beacon is.
    CollisionBeacon,
    /// The forwarder cannot send on that frequency.
    TxFreq,
    /// The forwarder cannot send with that power.
    TxPower,
    /// A time of GPS was asked for, and the forwarder has none.
    GpsUnlocked,
    /// A reason that the protocol does not list.
    Unknown,
}

impl TxError {
    /// Says whether it is the same for the same frame at any other time.
    pub(super) const fn is_lasting(self) -> bool {
        match self {
            Self::TxFreq | Self::TxPower => true,
            Self::TooLate
            | Self::TooEarly
            | Self::CollisionPacket
            | Self::CollisionBeacon
            | Self::GpsUnlocked
            | Self::Unknown => false,
        }
    }
}
