//! What is said of mistakes in profiles of devices that send by themselves, and what such profiles make of frames.

mod messages;
mod payloads;

use std::sync::LazyLock;

use lwm2m_client::Value;
use ucifi_core::Profile;
use ucifi_core::field::{DeviceClass, Frame, LoRaWanData, MqttMessage, PointId, Qos, TopicId};
use ucifi_core::profile::{Decoded, Meaning};

use super::*;
use crate::limits::{MAX_LORAWAN_PAYLOAD, MAX_MESSAGE_BYTES, MAX_SAMPLES, MAX_SOURCES, MAX_TEXT_BYTES};

static TABLE: LazyLock<ObjectTable> = LazyLock::new(ObjectTable::builtin);

const HEADER: &str = r#"schema = 1
id = "test.device"
version = "1.0.0"
status = "draft"
source = "none"
identity = { manufacturer = "Test", model = "Device" }
"#;

const RADIO: &str = r#"[lorawan]
class = "A"
uplink_every_secs = 600
endian = "little"
[[uplink]]
port = 2
[uplink.points]
voltage = { at = 0, type = "u16", scale = 0.1, unit = "V", path = "/3418/0/1" }
"#;

const BROKER: &str = r#"[mqtt]
[[topic]]
topic = "t/{device}"
[topic.points]
voltage = { json = "v", unit = "V", path = "/3418/0/1" }
"#;

fn diagnostics(text: &str) -> Vec<String> {
    let found = match compile("t.toml", &format!("{HEADER}{text}"), &TABLE) {
        Ok(profile) => profile.warnings().to_vec(),
        Err(errors) => errors,
    };
    found.iter().map(ToString::to_string).collect()
}

/// Checks what is said first where one piece of a profile is another.
fn check(text: &str, piece: &str, other: &str, expected: &str) {
    assert!(text.contains(piece), "{piece:?} is not in the profile");
    let found = diagnostics(&text.replace(piece, other));
    let first = found.first().map(String::as_str).unwrap_or_default();
    assert!(first.starts_with(expected), "{other}: {found:#?}");
}

