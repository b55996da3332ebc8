//! What became of the readings: as the gateway counts them, and as the simulated server saw them arrive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lwm2m_client::Timestamp;
use serde_json::{Value as Json, json};
use ucifi_sim::server::ReceivedValue;

use super::cabinet::DEVICES;
use crate::cli::table::{Align, Table};

/// How many arrivals are known again when they come twice: more than an hour of the demo.
const MAX_KNOWN_ARRIVALS: usize = 100_000;

/// The counts of one endpoint, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Readings that the server was to get.
    pub(super) produced: u64,
    /// Readings that it took before they were written to disk.
    pub(super) delivered_live: u64,
    /// Readings that were written to disk.
    pub(super) buffered: u64,
    /// Readings that it took out of the buffer.
    pub(super) delivered_late: u64,
    /// Readings that it will never get.
    pub(super) lost: u64,
    /// Readings that still wait, in memory or in the buffer.
    pub(super) waiting: u64,
    /// Readings that it got again.
    pub(super) duplicated: u64,
}

impl Counts {
    fn of(endpoint: &Json) -> Self {
        let count = |at: &Json, key: &str| at.get(key).and_then(Json::as_u64).unwrap_or(0);
        let totals = endpoint.get("totals").unwrap_or(&Json::Null);
        Self {
            produced: count(totals, "produced"),
            delivered_live: count(totals, "delivered_live"),
            buffered: count(totals, "stored"),
            delivered_late: count(totals, "delivered_late"),
            lost: count(totals, "dropped"),
            waiting: count(endpoint, "waiting") + count(endpoint, "buffered"),
            duplicated: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        self.produced += other.produced;
        self.delivered_live += other.delivered_live;
        self.buffered += other.buffered;
        self.delivered_late += other.delivered_late;
        self.lost += other.lost;
        self.waiting += other.waiting;
        self.duplicated += other.duplicated;
    }

    /// Returns the counts as JSON.
    pub(super) fn json(&self) -> Json {
        json!({
            "produced": self.produced,
            "delivered_live": self.delivered_live,
            "buffered": self.buffered,
            "delivered_late": self.delivered_late,
            "waiting": self.waiting,
            "lost": self.lost,
            "duplicated": self.duplicated,
        })
    }

    fn cells(&self) -> Vec<String> {
        [
            self.produced,
            self.delivered_live,
            self.buffered,
            self.delivered_late,
            self.waiting,
            self.lost,
            self.duplicated,
        ]
        .map(|count| count.to_string())
        .to_vec()
    }
}

/// The counts of every endpoint at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    endpoints: BTreeMap<String, (String, Counts)>,
}

impl Tally {
    /// Reads the answer to a status request.
    pub(super) fn of(status: &Json) -> Self {
        let endpoints = status.get("endpoints").and_then(Json::as_array);
        let text = |endpoint: &Json, key: &str| {
            let text = endpoint.get(key).and_then(Json::as_str);
            text.unwrap_or_default().to_owned()
        };
        let one = |endpoint: &Json| {
            let counts = (text(endpoint, "state"), Counts::of(endpoint));
            (text(endpoint, "endpoint"), counts)
        };
        Self {
            endpoints: endpoints.into_iter().flatten().map(one).collect(),
        }
    }

    /// Replaces what the gateway believes by what the server saw: a reading that never arrived is lost, whatever was
    /// acknowledged.
    pub(super) fn compare(&mut self, arrivals: &Arrivals) {
        for (endpoint, (_, counts)) in &mut self.endpoints {
            let (different, repeated) = arrivals.counts(endpoint);
            counts.duplicated = repeated;
            counts.lost = counts.produced.saturating_sub(counts.waiting + different);
        }
    }

