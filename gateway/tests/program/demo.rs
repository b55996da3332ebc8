//! `demo`: it ends well only if the server saw the meter, something was switched on each link, and no reading is missing.

use crate::{code, run, stderr, stdout};

#[test]
fn the_demo_shows_a_cabinet_of_three_protocols_and_delivers_late_what_an_outage_held_up() {
    let output = run(&["demo", "--seconds", "20", "--json"]);
    let said = stdout(&output);
    assert_eq!(code(&output), 0, "{said}{}", stderr(&output));
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for protocol in ["Modbus", "LoRaWAN", "MQTT"] {
        let mut switched = lines.iter().filter(|line| line["event"] == "switched");
        assert!(
            switched.any(|line| line["protocol"] == protocol),
            "{protocol}: {said}"
        );
    }
    let water = lines.iter().find(|line| line["path"] == "/3424/0/1").unwrap();
    assert_eq!(water["unit"], "m3");
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
