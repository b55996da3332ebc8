//! Devices whose readings can be told apart: every value is a number that was never given before.
//!
//! They stand on a bus of their own, which answers by itself and at once; so a run of a week costs no serial line.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::{Path, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::field::{BlockContent, PointId, ReadLimits, RegisterBlock, RegisterPoint, Table};
use ucifi_core::profile::{
    Deadband, DecodeError, Decoded, Derivation, EncodeError, Encoded, Identity, Meaning, Point, PointClass,
    Sample,
};
use ucifi_core::{Frame, Link, Profile};

/// The bus of the scripted devices.
pub(super) const BUS: &str = "script";

/// Words of one value: a 64-bit float.
const WORDS: u16 = 4;

/// The classes of the points, in their order.
pub const CLASSES: [PointClass; 4] = [
    PointClass::Alarm,
    PointClass::Billing,
    PointClass::Measurement,
    PointClass::Diagnostic,
];

/// Returns the resource of a point.
pub fn path_of(point: usize) -> Path {
    let instance = u16::try_from(point).expect("a scripted device has a few points");
    Path::resource(3300, instance, 5700)
}

/// A kind of device that gives one point of each class.
#[derive(Debug)]
pub(super) struct ScriptedProfile {
    identity: Identity,
    points: Vec<Point>,
}

impl ScriptedProfile {
    pub(super) fn new() -> Self {
        let point = |(number, class): (usize, &PointClass)| Point {
            name: format!("value_{number}").into(),
            path: path_of(number),
            unit: "".into(),
            class: *class,
            every_ms: 0,
            deadband: Deadband::default(),
            heartbeat_ms: None,
        };
        Self {
            identity: Identity {
                manufacturer: "Example".into(),
                model_number: "S4".into(),
                ..Identity::default()
            },
            points: CLASSES.iter().enumerate().map(point).collect(),
        }
    }
}

impl Profile for ScriptedProfile {
    fn id(&self) -> &str {
        "example.s4"
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn points(&self) -> &[Point] {
        &self.points
    }

    fn constants(&self) -> &[(Path, Value)] {
        &[]
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
            content: BlockContent::Words(words),
            ..
        }) = frame
        else {
            return Err(DecodeError::Foreign {
                profile: self.id().into(),
            });
        };
        let values = (*address / WORDS..).zip(words.chunks_exact(usize::from(WORDS)));
        let sample = |(point, words): (u16, &[u16])| {
            Sample::now(PointId(point), Decoded::Value(Value::Float(float(words))))
        };
        Ok(Meaning::of(values.map(sample).collect()))
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

/// When the scripted devices give what.
#[derive(Debug)]
pub(super) struct Script {
    devices: Vec<Scripted>,
    /// Which device is next, and when.
    due: BTreeSet<(Instant, usize)>,
    /// The number that was given last.
    number: u64,
    randomness: StdRng,
}

#[derive(Debug)]
struct Scripted {
    id: Arc<str>,
    every: Duration,
}

/// What a device gives at once.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) device: Arc<str>,
    pub(super) link: Link,
    pub(super) frame: Frame,
    /// The places and values of the points in the frame.
    pub(super) numbers: Vec<(usize, u64)>,
}

impl Script {
    pub(super) fn new(devices: &[(String, Duration)], seed: u64, start: Instant) -> Self {
        let mut randomness = StdRng::seed_from_u64(seed);
        let first = |(place, (_, every)): (usize, &(String, Duration))| {
            (start + every.mul_f64(randomness.random_range(0.0..=1.0)), place)
        };
        let due = devices.iter().enumerate().map(first).collect();
        let devices = devices.iter().map(|(id, every)| Scripted {
            id: id.as_str().into(),
            every: *every,
        });
        Self {
            devices: devices.collect(),
            due,
            number: 0,
            randomness,
        }
    }

    pub(super) fn silence(&mut self) {
        self.due.clear();
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Returns what a device gives whose time has come: some of its points, of which some may be together in the frame.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Given> {
        let (_, place) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.pop_first();
        let device = &self.devices[place];
        let pause = device.every.mul_f64(self.randomness.random_range(0.5..=1.5));
        self.due
            .insert((now + pause.max(Duration::from_millis(1)), place));
        let first = self.randomness.random_range(0..CLASSES.len());
        let last = self.randomness.random_range(first..CLASSES.len());
        let numbers: Vec<(usize, u64)> = (first..=last).zip(self.number + 1..).collect();
        self.number += numbers.len() as u64;
        Some(Given {
            device: Arc::clone(&device.id),
            link: link(place),
            frame: frame(&numbers),
            numbers,
        })
    }
}

/// Returns how the device of a place is reached.
pub(super) fn link(place: usize) -> Link {
    Link::Modbus {
        bus: BUS.into(),
        unit: u8::try_from(place + 1).expect("a scripted bus has at most 255 devices"),
    }
}

fn frame(numbers: &[(usize, u64)]) -> Frame {
    let first = numbers.first().map_or(0, |(point, _)| *point);
    let first = u16::try_from(first).expect("a scripted device has a few points");
    let words = numbers.iter().flat_map(|(_, number)| {
        let bits = (*number as f64).to_bits();
        [48, 32, 16, 0].map(|shift| (bits >> shift & 0xffff) as u16)
    });
    Frame::ModbusBlock(RegisterBlock {
        table: Table::InputRegisters,
        address: first * WORDS,
        content: BlockContent::Words(words.collect()),
    })
}

fn float(words: &[u16]) -> f64 {
    let bits = words.iter().fold(0, |bits, word| bits << 16 | u64::from(*word));
    f64::from_bits(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_the_numbers_that_were_given() {
        let start = Instant::now();
        let mut script = Script::new(&[("a".to_owned(), Duration::from_secs(1))], 1, start);
        let profile = ScriptedProfile::new();
        let mut last = 0;
        for _ in 0..100 {
            let given = script.poll(script.poll_timeout().unwrap()).unwrap();
            let meaning = profile.decode(&given.frame).unwrap();
            let expected = given.numbers.iter().map(|(point, number)| {
                assert_eq!(*number, last + 1, "no number is given twice");
                last = *number;
                let value = Decoded::Value(Value::Float(*number as f64));
                Sample::now(PointId(*point as u16), value)
            });
            assert_eq!(meaning.samples, expected.collect::<Vec<_>>());
        }
    }
}
