//! Which topic belongs to which device.

use std::collections::BTreeMap;
use std::sync::Arc;

use ucifi_core::field::{Qos, TopicId, TopicTemplate};

use super::broker::{BrokerConfig, ConfigError};
use super::limits;

/// The topics of all devices of a broker.
#[derive(Debug)]
pub(super) struct Routes {
    exact: BTreeMap<Arc<str>, Route>,
    discovery: Vec<TopicTemplate>,
}

/// Where the messages of a topic go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The place of the device in the configuration.
    pub(super) device: usize,
    pub(super) topic: TopicId,
    qos: Qos,
}

impl Routes {
    /// Checks what the types leave open.
    pub(super) fn new(config: &BrokerConfig) -> Result<Self, ConfigError> {
        let broker = &config.name;
        at_most(broker, "devices", config.devices.len(), limits::DEVICES)?;
        at_most(
            broker,
            "discovery topics",
            config.discovery.len(),
            limits::DISCOVERIES,
        )?;
        if config.receive_window == 0 {
            return Err(ConfigError::NoWindow {
                broker: broker.clone(),
            });
        }
        for template in &config.discovery {
            if !is_whole_level(template) {
                return Err(ConfigError::Discovery {
                    broker: broker.clone(),
                    topic: template.text(),
                });
            }
        }
        let mut routes = Self {
            exact: BTreeMap::new(),
            discovery: config.discovery.clone(),
        };
        for place in 0..config.devices.len() {
            routes.add(config, place)?;
        }
        Ok(routes)
    }

    fn add(&mut self, config: &BrokerConfig, place: usize) -> Result<(), ConfigError> {
        let Some(added) = config.devices.get(place) else {
            return Ok(());
        };
        let broker = &config.name;
        if added.device.is_empty() || added.device.contains(['+', '#', '\0']) {
            return Err(ConfigError::Device {
                broker: broker.clone(),
                device: added.device.clone(),
            });
        }
        at_most(broker, "topics of a device", added.topics.len(), limits::FILTERS)?;
        for (id, subscription) in (0..).zip(&added.topics) {
            let topic = subscription.topic.of(&added.device);
            if topic.len() > limits::TOPIC_BYTES {
                return Err(ConfigError::LongTopic {
                    broker: broker.clone(),
                    topic,
                });
            }
            let route = Route {
                device: place,
                topic: TopicId(id),
                qos: receivable(subscription.qos),
            };
            if let Some(other) = self.exact.insert(topic.as_str().into(), route) {
                let first = config.devices.get(other.device);
                return Err(ConfigError::SharedTopic {
                    broker: broker.clone(),
                    topic,
                    first: first.map_or_else(|| added.device.clone(), |d| d.device.clone()),
                    second: added.device.clone(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn find(&self, topic: &str) -> Option<Route> {
        self.exact.get(topic).copied()
    }

    /// Returns the device that a topic of no configured one would be of.
    pub(super) fn unknown<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let mut devices = self.discovery.iter().filter_map(|t| t.device(topic));
        devices.find(|device| !device.contains('/'))
    }

    /// Returns what is to be subscribed to when `done` topics are, as much as one SUBSCRIBE takes.
    pub(super) fn filters_after(&self, done: usize) -> Vec<(String, Qos)> {
        let exact = self
            .exact
            .iter()
            .map(|(topic, route)| (topic.to_string(), route.qos));
        exact
            .chain(self.discovery_filters())
            .skip(done)
            .take(limits::FILTERS)
            .collect()
    }

    /// What unknown devices say is not kept, so that it is not worth an acknowledgement.
    fn discovery_filters(&self) -> impl Iterator<Item = (String, Qos)> {
        self.discovery.iter().map(|t| (t.of("+"), Qos::AtMostOnce))
    }
}

/// Returns the QoS that is asked for. QoS 2 promises that nothing comes twice, which needs packet identifiers that
/// outlive a crash on this side as well; a repeated reading has the same value, so that QoS 1 serves as well.
fn receivable(qos: Qos) -> Qos {
    qos.min(Qos::AtLeastOnce)
}

/// MQTT 3.1.1, 4.7.1.3: the wildcard takes a whole level.
fn is_whole_level(template: &TopicTemplate) -> bool {
    template.of("+").split('/').any(|level| level == "+")
}

fn at_most(broker: &Arc<str>, what: &'static str, count: usize, max: usize) -> Result<(), ConfigError> {
    if count > max {
        return Err(ConfigError::TooMany {
            broker: broker.clone(),
            what,
            count,
            max,
        });
    }
    Ok(())
}
