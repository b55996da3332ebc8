//! A client of `lwm2m-client` and the server, in simulated time with a network between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::client::{self, Client, ClientConfig, Content, Objects};
use lwm2m_client::object::{ObjectDefinition, ObjectTable};
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceId, Timestamp, Value};

use crate::clock::Clock;
use crate::network::{Conditions, Datagram, Network};
use crate::server::{
    Answer, Event, LwM2mServer, Origin, RequestFailure, RequestId, ServerRequest, Transmission,
    content_format,
};

pub(super) const CLIENT: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    40_001,
);
pub(super) const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 5683);
pub(super) const TEMPERATURE: Path = Path::resource(3303, 0, 5700);

/// A device with a temperature that the test sets.
pub(super) struct Tree {
    definitions: BTreeMap<ObjectId, Arc<ObjectDefinition>>,
    values: BTreeMap<Path, Value>,
}

pub(super) struct Rig {
    pub(super) clock: Clock,
    pub(super) network: Network,
    pub(super) server: LwM2mServer,
    pub(super) client: Client,
    pub(super) tree: Tree,
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) client_events: Vec<client::Event>,
    finished: BTreeMap<RequestId, Result<Answer, RequestFailure>>,
}

impl Rig {
    pub(super) fn new(conditions: Conditions, seed: u64, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let clock = Clock::new();
        let table = Arc::new(ObjectTable::builtin());
        let mut config = ClientConfig::new("lamp", "coap://192.0.2.9:5683");
        config.lifetime_secs = 300;
        change(&mut config);
        let mut rig = Self {
            network: Network::new(conditions, seed, clock.origin()),
            server: LwM2mServer::new(Arc::clone(&table), Transmission::default(), seed),
            client: Client::new(config, seed, 1, clock.origin()),
            tree: Tree::new(&table),
            events: Vec::new(),
            client_events: Vec::new(),
            finished: BTreeMap::new(),
            clock,
        };
        rig.client.start(&rig.tree, rig.clock.origin());
        rig
    }

    pub(super) fn registered() -> Self {
        let mut rig = Self::new(Conditions::good(), 1, |_| {});
        rig.run_for(Duration::from_secs(1));
        assert_eq!(rig.server.clients().len(), 1);
        rig
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.clock.now().instant + time;
        loop {
            self.exchange();
            let due = [
                self.network.poll_timeout(),
                self.server.poll_timeout(),
                self.client.poll_timeout(),
            ];
            match due.into_iter().flatten().min().filter(|due| *due < end) {
                Some(due) => self.clock.advance_to(due),
                None => break self.clock.advance_to(end),
            }
        }
    }

    /// Asks, waits, and returns the answer.
    pub(super) fn ask(&mut self, request: ServerRequest) -> Result<Answer, RequestFailure> {
        let id = self.server.request("lamp", request, self.clock.now().instant);
        for _ in 0..300 {
            self.run_for(Duration::from_secs(1));
            if let Some(outcome) = self.finished.remove(&id) {
                return outcome;
            }
        }
        panic!("the request never came to its end");
    }

    pub(super) fn read(&mut self, path: Path) -> Result<Answer, RequestFailure> {
        self.ask(ServerRequest::Read {
            path,
            accept: Some(content_format::TEXT),
        })
    }

    pub(super) fn set(&mut self, path: Path, value: Value) {
        self.tree.values.insert(path, value);
        self.client
            .handle_changed(&[path], &self.tree, self.clock.now().instant);
    }

    pub(super) fn add_instances(&mut self, count: u16) {
        for instance in 1..=count {
            self.tree
                .values
                .insert(Path::resource(3303, instance, 5700), Value::Float(0.0));
        }
        self.client
            .handle_instances_changed(&self.tree, self.clock.now().instant);
    }

    /// Returns the temperatures that notifications brought, as text.
    pub(super) fn notified(&self) -> Vec<String> {
        let values = self.events.iter().filter_map(|(_, event)| event.received());
        let notified = values.filter(|(origin, _)| matches!(origin, Origin::Notification { .. }));
        notified
            .flat_map(|(_, values)| values)
            .map(|received| received.value.to_string())
            .collect()
    }

    fn exchange(&mut self) {
        let now = self.clock.now();
        while let Some(Datagram { from, to, bytes }) = self.network.poll_datagram(now.instant) {
            if to == SERVER {
                self.server.handle_datagram(from, &bytes, now);
            } else {
                self.client.handle_datagram(&bytes, &self.tree, now.instant);
            }
        }
        if self.server.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.server.handle_timeout(now);
        }
        if self.client.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.client.handle_timeout(&self.tree, now.instant);
        }
        self.send(now.instant);
        self.note();
    }

    fn send(&mut self, now: Instant) {
        while let Some((to, bytes)) = self.server.poll_transmit() {
            self.network.handle_datagram(
                Datagram {
                    from: SERVER,
                    to,
                    bytes,
                },
                now,
            );
        }
        while let Some(bytes) = self.client.poll_transmit() {
            self.network.handle_datagram(
                Datagram {
                    from: CLIENT,
                    to: SERVER,
                    bytes,
                },
                now,
            );
        }
    }

    fn note(&mut self) {
        self.client_events
            .extend(std::iter::from_fn(|| self.client.poll_event()));
        while let Some(event) = self.server.poll_event() {
            if let Event::Finished { id, outcome, .. } = &event {
                self.finished.insert(*id, outcome.clone());
            }
            self.events.push((self.clock.elapsed(), event));
        }
    }
}

impl Tree {
    fn new(table: &ObjectTable) -> Self {
        let definition = |object| {
            (
                ObjectId(object),
                Arc::clone(table.latest(ObjectId(object)).unwrap()),
            )
        };
        let values = [
            (Path::resource(3, 0, 0), Value::String("Lamps & Sons".to_owned())),
            (TEMPERATURE, Value::Float(20.0)),
        ];
        Self {
            definitions: [3, 3303].map(definition).into(),
            values: values.into(),
        }
    }
}

impl Objects for Tree {
    fn definition(&self, object: ObjectId) -> Option<&ObjectDefinition> {
        self.definitions.get(&object).map(AsRef::as_ref)
    }

    fn objects(&self) -> Vec<ObjectId> {
        self.definitions.keys().copied().collect()
    }

    fn instances(&self, object: ObjectId) -> Vec<InstanceId> {
        let of_object = self.values.keys().filter(|path| path.object_id() == Some(object));
        let mut instances: Vec<InstanceId> = of_object.filter_map(Path::instance_id).collect();
        instances.dedup();
        instances
    }

    fn resources(&self, object: ObjectId, instance: InstanceId) -> Vec<ResourceId> {
        let instance = Path::Instance(object, instance);
        self.values
            .keys()
            .filter(|path| instance.contains(path))
            .filter_map(Path::resource_id)
            .collect()
    }

    fn read(&self, object: ObjectId, instance: InstanceId, resource: ResourceId) -> Option<Content> {
        self.values
            .get(&Path::Resource(object, instance, resource))
            .cloned()
            .map(Content::Single)
    }

    fn accepts(&self, _: ObjectId, _: InstanceId, _: ResourceId) -> bool {
        false
    }

    fn measured_at(&self, _: ObjectId, _: InstanceId, _: ResourceId) -> Option<Timestamp> {
        None
    }

    fn may_create(&self, _: ObjectId) -> bool {
        false
    }

    fn may_delete(&self, _: ObjectId, _: InstanceId) -> bool {
        false
    }
}
