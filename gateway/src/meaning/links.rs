//! What the brokers and the radio network of a configuration come to, and where commands are refused.

use serde_json::{Value as Json, json};
use ucifi_core::Profile;
use ucifi_core::field::{Link, Qos};

use crate::config::{Activation, Broker, Configuration, Device, LoRaWan};

/// A broker.
#[derive(Clone, Debug)]
pub struct BrokerMeaning {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub uri: String,
    /// The version of MQTT.
    pub version: &'static str,
    /// As whom the gateway logs in; none where anybody may.
    pub username: Option<String>,
    /// What the gateway calls itself there.
    pub client_id: String,
    /// Whether anything may be published.
    pub writes: bool,
    /// How many devices publish to it.
    pub devices: usize,
    /// What it is subscribed to.
    pub topics: Vec<TopicMeaning>,
}

/// A topic that is subscribed to.
#[derive(Clone, Debug)]
pub struct TopicMeaning {
    /// The device that it belongs to.
    pub device: String,
    /// The topic.
    pub topic: String,
    /// QoS 0, 1 or 2.
    pub qos: u8,
}

/// The radio network.
#[derive(Clone, Debug)]
pub struct LoRaWanMeaning {
    /// Its region.
    pub region: &'static str,
    /// Where forwarders send to.
    pub listen: String,
    /// The EUIs of those that are listened to; all where there is none.
    pub forwarders: Vec<String>,
    /// Whether commands may be sent.
    pub writes: bool,
    /// Its devices.
    pub devices: Vec<RadioDeviceMeaning>,
}

/// A device of the radio network.
#[derive(Clone, Debug)]
pub struct RadioDeviceMeaning {
    /// Its id.
    pub device: String,
    /// Its DevEUI.
    pub dev_eui: String,
    /// `OTAA` or `ABP`.
    pub activation: &'static str,
    /// `A` or `C`.
    pub class: &'static str,
    /// How often it is expected to send, in seconds; it counts as unreachable after three of these.
    pub uplink_every_secs: u32,
}

impl BrokerMeaning {
    pub(super) fn to_json(&self) -> Json {
        let topic =
            |topic: &TopicMeaning| json!({ "device": topic.device, "topic": topic.topic, "qos": topic.qos });
        json!({
            "name": self.name,
            "uri": self.uri,
            "version": self.version,
            "username": self.username,
            "client_id": self.client_id,
            "writes": self.writes,
            "devices": self.devices,
            "topics": self.topics.iter().map(topic).collect::<Vec<_>>(),
        })
    }
}

impl LoRaWanMeaning {
    pub(super) fn to_json(&self) -> Json {
        let device = |device: &RadioDeviceMeaning| {
            json!({
                "device": device.device,
                "dev_eui": device.dev_eui,
                "activation": device.activation,
                "class": device.class,
                "uplink_every_secs": device.uplink_every_secs,
            })
        };
        json!({
            "region": self.region,
            "listen": self.listen,
            "forwarders": self.forwarders,
            "writes": self.writes,
            "devices": self.devices.iter().map(device).collect::<Vec<_>>(),
        })
    }
}

pub(super) fn broker_meaning(broker: &Broker, configuration: &Configuration) -> BrokerMeaning {
    BrokerMeaning {
        name: broker.name.to_string(),
        uri: broker.uri.text.clone(),
        version: broker.version.name(),
        username: broker.login.as_ref().map(|login| login.username.clone()),
        client_id: broker.client_id(&configuration.gateway.name),
        writes: broker.writes,
        devices: on_broker(broker, configuration).count(),
        topics: on_broker(broker, configuration)
            .flat_map(|(device, name)| topics_of(device, name))
            .collect(),
    }
}

/// Returns the devices behind a broker, each with what stands for it in its topics.
pub(super) fn on_broker<'c>(
    broker: &'c Broker,
    configuration: &'c Configuration,
) -> impl Iterator<Item = (&'c Device, &'c str)> {
    configuration
        .devices
        .iter()
        .filter_map(|device| match &device.link {
            Link::Mqtt {
                broker: name,
                device: topic,
            } if *name == broker.name => Some((device, &**topic)),
            Link::Mqtt { .. } | Link::Modbus { .. } | Link::LoRaWan { .. } => None,
        })
}

