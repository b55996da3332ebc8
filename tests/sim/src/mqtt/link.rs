//! The gateway's MQTT engine at a simulated broker, without sockets: what `io` and rumqttc do in the gateway, in one
//! thread and in simulated time.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, Packet, PubAck, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use ucifi_adapters::mqtt::{Action, Client, Message};
use ucifi_core::Now;
use ucifi_core::field::{DownlinkId, Qos};

use super::broker::{Broker, ConnectionId, Output};
use crate::limits;

/// A connection of the engine to the broker, or none.
#[derive(Debug)]
pub struct Link {
    client_id: String,
    connection: Option<ConnectionId>,
    received: BytesMut,
    last_packet_id: u16,
    published: BTreeMap<u16, DownlinkId>,
    /// Whether the broker can be reached.
    pub is_up: bool,
}

impl Link {
    /// Makes a link that connects under this name.
    pub fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            connection: None,
            received: BytesMut::new(),
            last_packet_id: 0,
            published: BTreeMap::new(),
            is_up: true,
        }
    }

    /// Carries everything between the two until both are quiet.
    pub fn run(&mut self, client: &mut Client, broker: &mut Broker, now: Now) {
        loop {
            let mut is_quiet = true;
            while let Some(action) = client.poll_action() {
                is_quiet = false;
                self.act(action, client, broker, now.instant);
            }
            while let Some(output) = broker.poll_output() {
                is_quiet = false;
                self.take(output, client, now);
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Pulls the plug: what is on its way is lost.
    pub fn cut(&mut self, client: &mut Client, broker: &mut Broker, now: Instant) {
        self.lose(broker);
        client.handle_disconnected("the line was cut", now);
    }

    /// Forgets the connection, as when the gateway ends without a word.
    pub fn lose(&mut self, broker: &mut Broker) {
        if let Some(connection) = self.connection.take() {
            broker.handle_closed(connection);
        }
        self.received.clear();
        self.published.clear();
        while broker.poll_output().is_some() {}
    }

    fn act(&mut self, action: Action, client: &mut Client, broker: &mut Broker, now: Instant) {
        let packet = match action {
            Action::Connect if self.is_up => {
                self.connection = Some(broker.handle_opened(now));
                let mut connect = Connect::new(&self.client_id);
                connect.clean_session = false;
                connect.keep_alive = 0;
                Packet::Connect(connect)
            }
            Action::Connect => return client.handle_disconnected("nobody answers", now),
            Action::Disconnect { .. } => return self.cut(client, broker, now),
            Action::Subscribe { filters } => {
                let filters = filters.into_iter();
                let mut subscribe =
                    Subscribe::new_many(filters.map(|(topic, qos)| SubscribeFilter::new(topic, theirs(qos))));
                subscribe.pkid = self.packet_id();
                Packet::Subscribe(subscribe)
            }
            Action::Acknowledge { packet_id, .. } => Packet::PubAck(PubAck { pkid: packet_id }),
            Action::Publish {
                id,
                topic,
                payload,
                qos,
                retain,
            } => {
                let mut publish = Publish::new(topic, theirs(qos), payload);
                publish.retain = retain;
                if qos == Qos::AtMostOnce {
                    client.handle_published(id, Ok(()), now);
                } else {
                    publish.pkid = self.packet_id();
                    self.published.insert(publish.pkid, id);
                }
                Packet::Publish(publish)
            }
        };
        self.send(&packet, broker, now);
    }

    fn send(&self, packet: &Packet, broker: &mut Broker, now: Instant) {
        let mut bytes = BytesMut::new();
        let written = packet.write(&mut bytes, limits::MAX_PACKET);
        if let (Some(connection), Ok(_)) = (self.connection, written) {
            broker.handle_bytes(connection, &bytes, now);
        }
    }

    fn take(&mut self, output: Output, client: &mut Client, now: Now) {
        match output {
            Output::Send { connection, bytes } if self.connection == Some(connection) => {
                self.received.extend_from_slice(&bytes);
                while let Ok(packet) = Packet::read(&mut self.received, limits::MAX_PACKET) {
                    self.handle_packet(packet, client, now);
                }
            }
            Output::Close { connection } if self.connection == Some(connection) => {
                self.connection = None;
                self.received.clear();
                client.handle_disconnected("the broker closed it", now.instant);
            }
            Output::Send { .. } | Output::Close { .. } => {}
        }
    }

    fn handle_packet(&mut self, packet: Packet, client: &mut Client, now: Now) {
        match packet {
            Packet::ConnAck(accepted) => client.handle_connected(accepted.session_present, now.instant),
            Packet::Publish(publish) => client.handle_message(message(publish), now),
            Packet::SubAck(answer) => {
                let codes = answer.return_codes.into_iter();
                let answers = codes.map(|code| match code {
                    SubscribeReasonCode::Success(_) => Ok(()),
                    SubscribeReasonCode::Failure => Err("refused".to_owned()),
                });
                client.handle_subscribed(answers.collect(), now.instant);
            }
            Packet::PubAck(PubAck { pkid }) => {
                if let Some(id) = self.published.remove(&pkid) {
                    client.handle_published(id, Ok(()), now.instant);
                }
            }
            Packet::Connect(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect => {}
        }
    }

    const fn packet_id(&mut self) -> u16 {
        self.last_packet_id = self.last_packet_id % u16::MAX + 1;
        self.last_packet_id
    }
}

fn message(publish: Publish) -> Message {
    Message {
        topic: publish.topic,
        payload: publish.payload.to_vec(),
        qos: match publish.qos {
            QoS::AtMostOnce => Qos::AtMostOnce,
            QoS::AtLeastOnce => Qos::AtLeastOnce,
            QoS::ExactlyOnce => Qos::ExactlyOnce,
        },
        retain: publish.retain,
        dup: publish.dup,
        packet_id: publish.pkid,
    }
}

const fn theirs(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
