//! What devices send by themselves: LoRaWAN payloads and MQTT messages, to every stock profile.
//!
//! The first byte is the port of the payload and the number of the topic; the rest is what was sent.

use std::sync::OnceLock;

use ucifi_core::Profile;
use ucifi_core::field::{Frame, LoRaWanData, MqttMessage, TopicId};
use ucifi_profiles::Catalogue;
use ucifi_profiles::limits::MAX_SAMPLES;

use super::table;

fn profiles() -> &'static Catalogue {
    static PROFILES: OnceLock<Catalogue> = OnceLock::new();
    PROFILES.get_or_init(|| Catalogue::stock(table()))
}

pub(super) fn sent(bytes: &[u8]) {
    let Some((f_port, payload)) = bytes.split_first() else {
        return;
    };
    let data = Frame::LoRaWanData(LoRaWanData {
        f_port: *f_port,
        payload: payload.to_vec(),
    });
    let message = Frame::MqttMessage(MqttMessage {
        topic: TopicId((*f_port).into()),
        payload: payload.to_vec(),
    });
    for profile in profiles().profiles() {
        for frame in [&data, &message] {
            if let Ok(meaning) = profile.decode(frame) {
                let points = profile.points().len();
                assert!(meaning.samples.len() <= MAX_SAMPLES + points, "{}", profile.id());
                let is_known = |index: u16| usize::from(index) < points;
                assert!(meaning.samples.iter().all(|sample| is_known(sample.point.0)));
            }
        }
    }
}

pub(super) fn sent_seeds() -> Vec<Vec<u8>> {
    // Compiled here, so that the first input does not pay for it.
    profiles();
    let status = [
        0x17, 0x01, 0xF3, 0x7F, 0x20, 0x5E, 0x82, 0x44, 0x32, 0x09, 0x16, 0x20, 0x07, 0x01, 0xD2, 0x02, 0x94,
        0x55, 0x04, 0x01, 0xFE, 0x50, 0x19, 0x00, 0x12, 0x50, 0x19, 0x00,
    ];
    let distance = [
        0x55, 0x01, 0x75, 0x5C, 0x03, 0x67, 0x01, 0x01, 0x04, 0x82, 0x44, 0x08,
    ];
    let volume = [
        0x64, 0x0E, 0xA0, 0x35, 0x5D, 0x30, 0x29, 0x35, 0x00, 0x00, 0x30, 0xB6, 0x34, 0x5D, 0xE7, 0x29, 0x00,
        0x00, 0xB8, 0x00, 0xB9, 0x00,
    ];
    let message = br#"{"state":"ON","brightness":215,"ENERGY":{"Power":5,"Total":3.705}}"#;
    let messages = (0..4_u8).map(|topic| [&[topic][..], message].concat());
    messages
        .chain([status.to_vec(), distance.to_vec(), volume.to_vec()])
        .collect()
}
