//! Two small kinds of device: a meter that is polled, and a relay that takes commands.

use std::sync::Arc;

use lwm2m_client::{Path, Value};

use crate::field::{
    BlockContent, Frame, PointId, ReadLimits, RegisterBlock, RegisterPoint, RegisterWrite, Table,
    WriteFunction,
};
use crate::profile::{
    Deadband, DecodeError, Decoded, Derivation, EncodeError, Encoded, Identity, Meaning, Point, PointClass,
    Profile, Rule, Sample,
};
use crate::reading::Quality;

/// The word by which the meter says that it has no such value.
pub(crate) const ABSENT: u16 = 0xFFFF;
/// A word that no meter can mean.
pub(crate) const IMPOSSIBLE: u16 = 0xFFFE;

/// Returns a point that is measured every ten seconds.
pub(crate) fn point(name: &str, path: &str) -> Point {
    Point {
        name: Arc::from(name),
        path: path.parse().unwrap(),
        unit: "".into(),
        class: PointClass::Measurement,
        every_ms: 10_000,
        deadband: Deadband::default(),
        heartbeat_ms: None,
    }
}

/// Returns a block of input registers.
pub(crate) fn words(address: u16, words: &[u16]) -> Frame {
    Frame::ModbusBlock(RegisterBlock {
        table: Table::InputRegisters,
        address,
        content: BlockContent::Words(words.to_vec()),
    })
}

/// Returns a block of coils.
pub(crate) fn coils(address: u16, bits: &[bool]) -> Frame {
    Frame::ModbusBlock(RegisterBlock {
        table: Table::Coils,
        address,
        content: BlockContent::Bits(bits.to_vec()),
    })
}

/// Returns the delivery of a relay that was read back.
pub(crate) fn confirmed(address: u16, bit: bool) -> crate::Delivery {
    crate::Delivery::Confirmed(Some(coils(address, &[bit])))
}

/// A meter of six words, each a tenth of the value.
pub(crate) struct Meter {
    identity: Identity,
    points: Vec<Point>,
    constants: Vec<(Path, Value)>,
    derivations: Vec<Derivation>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let energy = |name, path| Point {
            class: PointClass::Billing,
            ..point(name, path)
        };
        let voltage = Point {
            deadband: Deadband::new(1.0).unwrap(),
            heartbeat_ms: Some(60_000),
            ..point("voltage", "/3421/0/1")
        };
        Self {
            identity: Identity {
                manufacturer: "Example".into(),
                model_number: "M6".into(),
                device_type: "meter".into(),
                oui: "0A1B2C".into(),
            },
            points: vec![
                voltage,
                point("current", "/3421/0/6"),
                point("power", "/3421/0/16"),
                point("power-factor", "/3421/0/13"),
                energy("energy", "/3421/0/25"),
                energy("load-energy", "/3418/0/6"),
            ],
            constants: vec![(Path::resource(3421, 0, 54), Value::Float(1.0))],
            derivations: vec![Derivation {
                target: Path::resource(3418, 0, 4),
                rule: Rule::Positive,
                sources: vec![Path::resource(3421, 0, 16)],
                quality: Quality::Derived,
            }],
        }
    }
}

impl Meter {
    /// Returns a meter that derives other values.
    pub(crate) fn deriving(derivations: Vec<Derivation>) -> Self {
        Self {
            derivations,
            ..Self::new()
        }
    }
}

impl Profile for Meter {
    fn id(&self) -> &str {
        "example.m6"
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
        None
    }

    fn decode(&self, frame: &Frame) -> Result<Meaning, DecodeError> {
        let Frame::ModbusBlock(RegisterBlock {
            table: Table::InputRegisters,
            address,
            content: BlockContent::Words(words),
        }) = frame
        else {
            return Err(DecodeError::Foreign {
                profile: self.id().into(),
            });
        };
        let decode = |word: &u16| match *word {
            ABSENT => Decoded::Absent,
            IMPOSSIBLE => Decoded::Fault("beyond the range of the meter".to_owned()),
            word => Decoded::Value(Value::Float(f64::from(word) / 10.0)),
        };
        let samples = (*address..)
            .zip(words)
            .map(|(at, word)| Sample::now(PointId(at), decode(word)));
        let samples = samples.filter(|sample| usize::from(sample.point.0) < self.points.len());
        Ok(Meaning::of(samples.collect()))
    }

