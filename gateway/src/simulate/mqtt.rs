//! A device behind an MQTT broker.

use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::Timestamp;
use tokio::sync::mpsc;
use ucifi_core::Profile;
use ucifi_core::field::{Frame, MqttMessage, TopicId};
use ucifi_profiles::CompiledProfile;
use ucifi_sim::mqtt::gadgets::{TasmotaPlug, Zigbee2MqttLamp};
use ucifi_sim::mqtt::remote::{AGAIN, News, Place, run};
use ucifi_sim::mqtt::{Gadget, Publication};

use super::report::{Report, Setup};
use crate::cli::SimulateOptions;
use crate::config::BrokerUri;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupt;
use crate::limits::SIMULATED_NEWS;

/// What a plug has in it, in W.
const WATTS: f64 = 42.0;

pub(super) async fn play(
    profile: &Arc<CompiledProfile>,
    options: &SimulateOptions,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let uri = options.broker.as_deref().unwrap_or("mqtt://127.0.0.1:1883");
    let uri = BrokerUri::parse(uri)
        .map_err(|(reason, help)| Failure::new(ExitStatus::Usage, format!("--broker {reason}: {help}")))?;
    let device = options.device.as_deref().unwrap_or("mqtt-1");
    if device.is_empty() || device.contains(['+', '#', '\0']) {
        let message = format!("--device {device:?} cannot stand in a topic: no +, # and not empty");
        return Err(Failure::new(ExitStatus::Usage, message));
    }
    let every = options
        .every
        .map_or_else(|| usual_interval(profile), Duration::from_secs);
    let (gadget, is_played) = gadget_of(profile, device, every)?;
    report.begin(&setup(profile, &uri, device, every))?;
    if !is_played && !profile.command_topics().is_empty() {
        let text = "commands are shown and not answered: what they do in such a device is not known here";
        report.say("note", text)?;
    }
    let place = Place {
        host: uri.host.clone(),
        port: uri.port,
        client_id: format!("ucifi-simulate-{device}-{}", std::process::id()),
    };
    let (news, inbox) = mpsc::channel(SIMULATED_NEWS);
    tokio::spawn(run(gadget, place, news));
    attend(inbox, &uri.text, report, interrupt).await
}

fn setup(profile: &CompiledProfile, uri: &BrokerUri, device: &str, every: Duration) -> Setup {
    let writes = if profile.command_paths().next().is_some() {
        "allow"
    } else {
        "deny"
    };
    let text = &uri.text;
    Setup {
        what: format!(
            "{} is {device:?} at the broker {text} and speaks every {} s",
            profile.id(),
            every.as_secs()
        ),
        link: format!(
            "[[broker]]\nname = \"local\"\nuri = {}\nwrites = \"{writes}\"\n",
            toml::Value::String(text.clone())
        ),
        device: vec![("broker", "local".into()), ("topic", device.into())],
        id: "mqtt-1",
        profile: profile.id().to_owned(),
    }
}

/// How often such a device speaks by itself; many speak only when something changes.
fn usual_interval(profile: &CompiledProfile) -> Duration {
    let intervals = profile.points().iter().map(|point| point.every_ms);
    let shortest = intervals.filter(|every_ms| *every_ms > 0).min();
    shortest.map_or(Duration::from_secs(60), Duration::from_millis)
}

async fn attend(
    mut inbox: mpsc::Receiver<News>,
    uri: &str,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let mut last_reason = None;
    loop {
        let news = tokio::select! {
            () = interrupt.comes() => break,
            news = inbox.recv() => news,
        };
        match news {
            Some(News::Connected) => {
                last_reason = None;
                report.say("connected", uri)?;
            }
            Some(News::Away(reason)) if last_reason.as_ref() != Some(&reason) => {
                let again = AGAIN.as_secs();
                report.say(
                    "away",
                    &format!("{uri}: {reason}; it is tried again every {again} s"),
                )?;
                last_reason = Some(reason);
            }
            // It has been told.
            Some(News::Away(_)) => {}
            Some(News::Said(message)) => report.say("sent", &shown(&message.topic, &message.payload))?,
            Some(News::Told { topic, payload }) => report.say("told", &shown(&topic, &payload))?,
            None => return Err(Failure::new(ExitStatus::Failed, "the device has stopped")),
        }
    }
    report.say("ended", "the broker tells that the device is gone")
}

fn shown(topic: &str, payload: &[u8]) -> String {
    format!("{topic} {}", String::from_utf8_lossy(payload))
}

/// Returns who plays a device of this kind, and whether it does what it is told.
fn gadget_of(
    profile: &Arc<CompiledProfile>,
    device: &str,
    every: Duration,
) -> Result<(Box<dyn Gadget>, bool), Failure> {
    match profile.id() {
        "tasmota.plug" => Ok((Box::new(TasmotaPlug::new(device, WATTS, every)), true)),
        "zigbee2mqtt.lamp" => Ok((Box::new(Zigbee2MqttLamp::new(device, every)), true)),
        id => Golden::new(profile, device, every)
            .map(|golden| (Box::new(golden) as Box<dyn Gadget>, false))
            .ok_or_else(|| {
                let message =
                    format!("{id} has no golden frame that a device could say: add one to the profile");
                Failure::new(ExitStatus::Invalid, message)
            }),
    }
}

