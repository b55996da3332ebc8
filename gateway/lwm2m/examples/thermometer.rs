//! A LwM2M client of one file: the Device object and a temperature sensor on a UDP socket, no gateway.
//!
//! ```text
//! cargo run -p lwm2m-client --example thermometer -- 127.0.0.1:5683 urn:dev:os:thermometer 60
//! ```
//!
//! registers at the server, answers its requests, notifies what it observes, sends the temperature every ten
//! seconds, and de-registers after a minute (without the last argument it stays).

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the shell around the engine"
)]
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lwm2m_client::client::{
    Client, ClientConfig, Content, EnablerVersion, Event, Failure, FailureCode, Objects, Operation,
    RegistrationState, Response, SendId, WriteMode,
};
use lwm2m_client::format::{Entry, Record, RecordTime};
use lwm2m_client::object::{ObjectDefinition, ObjectTable};
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceId, ResourceInstanceId, Timestamp, Value};

const SEND_EVERY: Duration = Duration::from_secs(10);
const MEASURE_EVERY: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or_else(|| "127.0.0.1:5683".to_owned());
    let endpoint = arguments
        .next()
        .unwrap_or_else(|| "urn:dev:os:thermometer".to_owned());
    let seconds: Option<u64> = arguments.next().map(|text| text.parse()).transpose()?;
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));

    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(&server)?;
    let config = ClientConfig {
        lifetime_secs: 60,
        ..ClientConfig::new(endpoint, format!("coap://{server}"))
    };
    Thermometer::new(socket, config)?.run(end)
}

/// The socket, the engine, and the objects that it shows.
struct Thermometer {
    socket: UdpSocket,
    client: Client,
    objects: Sensor,
    next_send: u64,
}

impl Thermometer {
    fn new(socket: UdpSocket, config: ClientConfig) -> Result<Self, Box<dyn Error>> {
        // Anything that differs from run to run will do; a product stores where its message ids have got to.
        let seed = u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos());
        let first_message_id = u16::try_from(seed % 65_536)?;
        Ok(Self {
            socket,
            client: Client::new(config, seed, first_message_id, Instant::now()),
            objects: Sensor::new()?,
            next_send: 0,
        })
    }

    fn run(mut self, end: Option<Instant>) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        let (mut measure_at, mut send_at) = (start, start + SEND_EVERY);
        self.client.start(&self.objects, start);
        loop {
            let now = Instant::now();
            if measure_at <= now {
                let changed = self.objects.measure(now - start)?;
                self.client.handle_changed(&changed, &self.objects, now);
                measure_at = now + MEASURE_EVERY;
            }
            if send_at <= now {
                self.send(now);
                send_at = now + SEND_EVERY;
            }
            if end.is_some_and(|end| end <= now) && self.client.state() == RegistrationState::Registered {
                self.client.deregister(now);
            }
            if self.carry_out(now)? {
                return Ok(());
            }
            self.wait(measure_at)?;
        }
    }

    /// Sends what the engine wants sent and does what it wants done; says whether the client has left the server.
    fn carry_out(&mut self, now: Instant) -> Result<bool, Box<dyn Error>> {
        let mut left = false;
        while let Some(event) = self.client.poll_event() {
            println!("{event:?}");
            left |= matches!(event, Event::Deregistered);
            if let Event::Operation { id, operation } = event {
                let response = self.objects.carry_out(&operation);
                self.client.respond(id, response, &self.objects, now);
            }
        }
        while let Some(datagram) = self.client.poll_transmit() {
            match self.socket.send(&datagram) {
                // The server is not there yet: the engine tries again.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                result => drop(result?),
            }
        }
        Ok(left)
    }

    /// Waits for a datagram until the engine, or the next measurement, is due.
    fn wait(&mut self, measure_at: Instant) -> Result<(), Box<dyn Error>> {
        let until = self
            .client
            .poll_timeout()
            .map_or(measure_at, |at| at.min(measure_at));
        let wait = until.saturating_duration_since(Instant::now());
        // A timeout of zero would mean to wait for ever.
        self.socket
            .set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 2048];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                let datagram = buffer.get(..length).unwrap_or(&buffer);
                self.client
                    .handle_datagram(datagram, &self.objects, Instant::now());
            }
            Err(error) if is_passing(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
        if self.client.poll_timeout().is_some_and(|at| at <= Instant::now()) {
            self.client.handle_timeout(&self.objects, Instant::now());
        }
        Ok(())
    }

    fn send(&mut self, now: Instant) {
        let entry = Entry {
            path: TEMPERATURE,
            value: Value::Float(self.objects.celsius),
        };
        let record = Record {
            entry,
            time: self.objects.measured_at.map(RecordTime::Absolute),
        };
        match self.client.send(SendId(self.next_send), vec![record], now) {
            Ok(()) => self.next_send += 1,
            Err(refused) => println!("no Send: {refused}"),
        }
    }
}

fn is_passing(kind: ErrorKind) -> bool {
    [
        ErrorKind::WouldBlock,
        ErrorKind::TimedOut,
        ErrorKind::ConnectionRefused,
        ErrorKind::Interrupted,
    ]
    .contains(&kind)
}

const DEVICE: ObjectId = ObjectId(3);
const SENSOR: ObjectId = ObjectId(3303);
const INSTANCE: InstanceId = InstanceId(0);
const TEMPERATURE: Path = Path::resource(3303, 0, 5700);
const APPLICATION_TYPE: ResourceId = ResourceId(5750);
const REBOOT: ResourceId = ResourceId(4);
const RESET_MIN_AND_MAX: ResourceId = ResourceId(5605);

