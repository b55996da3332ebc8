//! Frames that a profile cannot read go on as they are.

use lwm2m_client::Value;
use lwm2m_client::format::RecordTime;
use lwm2m_client::object::Model;

use crate::field::{DeviceClass, Freshness, LoRaWanData, MqttMessage, Receipt, ReceiptId, TopicId};
use crate::testing::{Got, Node, TestCabinet, Way, broker, lamp, one_server, radio};
use crate::{Event, Frame, Link, Uplink, limits};

const LAMP: u32 = 1;

fn registered(way: Way) -> TestCabinet {
    let mut cabinet = TestCabinet::keeping(one_server(Model::Y2026, vec![lamp("lamp-1", Node::new(way))]));
    cabinet.run_ms(2_000);
    cabinet
}

fn on_port(f_port: u8, payload: &[u8]) -> Frame {
    let payload = payload.to_vec();
    Frame::LoRaWanData(LoRaWanData { f_port, payload })
}

fn refused(cabinet: &TestCabinet) -> usize {
    let is_refused = |event: &&Event| matches!(event, Event::FrameRefused { .. });
    cabinet.events.iter().filter(is_refused).count()
}

/// Takes what the server got of the data bridge, with its time in milliseconds.
fn bridged(cabinet: &mut TestCabinet) -> Vec<(String, Value, i64)> {
    let mut bridged = Vec::new();
    for (_, got) in cabinet.server.got.drain(..) {
        let Got::Send(records) = got else { continue };
        for record in records {
            let path = record.entry.path.to_string();
            if let (true, Some(RecordTime::Absolute(time))) = (path.starts_with("/3414/"), record.time) {
                bridged.push((path, record.entry.value, time.unix_ms()));
            }
        }
    }
    bridged
}

fn hear(cabinet: &mut TestCabinet, link: Link, frame: Frame) -> i64 {
    cabinet.hear(Uplink::new(link, frame, cabinet.now));
    cabinet.now.wall.unwrap().unix_ms()
}

#[test]
fn a_frame_on_an_unknown_port_goes_on_with_its_port_and_its_time() {
    let mut cabinet = registered(Way::Radio(DeviceClass::A));
    cabinet.is_connected = false;
    let mut expected = Vec::new();
    for (f_port, payload) in [(50, [1, 2, 3]), (50, [1, 2, 3]), (51, [4, 5, 6])] {
        let at = hear(&mut cabinet, radio(), on_port(f_port, &payload));
        expected.push(("/3414/0/1".to_owned(), Value::Opaque(payload.to_vec()), at));
        let port = Value::String(format!("LoRaWAN port {f_port}"));
        expected.push(("/3414/0/9".to_owned(), port, at));
        cabinet.run_ms(60_000);
    }
    assert_eq!(refused(&cabinet), 3);
    cabinet.is_connected = true;
    cabinet.run_ms(600_000);
    assert!(cabinet.object_lists(LAMP).concat().contains("</3414/0>"));
    cabinet.server.got.clear();
    assert_eq!(cabinet.read(LAMP, "/3414/0/9").1, "LoRaWAN port 51");
    cabinet.is_connected = false;
    let at = hear(&mut cabinet, radio(), on_port(52, &[7]));
    cabinet.is_connected = true;
    cabinet.run_ms(600_000);
    let port = Value::String("LoRaWAN port 52".to_owned());
    assert_eq!(
        bridged(&mut cabinet),
        [
            ("/3414/0/1".to_owned(), Value::Opaque(vec![7]), at),
            ("/3414/0/9".to_owned(), port, at)
        ]
    );
}

#[test]
fn each_unread_frame_is_owed_and_delivered_in_order() {
    let mut cabinet = registered(Way::Radio(DeviceClass::A));
    hear(&mut cabinet, radio(), on_port(50, &[0]));
    cabinet.run_ms(20_000);
    bridged(&mut cabinet);
    cabinet.is_connected = false;
    let mut times = Vec::new();
    for byte in 1..=100 {
        times.push(hear(&mut cabinet, radio(), on_port(50, &[byte])));
        cabinet.run_ms(1_000);
    }
    cabinet.is_connected = true;
    cabinet.run_ms(600_000);
    let mut got: Vec<(i64, u8)> = bridged(&mut cabinet)
        .into_iter()
        .filter_map(|(_, value, at)| match value {
            Value::Opaque(bytes) => Some((at, bytes[0])),
            Value::String(_)
            | Value::Integer(_)
            | Value::Unsigned(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Time(_)
            | Value::Objlnk(..)
            | Value::Corelnk(_) => None,
        })
        .collect();
    got.sort_unstable();
    assert_eq!(got, times.into_iter().zip(1..=100).collect::<Vec<_>>());
}

#[test]
fn a_message_that_cannot_be_read_goes_on_with_its_topic() {
    let mut cabinet = registered(Way::Broker);
    let message = |payload: &[u8]| {
        Frame::MqttMessage(MqttMessage {
            topic: TopicId(0),
            payload: payload.to_vec(),
        })
    };
    hear(&mut cabinet, broker("lamp-1"), message(b"{}"));
    cabinet.run_ms(1_000);
    assert_eq!(cabinet.read(LAMP, "/3414/0/9").1, "MQTT topic tele/lamp-1/STATE");
    let retained = Uplink {
        freshness: Freshness::Retained,
        receipt: Some(Box::new(Receipt {
            id: ReceiptId(1),
            settle_by: None,
            repetition: None,
        })),
        ..Uplink::new(broker("lamp-1"), message(b"[]"), cabinet.now)
    };
    cabinet.hear(retained);
    assert_eq!(cabinet.receipts(), [1], "what was kept is owed to nobody");
    assert_eq!(refused(&cabinet), 2);
}

#[test]
fn a_frame_that_is_too_long_is_told_and_goes_no_further() {
    let mut cabinet = registered(Way::Radio(DeviceClass::A));
    let payload = vec![1; limits::MAX_BRIDGED_BYTES + 1];
    hear(&mut cabinet, radio(), on_port(50, &payload));
    cabinet.run_ms(20_000);
    assert_eq!((refused(&cabinet), bridged(&mut cabinet).len()), (1, 0));
    hear(&mut cabinet, radio(), on_port(50, &payload[1..]));
    cabinet.run_ms(20_000);
    assert_eq!(bridged(&mut cabinet).len(), 2);
}
