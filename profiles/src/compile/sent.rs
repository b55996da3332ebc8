//! What is said of mistakes in profiles of devices that send by themselves, and what such profiles make of frames.

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

const SECTIONS: &str = r#"[lorawan]
class = "A"
uplink_every_secs = 600
endian = "big"
[[uplink]]
port = 2
[[uplink.section]]
at = 1
length_at = 0
tag_bytes = 1
[[uplink.section.entry]]
tag = 1
bytes = 2
[uplink.section.entry.points]
voltage = { at = 0, type = "u16", unit = "V", path = "/3418/0/1" }
[[uplink.section]]
repeat = 2
mask_at = 1
optional = [1, 2]
[uplink.section.points]
power = { field = 1, type = "u16", unit = "W", path = "/3418/0/4" }
high = { at = 0, bit = 7, path = "/3418/0/15" }
"#;

#[test]
fn sections_follow_each_other_and_end_where_the_bytes_do() {
    let radio = profile(SECTIONS);
    let (voltage, power, high) = (0, 1, 2);
    for (payload, expected) in [
        // A tagged value; a group without further bytes; a group with both of them.
        (
            &[3, 1, 0, 230, 0x00, 0, 0x80, 3, 9, 0, 42][..],
            vec![(voltage, float(230.0)), (high, truth(true)), (power, float(42.0))],
        ),
        // An unknown tag ends the list, not the payload; the first power counts.
        (
            &[2, 7, 7, 0, 2, 0, 1, 0, 2, 0, 2],
            vec![(high, truth(false)), (power, float(1.0))],
        ),
        // The second number of the group is not wholly there.
        (&[0, 0x80, 2, 0], vec![(high, truth(true))]),
        // A length beyond the end.
        (&[200, 1, 0, 230], vec![(voltage, float(230.0))]),
        (&[], vec![]),
    ] {
        assert_eq!(values(uplink(&radio, 2, payload)), expected, "{payload:?}");
    }
    assert_eq!(uplink(&radio, 2, &[2, 7, 7]), None, "nothing that it knows");
}

#[test]
fn mistakes_in_sections_are_named() {
    for (piece, other, expected) in [
        (
            "tag_bytes = 1",
            "",
            "t.toml:13:1: error: a section needs to know what stands in it",
        ),
        (
            "bytes = 2",
            "bytes = 1",
            "t.toml:21:18: error: the number ends behind byte 2, but there are only 1",
        ),
        (
            "tag = 1",
            "tag = \"01 02\"",
            "t.toml:18:7: error: a tag has 1 bytes here",
        ),
        (
            "field = 1",
            "field = 2",
            "t.toml:27:19: error: field is 2, which is not between 0 and 1",
        ),
        (
            "field = 1",
            "field = 0",
            "t.toml:27:19: error: the number ends behind byte 2, but there are only 1",
        ),
        ("mask_at = 1", "mask_at = 2", "t.toml:24:11: error: mask_at is 2"),
        ("repeat = 2", "repeat = 0", "t.toml:23:10: error: repeat is 0"),
    ] {
        check(SECTIONS, piece, other, expected);
    }
}

