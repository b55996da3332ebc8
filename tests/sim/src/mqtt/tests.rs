//! The gateway's engine at the broker, killed and cut off at any moment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use ucifi_adapters::mqtt::{BrokerConfig, Client, DeviceConfig, Event, Writes};
use ucifi_core::field::{
    Delivery, Downlink, DownlinkId, Frame, Freshness, Link as FieldLink, MqttMessage, MqttPublish, Qos,
    Reachability, ReceiptId, Subscription, TopicId, TopicTemplate,
};

use super::gadgets::{TasmotaPlug, Zigbee2MqttLamp};
use super::session::matches;
use super::{Broker, Link, Publication};
use crate::clock::Clock;

const PLUG_TOPICS: [&str; 3] = ["tele/{device}/SENSOR", "tele/{device}/LWT", "stat/{device}/POWER"];
const LAMP_TOPICS: [&str; 2] = ["zigbee2mqtt/{device}", "zigbee2mqtt/{device}/availability"];

struct Rig {
    clock: Clock,
    broker: Broker,
    client: Client,
    link: Link,
    devices: Vec<DeviceConfig>,
}

impl Rig {
    fn new(devices: Vec<DeviceConfig>) -> Self {
        let clock = Clock::new();
        let now = clock.now().instant;
        let mut rig = Self {
            broker: Broker::new(now),
            client: client(&devices, 1, now),
            link: Link::new("cab-17"),
            clock,
            devices,
        };
        rig.run();
        rig
    }

    fn run(&mut self) {
        self.link
            .run(&mut self.client, &mut self.broker, self.clock.now());
    }

    fn pass(&mut self, time: Duration) {
        let end = self.clock.now().instant + time;
        loop {
            let due = [self.client.poll_timeout(), self.broker.poll_timeout()];
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.clock.advance_to(at);
            let now = self.clock.now().instant;
            self.broker.handle_timeout(now);
            self.client.handle_timeout(now);
            self.run();
        }
        self.clock.advance_to(end);
    }

