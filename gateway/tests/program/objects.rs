//! `objects`: the registry for people, programs and model folders.

use std::fs;

use crate::{code, path_of, run, stdout};

#[test]
fn an_object_is_shown_as_json() {
    let output = run(&["objects", "show", "3413", "--version", "1.0", "--json"]);
    assert_eq!(code(&output), 0);
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (value["id"].as_u64(), value["version"].as_str()),
        (Some(3413), Some("1.0"))
    );
    assert_eq!(value["multiple"].as_bool(), Some(true));
    let command = value["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["id"] == 3)
        .unwrap();
    let expected = serde_json::json!({
        "id": 3,
        "name": "Command",
        "operations": "RW",
        "multiple": false,
        "mandatory": false,
        "type": "Integer",
        "range": "0..100",
        "unit": "/100",
    });
    assert_eq!(*command, expected);
}

#[test]
fn what_is_not_in_the_registry_is_not_found() {
    assert_eq!(code(&run(&["objects", "show", "1"])), 0);
    assert_eq!(code(&run(&["objects", "show", "59999"])), 7);
    assert_eq!(code(&run(&["objects", "show", "3413", "--version", "9.9"])), 7);
    assert_eq!(code(&run(&["objects", "find", "flux compensator"])), 7);
}

#[test]
fn objects_are_found_by_a_part_of_a_name() {
    let output = run(&["objects", "find", "Outdoor lamp"]);
    assert!(stdout(&output).contains("/3416"), "{}", stdout(&output));
}

#[test]
fn an_exported_model_has_one_file_for_each_object() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["objects", "export", path_of(folder.path()), "--model", "2020"]);
    assert_eq!(code(&output), 0);
    let lamp = fs::read_to_string(folder.path().join("3416.xml")).unwrap();
    assert!(lamp.contains("<ObjectID>3416</ObjectID>"), "{lamp}");
    assert_eq!(
        code(&run(&[
            "objects",
            "export",
            path_of(folder.path()),
            "--model",
            "2021"
        ])),
        2
    );
}