    fn encode(&self, path: Path, _value: &Value) -> Result<Encoded, EncodeError> {
        Err(EncodeError::NotMapped {
            profile: self.id().into(),
            path,
        })
    }

    fn commands(&self, _path: Path) -> bool {
        false
    }
}

const COMMANDS: [&str; 4] = ["/3311/0/5850", "/3311/0/5851", "/3200/0/5505", "/3416/0/39"];

/// A relay at coil 0 that can be read, a level at register 10 that cannot, a counter to reset, a colour temperature,
/// and a door contact.
pub(crate) struct Relay {
    identity: Identity,
    points: Vec<Point>,
    constants: Vec<(Path, Value)>,
}

impl Relay {
    pub(crate) fn new() -> Self {
        let door = Point {
            class: PointClass::Alarm,
            ..point("door", "/3200/0/5500")
        };
        Self {
            identity: Identity {
                manufacturer: "Example".into(),
                model_number: "R1".into(),
                ..Identity::default()
            },
            points: vec![point("relay", "/3311/0/5850"), door],
            constants: vec![
                (Path::resource(3416, 0, 1), Value::Integer(0)),
                (Path::resource(3416, 0, 3), Value::Integer(0)),
            ],
        }
    }

    fn write(&self, path: Path, value: &Value) -> Option<(WriteFunction, u16, BlockContent)> {
        let word = |word: u16| BlockContent::Words(vec![word]);
        Some(match (path.to_string().as_str(), value) {
            ("/3311/0/5850", Value::Boolean(on)) => {
                (WriteFunction::SingleCoil, 0, BlockContent::Bits(vec![*on]))
            }
            ("/3311/0/5851", Value::Integer(level)) => (
                WriteFunction::SingleRegister,
                10,
                word(u16::try_from(*level).ok()?),
            ),
            ("/3416/0/39", Value::Integer(kelvin)) => (
                WriteFunction::SingleRegister,
                12,
                word(u16::try_from(*kelvin).ok()?),
            ),
            ("/3200/0/5505", Value::String(_)) => (WriteFunction::SingleRegister, 11, word(1)),
            _ => return None,
        })
    }
}

impl Profile for Relay {
    fn id(&self) -> &str {
        "example.r1"
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
        &[]
    }

    fn register_reads(&self) -> Option<(&[RegisterPoint], &ReadLimits)> {
        None
    }

    fn decode(&self, frame: &Frame) -> Result<Meaning, DecodeError> {
        let Frame::ModbusBlock(RegisterBlock {
            address,
            content: BlockContent::Bits(bits),
            ..
        }) = frame
        else {
            return Err(DecodeError::Foreign {
                profile: self.id().into(),
            });
        };
        let samples = (*address..)
            .zip(bits)
            .map(|(at, bit)| Sample::now(PointId(at), Decoded::Value(Value::Boolean(*bit))));
        Ok(Meaning::of(samples.collect()))
    }

    fn encode(&self, path: Path, value: &Value) -> Result<Encoded, EncodeError> {
        if !self.commands(path) {
            return Err(EncodeError::NotMapped {
                profile: self.id().into(),
                path,
            });
        }
        let (function, address, content) = self.write(path, value).ok_or_else(|| EncodeError::Unfit {
            path,
            value: value.to_string(),
            reason: "no such level".to_owned(),
        })?;
        Ok(Encoded::of(Frame::ModbusWrite(RegisterWrite {
            function,
            address,
            content,
            read_back: None,
        })))
    }

    fn commands(&self, path: Path) -> bool {
        COMMANDS.contains(&path.to_string().as_str())
    }
}
