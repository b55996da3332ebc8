//! MQTT 5: rumqttc's types and ours.

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, Packet, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::{Event, MqttOptions};
use ucifi_core::field::{Qos, Refusal};

use super::super::{Message, limits};
use super::Options;
use super::connection::FromConnection;

/// MQTT 5, 3.1.2.11.2: the session never ends by itself.
const KEEP_SESSION: u32 = u32::MAX;

pub(super) fn options(options: &Options) -> MqttOptions {
    let address = &options.address;
    let mut made = MqttOptions::new(&options.client_id, &address.host, address.port);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(KEEP_SESSION);
    properties.receive_maximum = Some(options.receive_window.max(1));
    properties.max_packet_size = u32::try_from(limits::PACKET_BYTES).ok();
    made.set_keep_alive(options.keep_alive())
        .set_clean_start(false)
        .set_manual_acks(true)
        .set_connect_properties(properties)
        .set_outgoing_inflight_upper_limit(PACKET_IDS);
    if let Some(credentials) = &options.credentials {
        made.set_credentials(&credentials.username, &credentials.password);
    }
    made
}

/// Packet identifiers that rumqttc keeps room for; the client has far fewer publishes under way.
const PACKET_IDS: u16 = 100;

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
            outcome: outcome(&acknowledgement),
        }),
        Packet::Auth(_)
        | Packet::Connect(..)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq(_)
        | Packet::PingResp(_)
        | Packet::Disconnect(_) => None,
    }
}

fn answer(code: SubscribeReasonCode) -> Result<(), String> {
    if let SubscribeReasonCode::Success(_) = code {
        return Ok(());
    }
    Err(format!("{code:?}"))
}

/// MQTT 5, 3.4.2.1: codes from 0x80 on refuse the publish.
fn outcome(acknowledgement: &PubAck) -> Result<(), Refusal> {
    let code = match acknowledgement.reason {
        // That nobody listens at the moment is no refusal: the device may be asleep.
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return Ok(()),
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    };
    let properties = acknowledgement.properties.as_ref();
    let said = properties.and_then(|properties| properties.reason_string.clone());
    Err(Refusal {
        code,
        text: said.unwrap_or_else(|| format!("the broker says {:?}", acknowledgement.reason)),
    })
}

fn message(publish: Publish) -> Message {
    Message {
        // A topic that is no UTF-8 belongs to no device.
        topic: String::from_utf8(publish.topic.to_vec()).unwrap_or_default(),
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
    let mut publish = Publish::new("", qos(of), Vec::new(), None);
    publish.pkid = packet_id;
    publish
}

pub(super) fn filters(filters: Vec<(String, Qos)>) -> Vec<Filter> {
    let made = filters.into_iter();
    made.map(|(topic, of)| Filter::new(topic, qos(of))).collect()
}

pub(super) const fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
