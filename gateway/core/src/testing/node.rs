//! A lamp that speaks for itself, over the radio or behind a broker: it dates its values where it can, and confirms what it
//! was told by what it says next.

use lwm2m_client::{Path, Timestamp, Value};

use super::profile::point;
use crate::DeviceConfig;
use crate::field::{
    DevEui, DeviceClass, Frame, Link, LoRaWanCommand, LoRaWanData, LoRaWanTraits, MqttMessage, MqttPublish,
    Qos, ReadLimits, RegisterPoint, Subscription, TopicId, TopicTemplate,
};
use crate::profile::{
    Deadband, DecodeError, Decoded, Derivation, EncodeError, Encoded, Identity, Meaning, Point, PointClass,
    Profile, Sample, Verify,
};

/// How long the lamp may take to say that it is as bright as it was told, in milliseconds.
pub(crate) const VERIFY_MS: u64 = 10_000;

/// The DevEUI of the only radio device.
const DEV_EUI: DevEui = DevEui([0x70, 0xB3, 0xD5, 0x67, 0x70, 0xFF, 0x03, 0x1A]);

/// What is to be lit.
const LEVEL: Path = Path::resource(3416, 0, 1);
/// In which color, in hundreds of kelvin: the lamp never says.
const TEMPERATURE: Path = Path::resource(3416, 0, 39);

/// How the lamp is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Radio(DeviceClass),
    Broker,
}

/// A lamp with a dim level, a temperature and a door.
pub(crate) struct Node {
    identity: Identity,
    points: Vec<Point>,
    constants: Vec<(Path, Value)>,
    topics: Vec<Subscription>,
    way: Way,
    verifies: bool,
}

/// One value of a frame: the point, the value, and when it was measured, in seconds since 1970.
pub(crate) type Said = (u8, u8, Option<u32>);

/// Returns the payload that says this.
pub(crate) fn payload(said: &[Said]) -> Vec<u8> {
    let bytes = |(point, value, at): &Said| {
        let mut bytes = vec![*point, *value];
        bytes.extend(at.unwrap_or(0).to_be_bytes());
        bytes
    };
    said.iter().flat_map(bytes).collect()
}

/// Returns the message of a lamp behind a broker.
pub(crate) fn message(said: &[Said]) -> Frame {
    let topic = TopicId(0);
    let payload = payload(said);
    Frame::MqttMessage(MqttMessage { topic, payload })
}

/// Returns what a broker says of whether a lamp is there.
pub(crate) fn presence(is_online: bool) -> Frame {
    let topic = TopicId(1);
    let payload = vec![u8::from(is_online)];
    Frame::MqttMessage(MqttMessage { topic, payload })
}

/// Returns the frame of a lamp on the radio.
pub(crate) fn data(said: &[Said]) -> Frame {
    let f_port = 2;
    let payload = payload(said);
    Frame::LoRaWanData(LoRaWanData { f_port, payload })
}

/// Returns the link of a lamp behind the only broker.
pub(crate) fn broker(device: &str) -> Link {
    let broker = "local".into();
    Link::Mqtt {
        broker,
        device: device.into(),
    }
}

/// Returns the link of the only radio device.
pub(crate) fn radio() -> Link {
    Link::LoRaWan { dev_eui: DEV_EUI }
}

/// Returns the configuration of a lamp.
pub(crate) fn lamp(id: &str, node: Node) -> DeviceConfig {
    let link = match node.way {
        Way::Radio(_) => radio(),
        Way::Broker => broker(id),
    };
    DeviceConfig {
        link,
        ..super::device(id, 1, node)
    }
}

fn subscription(topic: &str) -> Subscription {
    Subscription {
        topic: TopicTemplate::new(topic).unwrap(),
        qos: Qos::AtLeastOnce,
    }
}

