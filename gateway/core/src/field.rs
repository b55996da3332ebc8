//! The plain types that the field side and the core share: links, frames, what is polled, what is written.
//!
//! Profiles are compiled into these, adapters take them; neither sees the other.

mod lorawan;
mod mqtt;
mod repetition;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use lorawan::{DevEui, DeviceClass, LoRaWanCommand, LoRaWanData, LoRaWanTraits, Radio};
pub use mqtt::{MqttMessage, MqttPublish, Qos, Subscription, TopicId, TopicTemplate, TopicTemplateError};
pub use repetition::{Fingerprint, Repetition};

use crate::Now;
use crate::reading::Quality;
use lwm2m_client::Path;

/// How a device is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// A unit on a Modbus bus.
    Modbus {
        /// The name of the bus in the configuration.
        bus: Arc<str>,
        /// The unit address, 1 to 247 (0 to 255 over TCP).
        unit: u8,
    },
    /// A device on the radio network.
    LoRaWan {
        /// Its DevEUI.
        dev_eui: DevEui,
    },
    /// A device behind an MQTT broker.
    Mqtt {
        /// The name of the broker in the configuration.
        broker: Arc<str>,
        /// What stands for the device in its topics.
        device: Arc<str>,
    },
}

impl Link {
    /// Returns the endpoint name of a device where neither the configuration nor an earlier run says otherwise: what has
    /// an address of its own for life is known by that, in lower case as RFC 9039 writes an EUI-64.
    pub fn endpoint_name(&self, gateway: &str, device_id: &str) -> String {
        match self {
            Self::LoRaWan { dev_eui } => format!("urn:dev:eui64:{dev_eui}").to_lowercase(),
            Self::Modbus { .. } | Self::Mqtt { .. } => format!("{gateway}-{device_id}"),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modbus { bus, unit } => write!(f, "bus {bus} unit {unit}"),
            Self::LoRaWan { dev_eui } => write!(f, "DevEUI {dev_eui}"),
            Self::Mqtt { broker, device } => write!(f, "broker {broker} device {device}"),
        }
    }
}

/// What a device said, or is to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A block of registers or bits as it was read in one response.
    ModbusBlock(RegisterBlock),
    /// A write to registers or coils.
    ModbusWrite(RegisterWrite),
    /// The application payload of a LoRaWAN uplink.
    LoRaWanData(LoRaWanData),
    /// An application payload for a LoRaWAN device.
    LoRaWanCommand(LoRaWanCommand),
    /// A message that came under a topic of a device.
    MqttMessage(MqttMessage),
    /// A message to publish for a device.
    MqttPublish(MqttPublish),
}

/// A frame from a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Uplink {
    /// Who said it.
    pub link: Link,
    /// What it said.
    pub frame: Frame,
    /// When it was received.
    pub received: Now,
    /// Whether it says how things are now.
    pub freshness: Freshness,
    /// The best quality that its values can have.
    pub quality: Quality,
    /// Whoever sent it sends it again until it is told that it was taken; none where a frame comes only once.
    pub receipt: Option<Box<Receipt>>,
    /// How it came through the air; none where it did not.
    pub radio: Option<Box<Radio>>,
}

impl Uplink {
    /// Returns a frame that comes only once, about the present.
    pub fn new(link: Link, frame: Frame, received: Now) -> Self {
        Self {
            link,
            frame,
            received,
            freshness: Freshness::Fresh,
            quality: Quality::Good,
            receipt: None,
            radio: None,
        }
    }
}

/// Whether a frame tells of the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It does: its values are readings.
    Fresh,
    /// It was kept for whoever asks (a retained MQTT message): nobody knows since when it is so. Its values fill what
    /// has none yet, at quality 2, and are owed to nobody.
    Retained,
}

/// Names a frame that its sender repeats until it is acknowledged; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceiptId(pub u64);

/// A frame that its sender repeats until it is acknowledged: [`crate::Output::Settled`] says when it may be, which is
/// when every reading of it is paid or durable, and at once where it owes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its name.
    pub id: ReceiptId,
    /// Until when the acknowledgement is wanted: what is not paid a little before is made durable early. None is in no
    /// hurry.
    pub settle_by: Option<Instant>,
    /// How it is known when it comes again; none where nobody could tell.
    pub repetition: Option<Repetition>,
}

/// Names a downlink until its delivery is known; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DownlinkId(pub u64);

/// A frame for a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Downlink {
    /// Its name.
    pub id: DownlinkId,
    /// Whom to tell.
    pub link: Link,
    /// The resource that it sets: a later one for the same resource takes the place of one that still waits.
    pub path: Path,
    /// What to tell.
    pub frame: Frame,
}

