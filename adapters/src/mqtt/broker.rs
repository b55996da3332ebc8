//! What a broker is configured with, what its client wants done and what it tells.

use std::sync::Arc;

use ucifi_core::Uplink;
use ucifi_core::field::{
    Delivery, DownlinkId, Link, Qos, Reachability, ReceiptId, Subscription, TopicTemplate,
};

use super::limits;

/// One broker and the devices behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// The name of the broker in the configuration.
    pub name: Arc<str>,
    /// Its number among all that give receipts in this process; see [`place_of`].
    pub place: u16,
    /// How many messages the broker may have under way unacknowledged: told to it by MQTT 5. For 3.1.1 it is what the
    /// broker is set to, and matters only where that is below 10 (`max_inflight_messages` of mosquitto).
    pub receive_window: u16,
    /// Whether commands reach its devices.
    pub writes: Writes,
    /// Whose topics are subscribed to.
    pub devices: Vec<DeviceConfig>,
    /// Where unknown devices are looked for: the device stands for one whole level of the topic.
    pub discovery: Vec<TopicTemplate>,
}

/// Whether commands reach the devices of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// They do.
    Allow,
    /// None does, whatever the profile maps.
    Deny,
}

/// A device behind a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// What stands for it in its topics; it may have several levels.
    pub device: Arc<str>,
    /// Its topics, in the order that [`ucifi_core::field::TopicId`] counts.
    pub topics: Vec<Subscription>,
}

/// A message as the broker sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic it was published under.
    pub topic: String,
    /// What was published.
    pub payload: Vec<u8>,
    /// How it is delivered.
    pub qos: Qos,
    /// Whether the broker kept it from before the subscription.
    pub retain: bool,
    /// Whether it may have been sent before.
    pub dup: bool,
    /// The packet identifier; 0 for QoS 0.
    pub packet_id: u16,
}

/// What is to be done on the connection, in the order in which it is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect: [`super::Client::handle_connected`] or [`super::Client::handle_disconnected`] says how it went.
    Connect,
    /// Drop the connection; [`super::Client::handle_disconnected`] is to be told.
    Disconnect {
        /// What is wrong with it.
        reason: String,
    },
    /// Send a SUBSCRIBE; [`super::Client::handle_subscribed`] is to be told the answer.
    Subscribe {
        /// Topic filters and the best delivery asked for.
        filters: Vec<(String, Qos)>,
    },
    /// Send PUBACK for a message of QoS 1, PUBREC for one of QoS 2.
    Acknowledge {
        /// The packet identifier of the message.
        packet_id: u16,
        /// Its QoS.
        qos: Qos,
    },
    /// Send a PUBLISH; [`super::Client::handle_published`] is to be told when it is written (QoS 0) or acknowledged.
    Publish {
        /// Its name.
        id: DownlinkId,
        /// The topic.
        topic: String,
        /// The payload.
        payload: Vec<u8>,
        /// How it is to be delivered.
        qos: Qos,
        /// Whether the broker keeps it.
        retain: bool,
    },
}

/// What the client has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A device said something.
    Uplink(Uplink),
    /// A downlink came to its end.
    Delivery {
        /// Which one.
        id: DownlinkId,
        /// What became of it.
        delivery: Delivery,
    },
    /// A device was heard, or cannot be.
    Reachability {
        /// Which one.
        link: Link,
        /// Which of the two.
        reachability: Reachability,
    },
    /// The broker does not let the gateway hear a topic of a device.
    SubscriptionRefused {
        /// The device; none for a topic under which unknown devices are looked for.
        link: Option<Link>,
        /// The topic.
        topic: String,
        /// What the broker said.
        reason: String,
    },
    /// A device that is not configured was heard for the first time.
    Unknown {
        /// What stands for it in the topic.
        device: Arc<str>,
        /// The topic.
        topic: String,
    },
}

/// Why a broker cannot be used as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A device that cannot stand in a topic.
    #[error(
        "broker {broker}: device {device:?} cannot stand in a topic: it needs a name without +, # and NUL"
    )]
    Device {
        /// The broker.
        broker: Arc<str>,
        /// The device.
        device: Arc<str>,
    },
    /// A topic that is too long.
    #[error(
        "broker {broker}: topic {topic} has more than {} bytes, choose a shorter one",
        limits::TOPIC_BYTES
    )]
    LongTopic {
        /// The broker.
        broker: Arc<str>,
        /// The topic.
        topic: String,
    },
    /// Two devices that would get the same messages.
    #[error(
        "broker {broker}: devices {first} and {second} share the topic {topic}, give each device its own name"
    )]
    SharedTopic {
        /// The broker.
        broker: Arc<str>,
        /// The topic.
        topic: String,
        /// A device.
        first: Arc<str>,
        /// Another one.
        second: Arc<str>,
    },
    /// A discovery topic in which the device is no whole level.
    #[error("broker {broker}: in the discovery topic {topic} {{device}} must stand alone between slashes")]
    Discovery {
        /// The broker.
        broker: Arc<str>,
        /// The topic as it was written.
        topic: String,
    },
    /// More than can be served.
    #[error("broker {broker}: {count} {what}, at most {max} can be served")]
    TooMany {
        /// The broker.
        broker: Arc<str>,
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A window through which nothing fits.
    #[error("broker {broker}: receive_window is 0, set it to 1 or more")]
    NoWindow {
        /// The broker.
        broker: Arc<str>,
    },
}

/// Returns the number of the broker that a receipt is of: the upper 16 bits, so that the receipts of several brokers
/// never meet.
pub const fn place_of(receipt: ReceiptId) -> u16 {
    (receipt.0 >> PLACE_SHIFT) as u16
}

/// Receipts of one broker count in the bits below: some thousand years of messages.
pub(super) const PLACE_SHIFT: u32 = 48;