fn topics_of(device: &Device, name: &str) -> Vec<TopicMeaning> {
    let topics = device.profile.topics().iter();
    let topic = topics.map(|subscription| TopicMeaning {
        device: device.id.to_string(),
        topic: subscription.topic.of(name),
        qos: match subscription.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        },
    });
    topic.collect()
}

pub(super) fn lorawan_meaning(lorawan: &LoRaWan, configuration: &Configuration) -> LoRaWanMeaning {
    LoRaWanMeaning {
        region: lorawan.region.name(),
        listen: lorawan.listen.to_string(),
        forwarders: lorawan.forwarders.iter().map(ToString::to_string).collect(),
        writes: lorawan.writes,
        devices: configuration.devices.iter().filter_map(radio_device).collect(),
    }
}

fn radio_device(device: &Device) -> Option<RadioDeviceMeaning> {
    let Link::LoRaWan { dev_eui } = &device.link else {
        return None;
    };
    let traits = device.profile.lorawan()?;
    Some(RadioDeviceMeaning {
        device: device.id.to_string(),
        dev_eui: dev_eui.to_string(),
        activation: match device.activation.as_ref()? {
            Activation::Otaa { .. } => "OTAA",
            Activation::Abp { .. } => "ABP",
        },
        class: traits.class.name(),
        uplink_every_secs: traits.uplink_every_secs,
    })
}

pub(super) fn radio_warnings(configuration: &Configuration) -> Vec<String> {
    let Some(lorawan) = &configuration.lorawan else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if configuration
        .devices
        .iter()
        .all(|device| radio_device(device).is_none())
    {
        warnings.push("[lorawan] has no device".to_owned());
    }
    if lorawan.forwarders.is_empty() && !lorawan.listen.ip().is_loopback() {
        warnings.push(format!(
            "[lorawan] listens on {} and names no forwarders: whoever can send there is taken for one",
            lorawan.listen
        ));
    }
    warnings
}

/// A device that can be switched, where nothing may be written, is rarely what is meant.
pub(super) fn denied_commands(configuration: &Configuration) -> Vec<String> {
    let buses = configuration
        .buses
        .iter()
        .map(|bus| (format!("bus {}", bus.name), bus.writes));
    let brokers = configuration
        .brokers
        .iter()
        .map(|broker| (format!("broker {}", broker.name), broker.writes));
    let lorawan = configuration
        .lorawan
        .iter()
        .map(|lorawan| ("[lorawan]".to_owned(), lorawan.writes));
    let denying = buses.chain(brokers).chain(lorawan).filter(|(_, writes)| !writes);
    denying
        .filter_map(|(place, _)| denied_at(&place, configuration))
        .collect()
}

fn denied_at(place: &str, configuration: &Configuration) -> Option<String> {
    let is_there = |device: &&Device| place_of(&device.link) == place;
    let takes_commands = |device: &&Device| device.profile.command_paths().next().is_some();
    let devices = configuration
        .devices
        .iter()
        .filter(is_there)
        .filter(takes_commands);
    let ids: Vec<&str> = devices.map(|device| &*device.id).collect();
    let what = place.split_once(' ').map_or(place, |(kind, _)| kind);
    let said = if what == place {
        place.to_owned()
    } else {
        format!("the {what}")
    };
    let message = format!(
        "{} on {place} can be commanded, but {said} says writes = \"deny\": every command will be refused",
        ids.join(", ")
    );
    (!ids.is_empty()).then_some(message)
}

fn place_of(link: &Link) -> String {
    match link {
        Link::Modbus { bus, .. } => format!("bus {bus}"),
        Link::Mqtt { broker, .. } => format!("broker {broker}"),
        Link::LoRaWan { .. } => "[lorawan]".to_owned(),
    }
}
