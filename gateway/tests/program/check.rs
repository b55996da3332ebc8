//! `check`: a configuration is right, or everything that is wrong with it is said.

use std::fs;

use crate::{code, path_of, program, run, stderr, stdout};

const BROKEN: &str = r#"[gateway]
name = "cab-1"
answer_within = 4000

[[server]]
name = "city"
uri = "coaps://192.0.2.1"

[[bus]]
name = "rs485-1"
port = "/dev/ttyUSB0"
baud = 9800

[[device]]
id = "meter-1"
profile = "estron.sdm630"
bus = "rs485-1"
unit = 248
"#;

#[test]
fn five_mistakes_are_named_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, BROKEN).unwrap();
    let output = run(&["check", "--config", path_of(&file)]);
    assert_eq!(code(&output), 3);
    let said = stderr(&output);
    for place in ["3:1", "7:7", "12:8", "16:11", "18:8"] {
        assert!(
            said.contains(&format!("gateway.toml:{place}: error: ")),
            "{place} in {said}"
        );
    }
    assert!(said.ends_with("5 errors\n"), "{said}");
}

#[test]
fn json_has_the_same_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, BROKEN).unwrap();
    let output = run(&["check", "--json", "--config", path_of(&file)]);
    assert_eq!(code(&output), 3);
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let found = value["diagnostics"].as_array().unwrap();
    assert_eq!((value["valid"].as_bool(), found.len()), (Some(false), 5));
    assert_eq!(
        (found[2]["line"].as_u64(), found[2]["column"].as_u64()),
        (Some(12), Some(8))
    );
}

#[test]
fn devices_of_a_folder_and_the_environment_belong_to_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let site = "[gateway]\nname = \"cab-1\"\n[[server]]\nname = \"city\"\nuri = \"coap://192.0.2.1\"\n\
                [[bus]]\nname = \"b\"\nport = \"/dev/ttyUSB0\"\n";
    fs::write(&file, site).unwrap();
    fs::create_dir(folder.path().join("devices.d")).unwrap();
    let device = "[[device]]\nid = \"relays\"\nprofile = \"waveshare.relay-8ch\"\nbus = \"b\"\nunit = 2\n";
    fs::write(folder.path().join("devices.d/relays.toml"), device).unwrap();
    let output = program(&["check", "--config", path_of(&file)])
        .env("UCIFI__GATEWAY__NAME", "cab-9")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("cab-9-relays"), "{}", stdout(&output));
    // A relay board on a bus where nothing may be written is rarely what is meant.
    assert!(
        stderr(&output).contains("relays on bus b can be commanded"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["check", "--config", path_of(&folder.path().join("none.toml"))]);
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("none.toml:1:1: error: cannot open"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_example_is_valid() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.example.toml");
    let output = run(&["check", "--config", example]);
    assert_eq!(code(&output), 0);
    let said = stdout(&output);
    for words in [
        "the readings of the last 6 s",
        "at most 256 MiB",
        "64 MiB, 30 days",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
}
