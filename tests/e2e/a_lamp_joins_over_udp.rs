//! A lamp with a real LoRaWAN stack, a forwarder, and the network server between two UDP sockets, in real time: the
//! lamp joins, reports, and is switched.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lwm2m_client::Path;
use tokio::sync::mpsc;
use tokio::time::timeout;
use ucifi_adapters::lorawan::forwarders::Config;
use ucifi_adapters::lorawan::io::{FromNetwork, ToNetwork, run};
use ucifi_adapters::lorawan::{Activation, Event, Forwarders, Key, NetworkConfig, NetworkServer, NodeConfig};
use ucifi_core::field::{
    Delivery, DevEui, DeviceClass, Downlink, DownlinkId, Frame, Link, LoRaWanCommand, LoRaWanTraits,
};
use ucifi_sim::radio::{self, Field, Forwarder, NodeEvent, io};

const LAMP: [u8; 8] = [0x70, 0xb3, 0xd5, 0, 0, 0, 0, 1];
const APP_KEY: [u8; 16] = [7; 16];
/// The join takes five seconds by itself.
const PATIENCE: Duration = Duration::from_secs(60);

struct Network {
    to: mpsc::Sender<ToNetwork>,
    from: mpsc::Receiver<FromNetwork>,
}

impl Network {
    fn start() -> Self {
        let lamp = NodeConfig {
            dev_eui: DevEui(LAMP),
            activation: Activation::Otaa {
                app_key: Key::new(APP_KEY),
            },
            traits: LoRaWanTraits {
                class: DeviceClass::C,
                rx2_data_rate: Some(3),
                uplink_every_secs: 900,
            },
        };
        let config = NetworkConfig::default();
        let server = NetworkServer::new(config, vec![lamp], &BTreeMap::new(), false, 1, Instant::now());
        let (to, orders) = mpsc::channel(16);
        let (events, from) = mpsc::channel(16);
        let forwarders = Forwarders::new(Config::default(), 1);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        tokio::spawn(run(
            listen,
            forwarders,
            server.expect("it can be run"),
            orders,
            events,
        ));
        Self { to, from }
    }

    /// Makes everything durable until something wanted is told.
    async fn until<T>(&mut self, wanted: impl Fn(FromNetwork) -> Option<T>) -> T {
        let told = async {
            loop {
                let news = self.from.recv().await.expect("it runs");
                if let FromNetwork::Event(Event::Save(request)) = news {
                    let (id, result) = (request.id, Ok(()));
                    self.to
                        .send(ToNetwork::Saved { id, result })
                        .await
                        .expect("it runs");
                } else if let Some(found) = wanted(news) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, told).await.expect("it is told in time")
    }
}

fn switch_on() -> ToNetwork {
    ToNetwork::Downlink(Downlink {
        id: DownlinkId(1),
        link: Link::LoRaWan {
            dev_eui: DevEui(LAMP),
        },
        path: Path::resource(3416, 0, 1),
        frame: Frame::LoRaWanCommand(LoRaWanCommand {
            f_port: 60,
            payload: b"on".to_vec(),
            confirmed: false,
        }),
    })
}

async fn next(lamp: &mut mpsc::Receiver<radio::Event>) -> NodeEvent {
    let event = timeout(PATIENCE, lamp.recv()).await.expect("something happens");
    event.expect("the field runs").event
}

fn listening(news: FromNetwork) -> Option<SocketAddr> {
    let FromNetwork::Listening(address) = news else {
        return None;
    };
    Some(address)
}

fn uplink(news: FromNetwork) -> Option<Frame> {
    let FromNetwork::Event(Event::Uplink(uplink)) = news else {
        return None;
    };
    Some(uplink.frame)
}

fn delivery(news: FromNetwork) -> Option<Delivery> {
    let FromNetwork::Event(Event::Delivery { delivery, .. }) = news else {
        return None;
    };
    Some(delivery)
}

#[tokio::test]
async fn a_lamp_joins_over_udp_reports_and_is_switched() {
    let mut network = Network::start();
    let address = network.until(listening).await;
    let now = Instant::now();
    let field = Field::new(1, now)
        .with_forwarder(Forwarder::new([0xfe; 8], u32::MAX - 3_000_000, 20, now))
        .with_node(radio::NodeConfig {
            dev_eui: LAMP,
            join_eui: [0; 8],
            app_key: APP_KEY,
            is_class_c: true,
            data_rate: 5,
            rx2_spreading_factor: Some(9),
        });
    let mut field = io::start(field, address).await.expect("loopback has ports");
    let connected = |news| matches!(news, FromNetwork::Connected(_)).then_some(());
    network.until(connected).await;
    field.handle.with(|field, now| field.join(LAMP, now)).await;
    let joined = |news| matches!(news, FromNetwork::Event(Event::Joined { .. })).then_some(());
    let joins = tokio::spawn(async move {
        assert_eq!(next(&mut field.events).await, NodeEvent::Joined);
        let report = |field: &mut Field, now| field.send(LAMP, 10, b"report".to_vec(), false, now);
        field.handle.with(report).await;
        assert!(matches!(next(&mut field.events).await, NodeEvent::Sent(_)));
        field
    });
    network.until(joined).await;
    let Frame::LoRaWanData(report) = network.until(uplink).await else {
        panic!("a report is data");
    };
    assert_eq!(
        (report.f_port, report.payload.as_slice()),
        (10, b"report".as_slice())
    );
    network.to.send(switch_on()).await.expect("it runs");
    assert_eq!(network.until(delivery).await, Delivery::Sent);
    let mut field = joins.await.expect("the lamp has joined and reported");
    let told = NodeEvent::Told {
        f_port: 60,
        payload: b"on".to_vec(),
    };
    assert_eq!(next(&mut field.events).await, told);
    let counters = field
        .handle
        .with(|field, _| field.counters(0))
        .await
        .expect("it runs");
    assert_eq!(
        (counters.malformed, counters.too_late, counters.too_early),
        (0, 0, 0)
    );
}