/// What became of a downlink.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// It is out, and the device confirms nothing by itself (`verify = "none"`): the echo was right.
    Sent,
    /// The device has it: it was read back, and this is what was read; none where the device itself has confirmed.
    Confirmed(Option<Frame>),
    /// It is durably queued and goes out when the device listens next; another delivery follows.
    Queued,
    /// The device said no.
    Refused(Refusal),
    /// It went out, and nothing tells whether it was done: no answer in time, or the read-back differs.
    Unconfirmed(String),
    /// It was not sent: the device does not answer; the next attempt is due after so many seconds.
    Unreachable {
        /// Seconds until the device is tried again.
        retry_after_secs: u32,
    },
    /// It was not sent, and is not going to be: the site forbids writes on this link.
    Denied,
    /// It waited too long.
    Expired,
    /// It was not sent: a later write to the same resource took its place while it waited.
    Superseded,
}

/// A device's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of the protocol, for Modbus the exception code.
    pub code: u8,
    /// The code in words.
    pub text: String,
}

/// Whether a device answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reachability {
    /// It answers.
    Reachable,
    /// It has not answered for a while, for the reason given.
    Unreachable(String),
}

/// The four tables of a Modbus unit (Modbus Application Protocol 1.1b3, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Bits that can be written (function codes 01, 05, 15).
    Coils,
    /// Bits that cannot (02).
    DiscreteInputs,
    /// Words that can be written (03, 06, 16).
    HoldingRegisters,
    /// Words that cannot (04).
    InputRegisters,
}

impl Table {
    /// Says whether the table holds single bits.
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }
}

/// Consecutive words or bits of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBlock {
    /// The table.
    pub table: Table,
    /// The wire address of the first one, counted from 0.
    pub address: u16,
    /// What stands there.
    pub content: BlockContent,
}

/// The content of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockContent {
    /// Of coils or discrete inputs.
    Bits(Vec<bool>),
    /// Of holding or input registers.
    Words(Vec<u16>),
}

impl BlockContent {
    /// Returns how many bits or words there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bits(bits) => bits.len(),
            Self::Words(words) => words.len(),
        }
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Names a point within its profile: its place in [`crate::Profile::points`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub u16);

/// Consecutive registers that are read together and often enough: what a poller needs to know of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterPoint {
    /// The point.
    pub id: PointId,
    /// The table it stands in.
    pub table: Table,
    /// The wire address of its first register or bit, counted from 0.
    pub address: u16,
    /// How many registers or bits it takes; they are never split over two frames.
    pub count: u16,
    /// How often it is wanted, in milliseconds; 0 is once, at each connection.
    pub every_ms: u64,
}

/// What a unit allows in one read, and the times it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Words in one read, 1 to 125.
    pub max_registers: u16,
    /// Bits in one read, 1 to 2000.
    pub max_bits: u16,
    /// Words or bits that nobody wants and that may be read along to save a request; none lets the poller choose
    /// from the line speed.
    pub max_gap: Option<u16>,
    /// Addresses that no read may cross: a read ends before such an address.
    pub no_cross: Vec<u16>,
    /// Silence that the unit needs before each request, in milliseconds, beside what the line demands.
    pub min_gap_ms: u64,
    /// How long the unit may take before its answer begins, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_registers: 125,
            max_bits: 2000,
            max_gap: None,
            no_cross: Vec::new(),
            min_gap_ms: 0,
            timeout_ms: 500,
        }
    }
}

/// A write, and how to see whether it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterWrite {
    /// The function code to use.
    pub function: WriteFunction,
    /// The wire address of the first register or coil.
    pub address: u16,
    /// What to write: one for the functions that write one.
    pub content: BlockContent,
    /// What to read back; none trusts the device's echo.
    pub read_back: Option<ReadBack>,
}

/// The function codes that write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFunction {
    /// 05
    SingleCoil,
    /// 06
    SingleRegister,
    /// 15
    MultipleCoils,
    /// 16
    MultipleRegisters,
}

/// A read after a write, and what it must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// The table to read from.
    pub table: Table,
    /// The wire address of the first register or bit to read.
    pub address: u16,
    /// How many to read: some relay boards only give all their coils at once.
    pub count: u16,
    /// Where in what was read `expect` must stand, counted from 0.
    pub at: u16,
    /// What must stand there.
    pub expect: BlockContent,
    /// Milliseconds to wait between the write and the first look.
    pub after_ms: u64,
    /// Milliseconds after the write at which a difference is final.
    pub within_ms: u64,
}
