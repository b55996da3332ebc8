//! What the server has seen so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::object::ObjectTable;
use lwm2m_client::{Path, Value};
use ucifi_sim::server::{ClientView, Event, ReceivedValue};

use super::cabinet::{DemoDevice, METER, Protocol};

/// The lowest and the highest voltage that the simulated meter shows.
const VOLTAGES: std::ops::RangeInclusive<f64> = 200.0..=260.0;

/// Resource 1 of object 3421, the voltage, of each of the three phases.
const VOLTAGE_PATHS: [Path; 3] = [
    Path::resource(3421, 0, 1),
    Path::resource(3421, 1, 1),
    Path::resource(3421, 2, 1),
];

/// Everything that the server has seen.
pub(super) struct View {
    objects: Arc<ObjectTable>,
    start: Instant,
    clients: BTreeMap<String, Vec<Path>>,
    values: BTreeMap<(String, Path), Seen>,
    switched: Vec<Switched>,
}

/// One value as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) unit: String,
    pub(super) at: Instant,
}

/// A relay or a lamp that was switched by a Write, and is seen switched at the thing itself.
#[derive(Clone, Debug)]
pub(super) struct Switched {
    /// The device.
    pub(super) device: DemoDevice,
    /// Its level then, in percent.
    pub(super) level: u8,
    /// How long the server waited for the answer to its Write.
    pub(super) answered_within: Duration,
}

/// Something new to tell.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// A client registered, or lists other instances than before.
    Listed { endpoint: String, instances: Vec<Path> },
    /// A value arrived that is new or has changed.
    Value {
        endpoint: String,
        path: Path,
        seen: Seen,
    },
    /// A relay or a lamp was switched.
    Switched(Switched),
    /// An endpoint stands otherwise with its server than before.
    State { endpoint: String, state: String },
    /// The server goes away for so long.
    Away(Duration),
    /// The server is back.
    Back,
    /// Something did not go as it should.
    Trouble(String),
}

impl View {
    /// Starts with nothing seen.
    pub(super) fn new(objects: Arc<ObjectTable>, start: Instant) -> Self {
        Self {
            objects,
            start,
            clients: BTreeMap::new(),
            values: BTreeMap::new(),
            switched: Vec::new(),
        }
    }

    /// Takes what happened at the server, and returns what is new.
    pub(super) fn handle_event(&mut self, event: Event) -> Vec<News> {
        match event {
            Event::Registered(client) => self.handle_client(client),
            Event::Updated(client) => self.handle_client(client),
            Event::Received { endpoint, values, .. } => self.handle_values(&endpoint, values),
            Event::Refused {
                endpoint,
                code,
                reason,
            } => {
                let endpoint = endpoint.unwrap_or_default();
                vec![News::Trouble(format!(
                    "{endpoint}: the server answered {code}: {reason}"
                ))]
            }
            Event::Undecodable { endpoint, reason, .. } => {
                vec![News::Trouble(format!(
                    "{endpoint}: values that cannot be decoded: {reason}"
                ))]
            }
            Event::Malformed { reason, .. } => vec![News::Trouble(format!("malformed datagram: {reason}"))],
            Event::Deregistered { endpoint } | Event::Expired { endpoint } => {
                self.clients.remove(&endpoint);
                vec![News::Trouble(format!("{endpoint} has left"))]
            }
            Event::ObservationEnded { endpoint, path, .. } => {
                vec![News::Trouble(format!(
                    "{endpoint}: the observation of {path} ended"
                ))]
            }
            Event::Finished { .. } => Vec::new(),
        }
    }

    fn handle_client(&mut self, client: ClientView) -> Vec<News> {
        let ClientView {
            endpoint, instances, ..
        } = client;
        let before = self.clients.insert(endpoint.clone(), instances.clone());
        if before.as_ref() == Some(&instances) {
            Vec::new()
        } else {
            vec![News::Listed { endpoint, instances }]
        }
    }

    fn handle_values(&mut self, endpoint: &str, values: Vec<ReceivedValue>) -> Vec<News> {
        let mut news = Vec::new();
        for received in values {
            let (name, unit) = self.words(received.path);
            let seen = Seen {
                name,
                value: received.value,
                unit,
                at: Instant::now(),
            };
            let key = (endpoint.to_owned(), received.path);
            let before = self.values.insert(key, seen.clone());
            if before.is_none_or(|before| before.value != seen.value) {
                news.push(News::Value {
                    endpoint: endpoint.to_owned(),
                    path: received.path,
                    seen,
                });
            }
        }
        news
    }

    fn words(&self, path: Path) -> (String, String) {
        let definition = path.object_id().and_then(|id| self.objects.latest(id));
        let resource = definition
            .zip(path.resource_id())
            .and_then(|(object, id)| object.resources.get(&id));
        resource
            .map(|r| (r.name.clone(), r.unit.clone()))
            .unwrap_or_default()
    }

    /// Takes note that something was switched and seen switched.
    pub(super) fn note_switched(&mut self, switched: Switched) {
        self.switched.push(switched);
    }

    /// Says whether a client is registered.
    pub(super) fn is_registered(&self, endpoint: &str) -> bool {
        self.clients.contains_key(endpoint)
    }

    /// Returns the time since the demo began.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the registered clients.
    pub(super) fn clients(&self) -> impl Iterator<Item = &str> {
        self.clients.keys().map(String::as_str)
    }

    /// Returns the values of a client.
    pub(super) fn values<'v>(&'v self, endpoint: &'v str) -> impl Iterator<Item = (Path, &'v Seen)> {
        self.values
            .iter()
            .filter(move |((of, _), _)| of == endpoint)
            .map(|((_, path), seen)| (*path, seen))
    }

    /// Returns a value of a client.
    pub(super) fn value(&self, endpoint: &str, path: Path) -> Option<&Seen> {
        self.values.get(&(endpoint.to_owned(), path))
    }

    /// Returns what was switched, in order.
    pub(super) fn switched(&self) -> &[Switched] {
        &self.switched
    }

    /// Says whether every phase of the meter has a voltage that can be.
    pub(super) fn has_meter_values(&self) -> bool {
        VOLTAGE_PATHS.iter().all(|path| {
            let seen = self.values.get(&(METER.endpoint(), *path));
            seen.and_then(|seen| seen.value.as_f64())
                .is_some_and(|volts| VOLTAGES.contains(&volts))
        })
    }

    /// Says whether the demo showed what it is to show.
    pub(super) fn outcome(&self) -> Result<(), String> {
        if !self.has_meter_values() {
            return Err("the server got no voltages of the meter".to_owned());
        }
        for protocol in [Protocol::Modbus, Protocol::LoRaWan, Protocol::Mqtt] {
            let mut switched = self.switched.iter();
            if !switched.any(|switched| switched.device.protocol == protocol) {
                return Err(format!("nothing was seen switched over {}", protocol.name()));
            }
        }
        Ok(())
    }
}
