//! `demo`: it ends well only if the server saw the meter, the relay was switched, and no reading is missing.

use crate::{code, run, stderr, stdout};

#[test]
fn the_demo_shows_the_meter_switches_a_relay_and_delivers_late_what_an_outage_held_up() {
    let output = run(&["demo", "--seconds", "15", "--json"]);
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
    let away: Vec<&serde_json::Value> = lines.iter().filter(|line| line["event"] == "outage").collect();
    assert_eq!(
        (away.len(), &away[0]["away"]),
        (2, &serde_json::Value::Bool(true))
    );
    let last = lines.last().unwrap();
    assert_eq!(last["ok"], true);
    let totals = |name: &str| last["totals"][name].as_u64().unwrap();
    assert_eq!((totals("lost"), totals("waiting")), (0, 0), "{last}");
    assert!(totals("buffered") > 0 && totals("delivered_late") > 0, "{last}");
    let delivered = totals("delivered_live") + totals("delivered_late");
    assert_eq!(totals("produced"), delivered, "{last}");
}