    /// Ends the gateway without a word and starts it anew.
    fn kill(&mut self, seed: u64) {
        self.link.lose(&mut self.broker);
        self.client = client(&self.devices, seed, self.clock.now().instant);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn messages(&mut self) -> Vec<(MqttMessage, Freshness, Option<ReceiptId>)> {
        let events = self.events().into_iter();
        let uplinks = events.filter_map(|event| match event {
            Event::Uplink(uplink) => Some(uplink),
            Event::Delivery { .. }
            | Event::Reachability { .. }
            | Event::SubscriptionRefused { .. }
            | Event::Unknown { .. } => None,
        });
        uplinks
            .map(|uplink| {
                let Frame::MqttMessage(message) = uplink.frame else {
                    panic!("a broker brings messages");
                };
                (
                    message,
                    uplink.freshness,
                    uplink.receipt.map(|receipt| receipt.id),
                )
            })
            .collect()
    }

    fn settle_all(&mut self) -> Vec<(u16, String)> {
        let now = self.clock.now().instant;
        let mut all = Vec::new();
        loop {
            let messages = self.messages();
            if messages.is_empty() {
                return all;
            }
            for (message, _, receipt) in messages {
                receipt
                    .into_iter()
                    .for_each(|id| self.client.handle_settled(id, now));
                let text = String::from_utf8(message.payload).expect("gadgets say text");
                all.push((message.topic.0, text));
            }
            self.run();
        }
    }
}

fn client(devices: &[DeviceConfig], seed: u64, now: Instant) -> Client {
    let config = BrokerConfig {
        name: "local".into(),
        place: 1,
        receive_window: 100,
        writes: Writes::Allow,
        devices: devices.to_vec(),
        discovery: Vec::new(),
    };
    Client::new(config, seed, now).expect("gadgets have topics of their own")
}

fn device(name: &str, topics: &[&str]) -> DeviceConfig {
    let subscription = |topic: &&str| Subscription {
        topic: template(topic),
        qos: Qos::AtLeastOnce,
    };
    DeviceConfig {
        device: name.into(),
        topics: topics.iter().map(subscription).collect(),
    }
}

fn template(text: &str) -> TopicTemplate {
    TopicTemplate::new(text).expect("a template")
}

fn publish(device: &str, topic: &str, payload: &str) -> Downlink {
    Downlink {
        id: DownlinkId(1),
        link: FieldLink::Mqtt {
            broker: "local".into(),
            device: device.into(),
        },
        path: "/3416/0/1".parse().expect("a path"),
        frame: Frame::MqttPublish(MqttPublish {
            topic: template(topic),
            payload: payload.as_bytes().to_vec(),
            qos: Qos::AtLeastOnce,
            retain: false,
        }),
    }
}

#[test]
fn through_kills_and_cuts_no_message_of_qos_1_is_lost_and_acknowledgements_are_in_order() {
    for seed in 0..40 {
        lose_nothing(seed);
    }
}

fn lose_nothing(seed: u64) {
    const MESSAGES: u32 = 400;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rig = Rig::new(vec![device("a", &PLUG_TOPICS)]);
    let (mut said, mut durable) = (0, BTreeSet::new());
    let mut open: Vec<(ReceiptId, u32)> = Vec::new();
    while durable.len() < MESSAGES as usize {
        match rng.random_range(0..100) {
            0..40 if said < MESSAGES => {
                rig.broker
                    .publish(Publication::new("tele/a/SENSOR", said.to_string()));
                said += 1;
            }
            0..90 if !open.is_empty() => {
                let (receipt, number) = open.swap_remove(rng.random_range(0..open.len()));
                durable.insert(number);
                rig.client.handle_settled(receipt, rig.clock.now().instant);
            }
            96..98 => {
                rig.link
                    .cut(&mut rig.client, &mut rig.broker, rig.clock.now().instant);
            }
            98..100 => {
                rig.kill(seed);
                open.clear();
            }
            _ => rig.pass(Duration::from_millis(rng.random_range(0..3_000))),
        }
        rig.run();
        for (message, freshness, receipt) in rig.messages() {
            assert_eq!(freshness, Freshness::Fresh);
            let number = std::str::from_utf8(&message.payload)
                .ok()
                .and_then(|text| text.parse().ok());
            open.push((receipt.expect("QoS 1 has a receipt"), number.expect("a number")));
        }
        let unacknowledged = rig.broker.owed("cab-17");
        assert!(
            unacknowledged + durable.len() >= said as usize,
            "seed {seed}: acknowledged too early"
        );
    }
    assert_eq!(rig.broker.out_of_order(), 0, "seed {seed}");
}

#[test]
fn a_plug_tells_what_it_uses_and_is_switched() {
    let mut rig = Rig::new(vec![device("plug-1", &PLUG_TOPICS)]);
    rig.broker
        .add(TasmotaPlug::new("plug-1", 60.0, Duration::from_secs(10)));
    rig.run();
    rig.settle_all();
    rig.pass(Duration::from_secs(60));
    let said = rig.settle_all();
    assert_eq!(said.len(), 6);
    assert!(
        said[5].1.contains("\"Total\":12.346") && said[5].1.contains("\"Power\":60.0"),
        "{said:?}"
    );
    let off = publish("plug-1", "cmnd/{device}/POWER", "OFF");
    rig.client.handle_downlink(off, rig.clock.now().instant);
    rig.run();
    let events = rig.events();
    let sent = Event::Delivery {
        id: DownlinkId(1),
        delivery: Delivery::Sent,
    };
    assert!(events.contains(&sent), "{events:?}");
    let off = events.iter().any(|event| match event {
        Event::Uplink(uplink) => {
            uplink.frame
                == Frame::MqttMessage(MqttMessage {
                    topic: TopicId(2),
                    payload: b"OFF".to_vec(),
                })
        }
        Event::Delivery { .. }
        | Event::Reachability { .. }
        | Event::SubscriptionRefused { .. }
        | Event::Unknown { .. } => false,
    });
    assert!(off, "{events:?}");
}

#[test]
fn a_lamp_with_slashes_in_its_name_is_set_and_its_state_of_before_is_not_fresh() {
    let mut rig = Rig::new(Vec::new());
    rig.broker
        .add(Zigbee2MqttLamp::new("hall/lamp", Duration::from_secs(60)));
    rig.devices = vec![device("hall/lamp", &LAMP_TOPICS)];
    rig.kill(2);
    rig.client.handle_timeout(rig.clock.now().instant);
    rig.run();
    let messages = rig.messages();
    let [(availability, Freshness::Retained, None)] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_eq!(availability.payload, b"{\"state\":\"online\"}");
    let on = publish(
        "hall/lamp",
        "zigbee2mqtt/{device}/set",
        r#"{"state":"ON","brightness":100}"#,
    );
    rig.client.handle_downlink(on, rig.clock.now().instant);
    rig.run();
    let said = rig.settle_all();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].1.contains("\"brightness\":100") && said[0].1.contains("\"ON\""),
        "{said:?}"
    );
}

#[test]
fn the_broker_speaks_for_gadgets_that_are_gone() {
    let mut rig = Rig::new(vec![device("plug-1", &PLUG_TOPICS)]);
    rig.broker
        .add(TasmotaPlug::new("plug-1", 60.0, Duration::from_secs(10)));
    rig.run();
    rig.settle_all();
    rig.broker.remove_gadgets();
    rig.run();
    assert_eq!(rig.settle_all(), [(1, "Offline".to_owned())]);
}

#[test]
fn a_refused_subscription_makes_the_device_unreachable() {
    let mut rig = Rig::new(Vec::new());
    rig.devices = vec![device("plug-1", &PLUG_TOPICS)];
    rig.broker.refuse("tele/plug-1/SENSOR");
    rig.kill(2);
    rig.client.handle_timeout(rig.clock.now().instant);
    rig.run();
    let refused = |event: &Event| matches!(event, Event::Reachability { reachability: Reachability::Unreachable(why), .. } if why.contains("tele/plug-1/SENSOR"));
    assert!(rig.events().iter().any(refused));
}

#[test]
fn wildcards_take_a_level_or_all_that_follow() {
    for (topic, filter) in [
        ("a/b", "a/+"),
        ("a/b/c", "a/#"),
        ("a", "a/#"),
        ("a//b", "a/+/b"),
        ("é/b", "+/b"),
    ] {
        assert!(matches(topic, filter), "{topic} {filter}");
    }
    for (topic, filter) in [
        ("a/b/c", "a/+"),
        ("b", "a"),
        ("$SYS/a", "#"),
        ("$SYS/a", "+/a"),
        ("a", "a/b"),
    ] {
        assert!(!matches(topic, filter), "{topic} {filter}");
    }
}
