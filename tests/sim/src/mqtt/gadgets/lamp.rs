//! A lamp that zigbee2mqtt speaks for: state on `zigbee2mqtt/<name>`, commands on `/set`, `/availability` beside it.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Gadget, Publication};

/// A lamp that can be dimmed.
#[derive(Clone, Debug)]
pub struct Zigbee2MqttLamp {
    name: String,
    is_on: bool,
    brightness: u64,
    period: Duration,
    due: Duration,
}

/// The brightest that Zigbee knows.
const BRIGHTEST: u64 = 254;

impl Zigbee2MqttLamp {
    /// Makes a lamp that is off and tells its state every `period`; its name may have slashes in it.
    pub fn new(name: &str, period: Duration) -> Self {
        Self {
            name: name.to_owned(),
            is_on: false,
            brightness: BRIGHTEST,
            period,
            due: period,
        }
    }

    /// Says whether it is on.
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    fn state(&self) -> Publication {
        let state = json!({
            "state": if self.is_on { "ON" } else { "OFF" },
            "brightness": self.brightness,
            "linkquality": 120,
        });
        Publication::new(format!("zigbee2mqtt/{}", self.name), state.to_string())
    }

    fn availability(&self, state: &str) -> Publication {
        let topic = format!("zigbee2mqtt/{}/availability", self.name);
        Publication::new(topic, json!({"state": state}).to_string()).retained()
    }

    fn set(&mut self, wanted: &Value) {
        match wanted.get("state").and_then(Value::as_str) {
            Some("ON") => self.is_on = true,
            Some("OFF") => self.is_on = false,
            Some("TOGGLE") => self.is_on = !self.is_on,
            Some(_) | None => {}
        }
        if let Some(brightness) = wanted.get("brightness").and_then(Value::as_u64) {
            self.is_on = brightness > 0;
            self.brightness = brightness.min(BRIGHTEST);
        }
    }
}

impl Gadget for Zigbee2MqttLamp {
    fn listens(&self) -> Vec<String> {
        vec![
            format!("zigbee2mqtt/{}/set", self.name),
            format!("zigbee2mqtt/{}/get", self.name),
        ]
    }

    fn begin(&mut self) -> Vec<Publication> {
        vec![self.availability("online"), self.state()]
    }

    fn will(&self) -> Publication {
        self.availability("offline")
    }

    fn handle_message(&mut self, topic: &str, payload: &[u8], _elapsed: Duration) -> Vec<Publication> {
        let Ok(wanted) = serde_json::from_slice::<Value>(payload) else {
            return Vec::new();
        };
        if topic.ends_with("/set") {
            self.set(&wanted);
        }
        vec![self.state()]
    }

    fn due(&self) -> Duration {
        self.due
    }

    fn handle_timeout(&mut self, elapsed: Duration) -> Vec<Publication> {
        self.due = elapsed + self.period;
        vec![self.state()]
    }
}
