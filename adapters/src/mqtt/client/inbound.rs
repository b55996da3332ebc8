//! What becomes of messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ucifi_core::field::{Fingerprint, Frame, Freshness, MqttMessage, Qos, Reachability, Receipt, Repetition};
use ucifi_core::{Now, Uplink};

use super::super::broker::{Event, Message};
use super::super::limits;
use super::super::routes::Route;
use super::super::statistics::UnknownDevice;
use super::{Client, bytes_of};

impl Client {
    pub(super) fn take(&mut self, route: Route, message: Message, now: Now) {
        if message.qos == Qos::AtMostOnce && self.is_full() {
            self.counters.dropped += 1;
            return;
        }
        let freshness = if message.retain {
            Freshness::Retained
        } else {
            Freshness::Fresh
        };
        let receipt = self.receipt(&message, now.instant);
        let Some(device) = self.devices.get_mut(route.device) else {
            return;
        };
        device.statistics.messages += 1;
        device.statistics.bytes += message.payload.len() as u64;
        let frame = Frame::MqttMessage(MqttMessage {
            topic: route.topic,
            payload: message.payload,
        });
        let uplink = Uplink {
            freshness,
            receipt: receipt.map(Box::new),
            ..Uplink::new(device.link.clone(), frame, now)
        };
        if !message.retain {
            device.statistics.heard = Some(now);
            if device.reachability != Some(Reachability::Reachable) {
                device.reachability = Some(Reachability::Reachable);
                self.news.insert(route.device);
            }
        }
        self.push_event(Event::Uplink(uplink));
    }

    /// Returns the receipt of a message whose sender waits for its acknowledgement; a retained one owes nothing.
    fn receipt(&mut self, message: &Message, now: Instant) -> Option<Receipt> {
        self.counters.retained += u64::from(message.retain);
        if message.retain {
            self.settle_at_once(message);
            return None;
        }
        if message.qos == Qos::AtMostOnce {
            return None;
        }
        let repetition = self.repetition(message);
        let id = self.receipts.push(message.packet_id, message.qos);
        let is_full = self.receipts.unsettled() >= self.receive_window.min(limits::PRESSURE);
        self.counters.hurried += u64::from(is_full);
        let settle_by = is_full.then(|| now + Duration::from_millis(limits::PRESSURE_MS));
        Some(Receipt {
            id,
            settle_by,
            repetition: Some(repetition),
        })
    }

    /// Returns what a message is known by that the broker may send again. It does so at the beginning of a connection,
    /// before anything new (MQTT 3.1.1, 4.4 and 4.6), and only where it knows the session.
    fn repetition(&self, message: &Message) -> Repetition {
        let packet_id = message.packet_id.to_le_bytes();
        let parts: [&[u8]; 4] = [
            &packet_id,
            &[qos_number(message.qos)],
            message.topic.as_bytes(),
            &message.payload,
        ];
        let is_beginning = message.dup && self.numbering.is_resumed();
        Repetition {
            fingerprint: Fingerprint::new(&self.source, &parts),
            is_unique: self.numbering.is_counting(),
            is_repeat: message.dup,
            none_before: (!is_beginning).then(|| self.receipts.over()),
        }
    }

    pub(super) fn settle_at_once(&mut self, message: &Message) {
        if message.qos != Qos::AtMostOnce {
            self.receipts.push_settled(message.packet_id, message.qos);
        }
    }

    pub(super) fn note_unknown(&mut self, topic: String, now: Now) {
        let Some(name) = self.routes.unknown(&topic) else {
            return;
        };
        if let Some(known) = self.unknown.get_mut(name) {
            known.messages += 1;
            known.heard = now;
        } else if self.unknown.len() < limits::UNKNOWN && !self.places.contains_key(name) {
            let device: Arc<str> = name.into();
            self.unknown.insert(
                device.clone(),
                UnknownDevice {
                    device: device.clone(),
                    topic: topic.clone(),
                    messages: 1,
                    heard: now,
                },
            );
            self.push_event(Event::Unknown { device, topic });
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= limits::EVENTS || self.event_bytes >= limits::EVENT_BYTES
    }

    pub(super) fn push_event(&mut self, event: Event) {
        self.event_bytes += bytes_of(&event);
        self.events.push_back(event);
    }
}

const fn qos_number(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::ExactlyOnce => 2,
    }
}