#[test]
fn former_values_come_oldest_first_and_only_with_a_time() {
    let history = "[[uplink.history]]\npoint = \"voltage\"\ntime = { at = 6, type = \"unix_u32\" }\nbase = { at = 10, type = \"u8\" }\ndeltas = { at = 11, type = \"i8\", count = 9, every_secs = 60 }\n";
    let time = "port = 2\ntime = { at = 2, type = \"unix_u32\" }";
    let radio = profile(&format!("{}{history}", RADIO.replace("port = 2", time)));
    let mut payload = vec![0xFD, 0x08];
    payload.extend(1_700_000_600_u32.to_le_bytes());
    payload.extend(1_700_000_000_u32.to_le_bytes());
    payload.extend([100, 10, 0xFB]);
    let samples = uplink(&radio, 2, &payload).unwrap().samples;
    let read: Vec<(i64, Decoded)> = samples
        .iter()
        .map(|sample| (sample.measured.unwrap().unix_secs(), sample.decoded.clone()))
        .collect();
    assert_eq!(
        read,
        [
            (1_700_000_000, float(10.0)),
            (1_700_000_060, float(11.0)),
            (1_700_000_120, float(10.5)),
            (1_700_000_600, float(230.1)),
        ]
    );
    assert!(samples.iter().all(|sample| sample.point == PointId(0)));
    payload[6..10].fill(0);
    assert_eq!(uplink(&radio, 2, &payload).unwrap().samples.len(), 1);
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

fn publish(command: &str, value: Value) -> String {
    let text = format!(
        "{BROKER}[[command]]\non_write = \"/3413/0/3\"\ntopic = \"s/{{device}}\"\nverify = \"none\"\nreason = \"a test\"\n{command}"
    );
    let encoded = profile(&text).encode(Path::resource(3413, 0, 3), &value);
    match encoded.map(|encoded| encoded.frame) {
        Ok(Frame::MqttPublish(publish)) => String::from_utf8(publish.payload).unwrap(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_message_has_the_value_with_its_type() {
    let words = "values = { 0 = false, 100 = \"o\\\"n\" }\n";
    for (payload, expected) in [
        ("payload = \"{value}\"\n", "o\"n"),
        ("payload = \"set {value}!\"\n", "set o\"n!"),
        (
            "payload = { a = [1, { b = \"{value}\" }], c = 1.5 }\n",
            "{\"a\":[1,{\"b\":\"o\\\"n\"}],\"c\":1.5}",
        ),
    ] {
        let command = format!("{payload}{words}");
        assert_eq!(publish(&command, Value::Integer(100)), expected);
    }
    let payload = "payload = { on = \"{value}\" }\n";
    assert_eq!(
        publish(&format!("{payload}{words}"), Value::Integer(0)),
        "{\"on\":false}"
    );
    let number = format!("{payload}unit = \"%\"\nscale = 0.4\nrange = [0, 100]\n");
    assert_eq!(publish(&number, Value::Integer(51)), "{\"on\":127.5}");
    let whole = format!("{number}whole = true\n");
    assert_eq!(publish(&whole, Value::Integer(51)), "{\"on\":128}");
    assert!(publish(&whole, Value::Integer(101)).contains("the device takes 0 to 100"));
}

#[test]
fn values_of_another_type_than_asked_for_are_faults() {
    let points = [
        (
            "on = { json = \"on\", path = \"/3418/0/9\" }",
            "{\"on\": \"yes\"}",
        ),
        (
            "on = { json = \"on\", map = { ON = true }, path = \"/3418/0/9\" }",
            "{\"on\": \"OFF\"}",
        ),
        (
            "u = { json = \"on\", unit = \"V\", path = \"/3418/0/1\" }",
            "{\"on\": \"230\"}",
        ),
        (
            "u = { json = \"on\", unit = \"V\", path = \"/3418/0/1\" }",
            "{\"on\": [230]}",
        ),
        (
            "u = { json = \"on\", unit = \"V\", from_text = true, path = \"/3418/0/1\" }",
            "{\"on\": \"230 V\"}",
        ),
    ];
    for (point, payload) in points {
        let broker = profile(&format!(
            "[mqtt]\n[[topic]]\ntopic = \"t/{{device}}\"\n[topic.points]\n{point}\n"
        ));
        let read = values(message(&broker, payload));
        assert!(
            matches!(read.as_slice(), [(0, Decoded::Fault(_))]),
            "{point} {payload} {read:?}"
        );
    }
}

#[test]
fn one_text_is_one_value_and_bytes_are_as_in_an_uplink() {
    let topic = "[mqtt]\n[[topic]]\ntopic = \"t/{device}\"\n";
    let text = profile(&format!(
        "{topic}payload = \"text\"\n[topic.points]\nu = {{ unit = \"mV\", path = \"/3418/0/1\" }}\n"
    ));
    assert_eq!(values(message(&text, " 230100\n")), [(0, float(230.1))]);
    let alarm = profile(&format!(
        "{topic}payload = \"text\"\n[topic.points]\nu = {{ above = 5, path = \"/3418/0/9\" }}\n"
    ));
    assert_eq!(values(message(&alarm, "5")), [(0, truth(true))]);
    assert_eq!(values(message(&alarm, "4.9")), [(0, truth(false))]);
    let bytes = profile(&format!(
        "{topic}payload = \"bytes\"\n[topic.points]\nu = {{ at = 1, type = \"u8\", unit = \"V\", path = \"/3418/0/1\" }}\n"
    ));
    assert_eq!(values(message(&bytes, "AZ")), [(0, float(90.0))]);
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
fn former_values_beyond_the_bound_are_not_read() {
    let history = "[[uplink.history]]\npoint = \"voltage\"\ntime = { at = 2, type = \"unix_u32\" }\nbase = { at = 6, type = \"u8\" }\ndeltas = { at = 7, type = \"u8\", count = 235, every_secs = 60 }\n";
    let radio = profile(&format!("{RADIO}{}", history.repeat(5)));
    let mut payload = vec![0xFD, 0x08];
    payload.extend(1_700_000_000_u32.to_le_bytes());
    payload.resize(MAX_LORAWAN_PAYLOAD, 1);
    let samples = uplink(&radio, 2, &payload).unwrap().samples;
    assert_eq!(samples.len(), MAX_SAMPLES + 1);
}

#[test]
fn the_examples_of_the_readme_compile_and_pass_their_tests() {
    let readme = include_str!("../../README.md");
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
