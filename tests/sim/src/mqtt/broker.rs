//! The broker: who is connected, who gets what.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, PubComp, PubRec, PubRel, Publish, SubAck, Subscribe,
    SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{Error, QoS};

use super::session::{Session, matches};
use super::{Gadget, Publication};
use crate::limits;

/// Names a connection; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What is to be done with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send bytes.
    Send {
        /// On which.
        connection: ConnectionId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close it.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// A message that a client has taken: the broker does not send it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A broker.
pub struct Broker {
    began: Instant,
    /// The time since then, as it was told last.
    elapsed: Duration,
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: u64,
    sessions: BTreeMap<String, Session>,
    retained: BTreeMap<String, Publication>,
    gadgets: Vec<Box<dyn Gadget>>,
    outputs: VecDeque<Output>,
    acknowledged: VecDeque<Acknowledged>,
    out_of_order: u64,
    refused: Vec<String>,
}

#[derive(Debug, Default)]
struct Connection {
    received: BytesMut,
    /// None until a CONNECT was accepted.
    client: Option<String>,
    will: Option<Publication>,
    keep_alive: Duration,
    heard: Option<Instant>,
}

impl Broker {
    /// Makes a broker that nobody is connected to.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            elapsed: Duration::ZERO,
            connections: BTreeMap::new(),
            last_connection: 0,
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            gadgets: Vec::new(),
            outputs: VecDeque::new(),
            acknowledged: VecDeque::new(),
            out_of_order: 0,
            refused: Vec::new(),
        }
    }

    /// Switches a gadget on.
    pub fn add(&mut self, gadget: impl Gadget + 'static) {
        let mut gadget: Box<dyn Gadget> = Box::new(gadget);
        let said = gadget.begin();
        self.gadgets.push(gadget);
        self.publish_all(said);
    }

    /// Takes all gadgets away: the broker says their wills.
    pub fn remove_gadgets(&mut self) {
        let wills = self.gadgets.drain(..).map(|gadget| gadget.will()).collect();
        self.publish_all(wills);
    }

    /// Refuses subscriptions to a filter from here on.
    pub fn refuse(&mut self, filter: &str) {
        self.refused.push(filter.to_owned());
    }

    /// Takes a new connection.
    pub fn handle_opened(&mut self, now: Instant) -> ConnectionId {
        self.last_connection += 1;
        let id = ConnectionId(self.last_connection);
        let connection = Connection {
            keep_alive: Duration::from_secs(10),
            heard: Some(now),
            ..Connection::default()
        };
        self.connections.insert(id, connection);
        id
    }

    /// Takes note that a connection is gone: unless it said goodbye its will is published.
    pub fn handle_closed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        if let Some(client) = &connection.client
            && self.sessions.get(client).is_some_and(|session| session.is_clean)
        {
            self.sessions.remove(client);
        }
        self.publish_all(connection.will.into_iter().collect());
    }

    /// Takes received bytes, in any pieces.
    pub fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) {
        self.note(now);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.heard = Some(now);
        connection.received.extend_from_slice(bytes);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            match Packet::read(&mut connection.received, limits::MAX_PACKET) {
                Ok(packet) => self.handle_packet(id, packet),
                Err(Error::InsufficientBytes(_)) => return self.send_queued(),
                Err(_) => return self.close(id),
            }
        }
    }

    /// Publishes as if somebody had sent it.
    pub fn publish(&mut self, message: Publication) {
        self.publish_all(vec![message]);
    }

    /// Does what is due: gadgets speak, and whoever has been silent for too long is gone.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note(now);
        let elapsed = self.elapsed;
        let mut said = Vec::new();
        for gadget in self.gadgets.iter_mut().filter(|gadget| gadget.due() <= elapsed) {
            said.extend(gadget.handle_timeout(elapsed));
        }
        self.publish_all(said);
        let silent: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.silent_at().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        silent.into_iter().for_each(|id| self.close(id));
    }

    /// Returns when [`Broker::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gadgets = self.gadgets.iter().map(|gadget| self.began + gadget.due());
        let silent = self.connections.values().filter_map(Connection::silent_at);
        gadgets.chain(silent).min()
    }

    /// Returns the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the next message that a client has acknowledged; the oldest are forgotten where nobody asks.
    pub fn poll_acknowledged(&mut self) -> Option<Acknowledged> {
        self.acknowledged.pop_front()
    }

    /// Returns how many messages a client has not acknowledged.
    pub fn owed(&self, client: &str) -> usize {
        self.sessions.get(client).map_or(0, Session::owed)
    }

    /// Returns how many acknowledgements came that were not for the oldest message under way.
    pub const fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    fn note(&mut self, now: Instant) {
        self.elapsed = self.elapsed.max(now.saturating_duration_since(self.began));
    }

    fn handle_packet(&mut self, id: ConnectionId, packet: Packet) {
        let client = self.connections.get(&id).and_then(|c| c.client.clone());
        match (packet, client) {
            (Packet::Connect(connect), None) => self.accept(id, connect),
            (Packet::Publish(publish), Some(client)) => self.receive(id, &client, publish),
            (Packet::PubAck(PubAck { pkid }), Some(client)) => self.acknowledge(client, pkid),
            (Packet::PubRel(PubRel { pkid }), Some(client)) => {
                self.sessions.entry(client).or_default().received.remove(&pkid);
                self.send(id, &Packet::PubComp(PubComp { pkid }));
            }
            (Packet::Subscribe(subscribe), Some(client)) => self.subscribe(id, &client, subscribe),
            (Packet::Unsubscribe(unsubscribe), Some(client)) => {
                let session = self.sessions.entry(client).or_default();
                session
                    .filters
                    .retain(|filter, _| !unsubscribe.topics.contains(filter));
                self.send(id, &Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)));
            }
            (Packet::PingReq, Some(_)) => self.send(id, &Packet::PingResp),
            (Packet::Disconnect, Some(_)) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.will = None;
                }
                self.close(id);
            }
            // Nothing else comes from a client, and nothing before CONNECT.
            _ => self.close(id),
        }
    }

    fn acknowledge(&mut self, client: String, pkid: u16) {
        let message = self.sessions.entry(client).or_default().acknowledge(pkid);
        let is_in_order = message.as_ref().is_some_and(|(_, is_first)| *is_first);
        self.out_of_order += u64::from(!is_in_order);
        let Some((publish, _)) = message else { return };
        if self.acknowledged.len() >= limits::MAX_EVENTS {
            self.acknowledged.pop_front();
        }
        self.acknowledged.push_back(Acknowledged {
            topic: publish.topic,
            payload: publish.payload.to_vec(),
        });
    }

    fn accept(&mut self, id: ConnectionId, connect: Connect) {
        let name = connect.client_id.clone();
        // MQTT 3.1.1, 3.1.4: whoever comes later under the same name takes the place.
        let same = |connection: &Connection| connection.client.as_deref() == Some(&*name);
        let old = self.connections.iter().find(|(_, connection)| same(connection));
        if let Some(old) = old.map(|(old, _)| *old) {
            self.close(old);
        }
        if connect.clean_session {
            self.sessions.remove(&name);
        }
        let session_present = self.sessions.contains_key(&name);
        let session = self.sessions.entry(name.clone()).or_default();
        session.is_clean = connect.clean_session;
        let again = session.repeat();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.client = Some(name);
            connection.keep_alive = Duration::from_secs(connect.keep_alive.into());
            connection.will = connect.last_will.map(|will| Publication {
                topic: will.topic,
                payload: will.message.to_vec(),
                qos: will.qos,
                retain: will.retain,
            });
        }
        let accepted = ConnAck::new(ConnectReturnCode::Success, session_present);
        self.send(id, &Packet::ConnAck(accepted));
        again.iter().for_each(|packet| self.send(id, packet));
    }

    fn receive(&mut self, id: ConnectionId, client: &str, publish: Publish) {
        let message = Publication {
            topic: publish.topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            retain: publish.retain,
        };
        let pkid = publish.pkid;
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.send(id, &Packet::PubAck(PubAck { pkid })),
            QoS::ExactlyOnce => {
                let session = self.sessions.entry(client.to_owned()).or_default();
                let is_new = session.received.insert(pkid);
                self.send(id, &Packet::PubRec(PubRec { pkid }));
                if !is_new {
                    return;
                }
            }
        }
        self.publish_all(vec![message]);
    }

    fn subscribe(&mut self, id: ConnectionId, client: &str, subscribe: Subscribe) {
        let mut codes = Vec::new();
        let mut kept = Vec::new();
        let session = self.sessions.entry(client.to_owned()).or_default();
        for filter in subscribe.filters {
            if self.refused.contains(&filter.path) {
                codes.push(SubscribeReasonCode::Failure);
                continue;
            }
            let granted = match filter.qos {
                QoS::AtMostOnce => QoS::AtMostOnce,
                QoS::AtLeastOnce | QoS::ExactlyOnce => QoS::AtLeastOnce,
            };
            codes.push(SubscribeReasonCode::Success(granted));
            let fitting = self.retained.values().filter(|m| matches(&m.topic, &filter.path));
            kept.extend(fitting.map(|message| (message.clone(), granted)));
            session.filters.insert(filter.path, granted);
        }
        for (message, granted) in kept {
            session.push(&message, granted, true, true);
        }
        self.send(id, &Packet::SubAck(SubAck::new(subscribe.pkid, codes)));
    }

    /// Gives messages to whoever wants them, and what gadgets answer to that as well.
    fn publish_all(&mut self, said: Vec<Publication>) {
        let mut said = VecDeque::from(said);
        // A gadget answers a command once; two that answer each other for ever are a mistake of the run.
        for _ in 0..limits::MAX_EVENTS {
            let Some(message) = said.pop_front() else { break };
            self.keep(&message);
            for (client, session) in &mut self.sessions {
                let mut connections = self.connections.values();
                let is_connected = connections.any(|c| c.client.as_ref() == Some(client));
                session.offer(&message, is_connected);
            }
            for gadget in &mut self.gadgets {
                if gadget
                    .listens()
                    .iter()
                    .any(|filter| matches(&message.topic, filter))
                {
                    said.extend(gadget.handle_message(&message.topic, &message.payload, self.elapsed));
                }
            }
        }
        self.send_queued();
    }

    /// MQTT 3.1.1, 3.3.1.3: an empty payload forgets what was kept.
    fn keep(&mut self, message: &Publication) {
        if message.retain && message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else if message.retain {
            self.retained.insert(message.topic.clone(), message.clone());
        }
    }

    fn send_queued(&mut self) {
        let mut packets = Vec::new();
        for (id, connection) in &self.connections {
            let session = connection.client.as_ref().and_then(|c| self.sessions.get_mut(c));
            if let Some(session) = session {
                packets.extend(std::iter::from_fn(|| session.next()).map(|packet| (*id, packet)));
            }
        }
        packets.iter().for_each(|(id, packet)| self.send(*id, packet));
    }

    fn send(&mut self, connection: ConnectionId, packet: &Packet) {
        let mut bytes = BytesMut::new();
        if packet.write(&mut bytes, limits::MAX_PACKET).is_ok() {
            self.outputs.push_back(Output::Send {
                connection,
                bytes: bytes.to_vec(),
            });
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        self.outputs.push_back(Output::Close { connection });
        self.handle_closed(connection);
    }
}

impl Connection {
    /// MQTT 3.1.1, 3.1.2.10: one and a half times the keep-alive; 0 is never.
    fn silent_at(&self) -> Option<Instant> {
        let patience = self.keep_alive * 3 / 2;
        self.heard
            .filter(|_| !patience.is_zero())
            .map(|heard| heard + patience)
    }
}