/// A device that says what the golden frames of its profile say, topic by topic and in turn.
struct Golden {
    profile: Arc<CompiledProfile>,
    device: String,
    every: Duration,
    due: Duration,
    round: usize,
    /// Under each topic what is said there.
    messages: Vec<(TopicId, Vec<Frame>)>,
}

impl Golden {
    fn new(profile: &Arc<CompiledProfile>, device: &str, every: Duration) -> Option<Self> {
        let mut messages: Vec<(TopicId, Vec<Frame>)> = Vec::new();
        for frame in profile.golden_frames() {
            let Frame::MqttMessage(MqttMessage { topic, .. }) = &frame else {
                continue;
            };
            match messages.iter_mut().find(|(known, _)| known == topic) {
                Some((_, frames)) => frames.push(frame),
                None => messages.push((*topic, vec![frame])),
            }
        }
        (!messages.is_empty()).then(|| Self {
            profile: profile.clone(),
            device: device.to_owned(),
            every,
            due: every,
            round: 0,
            messages,
        })
    }

    fn speak(&mut self) -> Vec<Publication> {
        let round = self.round;
        self.round += 1;
        let measured = Timestamp::from_unix_ms(jiff::Timestamp::now().as_millisecond());
        let of_round = self.messages.iter().filter_map(|(topic, frames)| {
            let frame = frames.get(round % frames.len().max(1))?;
            let Frame::MqttMessage(message) = self.profile.dated(frame, measured) else {
                return None;
            };
            Some(Publication::new(self.topic(*topic)?, message.payload))
        });
        of_round.collect()
    }

    fn topic(&self, topic: TopicId) -> Option<String> {
        let subscription = self.profile.topics().get(usize::from(topic.0))?;
        Some(subscription.topic.of(&self.device))
    }
}

impl Gadget for Golden {
    fn listens(&self) -> Vec<String> {
        let topics = self.profile.command_topics().into_iter();
        topics.map(|topic| topic.of(&self.device)).collect()
    }

    fn begin(&mut self) -> Vec<Publication> {
        self.speak()
    }

    fn will(&self) -> Publication {
        let gone = self.profile.golden_farewell();
        let told = gone.and_then(|message| Some((self.topic(message.topic)?, message.payload)));
        let (topic, payload) = told.unwrap_or_default();
        Publication::new(topic, payload)
    }

    fn handle_message(&mut self, _topic: &str, _payload: &[u8], _elapsed: Duration) -> Vec<Publication> {
        Vec::new()
    }

    fn due(&self) -> Duration {
        self.due
    }

    fn handle_timeout(&mut self, elapsed: Duration) -> Vec<Publication> {
        self.due = elapsed + self.every;
        self.speak()
    }
}

#[cfg(test)]
mod tests {
    use lwm2m_client::object::ObjectTable;
    use ucifi_profiles::Catalogue;

    use super::*;

    fn mqtt_profiles() -> Vec<Arc<CompiledProfile>> {
        let catalogue = Catalogue::stock(&ObjectTable::builtin());
        let all = catalogue.profiles().cloned();
        all.filter(|profile| !profile.topics().is_empty()).collect()
    }

    #[test]
    fn whatever_a_device_of_a_stock_profile_says_the_profile_understands() {
        for profile in mqtt_profiles() {
            let every = Duration::from_secs(1);
            let (mut gadget, _) = gadget_of(&profile, "hall 1", every).unwrap();
            let mut said = gadget.begin();
            for _ in 0..3 {
                let due = gadget.due();
                said.extend(gadget.handle_timeout(due));
            }
            let understood = |message: &Publication| {
                let Some((topic, "hall 1")) = profile.topic(&message.topic) else {
                    return 0;
                };
                let payload = message.payload.clone();
                let meaning = profile.decode(&Frame::MqttMessage(MqttMessage { topic, payload }));
                meaning.unwrap().samples.len()
            };
            let values: usize = said.iter().map(understood).sum();
            assert!(values > 0, "{}: {said:?}", profile.id());
        }
    }

    #[test]
    fn a_device_that_only_repeats_golden_frames_says_when_it_measured_and_that_it_is_gone() {
        let profiles = mqtt_profiles();
        let meter = profiles.iter().find(|p| p.id() == "shelly.gen2-meter").unwrap();
        let mut golden = Golden::new(meter, "shelly-1", Duration::from_secs(60)).unwrap();
        let said = golden.begin();
        let status = said.iter().find(|m| m.topic == "shelly-1/events/rpc").unwrap();
        let (topic, _) = meter.topic(&status.topic).unwrap();
        let payload = status.payload.clone();
        let meaning = meter
            .decode(&Frame::MqttMessage(MqttMessage { topic, payload }))
            .unwrap();
        let now = jiff::Timestamp::now().as_millisecond();
        let measured = meaning.samples[0].measured.unwrap().unix_ms();
        assert!((now - measured).abs() < 3_600_000, "{measured}");
        assert_eq!(golden.listens(), Vec::<String>::new());
    }

    #[test]
    fn the_profile_says_how_often_it_is_heard() {
        let profiles = mqtt_profiles();
        let plug = profiles.iter().find(|p| p.id() == "tasmota.plug").unwrap();
        assert_eq!(usual_interval(plug), Duration::from_secs(300));
    }
}
