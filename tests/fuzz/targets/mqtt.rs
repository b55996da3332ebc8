//! A broker that sends anything at all: topics and payloads for the client, packets for rumqttc.

use std::time::Instant;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use ucifi_adapters::mqtt::{Action, BrokerConfig, Client, DeviceConfig, Event, Message, Writes, limits};
use ucifi_core::Now;
use ucifi_core::field::{Qos, Subscription, TopicTemplate};

const TEMPLATES: [&str; 3] = ["tele/{device}/SENSOR", "zigbee2mqtt/{device}", "{device}"];

fn client(now: Instant) -> Client {
    let templates = TEMPLATES.map(|text| TopicTemplate::new(text).expect("a template"));
    let device = |name: &str| DeviceConfig {
        device: name.into(),
        topics: templates
            .iter()
            .map(|topic| Subscription {
                topic: topic.clone(),
                qos: Qos::AtLeastOnce,
            })
            .collect(),
    };
    let config = BrokerConfig {
        name: "local".into(),
        place: 1,
        receive_window: 4,
        writes: Writes::Deny,
        devices: vec![device("plug"), device("hall/lamp")],
        discovery: templates.to_vec(),
    };
    Client::new(config, 1, now).expect("two devices with topics of their own")
}

/// Messages, each a byte of flags, the length of its topic, the topic and the payload, each length a byte.
pub(super) fn messages(bytes: &[u8]) {
    let now = Now {
        instant: Instant::now(),
        wall: None,
    };
    let mut client = client(now.instant);
    client.handle_connected(true, now.instant);
    let (mut rest, mut due) = (bytes, 0);
    for packet_id in 1.. {
        let Some((message, behind)) = message(rest, packet_id) else {
            break;
        };
        rest = behind;
        due += usize::from(message.qos != Qos::AtMostOnce);
        client.handle_message(message, now);
    }
    let receipts: Vec<_> = std::iter::from_fn(|| client.poll_event())
        .filter_map(|event| match event {
            Event::Uplink(uplink) => uplink.receipt,
            Event::Delivery { .. }
            | Event::Reachability { .. }
            | Event::SubscriptionRefused { .. }
            | Event::Unknown { .. } => None,
        })
        .collect();
    for receipt in receipts {
        client.handle_settled(receipt.id, now.instant);
    }
    assert!(client.unknown_devices().count() <= limits::UNKNOWN);
    let acknowledged = std::iter::from_fn(|| client.poll_action())
        .filter(|action| matches!(action, Action::Acknowledge { .. }))
        .count();
    assert_eq!(acknowledged, due, "everything is acknowledged once it is settled");
}

fn message(bytes: &[u8], packet_id: u16) -> Option<(Message, &[u8])> {
    let (flags, rest) = bytes.split_first()?;
    let (topic, rest) = part(rest)?;
    let (payload, rest) = part(rest)?;
    let message = Message {
        topic: String::from_utf8_lossy(topic).into_owned(),
        payload: payload.to_vec(),
        qos: match flags & 3 {
            0 => Qos::AtMostOnce,
            1 | 2 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        },
        retain: flags & 4 != 0,
        dup: flags & 8 != 0,
        packet_id,
    };
    Some((message, rest))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

pub(super) fn message_seeds() -> Vec<Vec<u8>> {
    let one = |flags: u8, topic: &str, payload: &str| {
        let mut bytes = vec![flags, topic.len() as u8];
        bytes.extend(topic.as_bytes());
        bytes.push(payload.len() as u8);
        bytes.extend(payload.as_bytes());
        bytes
    };
    let sensor = one(1, "tele/plug/SENSOR", r#"{"ENERGY":{"Power":12}}"#);
    let lamp = one(5, "zigbee2mqtt/hall/lamp", r#"{"state":"ON"}"#);
    let unknown = one(0, "tele/new/SENSOR", "{}");
    let all = [sensor.as_slice(), &lamp, &unknown, &sensor].concat();
    vec![sensor, lamp, unknown, all]
}

pub(super) fn packets_3(bytes: &[u8]) {
    let mut stream = BytesMut::from(bytes);
    while v4::Packet::read(&mut stream, limits::PACKET_BYTES).is_ok() {}
}

pub(super) fn packets_5(bytes: &[u8]) {
    let mut stream = BytesMut::from(bytes);
    let most = u32::try_from(limits::PACKET_BYTES).ok();
    while v5::Packet::read(&mut stream, most).is_ok() {}
}

/// What a broker sends: CONNACK, SUBACK, PUBLISH of each QoS, PUBACK, PINGRESP.
pub(super) fn packet_3_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x20, 2, 1, 0],
        vec![0x90, 4, 0, 1, 1, 0x80],
        b"\x30\x06\x00\x03a/bON"[..8].to_vec(),
        b"\x33\x09\x00\x03a/b\x00\x07ON".to_vec(),
        b"\x3d\x09\x00\x03a/b\x00\x07ON".to_vec(),
        vec![0x40, 2, 0, 7],
        vec![0x62, 2, 0, 7],
        vec![0xd0, 0],
    ]
}

pub(super) fn packet_5_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x20, 9, 1, 0, 6, 0x21, 0, 20, 0x22, 0, 10],
        vec![0x90, 5, 0, 1, 0, 1, 0x87],
        b"\x33\x0a\x00\x03a/b\x00\x07\x00ON".to_vec(),
        b"\x33\x0d\x00\x03a/b\x00\x07\x03\x23\x00\x01ON".to_vec(),
        vec![0x40, 2, 0, 7],
        vec![0x40, 4, 0, 7, 0x87, 0],
        vec![0xe0, 2, 0x8e, 0],
        vec![0xd0, 0],
    ]
}
