//! `demo`: it ends well only if the server saw the meter and the relay was switched.

use crate::{code, run, stderr, stdout};

#[test]
fn the_demo_shows_the_meter_and_switches_a_relay() {
    let output = run(&["demo", "--seconds", "10", "--json"]);
    let said = stdout(&output);
    assert_eq!(code(&output), 0, "{said}{}", stderr(&output));
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let switched = lines.iter().find(|line| line["event"] == "switched").unwrap();
    assert_eq!(switched["on"], true);
    let voltage = lines.iter().find(|line| line["path"] == "/3421/0/1").unwrap();
    assert_eq!(
        (voltage["unit"].as_str(), voltage["endpoint"].as_str()),
        (Some("V"), Some("demo-cabinet-meter"))
    );
    assert_eq!(lines.last().unwrap()["ok"], true);
}
