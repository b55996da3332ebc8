//! The engine of one broker.

mod inbound;
mod outbound;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ucifi_core::field::{DownlinkId, Frame, Link, Qos, Reachability, ReceiptId, Refusal};
use ucifi_core::{Downlink, Now};

use super::broker::{Action, BrokerConfig, ConfigError, Event, Message, Writes};
use super::command::Commands;
use super::limits;
use super::numbering::Numbering;
use super::receipts::Receipts;
use super::routes::Routes;
use super::session::{Session, State};
use super::statistics::{BrokerStatistics, DeviceStatistics, Statistics, UnknownDevice};

/// An MQTT client of one broker.
#[derive(Debug)]
pub struct Client {
    name: Arc<str>,
    receive_window: usize,
    writes: Writes,
    devices: Vec<Device>,
    places: BTreeMap<Arc<str>, usize>,
    routes: Routes,
    session: Session,
    subscribing: Subscribing,
    receipts: Receipts,
    numbering: Numbering,
    /// What tells its messages from those of others.
    source: String,
    commands: Commands,
    unknown: BTreeMap<Arc<str>, UnknownDevice>,
    counters: BrokerStatistics,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    /// Bytes of payloads among the events.
    event_bytes: usize,
    /// Devices whose reachability is still to be told.
    news: BTreeSet<usize>,
}

#[derive(Debug)]
struct Device {
    link: Link,
    name: Arc<str>,
    /// None until something is known.
    reachability: Option<Reachability>,
    statistics: DeviceStatistics,
}

/// How far the subscriptions of this connection are.
#[derive(Debug, Default)]
struct Subscribing {
    /// How many topics the broker has answered for.
    done: usize,
    /// What it was asked for, and until when it may answer.
    open: Option<(Vec<String>, Instant)>,
}

impl Client {
    /// Begins without a connection: [`Client::poll_action`] asks for one.
    ///
    /// # Errors
    /// When the topics cannot be subscribed to as configured.
    pub fn new(config: BrokerConfig, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        let routes = Routes::new(&config)?;
        let device = |name: &Arc<str>| Device {
            link: Link::Mqtt {
                broker: config.name.clone(),
                device: name.clone(),
            },
            name: name.clone(),
            reachability: None,
            statistics: DeviceStatistics::default(),
        };
        let devices: Vec<Device> = config.devices.iter().map(|d| device(&d.device)).collect();
        let names = devices.iter().map(|device| device.name.clone());
        let mut client = Self {
            receive_window: usize::from(config.receive_window),
            writes: config.writes,
            places: names.zip(0..).collect(),
            devices,
            routes,
            session: Session::new(seed, now),
            subscribing: Subscribing::default(),
            receipts: Receipts::new(config.place),
            numbering: Numbering::default(),
            source: format!("mqtt/{}", config.name),
            commands: Commands::default(),
            unknown: BTreeMap::new(),
            counters: BrokerStatistics::default(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            event_bytes: 0,
            news: BTreeSet::new(),
            name: config.name,
        };
        client.advance(now);
        Ok(client)
    }

    /// Returns the name of the broker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes note that the broker has accepted the connection, and whether it knew the session.
    pub fn handle_connected(&mut self, is_session_present: bool, now: Instant) {
        self.session.handle_connected(now);
        self.numbering.begin(is_session_present);
        self.counters.connections += 1;
        self.counters.sessions_resumed += u64::from(is_session_present);
        self.counters.subscriptions_refused = 0;
        self.subscribing = Subscribing::default();
        self.advance(now);
    }

    /// Takes note that there is no connection, or that it could not be made: nothing that it brought is acknowledged
    /// any more, and no command waits for the next one.
    pub fn handle_disconnected(&mut self, reason: &str, now: Instant) {
        self.session.handle_disconnected(now);
        self.counters.last_failure = Some(reason.to_owned());
        self.receipts.clear();
        self.subscribing = Subscribing::default();
        self.actions.clear();
        let ended = self.commands.end_all(self.session.retry_after_secs(now));
        self.end(ended);
        self.advance(now);
    }

    /// Takes the answer to a SUBSCRIBE: for each topic nothing, or why the broker refuses it.
    pub fn handle_subscribed(&mut self, answers: Vec<Result<(), String>>, now: Instant) {
        let Some((topics, _)) = self.subscribing.open.take() else {
            return;
        };
        if answers.len() != topics.len() {
            return self.drop_connection("the broker answers a SUBSCRIBE with another number of topics");
        }
        self.subscribing.done += topics.len();
        for (topic, answer) in topics.into_iter().zip(answers) {
            if let Err(reason) = answer {
                self.note_refused_subscription(topic, reason);
            }
        }
        self.advance(now);
    }

    /// Takes a message.
    pub fn handle_message(&mut self, message: Message, now: Now) {
        if !self.session.is_connected() {
            return;
        }
        self.counters.messages += 1;
        self.counters.repeated += u64::from(message.dup);
        let is_acknowledged = message.qos != Qos::AtMostOnce;
        if is_acknowledged && self.receipts.len() >= limits::RECEIPTS {
            return self.drop_connection("the broker has more unacknowledged messages under way than it may");
        }
        // The broker may repeat one that it is still waiting for: it is to be acknowledged once.
        if is_acknowledged && message.dup && self.receipts.has(message.packet_id) {
            return;
        }
        self.receipts.hear(now.instant);
        if is_acknowledged && !message.dup {
            self.numbering.note(message.packet_id, self.receipts.under_way());
        }
        match self.routes.find(&message.topic) {
            Some(route) if message.payload.len() <= limits::PAYLOAD_BYTES => self.take(route, message, now),
            Some(_) => {
                self.counters.too_big += 1;
                self.settle_at_once(&message);
            }
            None => {
                self.counters.unmatched += 1;
                self.settle_at_once(&message);
                self.note_unknown(message.topic, now);
            }
        }
        self.advance(now.instant);
    }

    /// Takes note that nothing of a message can be lost any more.
    pub fn handle_settled(&mut self, receipt: ReceiptId, now: Instant) {
        if !self.receipts.settle(receipt) {
            self.counters.settled_late += 1;
        }
        self.advance(now);
    }

    /// Takes a command; its end is told by [`Event::Delivery`].
    pub fn handle_downlink(&mut self, downlink: Downlink, now: Instant) {
        let id = downlink.id;
        match self.accept(downlink, now) {
            Err(delivery) => self.end([(id, delivery)]),
            Ok(command) => match self.commands.push(command) {
                Ok(replaced) => self.end(replaced),
                Err(dropped) => {
                    self.counters.commands_dropped += 1;
                    self.end([dropped]);
                }
            },
        }
        self.advance(now);
    }

    /// Takes note that a publish is written (QoS 0), acknowledged, or refused by the broker.
    pub fn handle_published(&mut self, id: DownlinkId, outcome: Result<(), Refusal>, now: Instant) {
        let is_refused = outcome.is_err();
        if let Some(ended) = self.commands.finish(id, outcome) {
            self.counters.publishes_refused += u64::from(is_refused);
            self.counters.publishes_acknowledged += u64::from(!is_refused);
            self.end([ended]);
        }
        self.advance(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_late = |until: Instant| until <= now;
        if matches!(self.session.state, State::Connecting { until } if is_late(until)) {
            self.drop_connection("the broker does not answer the connection in time");
        }
        if self
            .subscribing
            .open
            .as_ref()
            .is_some_and(|(_, until)| is_late(*until))
        {
            self.drop_connection("the broker does not answer a SUBSCRIBE in time");
        }
        let ended = self.commands.expire(now);
        self.end(ended);
        if self.session.away_at().is_some_and(is_late) {
            self.note_away();
        }
        self.advance(now);
    }

    /// Returns the next thing to do on the connection.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns the next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(device) = self.news.pop_first().and_then(|place| self.devices.get(place)) {
            return Some(Event::Reachability {
                link: device.link.clone(),
                reachability: device.reachability.clone()?,
            });
        }
        let event = self.events.pop_front()?;
        self.event_bytes -= bytes_of(&event);
        Some(event)
    }

