//! What the messages of a device behind an MQTT broker mean.
//!
//! A message may carry a part of what a topic can carry: what is not in it says nothing.

use std::cell::LazyCell;
use std::ops::Deref;

use serde_json::Value as Json;
use ucifi_core::field::{MqttMessage, PointId, Subscription, TopicId};
use ucifi_core::profile::{Decoded, Meaning, Sample};

use crate::json::{JsonPath, JsonTime, Leaf, LeafCondition, LeafMeaning};
use crate::limits::MAX_MESSAGE_BYTES;
use crate::payload::Payload;

/// What a kind of device publishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    pub(crate) topics: Vec<Subscription>,
    pub(crate) sources: Vec<Source>,
    pub(crate) availability: Option<Availability>,
}

/// What one topic says, or says under a condition.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) topic: TopicId,
    pub(crate) form: Form,
}

/// How a message is written.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    Json {
        when: Option<LeafCondition>,
        time: Option<JsonTime>,
        points: Vec<JsonPoint>,
    },
    /// The payload is one value.
    Text(Vec<(PointId, LeafMeaning)>),
    Bytes(Box<Payload>),
}

/// A point and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct JsonPoint {
    pub(crate) point: PointId,
    pub(crate) path: JsonPath,
    pub(crate) meaning: LeafMeaning,
}

/// A topic under which somebody says whether the device is there.
#[derive(Clone, Debug)]
pub(crate) struct Availability {
    pub(crate) topic: TopicId,
    /// Where it stands in a JSON text; none takes the whole payload.
    pub(crate) path: Option<JsonPath>,
    pub(crate) online: String,
    pub(crate) offline: String,
}

impl Messages {
    /// Returns what a message says; none if it is none of this kind of device.
    pub(crate) fn decode(&self, message: &MqttMessage) -> Option<Meaning> {
        let is_known_topic = self.topics.get(usize::from(message.topic.0)).is_some();
        // MQTT 3.1.1, 3.3.1.3: an empty message takes a retained one away; it says nothing.
        if message.payload.is_empty() && is_known_topic {
            return Some(Meaning::default());
        }
        if message.payload.len() > MAX_MESSAGE_BYTES {
            return None;
        }
        let availability = self.availability.as_ref().filter(|a| a.topic == message.topic);
        let is_online = availability.and_then(|availability| availability.read(&message.payload));
        let mut meaning = Meaning {
            samples: Vec::new(),
            is_online,
        };
        // Read once for all sources; serde_json refuses what is nested more than 128 levels deep.
        let json = LazyCell::new(|| serde_json::from_slice(&message.payload).ok());
        let mut is_known = is_online.is_some();
        for source in self.sources.iter().filter(|source| source.topic == message.topic) {
            if let Some(samples) = source.form.decode(&message.payload, &json) {
                is_known = true;
                let known = meaning.samples.len();
                for sample in samples {
                    let first = meaning.samples.get(..known).unwrap_or(&[]);
                    if first.iter().all(|known| known.point != sample.point) {
                        meaning.samples.push(sample);
                    }
                }
            }
        }
        is_known.then_some(meaning)
    }
}

impl Availability {
    fn read(&self, payload: &[u8]) -> Option<bool> {
        let json: Option<Json> = serde_json::from_slice(payload).ok();
        let at_path = self.path.as_ref().zip(json.as_ref());
        let word = match at_path.and_then(|(path, json)| path.find(json)) {
            Some(Json::String(word)) => word.clone(),
            Some(other) => other.to_string(),
            None => std::str::from_utf8(payload).ok()?.trim().to_owned(),
        };
        match () {
            () if word == self.online => Some(true),
            () if word == self.offline => Some(false),
            () => None,
        }
    }
}

impl Form {
    /// Returns what the payload says; none if it is written otherwise.
    fn decode(&self, payload: &[u8], json: &dyn Deref<Target = Option<Json>>) -> Option<Vec<Sample>> {
        match self {
            Self::Json { when, time, points } => {
                let json = json.deref().as_ref()?;
                if when.as_ref().is_some_and(|when| !when.holds(json)) {
                    return Some(Vec::new());
                }
                let measured = time.as_ref().and_then(|time| time.read(json));
                let read = |point: &JsonPoint| {
                    let leaf = point.path.find(json)?;
                    let decoded = match Leaf::of(leaf) {
                        Some(leaf) => point.meaning.of(&leaf),
                        None => Decoded::Fault("a list or an object is no value".to_owned()),
                    };
                    Some(Sample {
                        point: point.point,
                        decoded,
                        measured,
                    })
                };
                Some(points.iter().filter_map(read).collect())
            }
            Self::Text(points) => {
                let leaf = Leaf::Text(std::str::from_utf8(payload).ok()?.trim());
                let read = |(point, meaning): &(PointId, LeafMeaning)| Sample::now(*point, meaning.of(&leaf));
                Some(points.iter().map(read).collect())
            }
            Self::Bytes(layout) => layout.is(payload).then(|| layout.decode(payload)),
        }
    }
}
