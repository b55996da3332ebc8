//! What holds whatever the text, and whatever a device says.

use std::sync::LazyLock;

use lwm2m_client::Value;
use lwm2m_client::object::ObjectTable;
use ucifi_core::Profile;
use ucifi_core::field::{
    BlockContent, Frame, LoRaWanData, MqttMessage, RegisterBlock, Table as RegisterTable, TopicId,
};
use ucifi_core::profile::{Decoded, Sample};

use super::*;
use crate::golden::{Case, Said};
use crate::limits::MAX_SAMPLES;
use crate::{Catalogue, STOCK};

static TABLE: LazyLock<ObjectTable> = LazyLock::new(ObjectTable::builtin);

/// A text with pieces taken out, doubled, or put where they do not belong.
fn mangled(text: &str, edits: &[(usize, usize, usize)]) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut result = String::new();
    for (from, length, to) in edits {
        let from = from % lines.len().max(1);
        let end = (from + length).min(lines.len());
        let piece: Vec<&str> = lines.get(from..end).unwrap_or(&[]).to_vec();
        if to % 3 == 0 {
            lines.drain(from..end);
        }
        let to = to % (lines.len() + 1);
        lines.splice(to..to, piece);
        result = lines.join("\n");
        let cut = (from * 7 + length) % (result.len() + 1);
        if length % 4 == 1 && result.is_char_boundary(cut) && cut < result.len() {
            result.remove(cut);
        }
    }
    result
}

static STOCK_PROFILES: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::stock(&TABLE));

/// The bytes as a payload of either protocol.
fn frames(bytes: &[u8], f_port: u8, topic: u16) -> [Frame; 2] {
    let payload = bytes.to_vec();
    let message = MqttMessage {
        topic: TopicId(topic),
        payload: payload.clone(),
    };
    [
        Frame::LoRaWanData(LoRaWanData { f_port, payload }),
        Frame::MqttMessage(message),
    ]
}

/// Some bytes replaced, and the rest cut off.
fn edited(bytes: &[u8], edits: &[(usize, u8)], length: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, byte) in edits {
        let at = at % bytes.len().max(1);
        if let Some(known) = bytes.get_mut(at) {
            *known = *byte;
        }
    }
    if length.is_multiple_of(3) {
        bytes.truncate(length);
    }
    bytes
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_are_compiled_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let table = ObjectTable::default();
        let _outcome = compile("t.toml", &String::from_utf8_lossy(&bytes), &table);
    }

    #[test]
    fn a_mangled_profile_is_compiled_or_refused(
        which in 0..STOCK.len(),
        edits in proptest::collection::vec((0..200_usize, 0..9_usize, 0..200_usize), 1..4),
        address in 0..400_u16,
        content in proptest::collection::vec(proptest::num::u16::ANY, 0..125),
    ) {
        let (file, text) = STOCK[which];
        if let Ok(profile) = compile(file, &mangled(text, &edits), &TABLE) {
            profile.run_tests();
            let block = RegisterBlock {
                table: RegisterTable::InputRegisters,
                address,
                content: BlockContent::Words(content),
            };
            let decoded = profile.decode(&Frame::ModbusBlock(block));
            proptest::prop_assert_eq!(decoded.is_ok(), profile.register_reads().is_some());
            for path in profile.command_paths() {
                for value in [Value::Integer(100), Value::Float(f64::NAN), Value::String(String::new())] {
                    let _outcome = profile.encode(path, &value);
                }
            }
        }
    }

    #[test]
    fn any_bytes_under_any_port_and_topic_are_decoded_or_refused(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        port in 0..=255_u8,
        topic in 0..8_u16,
    ) {
        for profile in STOCK_PROFILES.profiles() {
            for frame in frames(&bytes, port, topic) {
                let _outcome = profile.decode(&frame);
            }
        }
    }

    #[test]
    fn a_mutated_golden_frame_is_decoded_or_refused(
        edits in proptest::collection::vec((0..300_usize, proptest::num::u8::ANY), 0..6),
        length in 0..300_usize,
    ) {
        for profile in STOCK_PROFILES.profiles() {
            for test in &profile.tests {
                let (Case::Said(Said { frame, .. }) | Case::Foreign(frame)) = &test.case else { continue };
                let mutated = match frame {
                    Frame::LoRaWanData(data) => Frame::LoRaWanData(LoRaWanData {
                        payload: edited(&data.payload, &edits, length),
                        ..*data
                    }),
                    Frame::MqttMessage(message) => Frame::MqttMessage(MqttMessage {
                        payload: edited(&message.payload, &edits, length),
                        ..*message
                    }),
                    Frame::ModbusBlock(_)
                    | Frame::ModbusWrite(_)
                    | Frame::LoRaWanCommand(_)
                    | Frame::MqttPublish(_) => frame.clone(),
                };
                if let Ok(meaning) = profile.decode(&mutated) {
                    proptest::prop_assert!(meaning.samples.len() <= profile.points().len() + MAX_SAMPLES);
                }
            }
        }
    }

    #[test]
    fn what_a_command_writes_is_what_a_point_reads(raw in 0..60_000_u16, scale in 0..4_usize) {
        let scale = ["1", "0.1", "0.001", "2.5"][scale];
        for encoding in ["u16", "u32", "i32", "u64", "i64", "f32", "f64"] {
            for order in ["ABCD", "CDAB", "BADC", "DCBA"] {
                let profile = output(encoding, order, scale);
                let value = f64::from(raw) * scale.parse::<f64>().unwrap();
                let frame = profile.encode(Path::resource(3203, 0, 5650), &Value::Float(value)).unwrap().frame;
                let Frame::ModbusWrite(write) = frame else { unreachable!() };
                let block = RegisterBlock {
                    table: RegisterTable::HoldingRegisters,
                    address: write.address,
                    content: write.content,
                };
                let meaning = profile.decode(&Frame::ModbusBlock(block)).unwrap();
                let [Sample { decoded: Decoded::Value(Value::Float(read)), .. }] = meaning.samples.as_slice() else { unreachable!() };
                let close = (read - value).abs() <= value.abs() * 1e-6;
                proptest::prop_assert!(close, "{} {}: {} became {}", encoding, order, value, read);
            }
        }
    }
}

const HEADER: &str = "schema = 1\nid = \"test.output\"\nversion = \"1.0.0\"\nstatus = \"draft\"\nsource = \"none\"\n\
                      identity = { manufacturer = \"Test\", model = \"Output\" }\nmodbus = { base = 0 }\n";

/// A profile with one analog output, read and written alike.
fn output(encoding: &str, order: &str, scale: &str) -> CompiledProfile {
    let form = format!("at = 7\ntype = \"{encoding}\"\norder = \"{order}\"\nscale = {scale}\n");
    let text = format!(
        "{HEADER}[points.level]\ntable = \"holding\"\npath = \"/3203/0/5650\"\n{form}\
         [[command]]\non_write = \"/3203/0/5650\"\nfunction = \"registers\"\nrange = [0, 1e6]\n{form}\
         verify = {{ within_ms = 100 }}\n"
    );
    compile("t.toml", &text, &TABLE).unwrap()
}
