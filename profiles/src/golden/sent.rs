//! Golden frames of devices that send by themselves, and what is sent to them.

use lwm2m_client::Timestamp;
use serde_json::Value as Json;
use ucifi_core::Profile;
use ucifi_core::field::Frame;
use ucifi_core::profile::{Encoded, Sample};

use super::{Expected, compare, hex, name_of, shown};
use crate::profile::CompiledProfile;

/// What a device sent, and what it must say.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) frame: Frame,
    pub(crate) expect: Vec<(String, Expected)>,
    /// When the values were measured, where the test says so.
    pub(crate) measured: Option<Timestamp>,
    /// The former values of points.
    pub(crate) history: Vec<(String, Former)>,
    pub(crate) is_online: Option<bool>,
}

/// Former values of a point: how many, and the ends.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) count: usize,
    pub(crate) first: (Timestamp, Expected),
    pub(crate) last: (Timestamp, Expected),
}

impl Said {
    pub(super) fn differences(&self, profile: &CompiledProfile) -> Vec<String> {
        let meaning = match profile.decode(&self.frame) {
            Ok(meaning) => meaning,
            Err(error) => return vec![error.to_string()],
        };
        let (former, newest) = apart(&meaning.samples);
        let mut differences = compare(profile, &newest, &self.expect);
        if meaning.is_online != self.is_online {
            differences.push(format!(
                "online is {}, expected {}",
                presence(meaning.is_online),
                presence(self.is_online)
            ));
        }
        if let Some(measured) = self.measured
            && let Some(other) = newest.iter().find(|sample| sample.measured != Some(measured))
        {
            let name = name_of(profile, other.point.0);
            let found = other
                .measured
                .map_or("not said".to_owned(), |time| time.to_string());
            differences.push(format!("{name} was measured at {found}, expected {measured}"));
        }
        for (name, expected) in &self.history {
            let of_point: Vec<Sample> = former
                .iter()
                .filter(|sample| name_of(profile, sample.point.0) == name)
                .cloned()
                .collect();
            differences.extend(expected.differences(name, &of_point));
        }
        let untold = |sample: &&Sample| {
            let name = name_of(profile, sample.point.0);
            self.history.iter().all(|(known, _)| known != name)
        };
        if let Some(sample) = former.iter().find(untold) {
            let name = name_of(profile, sample.point.0);
            differences.push(format!(
                "the frame also has former values of {name}: write history"
            ));
        }
        differences
    }
}

/// Takes the last value of each point apart from those before it.
fn apart(samples: &[Sample]) -> (Vec<Sample>, Vec<Sample>) {
    let (mut former, mut newest) = (Vec::new(), Vec::new());
    for (index, sample) in samples.iter().enumerate() {
        let later = samples.get(index + 1..).unwrap_or(&[]);
        if later.iter().any(|later| later.point == sample.point) {
            former.push(sample.clone());
        } else {
            newest.push(sample.clone());
        }
    }
    (former, newest)
}

fn presence(is_online: Option<bool>) -> &'static str {
    match is_online {
        Some(true) => "true",
        Some(false) => "false",
        None => "not said",
    }
}

impl Former {
    fn differences(&self, name: &str, found: &[Sample]) -> Vec<String> {
        if found.len() != self.count {
            return vec![format!(
                "{name} has {} former values, expected {}",
                found.len(),
                self.count
            )];
        }
        let ends = [(found.first(), &self.first), (found.last(), &self.last)];
        ends.into_iter()
            .filter_map(|(found, (time, expected))| {
                let found = found?;
                let is_right = found.measured == Some(*time) && expected.matches(&found.decoded);
                (!is_right).then(|| {
                    let at = found.measured.map_or(String::new(), |time| time.to_string());
                    format!(
                        "{name} was {} at {at}, expected {expected} at {time}",
                        shown(&found.decoded)
                    )
                })
            })
            .collect()
    }
}

/// What must be sent for a command.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Downlink { port: u8, payload: Vec<u8> },
    Publish { topic: String, payload: String },
}

impl Sent {
    pub(super) fn differences(&self, encoded: &Encoded) -> Vec<String> {
        match (self, &encoded.frame) {
            (Self::Downlink { port, payload }, Frame::LoRaWanCommand(command)) => {
                if command.f_port == *port && command.payload == *payload {
                    return Vec::new();
                }
                vec![format!(
                    "port {} gets {}, expected {} on port {port}",
                    command.f_port,
                    hex(&command.payload),
                    hex(payload)
                )]
            }
            (Self::Publish { topic, payload }, Frame::MqttPublish(publish)) => {
                let mut differences = Vec::new();
                if publish.topic.device(topic).is_none() {
                    differences.push(format!("the topic is {}, expected {topic}", publish.topic.text()));
                }
                let sent = String::from_utf8_lossy(&publish.payload);
                if !is_same(&sent, payload) {
                    differences.push(format!("the payload is {sent}, expected {payload}"));
                }
                differences
            }
            (Self::Downlink { .. } | Self::Publish { .. }, _) => {
                vec!["the command goes over another protocol".to_owned()]
            }
        }
    }
}

/// JSON texts are the same where their values are.
fn is_same(a: &str, b: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Json>(text).ok();
    a == b || json(a).zip(json(b)).is_some_and(|(a, b)| a == b)
}
