//! MQTT 3.1.1: rumqttc's types and ours.

use rumqttc::mqttbytes::v4::{ConnAck, Publish, SubAck, SubscribeReasonCode};
use rumqttc::{Event, MqttOptions, Outgoing, Packet, QoS, SubscribeFilter};
use ucifi_core::field::Qos;

use super::super::{Message, limits};
use super::Options;
use super::connection::FromConnection;

pub(super) fn options(options: &Options) -> MqttOptions {
    let address = &options.address;
    let mut made = MqttOptions::new(&options.client_id, &address.host, address.port);
    made.set_keep_alive(options.keep_alive())
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_max_packet_size(limits::PACKET_BYTES, limits::PACKET_BYTES);
    if let Some(credentials) = &options.credentials {
        made.set_credentials(&credentials.username, &credentials.password);
    }
    made
}

/// Returns what an event means here; none where it means nothing.
pub(super) fn plain(event: Event) -> Option<FromConnection> {
    match event {
        Event::Incoming(packet) => incoming(packet),
        Event::Outgoing(Outgoing::Publish(packet_id)) => Some(FromConnection::Written { packet_id }),
        Event::Outgoing(_) => None,
    }
}

fn incoming(packet: Packet) -> Option<FromConnection> {
    match packet {
        Packet::ConnAck(ConnAck { session_present, .. }) => Some(FromConnection::Connected {
            is_session_present: session_present,
        }),
        Packet::Publish(publish) => Some(FromConnection::Message(message(publish))),
        Packet::SubAck(SubAck { return_codes, .. }) => Some(FromConnection::Subscribed(
            return_codes.into_iter().map(answer).collect(),
        )),
        Packet::PubAck(acknowledgement) => Some(FromConnection::Published {
            packet_id: acknowledgement.pkid,
            outcome: Ok(()),
        }),
        Packet::Connect(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect => None,
    }
}

fn answer(code: SubscribeReasonCode) -> Result<(), String> {
    match code {
        SubscribeReasonCode::Success(_) => Ok(()),
        SubscribeReasonCode::Failure => Err("refused without a reason, as by an access list".to_owned()),
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

/// Returns what rumqttc wants to see of a message that is to be acknowledged.
pub(super) fn received(packet_id: u16, of: Qos) -> Publish {
    let mut publish = Publish::new("", qos(of), []);
    publish.pkid = packet_id;
    publish
}

pub(super) fn filters(filters: Vec<(String, Qos)>) -> Vec<SubscribeFilter> {
    let made = filters.into_iter();
    made.map(|(topic, of)| SubscribeFilter::new(topic, qos(of)))
        .collect()
}

pub(super) const fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
