//! What the tasks around the engine tell it, each to whom it concerns.

use std::sync::Arc;

use ucifi_adapters::lorawan::Event as RadioEvent;
use ucifi_adapters::lorawan::io::FromNetwork;
use ucifi_adapters::modbus::Event as BusEvent;
use ucifi_adapters::modbus::io::FromBus;
use ucifi_adapters::mqtt::Event as BrokerEvent;
use ucifi_adapters::mqtt::io::FromBroker;
use ucifi_core::Uplink;
use ucifi_core::field::{Delivery, DownlinkId};

use super::super::brokers::ConnectionState;
use super::super::buses::PortState;
use super::super::clock::now;
use super::super::radio::SocketState;
use super::super::{Input, events};
use super::Engine;
use crate::store::{Answer, Origin};

impl Engine {
    pub(super) fn handle_input(&mut self, input: Input) {
        match input {
            Input::Datagram { endpoint, datagram } => {
                self.traces.datagram(endpoint, &datagram);
                self.gateway.handle_datagram(endpoint, &datagram, now());
            }
            Input::Resolved { server, addresses } => self.servers.handle_resolved(&server, &addresses),
            Input::Bus { bus, event } => match event {
                FromBus::Event(event) => self.handle_bus_event(event),
                FromBus::Connected => self.field.buses.note(&bus, PortState::Open),
                FromBus::Disconnected(reason) => self.field.buses.note(&bus, PortState::Closed(reason)),
            },
            Input::Broker { broker, event } => self.handle_broker(&broker, event),
            Input::Radio(told) => self.handle_radio(told),
        }
    }

    fn handle_broker(&mut self, broker: &Arc<str>, told: FromBroker) {
        match told {
            FromBroker::Connected => self.field.brokers.note(broker, ConnectionState::Connected),
            FromBroker::Disconnected(reason) => {
                self.field.brokers.note(broker, ConnectionState::Away(reason));
            }
            FromBroker::Event(event) => self.handle_broker_event(broker, event),
        }
    }

    fn handle_broker_event(&mut self, broker: &Arc<str>, event: BrokerEvent) {
        match event {
            BrokerEvent::Uplink(uplink) => self.handle_uplink(uplink),
            BrokerEvent::Delivery { id, delivery } => self.handle_delivery(id, delivery),
            BrokerEvent::Reachability { link, reachability } => {
                self.gateway.handle_reachability(&link, reachability, now());
            }
            BrokerEvent::SubscriptionRefused { link, topic, reason } => {
                events::log_refused_subscription(broker, link.as_ref(), &topic, &reason);
            }
            BrokerEvent::Unknown { device, topic } => events::log_unknown_on_broker(broker, &device, &topic),
        }
    }

    fn handle_radio(&mut self, told: FromNetwork) {
        match told {
            FromNetwork::Listening(address) => self.field.radio.note(SocketState::Open(address)),
            FromNetwork::NotListening(reason) => self.field.radio.note(SocketState::Closed(reason)),
            FromNetwork::Connected(forwarder) => events::log_forwarder(forwarder, true),
            FromNetwork::Lost(forwarder) => events::log_forwarder(forwarder, false),
            FromNetwork::Event(event) => self.handle_radio_event(event),
        }
    }

    fn handle_radio_event(&mut self, event: RadioEvent) {
        match event {
            RadioEvent::Uplink(uplink) => self.handle_uplink(uplink),
            RadioEvent::Delivery { id, delivery } => self.handle_delivery(id, delivery),
            RadioEvent::Save(request) => self.network_saves.push_back(request),
            RadioEvent::Reachability { link, reachability } => {
                self.gateway.handle_reachability(&link, reachability, now());
            }
            RadioEvent::Unknown(sender) => {
                if self.field.radio.note_unknown(sender, now()) {
                    events::log_unknown_sender(sender);
                }
            }
            RadioEvent::Joined { .. }
            | RadioEvent::Uncertain { .. }
            | RadioEvent::Refused { .. }
            | RadioEvent::Damaged { .. } => events::log_radio(&event),
        }
    }

    fn handle_bus_event(&mut self, event: BusEvent) {
        match event {
            BusEvent::Uplink(uplink) => self.handle_uplink(uplink),
            BusEvent::Delivery { id, delivery } => self.handle_delivery(id, delivery),
            BusEvent::Reachability { link, reachability } => {
                self.gateway.handle_reachability(&link, reachability, now());
            }
            // The bus's own io task opens the port again and tells so.
            BusEvent::Reconnect { .. } => {}
        }
    }

    fn handle_uplink(&mut self, uplink: Uplink) {
        self.traces.uplink(&uplink);
        self.gateway.handle_uplink(uplink);
    }

    pub(super) fn handle_delivery(&mut self, id: DownlinkId, delivery: Delivery) {
        self.traces.delivery(id, &delivery);
        self.open.remove(&id);
        self.gateway.handle_delivery(id, delivery, now());
    }

    pub(super) fn handle_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Buffer(reply) => {
                self.drops.handle_reply(&reply);
                self.gateway.handle_buffer(reply, now());
            }
            Answer::Saved { origin, id, result } => match origin {
                Origin::Core => self.gateway.handle_saved(id, result, now()),
                Origin::Ports => self.servers.handle_saved(id, result),
                Origin::Radio => self.field.radio.saved(id, result),
                // Also a disk that fails answers.
                Origin::Probe => self.open_probes = self.open_probes.saturating_sub(1),
            },
            Answer::Alive => self.checks.handle_alive(),
            Answer::BufferOpened => self.has_buffer_opened = true,
            // It is for whoever starts an engine.
            Answer::Kept(_) => {}
        }
    }
}