    /// Returns when [`Client::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let subscribing = self.subscribing.open.as_ref().map(|(_, until)| *until);
        let is_away_told = self
            .devices
            .iter()
            .all(|d| is_unreachable(d.reachability.as_ref()));
        let away = self.session.away_at().filter(|_| !is_away_told);
        let all = [self.session.wake(), subscribing, away, self.commands.wake()];
        all.into_iter().flatten().min()
    }

    /// Says whether no more messages should be read from the connection, since nobody fetches or settles those that
    /// came.
    pub fn is_clogged(&self) -> bool {
        self.is_full() || self.receipts.len() >= limits::RECEIPTS_READ
    }

    /// Returns devices that were heard and are not configured.
    pub fn unknown_devices(&self) -> impl Iterator<Item = &UnknownDevice> {
        self.unknown.values()
    }

    /// Returns the counters.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            broker: BrokerStatistics {
                is_connected: self.session.is_connected(),
                unsettled: self.receipts.unsettled(),
                ..self.counters.clone()
            },
            devices: self
                .devices
                .iter()
                .map(|device| (device.name.clone(), device.statistics))
                .collect(),
        }
    }
}

fn is_unreachable(reachability: Option<&Reachability>) -> bool {
    matches!(reachability, Some(Reachability::Unreachable(_)))
}

fn bytes_of(event: &Event) -> usize {
    match event {
        Event::Uplink(uplink) => match &uplink.frame {
            Frame::MqttMessage(message) => message.payload.len(),
            Frame::ModbusBlock(_)
            | Frame::ModbusWrite(_)
            | Frame::LoRaWanData(_)
            | Frame::LoRaWanCommand(_)
            | Frame::MqttPublish(_) => 0,
        },
        Event::Delivery { .. }
        | Event::Reachability { .. }
        | Event::SubscriptionRefused { .. }
        | Event::Unknown { .. } => 0,
    }
}
