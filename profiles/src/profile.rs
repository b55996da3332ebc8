//! A profile as it was checked: decoding and encoding, nothing of how it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::{Path, Value};
use ucifi_core::Profile;
use ucifi_core::field::{
    BlockContent, Frame, LoRaWanData, LoRaWanTraits, PointId, ReadLimits, RegisterBlock, RegisterPoint,
    Subscription, TopicId,
};
use ucifi_core::profile::{DecodeError, Derivation, EncodeError, Encoded, Identity, Meaning, Point, Sample};

use crate::command::Command;
use crate::document::Diagnostic;
use crate::golden::{self, Test, TestOutcome};
use crate::layout::Layout;
use crate::message::Messages;
use crate::payload::Payload;

/// How far a profile was checked against real devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Written from a manual, not tried.
    Draft,
    /// Somebody uses it.
    Community,
    /// Two independent sources or a real capture stand behind it, and its tests show it.
    Verified,
}

impl Status {
    /// Returns the word used in profiles.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Community => "community",
            Self::Verified => "verified",
        }
    }
}

/// How the device's serial line is set when it leaves the factory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialDefaults {
    /// Bits per second.
    pub baud: u32,
    /// Data bits, parity and stop bits, as in `8N1`.
    pub format: String,
}

/// A point that shows whether a device is of this kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The point to read.
    pub point: PointId,
    /// The lowest value, in the registry's unit, that such a device shows.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// What speaks to the device, and what that needs to know.
#[derive(Clone, Debug)]
pub(crate) enum Medium {
    Modbus(Registers),
    LoRaWan(Uplinks),
    Mqtt(Messages),
}

/// Of a Modbus device: its registers, and how they are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registers {
    /// In the order of the points.
    pub(crate) points: Vec<RegisterPoint>,
    pub(crate) layouts: Vec<Layout>,
    pub(crate) limits: ReadLimits,
    pub(crate) serial: Option<SerialDefaults>,
    pub(crate) probe: Option<Probe>,
}

/// Of a LoRaWAN device: what it sends, and what the network server has to know.
#[derive(Clone, Debug)]
pub(crate) struct Uplinks {
    pub(crate) traits: LoRaWanTraits,
    /// What it sends on which port; of several on one port the first that fits counts.
    pub(crate) payloads: Vec<(u8, Payload)>,
}

impl Uplinks {
    /// Returns the kind of payload that this is.
    pub(crate) fn payload_of(&self, data: &LoRaWanData) -> Option<&Payload> {
        let of_port = self.payloads.iter().filter(|(port, _)| *port == data.f_port);
        let (_, payload) = of_port
            .into_iter()
            .find(|(_, payload)| payload.is(&data.payload))?;
        Some(payload)
    }

    fn decode(&self, data: &LoRaWanData) -> Option<Meaning> {
        let payload = self.payload_of(data)?;
        let samples = payload.decode(&data.payload);
        // What should say something and does not is of a kind that the profile does not know.
        (!samples.is_empty() || !payload.says_something()).then(|| Meaning::of(samples))
    }
}

impl Registers {
    fn decode(&self, block: &RegisterBlock) -> Vec<Sample> {
        let points = self.points.iter().zip(&self.layouts);
        points
            .filter(|(register, _)| register.table == block.table)
            .filter_map(|(register, layout)| {
                let start = usize::from(register.address.checked_sub(block.address)?);
                let end = start + usize::from(register.count);
                let decoded = match &block.content {
                    BlockContent::Bits(bits) => layout.decode_bits(bits.get(start..end)?),
                    BlockContent::Words(words) => layout.decode_words(words.get(start..end)?),
                };
                Some(Sample::now(register.id, decoded?))
            })
            .collect()
    }
}