impl Node {
    pub(crate) fn new(way: Way) -> Self {
        let constant = |path: &str, value| (path.parse().unwrap(), value);
        let temperature = Point {
            deadband: Deadband::new(3.0).unwrap(),
            ..point("temperature", "/3303/0/5700")
        };
        let door = Point {
            class: PointClass::Alarm,
            ..point("door", "/3200/0/5500")
        };
        let slow = |point: Point| Point {
            every_ms: 600_000,
            ..point
        };
        Self {
            identity: Identity::default(),
            points: vec![slow(point("level", "/3416/0/3")), slow(temperature), slow(door)],
            constants: vec![constant("/3416/0/1", Value::Integer(0))],
            topics: ["tele/{device}/STATE", "tele/{device}/LWT"]
                .map(subscription)
                .into(),
            way,
            verifies: false,
        }
    }

    /// Returns the same with commands that are confirmed by what it says next.
    pub(crate) fn verifying(mut self) -> Self {
        self.verifies = true;
        self
    }

    fn samples(&self, payload: &[u8]) -> Result<Meaning, DecodeError> {
        let entries = payload.chunks_exact(6);
        if !entries.remainder().is_empty() {
            return Err(self.foreign());
        }
        let sample = |entry: &[u8]| {
            let secs = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            Sample {
                point: crate::field::PointId(entry[0].into()),
                decoded: Decoded::Value(match entry[0] {
                    0 => Value::Integer(entry[1].into()),
                    1 => Value::Float(entry[1].into()),
                    _ => Value::Boolean(entry[1] != 0),
                }),
                measured: (secs > 0).then(|| Timestamp::from_unix_ms(i64::from(secs) * 1_000)),
            }
        };
        Ok(Meaning::of(entries.map(sample).collect()))
    }

    fn foreign(&self) -> DecodeError {
        DecodeError::Foreign {
            profile: self.id().into(),
        }
    }
}

impl Profile for Node {
    fn id(&self) -> &str {
        "example.lamp"
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

    fn topics(&self) -> &[Subscription] {
        &self.topics
    }

    fn lorawan(&self) -> Option<LoRaWanTraits> {
        match self.way {
            Way::Broker => None,
            Way::Radio(class) => Some(LoRaWanTraits {
                class,
                rx2_data_rate: None,
                uplink_every_secs: 600,
            }),
        }
    }

    fn decode(&self, frame: &Frame) -> Result<Meaning, DecodeError> {
        match frame {
            Frame::LoRaWanData(LoRaWanData { f_port: 2, payload }) => self.samples(payload),
            Frame::MqttMessage(MqttMessage {
                topic: TopicId(0),
                payload,
            }) => self.samples(payload),
            Frame::MqttMessage(MqttMessage {
                topic: TopicId(1),
                payload,
            }) => Ok(Meaning {
                samples: Vec::new(),
                is_online: payload.first().map(|byte| *byte != 0),
            }),
            Frame::LoRaWanData(_)
            | Frame::MqttMessage(_)
            | Frame::ModbusBlock(_)
            | Frame::ModbusWrite(_)
            | Frame::LoRaWanCommand(_)
            | Frame::MqttPublish(_) => Err(self.foreign()),
        }
    }

    fn encode(&self, path: Path, value: &Value) -> Result<Encoded, EncodeError> {
        let level = value.as_f64().filter(|_| self.commands(path));
        let level = level.map(|level| level as u8);
        let level = level.ok_or_else(|| EncodeError::NotMapped {
            profile: self.id().into(),
            path,
        })?;
        let frame = match self.way {
            Way::Radio(_) => Frame::LoRaWanCommand(LoRaWanCommand {
                f_port: 3,
                payload: vec![level],
                confirmed: false,
            }),
            Way::Broker => Frame::MqttPublish(MqttPublish {
                topic: TopicTemplate::new("{device}/set").unwrap(),
                payload: vec![level],
                qos: Qos::AtLeastOnce,
                retain: false,
            }),
        };
        let is_seen = self.verifies && path == LEVEL;
        let verify = Verify {
            path: Path::resource(3416, 0, 3),
            expect: Value::Integer(level.into()),
            tolerance: 1.0,
            within_ms: VERIFY_MS,
        };
        Ok(Encoded {
            frame,
            verify: is_seen.then_some(verify),
        })
    }

    fn commands(&self, path: Path) -> bool {
        [LEVEL, TEMPERATURE].contains(&path)
    }
}
