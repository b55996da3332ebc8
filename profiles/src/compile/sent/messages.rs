//! Values in messages, both ways.

use super::*;

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
fn an_empty_message_says_nothing_and_is_no_stranger() {
    assert_eq!(message(&profile(BROKER), ""), Some(Meaning::default()));
    let strange = MqttMessage {
        topic: TopicId(7),
        payload: Vec::new(),
    };
    assert!(profile(BROKER).decode(&Frame::MqttMessage(strange)).is_err());
}
