//! What a broker keeps of a client: its subscriptions, and what it has not acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};

use super::Publication;
use crate::limits;

/// Messages under way at once, mosquitto's default.
const WINDOW: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) is_clean: bool,
    pub(super) filters: BTreeMap<String, QoS>,
    /// Messages of QoS 1 that were sent, in order.
    under_way: VecDeque<Publish>,
    queue: VecDeque<Publish>,
    /// Packet identifiers of QoS 2 that were received and not released.
    pub(super) received: BTreeSet<u16>,
    last_packet_id: u16,
    pub(super) dropped: u64,
}

impl Session {
    /// Queues a message if a subscription fits; one of QoS 0 only for whoever is there.
    pub(super) fn offer(&mut self, message: &Publication, is_connected: bool) {
        let fitting = self
            .filters
            .iter()
            .filter(|(filter, _)| matches(&message.topic, filter));
        let Some(granted) = fitting.map(|(_, qos)| *qos).max_by_key(|qos| *qos as u8) else {
            return;
        };
        self.push(message, granted, false, is_connected);
    }

    pub(super) fn push(&mut self, message: &Publication, granted: QoS, retain: bool, is_connected: bool) {
        let qos = lower(message.qos, granted);
        let has_room = self.queue.len() < limits::MAX_QUEUED;
        if !has_room || (qos == QoS::AtMostOnce && !is_connected) {
            self.dropped += 1;
            return;
        }
        let mut publish = Publish::new(&message.topic, qos, message.payload.clone());
        publish.retain = retain;
        self.queue.push_back(publish);
    }

    /// Returns what may be sent now.
    pub(super) fn next(&mut self) -> Option<Packet> {
        let is_full = self.under_way.len() >= WINDOW;
        if is_full && self.queue.front()?.qos != QoS::AtMostOnce {
            return None;
        }
        let mut publish = self.queue.pop_front()?;
        if publish.qos != QoS::AtMostOnce {
            publish.pkid = self.packet_id();
            self.under_way.push_back(publish.clone());
        }
        Some(Packet::Publish(publish))
    }

    /// Takes an acknowledgement; returns the message, and whether it was the oldest under way.
    pub(super) fn acknowledge(&mut self, packet_id: u16) -> Option<(Publish, bool)> {
        let place = self.under_way.iter().position(|p| p.pkid == packet_id)?;
        let publish = self.under_way.remove(place)?;
        Some((publish, place == 0))
    }

    /// Returns what is sent again at a new connection, in the order of before (MQTT 3.1.1, 4.4).
    pub(super) fn repeat(&self) -> Vec<Packet> {
        let again = self.under_way.iter().cloned();
        again
            .map(|publish| Packet::Publish(Publish { dup: true, ..publish }))
            .collect()
    }

    pub(super) fn owed(&self) -> usize {
        self.under_way.len() + self.queue.len()
    }

    fn packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            let id = self.last_packet_id;
            if id != 0 && self.under_way.iter().all(|publish| publish.pkid != id) {
                return id;
            }
        }
    }
}

fn lower(one: QoS, other: QoS) -> QoS {
    if (one as u8) < (other as u8) { one } else { other }
}

/// MQTT 3.1.1, 4.7: `+` takes a level, `#` all that follow; neither takes a first level that begins with `$`.
pub(super) fn matches(topic: &str, filter: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}
