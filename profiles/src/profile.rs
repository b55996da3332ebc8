//! A profile as it was checked: decoding and encoding, nothing of how it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::{Path, Value, ValueType};
use ucifi_core::Profile;
use ucifi_core::field::{
    BlockContent, Frame, PointId, ReadBack, ReadLimits, RegisterBlock, RegisterPoint, RegisterWrite, Table,
    WriteFunction,
};
use ucifi_core::profile::{DecodeError, Derivation, EncodeError, Encoded, Identity, Meaning, Point, Sample};

use crate::document::Diagnostic;
use crate::golden::{self, Test, TestOutcome};
use crate::layout::Layout;
use crate::ratio::Linear;
use crate::register::{self, Encoding, Order};

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
    pub(crate) registers: Vec<RegisterPoint>,
    pub(crate) layouts: Vec<Layout>,
    pub(crate) limits: ReadLimits,
    pub(crate) serial: Option<SerialDefaults>,
    pub(crate) probe: Option<Probe>,
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
        self.serial.as_ref()
    }

    /// Returns the point that recognizes the device.
    pub fn probe(&self) -> Option<&Probe> {
        self.probe.as_ref()
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

    fn decode_block(&self, block: &RegisterBlock) -> Vec<Sample> {
        let points = self.registers.iter().zip(&self.layouts);
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
        Some((&self.registers, &self.limits))
    }

    fn decode(&self, frame: &Frame) -> Result<Meaning, DecodeError> {
        match frame {
            Frame::ModbusBlock(block) if is_consistent(block) => Ok(Meaning::of(self.decode_block(block))),
            Frame::ModbusBlock(_)
            | Frame::ModbusWrite(_)
            | Frame::LoRaWanData(_)
            | Frame::LoRaWanCommand(_)
            | Frame::MqttMessage(_)
            | Frame::MqttPublish(_) => Err(DecodeError::Foreign {
                profile: self.id.clone(),
            }),
        }
    }

    fn encode(&self, path: Path, value: &Value) -> Result<Encoded, EncodeError> {
        let command = self.commands.get(&path).ok_or_else(|| EncodeError::NotMapped {
            profile: self.id.clone(),
            path,
        })?;
        let write = command.write(value).map_err(|reason| EncodeError::Unfit {
            path,
            value: value.to_string(),
            reason,
        })?;
        Ok(Encoded::of(Frame::ModbusWrite(write)))
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

/// How a value for a resource becomes a write.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) value_type: Option<ValueType>,
    pub(crate) function: WriteFunction,
    pub(crate) address: u16,
    pub(crate) content: CommandContent,
    pub(crate) verify: Option<Verify>,
}

/// What a command writes.
#[derive(Clone, Debug)]
pub(crate) enum CommandContent {
    /// One of the values listed, each with what stands for it.
    Choices(Vec<(Value, BlockContent)>),
    /// Always the same, for what is executed.
    Fixed(BlockContent),
    /// A number of the registry's unit within a range.
    Number {
        encoding: Encoding,
        order: Order,
        to_raw: Linear,
        low: f64,
        high: f64,
    },
}

/// Where and when to read back.
#[derive(Clone, Debug)]
pub(crate) struct Verify {
    pub(crate) table: Table,
    pub(crate) address: u16,
    pub(crate) count: u16,
    pub(crate) at: u16,
    /// What stands there for each value, where that is not what was written.
    pub(crate) expect: Vec<(Value, BlockContent)>,
    pub(crate) after_ms: u64,
    pub(crate) within_ms: u64,
}

impl Command {
    fn write(&self, value: &Value) -> Result<RegisterWrite, String> {
        let content = self.content(value)?;
        let read_back = self.verify.as_ref().map(|verify| ReadBack {
            table: verify.table,
            address: verify.address,
            count: verify.count,
            at: verify.at,
            expect: chosen(&verify.expect, value).unwrap_or(&content).clone(),
            after_ms: verify.after_ms,
            within_ms: verify.within_ms,
        });
        Ok(RegisterWrite {
            function: self.function,
            address: self.address,
            content,
            read_back,
        })
    }

    fn content(&self, value: &Value) -> Result<BlockContent, String> {
        match &self.content {
            CommandContent::Fixed(content) => Ok(content.clone()),
            CommandContent::Choices(choices) => {
                self.check_type(value)?;
                let choice = chosen(choices, value);
                choice.cloned().ok_or_else(|| {
                    let known: Vec<String> = choices.iter().map(|(v, _)| v.to_string()).collect();
                    format!("the device takes only {}", known.join(" or "))
                })
            }
            CommandContent::Number {
                encoding,
                order,
                to_raw,
                low,
                high,
            } => {
                self.check_type(value)?;
                let number = value.as_f64().ok_or("it is not a number")?;
                if !(*low..=*high).contains(&number) {
                    return Err(format!("the device takes {low} to {high}"));
                }
                let words = register::encode(*encoding, *order, to_raw.apply(number));
                let words = words.ok_or("it does not fit the register")?;
                Ok(BlockContent::Words(words))
            }
        }
    }

    fn check_type(&self, value: &Value) -> Result<(), String> {
        let is_number =
            |t: ValueType| matches!(t, ValueType::Integer | ValueType::Unsigned | ValueType::Time);
        let given = value.value_type();
        match self.value_type {
            Some(expected) if expected != given && !(is_number(expected) && is_number(given)) => {
                Err(format!("the resource is of type {expected}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn chosen<'c>(choices: &'c [(Value, BlockContent)], value: &Value) -> Option<&'c BlockContent> {
    let same = |choice: &Value| match (choice.as_f64(), value.as_f64()) {
        (Some(a), Some(b)) => a == b,
        (Some(_) | None, _) => choice == value,
    };
    let (_, content) = choices.iter().find(|(choice, _)| same(choice))?;
    Some(content)
}