fn profile(text: &str) -> CompiledProfile {
    compile("t.toml", &format!("{HEADER}{text}"), &TABLE).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn uplink(profile: &CompiledProfile, f_port: u8, payload: &[u8]) -> Option<Meaning> {
    let payload = payload.to_vec();
    profile
        .decode(&Frame::LoRaWanData(LoRaWanData { f_port, payload }))
        .ok()
}

fn message(profile: &CompiledProfile, payload: &str) -> Option<Meaning> {
    let payload = payload.as_bytes().to_vec();
    let topic = TopicId(0);
    profile
        .decode(&Frame::MqttMessage(MqttMessage { topic, payload }))
        .ok()
}

fn values(meaning: Option<Meaning>) -> Vec<(u16, Decoded)> {
    let samples = meaning.map(|meaning| meaning.samples).unwrap_or_default();
    samples
        .into_iter()
        .map(|sample| (sample.point.0, sample.decoded))
        .collect()
}

fn float(number: f64) -> Decoded {
    Decoded::Value(Value::Float(number))
}

fn truth(is_so: bool) -> Decoded {
    Decoded::Value(Value::Boolean(is_so))
}

#[test]
fn what_the_network_server_needs_is_in_the_profile() {
    let radio = profile(&RADIO.replace("\"A\"", "\"C\"\nrx2_data_rate = 3"));
    let traits = radio.lorawan().unwrap();
    assert_eq!(traits.class, DeviceClass::C);
    assert_eq!((traits.rx2_data_rate, traits.uplink_every_secs), (Some(3), 600));
    assert_eq!(radio.points()[0].every_ms, 600_000);
    assert!(radio.register_reads().is_none() && radio.topics().is_empty());
}

#[test]
fn topics_are_subscribed_once_with_the_better_delivery() {
    let text = BROKER.replace("[mqtt]", "[mqtt]\nqos = 0");
    let again = "[[topic]]\ntopic = \"t/{device}\"\nqos = 2\n[topic.points]\ncurrent = { json = \"i\", unit = \"A\", path = \"/3418/0/2\" }\n";
    let broker = profile(&format!("{text}{again}"));
    let [topic] = broker.topics() else { unreachable!() };
    assert_eq!(
        (topic.topic.text().as_str(), topic.qos),
        ("t/{device}", Qos::ExactlyOnce)
    );
    assert_eq!(broker.topic("t/hall"), Some((TopicId(0), "hall")));
    let meaning = message(&broker, "{\"v\": 230, \"i\": 1.5}");
    assert_eq!(values(meaning), [(0, float(230.0)), (1, float(1.5))]);
    assert!(broker.lorawan().is_none() && broker.register_reads().is_none());
}

#[test]
fn mistakes_in_uplinks_are_named() {
    for (piece, other, expected) in [
        (
            "class = \"A\"",
            "class = \"B\"",
            "t.toml:8:9: error: class cannot be \"B\"",
        ),
        (
            "port = 2",
            "port = 0",
            "t.toml:12:8: error: port is 0, which is not between 1 and 223",
        ),
        (
            "endian = \"little\"\n",
            "",
            "t.toml:13:11: error: endian is missing for a number of several bytes",
        ),
        (
            "\"little\"",
            "\"middle\"",
            "t.toml:10:10: error: endian cannot be \"middle\"",
        ),
        (
            "\"u16\"",
            "\"u15\"",
            "t.toml:14:28: error: type cannot be \"u15\"",
        ),
        ("at = 0", "at = -1", "t.toml:14:18: error: at is -1"),
        (
            "scale = 0.1",
            "scael = 0.1",
            "t.toml:14:35: error: unknown key \"scael\"\n  help: did you mean \"scale\"?",
        ),
        (
            "unit = \"V\"",
            "unit = \"W\"",
            "t.toml:14:55: error: \"W\" does not become V",
        ),
        (
            "type = \"u16\"",
            "type = \"i16\", bit = 3",
            "t.toml:14:41: error: only a number without a sign",
        ),
        (
            "type = \"u16\"",
            "type = \"u16\", bits = [5, 16]",
            "t.toml:14:46: error: bits is 16",
        ),
        (
            "at = 0",
            "every_ms = 5, at = 0",
            "t.toml:14:13: error: nobody asks this device",
        ),
        (
            "port = 2",
            "port = 2\n[[uplink]]\nport = 2",
            "t.toml:14:8: error: an uplink above takes all that comes on port 2",
        ),
        (
            "[lorawan]",
            "[mqtt]\n[lorawan]",
            "t.toml:7:1: error: [lorawan] is there already",
        ),
        (
            "[uplink.points]",
            "[points]",
            "t.toml:1:1: error: the profile maps nothing\n  help: write [[uplink]] or [[command]]",
        ),
    ] {
        check(RADIO, piece, other, expected);
    }
}

#[test]
fn mistakes_in_topics_are_named() {
    for (piece, other, expected) in [
        (
            "t/{device}",
            "t/hall",
            "t.toml:9:9: error: a topic has {device} in it exactly once",
        ),
        (
            "t/{device}",
            "t/+/{device}",
            "t.toml:9:9: error: a topic has no wildcard",
        ),
        (
            "json = \"v\"",
            "json = \"$.v\"",
            "t.toml:11:20: error: a JSON path begins with the first key",
        ),
        ("json = \"v\", ", "", "t.toml:11:11: error: json is missing"),
        (
            "topic = ",
            "payload = \"xml\"\ntopic = ",
            "t.toml:9:11: error: payload cannot be \"xml\"",
        ),
        ("topic = ", "qos = 3\ntopic = ", "t.toml:9:7: error: qos is 3"),
        (
            "[mqtt]",
            "mqtt = { qos = 1, port = 1 }",
            "t.toml:7:19: error: unknown key \"port\"",
        ),
    ] {
        check(BROKER, piece, other, expected);
    }
}

#[test]
fn a_point_in_two_places_is_one_point_if_it_fills_one_resource() {
    let again = "[[uplink]]\nport = 3\n[uplink.points]\nvoltage = { at = 1, type = \"u8\", unit = \"V\", path = \"/3418/0/1\" }\n";
    let both = format!("{RADIO}{again}");
    let radio = profile(&both);
    assert_eq!(radio.points().len(), 1);
    assert_eq!(values(uplink(&radio, 2, &[0xFD, 0x08])), [(0, float(230.1))]);
    assert_eq!(values(uplink(&radio, 3, &[0, 231])), [(0, float(231.0))]);
    let other = both.replacen(
        "type = \"u8\", unit = \"V\", path = \"/3418/0/1\"",
        "type = \"u8\", unit = \"A\", path = \"/3418/0/2\"",
        1,
    );
    assert!(diagnostics(&other)[0].contains("the point stands for /3418/0/1 above"));
    let classed = both.replacen("type = \"u8\", ", "type = \"u8\", class = \"alarm\", ", 1);
    assert!(diagnostics(&classed)[0].contains("class stands where the point stands first"));
}

const COMMAND: &str = "[[command]]\non_write = \"/3413/0/3\"\nport = 9\nbytes = [0x01, \"02 03\", { type = \"u16\", endian = \"big\" }]\nscale = 0.5\nunit = \"%\"\nrange = [0, 100]\nverify = \"none\"\nreason = \"a test\"\n";

#[test]
fn a_downlink_has_the_value_where_it_belongs() {
    let text = format!("{RADIO}{COMMAND}");
    let radio = profile(&text);
    let encoded = radio
        .encode(Path::resource(3413, 0, 3), &Value::Integer(51))
        .unwrap();
    let Frame::LoRaWanCommand(command) = encoded.frame else {
        unreachable!()
    };
    assert_eq!(
        (command.f_port, command.payload, command.confirmed),
        (9, vec![1, 2, 3, 0, 102], false)
    );
    assert_eq!(encoded.verify, None);
    for (piece, other, expected) in [
        (
            ", { type = \"u16\", endian = \"big\" }",
            "",
            "t.toml:18:9: error: the value is nowhere in it",
        ),
        (
            "\"02 03\"",
            "\"2 3 4\"",
            "t.toml:18:16: error: bytes are pairs of hex digits",
        ),
        ("0x01", "256", "t.toml:18:10: error: bytes is 256"),
        (
            "verify = \"none\"\nreason = \"a test\"\n",
            "",
            "t.toml:15:1: error: verify is missing",
        ),
        (
            "\"none\"",
            "{ point = \"volts\", within_ms = 5 }",
            "t.toml:22:20: error: no point is called \"volts\"",
        ),
        (
            "\"none\"",
            "{ path = \"/3418/0/2\", within_ms = 5 }",
            "t.toml:22:19: error: nothing gives /3418/0/2 a value",
        ),
        (
            "[0, 100]",
            "[100, 0]",
            "t.toml:21:9: error: range must be [lowest, highest]",
        ),
    ] {
        check(&text, piece, other, expected);
    }
}

#[test]
fn what_is_expected_of_the_device_is_of_the_type_that_it_shows() {
    let verify = "verify = { point = \"voltage\", tolerance = 2, within_ms = 5 }\n";
    let text = format!("{RADIO}{COMMAND}").replace("verify = \"none\"\nreason = \"a test\"\n", verify);
    let encoded = profile(&text)
        .encode(Path::resource(3413, 0, 3), &Value::Integer(51))
        .unwrap();
    let verify = encoded.verify.unwrap();
    assert_eq!(verify.path, Path::resource(3418, 0, 1));
    assert_eq!(
        (verify.expect, verify.tolerance, verify.within_ms),
        (Value::Float(51.0), 2.0, 5)
    );
}

#[test]
fn a_template_repeats_topics_and_uplinks() {
    let broker = "[mqtt]\n[[template]]\nn = [0, 1]\n[[template.topic]]\ntopic = \"t/{device}\"\n[template.topic.points]\n\"on_{n}\" = { json = \"switch:{n}.on\", map = { true = 100, false = 0 }, path = \"/3413/{n}/2\" }\n";
    let broker = profile(broker);
    let meaning = message(
        &broker,
        "{\"switch:0\": {\"on\": true}, \"switch:1\": {\"on\": false}}",
    );
    let integer = |number| Decoded::Value(Value::Integer(number));
    assert_eq!(values(meaning), [(0, integer(100)), (1, integer(0))]);
    let radio = "[lorawan]\nclass = \"A\"\nuplink_every_secs = 60\n[[template]]\nn = [0, 1]\n[[template.uplink]]\nport = 2\nwhen = { at = 0, equals = [7] }\n[template.uplink.points]\n\"on_{n}\" = { at = \"n+1\", type = \"u8\", map = { 0 = 0, 1 = 100 }, path = \"/3413/{n}/2\" }\n";
    assert_eq!(profile(radio).points().len(), 2);
}

#[test]
fn the_bounds_of_what_is_sent_are_reached_and_named() {
    let topics = "[[topic]]\ntopic = \"x/{device}\"\n".repeat(MAX_SOURCES);
    assert!(diagnostics(&format!("{BROKER}{topics}"))[0].ends_with("at most 256 topics"));
    let uplinks: String = (0..MAX_SOURCES)
        .map(|n| format!("[[uplink]]\nport = 9\nwhen = {{ at = 0, equals = {n} }}\n"))
        .collect();
    assert!(diagnostics(&format!("{RADIO}{uplinks}"))[0].ends_with("at most 256 uplinks"));
    let sections = "[[uplink.section]]\nrepeat = 1\n".repeat(MAX_SOURCES + 1);
    assert!(diagnostics(&format!("{RADIO}{sections}"))[0].ends_with("at most 256 of these"));
    let bytes = format!("[\"{}\", {{ type", "00".repeat(MAX_LORAWAN_PAYLOAD));
    check(
        &format!("{RADIO}{COMMAND}"),
        "[0x01, \"02 03\", { type",
        &bytes,
        "t.toml:18:9: error: a payload has at most 242 bytes, not 244",
    );
    let broker = profile(BROKER);
    let long = format!("{{\"v\": 230{}}}", " ".repeat(MAX_MESSAGE_BYTES));
    assert_eq!(message(&broker, &long), None);
    let deep = "[".repeat(10_000);
    assert_eq!(message(&broker, &deep), None);
    let name = "[mqtt]\n[[topic]]\ntopic = \"t/{device}\"\npayload = \"text\"\n[topic.points]\nname = { path = \"/3/0/17\" }\n";
    let text = "n".repeat(MAX_TEXT_BYTES + 1);
    assert!(matches!(
        values(message(&profile(name), &text)).as_slice(),
        [(0, Decoded::Fault(_))]
    ));
}

#[test]
fn the_examples_of_the_readme_compile_and_pass_their_tests() {
    let readme = include_str!("../../../README.md");
    let blocks = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let whole: Vec<&str> = blocks
        .filter(|block| block.contains("[lorawan]") || block.contains("[mqtt]"))
        .collect();
    assert_eq!(whole.len(), 2);
    for text in whole {
        for outcome in profile(text).run_tests() {
            assert!(outcome.passed(), "{}: {:#?}", outcome.name, outcome.differences);
        }
    }
}
