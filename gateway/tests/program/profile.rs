//! `profile`: profiles are listed, checked, tested, and decode frames.

use std::fs;

use crate::{code, path_of, run, stderr, stdout};

const BROKEN: &str = r#"schema = 1
id = "acme.meter"
version = "1.0.0"
status = "finished"
source = ["the maker's manual"]

[identity]
manufacturer = "Acme"
model = "M1"
device_type = "meter"

[modbus]
base = 0
tabel = "input"
order = "ABDC"

[points]
u = { at = 0, type = "f31", unit = "V", path = "/3421/0/1" }
i = { at = 2, type = "f32", unit = "V", path = "/3421/0/6" }
"#;

#[test]
fn the_mistakes_of_a_profile_are_named_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meter.toml");
    fs::write(&file, BROKEN).unwrap();
    let output = run(&["profile", "check", path_of(&file)]);
    assert_eq!(code(&output), 3);
    let said = stderr(&output);
    for line in [4, 14, 15, 18, 19] {
        assert!(
            said.contains(&format!("meter.toml:{line}:")),
            "line {line} in {said}"
        );
    }
}

#[test]
fn json_has_the_same_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meter.toml");
    fs::write(&file, BROKEN).unwrap();
    let output = run(&["profile", "check", "--json", path_of(&file)]);
    assert_eq!(code(&output), 3);
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(value["valid"], false);
    assert_eq!(value["diagnostics"][0]["line"], 4);
}

#[test]
fn stock_profiles_are_listed_and_pass_their_golden_frames() {
    let listed = run(&["profile", "list", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&stdout(&listed)).unwrap();
    let ids: Vec<&str> = value
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|profile| profile["id"].as_str())
        .collect();
    for id in [
        "eastron.sdm120",
        "nas.ul20xx",
        "axioma.w1",
        "tasmota.plug",
        "zigbee2mqtt.lamp",
    ] {
        assert!(ids.contains(&id), "{ids:?}");
    }
    let tested = run(&["profile", "test"]);
    assert_eq!(code(&tested), 0, "{}", stdout(&tested));
}

#[test]
fn a_captured_exchange_is_decoded() {
    // mbmd, issue 89: L1 active power of an SDM630.
    let output = run(&[
        "profile",
        "decode",
        "eastron.sdm630",
        "01 04 00 0c 00 02 b1 c8",
        "01 04 04 41 fa 17 7c c1 98",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "NAME  PATH           VALUE  UNIT\np_l1  /3421/0/23  31.26147  W\n"
    );
}

#[test]
fn an_exchange_with_a_wrong_checksum_is_refused() {
    let output = run(&[
        "profile",
        "decode",
        "eastron.sdm630",
        "0104000c0002b1c8",
        "01040441fa177cc199",
    ]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("CRC"), "{}", stderr(&output));
    let unknown = run(&["profile", "decode", "eastron.sdm63", "0104000c0002b1c8"]);
    assert_eq!(code(&unknown), 7);
    assert!(
        stderr(&unknown).contains("did you mean eastron.sdm630"),
        "{}",
        stderr(&unknown)
    );
}

#[test]
fn a_payload_of_a_radio_device_is_decoded_with_the_times_in_it() {
    let decode = |more: &[&str]| run(&[&["profile", "decode", "axioma.w1"], more].concat());
    // A public decoder's test of the Qalcosonic W1, with a log of one hour.
    let payload = "0EA0355D 30 29350000 30B6345D E7290000 B800";
    let output = decode(&["--port", "100", payload]);
    assert_eq!(
        stdout(&output),
        "NAME       PATH         VALUE  UNIT  MEASURED\n\
         volume     /3424/0/1   10.727  m3    2019-07-21T19:00:00.000Z\n\
         volume     /3424/0/1   10.911  m3    2019-07-21T20:00:00.000Z\n\
         volume     /3424/0/1   13.609  m3    2019-07-22T11:37:50.000Z\n\
         leak       /3424/0/10    true        2019-07-22T11:37:50.000Z\n\
         back_flow  /3424/0/11   false        2019-07-22T11:37:50.000Z\n"
    );
    let portless = decode(&[payload]);
    assert_eq!(code(&portless), 2);
    assert!(stderr(&portless).contains("--port N"), "{}", stderr(&portless));
    let strange = decode(&["--port", "99", payload]);
    assert_eq!(code(&strange), 1, "{}", stderr(&strange));
}

#[test]
fn a_message_is_decoded_and_so_is_the_word_that_a_device_is_gone() {
    let decode =
        |topic: &str, payload: &str| run(&["profile", "decode", "tasmota.plug", "--topic", topic, payload]);
    let output = decode("stat/hall/RESULT", r#"{"POWER":"ON"}"#);
    assert_eq!(
        stdout(&output),
        "NAME   PATH       VALUE  UNIT\nrelay  /3413/0/2    100  %\n"
    );
    let gone = decode("tele/hall/LWT", "Offline");
    assert_eq!(stdout(&gone), "the device is gone\n");
    let strange = decode("stat/hall/STATUS", "{}");
    assert_eq!(code(&strange), 2);
    assert!(
        stderr(&strange).contains("tele/{device}/STATE"),
        "{}",
        stderr(&strange)
    );
}

#[test]
fn a_profile_shows_what_it_reads_and_takes() {
    let shown = run(&["profile", "show", "nas.ul20xx"]);
    let text = stdout(&shown);
    for piece in ["LoRaWAN", "class C", "/3416/0/3", "takes commands for /3416/0/1"] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
}