/// A profile without a mistake, ready for use.
#[derive(Clone, Debug)]
pub struct CompiledProfile {
    pub(crate) id: Arc<str>,
    pub(crate) aliases: Vec<Arc<str>>,
    pub(crate) version: String,
    pub(crate) status: Status,
    pub(crate) sources: Vec<String>,
    pub(crate) identity: Identity,
    pub(crate) points: Vec<Point>,
    pub(crate) medium: Medium,
    pub(crate) constants: Vec<(Path, Value)>,
    pub(crate) derivations: Vec<Derivation>,
    pub(crate) commands: BTreeMap<Path, Command>,
    pub(crate) tests: Vec<Test>,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl CompiledProfile {
    /// Returns other ids under which the profile is found: former ones, and those of the same device under other brands.
    pub fn aliases(&self) -> &[Arc<str>] {
        &self.aliases
    }

    /// Returns the version of the profile.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns how far it was checked.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns where its facts are from.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Returns the factory setting of the serial line.
    pub fn serial(&self) -> Option<&SerialDefaults> {
        self.registers()?.serial.as_ref()
    }

    /// Returns the point that recognizes the device.
    pub fn probe(&self) -> Option<&Probe> {
        self.registers()?.probe.as_ref()
    }

    /// Returns the resources that have a command, in order.
    pub fn command_paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.commands.keys().copied()
    }

    /// Returns what is usable but should be looked at.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Runs the golden frames of the profile.
    pub fn run_tests(&self) -> Vec<TestOutcome> {
        self.tests.iter().map(|test| golden::run(self, test)).collect()
    }

    /// Returns the point of a name.
    pub fn point(&self, name: &str) -> Option<&Point> {
        self.points.iter().find(|point| &*point.name == name)
    }

    /// Returns what a topic of a message is in this profile, and the device that it names.
    pub fn topic<'t>(&self, topic: &'t str) -> Option<(TopicId, &'t str)> {
        let topics = self.topics().iter().enumerate();
        let mut fitting = topics.filter_map(|(index, known)| Some((index, known.topic.device(topic)?)));
        let (index, device) = fitting.next()?;
        Some((TopicId(u16::try_from(index).ok()?), device))
    }

    fn registers(&self) -> Option<&Registers> {
        match &self.medium {
            Medium::Modbus(registers) => Some(registers),
            Medium::LoRaWan(_) | Medium::Mqtt(_) => None,
        }
    }

    fn meaning(&self, frame: &Frame) -> Option<Meaning> {
        match (&self.medium, frame) {
            (Medium::Modbus(registers), Frame::ModbusBlock(block)) => {
                is_consistent(block).then(|| Meaning::of(registers.decode(block)))
            }
            (Medium::LoRaWan(uplinks), Frame::LoRaWanData(data)) => uplinks.decode(data),
            (Medium::Mqtt(messages), Frame::MqttMessage(message)) => messages.decode(message),
            (Medium::Modbus(_) | Medium::LoRaWan(_) | Medium::Mqtt(_), _) => None,
        }
    }
}

impl Profile for CompiledProfile {
    fn id(&self) -> &str {
        &self.id
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn points(&self) -> &[Point] {
        &self.points
    }

    fn constants(&self) -> &[(Path, Value)] {
        &self.constants
    }

    fn derivations(&self) -> &[Derivation] {
        &self.derivations
    }

    fn register_reads(&self) -> Option<(&[RegisterPoint], &ReadLimits)> {
        let registers = self.registers()?;
        Some((&registers.points, &registers.limits))
    }

    fn topics(&self) -> &[Subscription] {
        match &self.medium {
            Medium::Mqtt(messages) => &messages.topics,
            Medium::Modbus(_) | Medium::LoRaWan(_) => &[],
        }
    }

    fn lorawan(&self) -> Option<LoRaWanTraits> {
        match &self.medium {
            Medium::LoRaWan(uplinks) => Some(uplinks.traits),
            Medium::Modbus(_) | Medium::Mqtt(_) => None,
        }
    }

    fn decode(&self, frame: &Frame) -> Result<Meaning, DecodeError> {
        self.meaning(frame).ok_or_else(|| DecodeError::Foreign {
            profile: self.id.clone(),
        })
    }

    fn encode(&self, path: Path, value: &Value) -> Result<Encoded, EncodeError> {
        let command = self.commands.get(&path).ok_or_else(|| EncodeError::NotMapped {
            profile: self.id.clone(),
            path,
        })?;
        command.encode(value).map_err(|reason| EncodeError::Unfit {
            path,
            value: value.to_string(),
            reason,
        })
    }

    fn commands(&self, path: Path) -> bool {
        self.commands.contains_key(&path)
    }
}

fn is_consistent(block: &RegisterBlock) -> bool {
    match block.content {
        BlockContent::Bits(_) => block.table.is_bits(),
        BlockContent::Words(_) => !block.table.is_bits(),
    }
}
