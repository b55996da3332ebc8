//! The engine against a broker that is played by hand, in simulated time.

mod bounds;
mod commands;
mod connection;
mod messages;
mod repeats;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ucifi_core::Now;
use ucifi_core::field::{Link, Qos, ReceiptId, Subscription, TopicTemplate};

use super::{Action, BrokerConfig, Client, DeviceConfig, Event, Message, Writes};

/// Returns the instant at which simulated time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; tests add to it"
)]
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn template(text: &str) -> TopicTemplate {
    TopicTemplate::new(text).unwrap()
}

fn plug(device: &str) -> DeviceConfig {
    let topics = [
        ("tele/{device}/SENSOR", Qos::AtLeastOnce),
        ("tele/{device}/LWT", Qos::ExactlyOnce),
    ];
    DeviceConfig {
        device: device.into(),
        topics: topics
            .map(|(topic, qos)| Subscription {
                topic: template(topic),
                qos,
            })
            .to_vec(),
    }
}

fn config(devices: Vec<DeviceConfig>) -> BrokerConfig {
    BrokerConfig {
        name: "local".into(),
        place: 3,
        receive_window: 100,
        writes: Writes::Allow,
        devices,
        discovery: vec![template("tele/{device}/LWT")],
    }
}

fn link(device: &str) -> Link {
    Link::Mqtt {
        broker: "local".into(),
        device: device.into(),
    }
}

/// A client and the time.
struct Rig {
    client: Client,
    now: Instant,
}

impl Rig {
    fn with(config: BrokerConfig) -> Self {
        Self {
            client: Client::new(config, 1, start()).unwrap(),
            now: start(),
        }
    }

    /// A broker with the plugs `a` and `b/c`, connected and subscribed to.
    fn connected() -> Self {
        let mut rig = Self::with(config(vec![plug("a"), plug("b/c")]));
        rig.connect();
        rig
    }

    fn connect(&mut self) {
        while !self.actions().contains(&Action::Connect) {
            self.wait();
        }
        self.client.handle_connected(true, self.now);
        self.subscribe();
    }

    /// Answers each SUBSCRIBE.
    fn subscribe(&mut self) -> Vec<Vec<(String, Qos)>> {
        let mut all = Vec::new();
        loop {
            let actions = self.actions();
            let Some(Action::Subscribe { filters }) = actions.first().cloned() else {
                return all;
            };
            self.client
                .handle_subscribed(vec![Ok(()); filters.len()], self.now);
            all.push(filters);
        }
    }

    fn disconnect(&mut self) {
        self.client.handle_disconnected("it was pulled", self.now);
    }

    /// Goes on to what is due next.
    fn wait(&mut self) {
        self.now = self.now.max(self.client.poll_timeout().unwrap());
        self.client.handle_timeout(self.now);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.client.poll_timeout().is_some_and(|at| at <= end) {
            self.wait();
        }
        self.now = end;
    }

    fn say(&mut self, message: Message) {
        let now = Now {
            instant: self.now,
            wall: None,
        };
        self.client.handle_message(message, now);
    }

    /// Plays a message of QoS 1 and returns its receipt.
    fn owe(&mut self, packet_id: u16) -> ReceiptId {
        self.say(sensor("a", packet_id));
        self.receipts().pop().unwrap()
    }

    fn receipts(&mut self) -> Vec<ReceiptId> {
        self.events()
            .into_iter()
            .filter_map(|event| {
                let Event::Uplink(uplink) = event else {
                    return None;
                };
                uplink.receipt.map(|receipt| receipt.id)
            })
            .collect()
    }

    fn settle(&mut self, receipt: ReceiptId) {
        self.client.handle_settled(receipt, self.now);
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.client.poll_action()).collect()
    }

    fn acknowledged(&mut self) -> Vec<u16> {
        let actions = self.actions().into_iter();
        actions
            .filter_map(|action| {
                let Action::Acknowledge { packet_id, .. } = action else {
                    return None;
                };
                Some(packet_id)
            })
            .collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }
}

fn message(topic: &str, qos: Qos, packet_id: u16) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: b"{}".to_vec(),
        qos,
        retain: false,
        dup: false,
        packet_id,
    }
}

fn sensor(device: &str, packet_id: u16) -> Message {
    message(&format!("tele/{device}/SENSOR"), Qos::AtLeastOnce, packet_id)
}