/// What the server sees: /3/0 and /3303/0.
struct Sensor {
    definitions: BTreeMap<ObjectId, Arc<ObjectDefinition>>,
    celsius: f64,
    lowest: f64,
    highest: f64,
    application_type: String,
    measured_at: Option<Timestamp>,
}

impl Sensor {
    fn new() -> Result<Self, Box<dyn Error>> {
        let table = ObjectTable::builtin();
        let device = table
            .in_enabler(DEVICE, EnablerVersion::V1_1)
            .ok_or("object 3 is not in the table")?;
        let sensor = table.latest(SENSOR).ok_or("object 3303 is not in the table")?;
        Ok(Self {
            definitions: BTreeMap::from([(DEVICE, Arc::clone(device)), (SENSOR, Arc::clone(sensor))]),
            celsius: 20.0,
            lowest: 20.0,
            highest: 20.0,
            application_type: "cellar".to_owned(),
            measured_at: None,
        })
    }

    /// Takes a new temperature, which goes up and down by two degrees a minute, and returns what has changed.
    fn measure(&mut self, elapsed: Duration) -> Result<Vec<Path>, Box<dyn Error>> {
        let turn = elapsed.as_secs_f64() / 60.0 * std::f64::consts::TAU;
        self.celsius = 20.0 + (turn.sin() * 20.0).round() / 10.0;
        self.lowest = self.lowest.min(self.celsius);
        self.highest = self.highest.max(self.celsius);
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        self.measured_at = Some(Timestamp::from_unix_ms(i64::try_from(unix_ms)?));
        Ok(vec![Path::Instance(SENSOR, INSTANCE)])
    }

    /// Does what the server wants done; it is already checked against the definitions.
    fn carry_out(&mut self, operation: &Operation) -> Response {
        match operation {
            Operation::Write {
                mode,
                target,
                entries,
            } => self.write(*mode, *target, entries),
            Operation::Execute { path, .. } if path.resource_id() == Some(RESET_MIN_AND_MAX) => {
                (self.lowest, self.highest) = (self.celsius, self.celsius);
                Response::Changed
            }
            Operation::Execute { .. } => Response::Changed,
            Operation::Create { .. } | Operation::Delete { .. } => Response::Failed(Failure {
                code: FailureCode::MethodNotAllowed,
                retry_after_secs: None,
                diagnostic: "there is one sensor, and it stays".to_owned(),
            }),
        }
    }

    fn write(&mut self, mode: WriteMode, target: Path, entries: &[Entry]) -> Response {
        if mode == WriteMode::Replace && matches!(target, Path::Instance(..)) {
            self.application_type.clear();
        }
        for entry in entries {
            if let Value::String(text) = &entry.value {
                self.application_type.clone_from(text);
            }
        }
        Response::Changed
    }

    fn device(&self, resource: ResourceId) -> Option<Content> {
        let text = |text: &str| Some(Content::Single(Value::String(text.to_owned())));
        match resource.0 {
            0 => text("lwm2m-client"),
            1 => text("thermometer example"),
            3 => text(env!("CARGO_PKG_VERSION")),
            // Error code 0: none.
            11 => Some(Content::Multiple(BTreeMap::from([(
                ResourceInstanceId(0),
                Value::Integer(0),
            )]))),
            13 => self
                .measured_at
                .map(|t| Content::Single(Value::Time(t.unix_secs()))),
            16 => text("U"),
            _ => None,
        }
    }

    fn sensor(&self, resource: ResourceId) -> Option<Content> {
        Some(Content::Single(match resource.0 {
            5601 => Value::Float(self.lowest),
            5602 => Value::Float(self.highest),
            5700 => Value::Float(self.celsius),
            5701 => Value::String("Cel".to_owned()),
            5750 => Value::String(self.application_type.clone()),
            _ => return None,
        }))
    }
}

impl Objects for Sensor {
    fn definition(&self, object: ObjectId) -> Option<&ObjectDefinition> {
        self.definitions.get(&object).map(AsRef::as_ref)
    }

    fn objects(&self) -> Vec<ObjectId> {
        self.definitions.keys().copied().collect()
    }

    fn instances(&self, object: ObjectId) -> Vec<InstanceId> {
        if self.definitions.contains_key(&object) {
            vec![INSTANCE]
        } else {
            Vec::new()
        }
    }

    fn resources(&self, object: ObjectId, instance: InstanceId) -> Vec<ResourceId> {
        let Some(definition) = self.definitions.get(&object) else {
            return Vec::new();
        };
        let all = definition.resources.keys().copied();
        all.filter(|r| self.accepts(object, instance, *r) || self.read(object, instance, *r).is_some())
            .collect()
    }

    fn read(&self, object: ObjectId, _: InstanceId, resource: ResourceId) -> Option<Content> {
        match object {
            DEVICE => self.device(resource),
            SENSOR => self.sensor(resource),
            _ => None,
        }
    }

    fn accepts(&self, object: ObjectId, _: InstanceId, resource: ResourceId) -> bool {
        matches!(
            (object, resource),
            (DEVICE, REBOOT) | (SENSOR, RESET_MIN_AND_MAX | APPLICATION_TYPE)
        )
    }

    fn measured_at(&self, object: ObjectId, _: InstanceId, _: ResourceId) -> Option<Timestamp> {
        self.measured_at.filter(|_| object == SENSOR)
    }

    fn may_create(&self, _: ObjectId) -> bool {
        false
    }

    fn may_delete(&self, _: ObjectId, _: InstanceId) -> bool {
        false
    }
}
