//! The connection, its subscriptions and what goes out on it.

use std::time::{Duration, Instant};

use ucifi_core::Downlink;
use ucifi_core::field::{Delivery, Frame, Link, MqttPublish, Qos, Reachability, Refusal};

use super::super::broker::{Action, Event, Writes};
use super::super::command::{Command, Ended};
use super::super::limits;
use super::super::session::State;
use super::{Client, Subscribing, is_unreachable};

impl Client {
    pub(super) fn advance(&mut self, now: Instant) {
        if self.session.begin(now) {
            self.actions.push_back(Action::Connect);
        }
        if !self.session.is_connected() {
            return;
        }
        while let Some(acknowledge) = self.receipts.next(now) {
            self.counters.acknowledged += 1;
            self.actions.push_back(acknowledge);
        }
        self.subscribe(now);
        while let Some(publish) = self.commands.next(now) {
            self.counters.published += 1;
            self.actions.push_back(publish);
        }
    }

    fn subscribe(&mut self, now: Instant) {
        if self.subscribing.open.is_some() {
            return;
        }
        let filters = self.routes.filters_after(self.subscribing.done);
        if filters.is_empty() {
            return;
        }
        let topics = filters.iter().map(|(topic, _)| topic.clone()).collect();
        let until = now + Duration::from_millis(limits::SUBACK_MS);
        self.subscribing.open = Some((topics, until));
        self.actions.push_back(Action::Subscribe { filters });
    }

    pub(super) fn note_refused_subscription(&mut self, topic: String, reason: String) {
        self.counters.subscriptions_refused += 1;
        let device = self.routes.find(&topic).map(|route| route.device);
        if let Some(place) = device {
            let why = format!("the broker refuses the subscription to {topic}: {reason}");
            self.note_unreachable(place, &why);
        }
        let link = device.and_then(|place| self.devices.get(place));
        self.push_event(Event::SubscriptionRefused {
            link: link.map(|device| device.link.clone()),
            topic,
            reason,
        });
    }

    pub(super) fn note_away(&mut self) {
        let failure = self.counters.last_failure.as_deref();
        let why = format!(
            "broker {} is away: {}",
            self.name,
            failure.unwrap_or("it does not answer")
        );
        for place in 0..self.devices.len() {
            self.note_unreachable(place, &why);
        }
    }

    fn note_unreachable(&mut self, place: usize, why: &str) {
        if let Some(device) = self.devices.get_mut(place)
            && !is_unreachable(device.reachability.as_ref())
        {
            device.reachability = Some(Reachability::Unreachable(why.to_owned()));
            self.news.insert(place);
        }
    }

    pub(super) fn drop_connection(&mut self, reason: &str) {
        self.session.state = State::Dropping;
        self.subscribing = Subscribing::default();
        self.actions.clear();
        self.actions.push_back(Action::Disconnect {
            reason: reason.to_owned(),
        });
    }

    pub(super) fn accept(&self, downlink: Downlink, now: Instant) -> Result<Command, Delivery> {
        let Link::Mqtt { device, .. } = &downlink.link else {
            return Err(refused("a broker reaches MQTT devices only"));
        };
        let Some(place) = self.places.get(device) else {
            return Err(refused(&format!(
                "device {device} is not configured at broker {}",
                self.name
            )));
        };
        let mut publish = publish_of(downlink.frame)?;
        publish.qos = publish.qos.min(Qos::AtLeastOnce);
        let topic = publish.topic.of(device);
        if topic.len() > limits::TOPIC_BYTES || publish.payload.len() > limits::PAYLOAD_BYTES {
            return Err(refused("the topic or the payload is too long to be published"));
        }
        if self.writes == Writes::Deny {
            return Err(Delivery::Denied);
        }
        if !self.session.is_connected() {
            return Err(Delivery::Unreachable {
                retry_after_secs: self.session.retry_after_secs(now),
            });
        }
        Ok(Command {
            id: downlink.id,
            device: *place,
            path: downlink.path,
            topic,
            publish,
            expires: now + Duration::from_millis(limits::COMMAND_WAIT_MS),
        })
    }

    pub(super) fn end(&mut self, ended: impl IntoIterator<Item = Ended>) {
        for (id, delivery) in ended {
            let is_unconfirmed = matches!(delivery, Delivery::Unconfirmed(_));
            self.counters.publishes_unconfirmed += u64::from(is_unconfirmed);
            self.push_event(Event::Delivery { id, delivery });
        }
    }
}

fn publish_of(frame: Frame) -> Result<MqttPublish, Delivery> {
    match frame {
        Frame::MqttPublish(publish) => Ok(publish),
        Frame::ModbusBlock(_)
        | Frame::ModbusWrite(_)
        | Frame::LoRaWanData(_)
        | Frame::LoRaWanCommand(_)
        | Frame::MqttMessage(_) => Err(refused("a broker carries messages to publish only")),
    }
}

fn refused(text: &str) -> Delivery {
    Delivery::Refused(Refusal {
        code: 0,
        text: text.to_owned(),
    })
}
