//! The messages of a cabinet: a broker that stays when the gateway goes down, and the gateway's client at it.

use std::time::Instant;

use ucifi_adapters::mqtt::{BrokerConfig, Client, DeviceConfig, Event, Writes};
use ucifi_core::{Now, Profile};

use super::scripted::{BROKER, Given, ScriptedDevice, ScriptedProfile, Way, numbers_of, payload, topic_of};
use super::{Cabinet, plan};
use crate::mqtt::{Acknowledged, Broker, Link, Publication};

/// Its number among all that give receipts; the radio network has the last one.
const PLACE: u16 = 1;

/// Messages that a broker sends at most before the first is acknowledged.
const RECEIVE_WINDOW: u16 = 100;

/// A broker, and the line between it and the gateway.
pub(super) struct Messages {
    pub(super) broker: Broker,
    link: Link,
}

impl Messages {
    /// Makes a broker, if one of the devices needs it.
    pub(super) fn of(devices: &[ScriptedDevice], start: Instant) -> Option<Self> {
        devices.iter().any(is_at_broker).then(|| Self {
            broker: Broker::new(start),
            link: Link::new(plan::NAME),
        })
    }
}

/// Makes the gateway's client, if one of the devices needs it.
pub(super) fn client(devices: &[ScriptedDevice], seed: u64, now: Instant) -> Option<Client> {
    let profile = ScriptedProfile::new();
    let device = |device: &ScriptedDevice| DeviceConfig {
        device: device.id.clone(),
        topics: profile.topics().to_vec(),
    };
    let devices: Vec<DeviceConfig> = devices.iter().filter(|d| is_at_broker(d)).map(device).collect();
    let config = BrokerConfig {
        name: BROKER.into(),
        place: PLACE,
        receive_window: RECEIVE_WINDOW,
        writes: Writes::Allow,
        discovery: Vec::new(),
        devices,
    };
    let is_needed = !config.devices.is_empty();
    is_needed.then(|| Client::new(config, seed, now).expect("each device has a topic of its own"))
}

fn is_at_broker(device: &ScriptedDevice) -> bool {
    device.way == Way::Broker
}

impl Cabinet {
    /// Returns the broker, where there is one.
    pub fn broker(&self) -> Option<&Broker> {
        self.messages.as_ref().map(|messages| &messages.broker)
    }

    /// Returns how many messages the gateway has not acknowledged.
    pub fn owed_by_broker(&self) -> usize {
        self.broker().map_or(0, |broker| broker.owed(plan::NAME))
    }

    /// Publishes at the broker as anybody can; without one nothing happens.
    pub fn publish(&mut self, message: Publication) {
        if let Some(messages) = &mut self.messages {
            messages.broker.publish(message);
        }
        self.settle();
    }

    /// Says whether the gateway can reach the broker from now on; the broker itself keeps what it has.
    pub fn set_broker_reachable(&mut self, is_reachable: bool) {
        let now = self.clock.now().instant;
        if let Some(Messages { broker, link }) = &mut self.messages {
            link.is_up = is_reachable;
            let client = self
                .process
                .as_mut()
                .and_then(|process| process.messages.as_mut());
            if let Some(client) = client.filter(|_| !is_reachable) {
                link.cut(client, broker, now);
            }
        }
        self.settle();
    }

    /// Publishes what a device gives: from now on the broker has it, whatever happens to the gateway.
    pub(super) fn publish_given(&mut self, given: &Given) {
        self.give(given);
        let message = Publication::new(topic_of(&given.device), payload(&given.numbers));
        self.trace.note(self.clock.elapsed(), "broker", &message.payload);
        self.publish(message);
    }

    /// The gateway is gone without a word.
    pub(super) fn lose_messages(&mut self) {
        if let Some(Messages { broker, link }) = &mut self.messages {
            link.lose(broker);
        }
    }

    /// Carries everything between the broker, its client and the core; says whether there was anything.
    pub(super) fn settle_messages(&mut self, now: Now) -> bool {
        let Some(Messages { broker, link }) = &mut self.messages else {
            return false;
        };
        let client = self
            .process
            .as_mut()
            .and_then(|process| process.messages.as_mut());
        if let Some(client) = client {
            link.run(client, broker, now);
        }
        let mut busy = false;
        while let Some(message) = self.messages.as_mut().and_then(|m| m.broker.poll_acknowledged()) {
            busy = true;
            self.note_acknowledged(&message);
        }
        while let Some(event) = self.next_message_event() {
            busy = true;
            self.take_message_event(event, now);
        }
        busy
    }

    /// Once the gateway is stopping it takes nothing more: what comes is not acknowledged, and comes again.
    fn next_message_event(&mut self) -> Option<Event> {
        let process = self.process.as_mut().filter(|process| !process.is_stopping)?;
        process.messages.as_mut()?.poll_event()
    }

    fn take_message_event(&mut self, event: Event, now: Now) {
        match event {
            Event::Uplink(uplink) => self.take_uplink(uplink),
            Event::Delivery { id, delivery } => self.process_mut().gateway.handle_delivery(id, delivery, now),
            Event::Reachability { link, reachability } => {
                let gateway = &mut self.process_mut().gateway;
                gateway.handle_reachability(&link, reachability, now);
            }
            Event::SubscriptionRefused { .. } | Event::Unknown { .. } => {}
        }
    }

    fn note_acknowledged(&mut self, message: &Acknowledged) {
        let elapsed = self.clock.elapsed();
        self.trace.note(elapsed, "acknowledged", &message.payload);
        for (_, number) in numbers_of(&message.payload).into_iter().flatten() {
            self.ledger.confirm(number, elapsed);
        }
    }
}
