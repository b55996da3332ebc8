//! A plug with Tasmota: full topic `%prefix%/%topic%/`, prefixes cmnd, stat and tele, as it comes from the factory.

use std::time::Duration;

use serde_json::json;

use super::super::{Gadget, Publication};

/// A plug that measures.
#[derive(Clone, Debug)]
pub struct TasmotaPlug {
    topic: String,
    is_on: bool,
    watts: f64,
    watt_hours: f64,
    period: Duration,
    due: Duration,
    told: Duration,
}

impl TasmotaPlug {
    /// Makes a plug that is on and has something of so many watts in it; it speaks every `period`, the `TelePeriod`.
    pub fn new(topic: &str, watts: f64, period: Duration) -> Self {
        Self {
            topic: topic.to_owned(),
            is_on: true,
            watts,
            watt_hours: 12_345.0,
            period,
            due: period,
            told: Duration::ZERO,
        }
    }

    /// Says whether it is on.
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    fn power(&self) -> f64 {
        if self.is_on { self.watts } else { 0.0 }
    }

    fn state(&self) -> &'static str {
        if self.is_on { "ON" } else { "OFF" }
    }

    /// `ENERGY` counts in kWh with three places.
    fn sensor(&self) -> Publication {
        let total = (self.watt_hours).round() / 1_000.0;
        let power = self.power();
        let report = json!({
            "Time": "2026-01-01T00:00:00",
            "ENERGY": {
                "TotalStartTime": "2025-01-01T00:00:00",
                "Total": total,
                "Yesterday": 0.412,
                "Today": 0.2,
                "Power": power.round(),
                "ApparentPower": (power * 1.1).round(),
                "ReactivePower": (power * 0.45).round(),
                "Factor": 0.91,
                "Voltage": 231,
                "Current": (power * 1.1 / 231.0 * 1_000.0).round() / 1_000.0,
            },
        });
        Publication::new(format!("tele/{}/SENSOR", self.topic), report.to_string())
    }

    fn regular_state(&self) -> Publication {
        let report = json!({
            "Time": "2026-01-01T00:00:00",
            "Uptime": "0T00:15:09",
            "POWER": self.state(),
            "Wifi": {"AP": 1, "RSSI": 100},
        });
        Publication::new(format!("tele/{}/STATE", self.topic), report.to_string())
    }

    fn said(&self) -> Vec<Publication> {
        let result = json!({"POWER": self.state()}).to_string();
        vec![
            Publication::new(format!("stat/{}/RESULT", self.topic), result),
            Publication::new(format!("stat/{}/POWER", self.topic), self.state()),
        ]
    }

    fn count(&mut self, elapsed: Duration) {
        let passed = elapsed.saturating_sub(self.told);
        self.watt_hours += self.power() * passed.as_secs_f64() / 3_600.0;
        self.told = self.told.max(elapsed);
    }
}

impl Gadget for TasmotaPlug {
    fn listens(&self) -> Vec<String> {
        vec![format!("cmnd/{}/POWER", self.topic)]
    }

    fn begin(&mut self) -> Vec<Publication> {
        let online = Publication::new(format!("tele/{}/LWT", self.topic), "Online").retained();
        let mut all = vec![online];
        all.extend(self.said());
        all.push(self.sensor());
        all
    }

    fn will(&self) -> Publication {
        Publication::new(format!("tele/{}/LWT", self.topic), "Offline").retained()
    }

    fn handle_message(&mut self, _topic: &str, payload: &[u8], elapsed: Duration) -> Vec<Publication> {
        self.count(elapsed.min(self.due));
        match payload.to_ascii_uppercase().as_slice() {
            b"ON" | b"1" => self.is_on = true,
            b"OFF" | b"0" => self.is_on = false,
            b"TOGGLE" | b"2" => self.is_on = !self.is_on,
            // An empty one asks how it is; so does nonsense.
            _ => {}
        }
        self.said()
    }

    fn due(&self) -> Duration {
        self.due
    }

    fn handle_timeout(&mut self, elapsed: Duration) -> Vec<Publication> {
        self.count(elapsed);
        self.due = elapsed + self.period;
        vec![self.regular_state(), self.sensor()]
    }
}
