//! Devices whose readings can be told apart: every value is a number that was never given before.
//!
//! Some stand on a bus of their own, which answers by itself and at once; so a run of a week costs no serial line.
//! Others say their numbers by messages to a broker, or through the air.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use lwm2m_client::{Path, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::field::{
    BlockContent, DevEui, DeviceClass, LoRaWanTraits, PointId, Qos, ReadLimits, RegisterBlock, RegisterPoint,
    Subscription, Table, TopicTemplate,
};
use ucifi_core::profile::{
    Deadband, DecodeError, Decoded, Derivation, EncodeError, Encoded, Identity, Meaning, Point, PointClass,
    Sample,
};
use ucifi_core::{Frame, Link, Profile};

use super::orders;

/// The bus of the scripted devices that stand on one.
pub(super) const BUS: &str = "script";

/// The broker of those that say their numbers by messages.
pub(super) const BROKER: &str = "local";

/// How often one that speaks through the air is expected to be heard, in seconds.
const UPLINK_EVERY_SECS: u32 = 900;

/// What every message and uplink begins with, so that garbage says no numbers.
pub(super) const MARK: [u8; 2] = *b"S4";

/// Where the numbers of a device are published.
static TOPICS: LazyLock<[Subscription; 1]> = LazyLock::new(|| {
    [Subscription {
        topic: TopicTemplate::new("script/{device}").expect("the device is named once"),
        qos: Qos::AtLeastOnce,
    }]
});

/// How a scripted device gives its readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// On the bus: each comes once.
    Bus,
    /// By messages of QoS 1: a broker sends each again until it is acknowledged.
    Broker,
    /// Through the air; one that wants an acknowledgement may send again what got none.
    Radio {
        /// Whether it wants one.
        is_confirmed: bool,
    },
}

/// A scripted device as it is planned.
#[derive(Clone, Debug)]
pub(super) struct ScriptedDevice {
    pub(super) id: Arc<str>,
    pub(super) every: Duration,
    pub(super) way: Way,
}

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

/// A kind of device that gives one point of each class, and can be told a number.
#[derive(Debug)]
pub(super) struct ScriptedProfile {
    identity: Identity,
    points: Vec<Point>,
}

