//! The MQTT adapter over TCP at a simulated broker with a plug.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;
use ucifi_adapters::mqtt::io::{FromBroker, Options, ToBroker, Version, run};
use ucifi_adapters::mqtt::{Address, BrokerConfig, Client, DeviceConfig, Event, Writes};
use ucifi_core::field::{
    Delivery, Downlink, DownlinkId, Frame, Link, MqttPublish, Qos, Subscription, TopicId, TopicTemplate,
};
use ucifi_sim::mqtt::gadgets::TasmotaPlug;
use ucifi_sim::mqtt::{Broker, tcp};

const TOPICS: [&str; 2] = ["tele/{device}/SENSOR", "stat/{device}/POWER"];

#[tokio::test]
async fn a_plug_is_heard_acknowledged_when_settled_and_switched() {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let broker = tcp::start(nowhere, Broker::new(Instant::now())).await.unwrap();
    let plug = TasmotaPlug::new("plug-1", 60.0, Duration::from_millis(50));
    broker.handle.with(|broker| broker.add(plug)).await.unwrap();
    let (commands, inbox) = mpsc::channel(64);
    let (outbox, mut events) = mpsc::channel(64);
    let client = Client::new(config(), 1, Instant::now()).unwrap();
    let adapter = tokio::spawn(run(client, options(broker.address), inbox, outbox));

    let mut heard = 0;
    while heard < 5 {
        let Event::Uplink(uplink) = next(&mut events).await else {
            continue;
        };
        heard += 1;
        let receipt = uplink.receipt.unwrap();
        commands.send(ToBroker::Settled(receipt.id)).await.unwrap();
    }
    commands.send(ToBroker::Downlink(off())).await.unwrap();
    let (mut sent, mut said) = (None, None);
    while sent.is_none() || said.is_none() {
        match next(&mut events).await {
            Event::Delivery { delivery, .. } => sent = Some(delivery),
            Event::Uplink(uplink) => {
                if let Frame::MqttMessage(message) = uplink.frame
                    && message.topic == TopicId(1)
                {
                    said = Some(message.payload);
                }
            }
            Event::Reachability { .. } | Event::SubscriptionRefused { .. } | Event::Unknown { .. } => {}
        }
    }
    assert_eq!((sent, said), (Some(Delivery::Sent), Some(b"OFF".to_vec())));
    let out_of_order = broker.handle.with(|broker| broker.out_of_order()).await;
    assert_eq!(out_of_order, Some(0));
    drop(commands);
    adapter.await.unwrap();
}

async fn next(events: &mut mpsc::Receiver<FromBroker>) -> Event {
    loop {
        let told = timeout(Duration::from_secs(20), events.recv()).await;
        if let FromBroker::Event(event) = told.expect("something comes within 20 s").expect("it runs") {
            return event;
        }
    }
}

fn config() -> BrokerConfig {
    BrokerConfig {
        name: "local".into(),
        place: 1,
        receive_window: 100,
        writes: Writes::Allow,
        devices: vec![DeviceConfig {
            device: "plug-1".into(),
            topics: TOPICS
                .iter()
                .map(|topic| Subscription {
                    topic: TopicTemplate::new(topic).expect("a template"),
                    qos: Qos::AtLeastOnce,
                })
                .collect(),
        }],
        discovery: Vec::new(),
    }
}

fn options(broker: SocketAddr) -> Options {
    Options {
        address: Address {
            host: broker.ip().to_string(),
            port: broker.port(),
        },
        version: Version::V3,
        client_id: "cab-17".to_owned(),
        credentials: None,
        keep_alive_secs: 30,
        receive_window: 100,
    }
}

fn off() -> Downlink {
    Downlink {
        id: DownlinkId(1),
        link: Link::Mqtt {
            broker: "local".into(),
            device: "plug-1".into(),
        },
        path: "/3416/0/1".parse().expect("a path"),
        frame: Frame::MqttPublish(MqttPublish {
            topic: TopicTemplate::new("cmnd/{device}/POWER").expect("a template"),
            payload: b"OFF".to_vec(),
            qos: Qos::AtLeastOnce,
            retain: false,
        }),
    }
}