    /// Returns the sum of all endpoints.
    pub(super) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.endpoints.values().for_each(|(_, counts)| total.add(counts));
        total
    }

    /// Returns the endpoints with their states.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, &str)> {
        self.endpoints
            .iter()
            .map(|(endpoint, (state, _))| (endpoint.as_str(), state.as_str()))
    }

    /// Returns the table that closes the demo.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&[
            ("readings of", Align::Left),
            ("link", Align::Left),
            ("produced", Align::Right),
            ("delivered live", Align::Right),
            ("buffered", Align::Right),
            ("delivered late", Align::Right),
            ("waiting", Align::Right),
            ("lost", Align::Right),
            ("duplicated", Align::Right),
        ]);
        let place = |endpoint: &str| DEVICES.iter().position(|device| device.endpoint() == endpoint);
        let placed = self.endpoints.iter().map(|(endpoint, (_, counts))| {
            // What is no device, the cabinet itself, comes last.
            (place(endpoint).unwrap_or(DEVICES.len()), endpoint, counts)
        });
        let mut rows: Vec<_> = placed.collect();
        rows.sort_by_key(|(place, ..)| *place);
        for (place, endpoint, counts) in rows {
            let (name, link) = DEVICES.get(place).map_or((endpoint.as_str(), ""), |device| {
                (device.id, device.protocol.name())
            });
            let names = vec![name.to_owned(), link.to_owned()];
            table.row([names, counts.cells()].concat());
        }
        table.row([vec!["all".to_owned(), String::new()], self.total().cells()].concat());
        table
    }
}

/// One reading as a server gets it: endpoint, path, time and value.
type Arrival = (String, String, Option<Timestamp>, String);

/// The readings that a server got: how many different ones, and how many came again.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    counts: BTreeMap<String, (u64, u64)>,
    /// The last ones, to know them again.
    recent: BTreeSet<Arrival>,
    order: VecDeque<Arrival>,
}

impl Arrivals {
    /// Takes what came by one Send.
    pub(super) fn note(&mut self, endpoint: &str, values: &[ReceivedValue]) {
        for received in values {
            let (path, value) = (received.path.to_string(), received.value.to_string());
            let arrival = (endpoint.to_owned(), path, received.time, value);
            let (different, repeated) = self.counts.entry(endpoint.to_owned()).or_default();
            if self.recent.insert(arrival.clone()) {
                *different += 1;
                self.order.push_back(arrival);
            } else {
                *repeated += 1;
            }
        }
        while self.order.len() > MAX_KNOWN_ARRIVALS {
            self.order.pop_front().map(|oldest| self.recent.remove(&oldest));
        }
    }

    /// Returns how many different readings came from an endpoint, and how many came again.
    fn counts(&self, endpoint: &str) -> (u64, u64) {
        self.counts.get(endpoint).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use lwm2m_client::{Path, Value};

    use super::*;

    fn status() -> Json {
        json!({ "endpoints": [{
            "endpoint": "meter", "state": "registered", "waiting": 1, "buffered": 2,
            "totals": { "produced": 10, "delivered_live": 4, "stored": 5, "delivered_late": 3, "dropped": 0 },
        }]})
    }

    fn received(number: i64) -> ReceivedValue {
        ReceivedValue {
            path: Path::resource(3421, 0, 1),
            value: Value::Integer(number),
            time: Some(Timestamp::from_unix_ms(number)),
        }
    }

    #[test]
    fn what_the_gateway_counts_is_what_the_table_says() {
        let tally = Tally::of(&status());
        let total = tally.total();
        assert_eq!((total.produced, total.waiting, total.lost), (10, 3, 0));
        assert!(tally.table().to_string().contains("meter"));
    }

    #[test]
    fn what_did_not_arrive_is_lost_and_what_came_twice_is_duplicated() {
        let (mut tally, mut arrivals) = (Tally::of(&status()), Arrivals::default());
        let six: Vec<ReceivedValue> = (0..6).map(received).collect();
        arrivals.note("meter", &six);
        arrivals.note("meter", &[received(2), received(3)]);
        tally.compare(&arrivals);
        let total = tally.total();
        assert_eq!((total.lost, total.duplicated), (1, 2));
    }
}