impl ScriptedProfile {
    pub(super) fn new() -> Self {
        let point = |name: String, path, class| Point {
            name: name.into(),
            path,
            unit: "".into(),
            class,
            every_ms: 0,
            deadband: Deadband::default(),
            heartbeat_ms: None,
        };
        let numbered = CLASSES.iter().enumerate();
        let values =
            numbered.map(|(number, class)| point(format!("value_{number}"), path_of(number), *class));
        // It is only told, and never says what it was told.
        let set_point = point("set_point".to_owned(), orders::SET_POINT, PointClass::Diagnostic);
        Self {
            identity: Identity {
                manufacturer: "Example".into(),
                model_number: "S4".into(),
                ..Identity::default()
            },
            points: values.chain([set_point]).collect(),
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

    fn topics(&self) -> &[Subscription] {
        &*TOPICS
    }

    fn lorawan(&self) -> Option<LoRaWanTraits> {
        Some(LoRaWanTraits {
            class: DeviceClass::A,
            rx2_data_rate: None,
            uplink_every_secs: UPLINK_EVERY_SECS,
        })
    }

    fn decode(&self, frame: &Frame) -> Result<Meaning, DecodeError> {
        let foreign = || DecodeError::Foreign {
            profile: self.id().into(),
        };
        let sample = |(point, value): (usize, f64)| {
            let point = u16::try_from(point).expect("a scripted device has a few points");
            Sample::now(PointId(point), Decoded::Value(Value::Float(value)))
        };
        if let Frame::ModbusBlock(RegisterBlock {
            address,
            content: BlockContent::Words(words),
            ..
        }) = frame
        {
            let values = words.chunks_exact(usize::from(WORDS)).map(float);
            let numbered = (usize::from(*address / WORDS)..).zip(values);
            return Ok(Meaning::of(numbered.map(sample).collect()));
        }
        let numbers = numbers_in(frame).ok_or_else(foreign)?.into_iter();
        let values = numbers.map(|(point, number)| (point, number as f64));
        Ok(Meaning::of(values.map(sample).collect()))
    }

    fn encode(&self, path: Path, value: &Value) -> Result<Encoded, EncodeError> {
        let number = value.as_f64().filter(|_| self.commands(path));
        let command = number.map(|number| Encoded::of(Frame::LoRaWanCommand(orders::command(number))));
        command.ok_or_else(|| EncodeError::NotMapped {
            profile: self.id().into(),
            path,
        })
    }

    fn commands(&self, path: Path) -> bool {
        path == orders::SET_POINT
    }
}

/// When the scripted devices give what.
#[derive(Debug)]
pub(super) struct Script {
    devices: Vec<ScriptedDevice>,
    /// Which device is next, and when.
    due: BTreeSet<(Instant, usize)>,
    /// The number that was given last.
    number: u64,
    randomness: StdRng,
}

/// The places of points, and their values.
pub(super) type Numbers = Vec<(usize, u64)>;

/// What a device gives at once.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) device: Arc<str>,
    pub(super) place: usize,
    pub(super) way: Way,
    pub(super) numbers: Numbers,
}

impl Script {
    pub(super) fn new(devices: &[ScriptedDevice], seed: u64, start: Instant) -> Self {
        let mut randomness = StdRng::seed_from_u64(seed);
        let first = |(place, device): (usize, &ScriptedDevice)| {
            let pause = device.every.mul_f64(randomness.random_range(0.0..=1.0));
            (start + pause, place)
        };
        let due = devices.iter().enumerate().map(first).collect();
        Self {
            devices: devices.to_vec(),
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
        let numbers: Numbers = (first..=last).zip(self.number + 1..).collect();
        self.number += numbers.len() as u64;
        Some(Given {
            device: Arc::clone(&device.id),
            place,
            way: device.way,
            numbers,
        })
    }

    /// Returns which device gives these numbers, by how it is reached.
    pub(super) fn given_by(&self, link: &Link, numbers: &[(usize, u64)]) -> Option<Given> {
        let mut devices = self.devices.iter().enumerate();
        let (place, device) = devices.find(|(place, device)| device.link(*place) == *link)?;
        Some(Given {
            device: Arc::clone(&device.id),
            place,
            way: device.way,
            numbers: numbers.to_vec(),
        })
    }

    /// Returns the device of a place.
    pub(super) fn device(&self, place: usize) -> &ScriptedDevice {
        &self.devices[place]
    }
}

impl ScriptedDevice {
    /// Returns how the device is reached that stands in a place.
    pub(super) fn link(&self, place: usize) -> Link {
        let number = u8::try_from(place + 1).expect("a script has at most 255 devices");
        match self.way {
            Way::Bus => Link::Modbus {
                bus: BUS.into(),
                unit: number,
            },
            Way::Broker => Link::Mqtt {
                broker: BROKER.into(),
                device: Arc::clone(&self.id),
            },
            Way::Radio { .. } => Link::LoRaWan {
                dev_eui: DevEui(dev_eui(place)),
            },
        }
    }
}

/// Returns the DevEUI of the device of a place.
pub(super) fn dev_eui(place: usize) -> [u8; 8] {
    let number = u8::try_from(place + 1).expect("a script has at most 255 devices");
    [0x70, 0xb3, 0xd5, 0, 0, 0, 0, number]
}

/// Returns the place of a DevEUI.
pub(super) fn place_of(dev_eui: [u8; 8]) -> usize {
    usize::from(dev_eui[7]) - 1
}

/// Returns the topic of a device.
pub(super) fn topic_of(device: &str) -> String {
    TOPICS[0].topic.of(device)
}

/// Returns the payload of a message or an uplink that says these numbers.
pub(super) fn payload(numbers: &[(usize, u64)]) -> Vec<u8> {
    let mut payload = MARK.to_vec();
    let first = numbers.first().map_or(0, |(point, _)| *point);
    payload.push(u8::try_from(first).expect("a scripted device has a few points"));
    payload.extend(numbers.iter().flat_map(|(_, number)| number.to_be_bytes()));
    payload
}

/// Returns what a payload says; none where it says nothing.
pub(super) fn numbers_of(payload: &[u8]) -> Option<Numbers> {
    let (first, numbers) = payload.strip_prefix(&MARK)?.split_first()?;
    let (numbers, rest) = numbers.as_chunks();
    let points = usize::from(*first)..CLASSES.len();
    let fits = rest.is_empty() && (1..=points.len()).contains(&numbers.len());
    let numbers = numbers.iter().map(|number| u64::from_be_bytes(*number));
    fits.then(|| points.zip(numbers).collect())
}

/// Returns what a message or an uplink says; none where it says nothing.
pub(super) fn numbers_in(frame: &Frame) -> Option<Numbers> {
    match frame {
        Frame::MqttMessage(message) => numbers_of(&message.payload),
        Frame::LoRaWanData(data) => numbers_of(&data.payload),
        Frame::ModbusBlock(_) | Frame::ModbusWrite(_) | Frame::LoRaWanCommand(_) | Frame::MqttPublish(_) => {
            None
        }
    }
}

/// Returns the frame on the bus that says these numbers.
pub(super) fn frame(numbers: &[(usize, u64)]) -> Frame {
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
    use ucifi_core::field::LoRaWanData;

    use super::*;

    #[test]
    fn a_frame_of_any_protocol_says_the_numbers_that_were_given() {
        let start = Instant::now();
        let device = ScriptedDevice {
            id: "a".into(),
            every: Duration::from_secs(1),
            way: Way::Bus,
        };
        let mut script = Script::new(&[device], 1, start);
        let profile = ScriptedProfile::new();
        let mut last = 0;
        for _ in 0..100 {
            let given = script.poll(script.poll_timeout().unwrap()).unwrap();
            let expected = given.numbers.iter().map(|(point, number)| {
                assert_eq!(*number, last + 1, "no number is given twice");
                last = *number;
                let value = Decoded::Value(Value::Float(*number as f64));
                Sample::now(PointId(*point as u16), value)
            });
            let expected: Vec<Sample> = expected.collect();
            let data = Frame::LoRaWanData(LoRaWanData {
                f_port: 1,
                payload: payload(&given.numbers),
            });
            for frame in [frame(&given.numbers), data] {
                assert_eq!(profile.decode(&frame).unwrap().samples, expected);
            }
        }
    }

    #[test]
    fn garbage_says_no_numbers() {
        let payload = payload(&[(2, 7), (3, 8)]);
        assert_eq!(numbers_of(&payload), Some(vec![(2, 7), (3, 8)]));
        assert_eq!(numbers_of(&payload[1..]), None);
        assert_eq!(numbers_of(&payload[..payload.len() - 1]), None);
        assert_eq!(numbers_of(&[&payload[..2], &[3], &payload[3..]].concat()), None);
        assert_eq!(numbers_of(b"S4"), None);
    }
}
