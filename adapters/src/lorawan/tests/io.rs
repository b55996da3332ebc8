//! The network on a real socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use ucifi_core::Uplink;
use ucifi_core::field::DeviceClass;

use super::lamp::Lamp;
use super::start;
use crate::lorawan::forwarders::{Config, limits};
use crate::lorawan::io::{FromNetwork, Statistics, ToNetwork, run};
use crate::lorawan::{Event, Forwarders, NetworkConfig, NetworkServer};

const EUI: [u8; 8] = [0xfe; 8];

struct Running {
    to: mpsc::Sender<ToNetwork>,
    from: mpsc::Receiver<FromNetwork>,
}

impl Running {
    fn start(listen: SocketAddr, lamp: &Lamp) -> Self {
        let nodes = vec![lamp.config(DeviceClass::A)];
        let server = NetworkServer::new(
            NetworkConfig::default(),
            nodes,
            &BTreeMap::new(),
            false,
            7,
            start(),
        )
        .unwrap();
        let (to, orders) = mpsc::channel(4);
        let (events, from) = mpsc::channel(1);
        tokio::spawn(run(
            listen,
            Forwarders::new(Config::default(), 7),
            server,
            orders,
            events,
        ));
        Self { to, from }
    }

    /// A network on a free port, and a forwarder that is connected to it.
    async fn connected(lamp: &Lamp) -> (Self, Forwarder) {
        let mut running = Self::start(([127, 0, 0, 1], 0).into(), lamp);
        let Some(FromNetwork::Listening(address)) = running.from.recv().await else {
            panic!("it listens");
        };
        let forwarder = Forwarder::connect(address).await;
        assert!(matches!(
            running.from.recv().await,
            Some(FromNetwork::Connected(_))
        ));
        (running, forwarder)
    }

    /// Makes everything durable until an uplink comes or nothing more.
    async fn next_uplink(&mut self) -> Uplink {
        loop {
            match self.from.recv().await.expect("it runs") {
                FromNetwork::Event(Event::Save(request)) => {
                    let (id, result) = (request.id, Ok(()));
                    self.to.send(ToNetwork::Saved { id, result }).await.unwrap();
                }
                FromNetwork::Event(Event::Uplink(uplink)) => return uplink,
                FromNetwork::Event(_)
                | FromNetwork::Connected(_)
                | FromNetwork::Lost(_)
                | FromNetwork::Listening(_)
                | FromNetwork::NotListening(_) => {}
            }
        }
    }

    async fn statistics(&self) -> Statistics {
        let (answer, statistics) = oneshot::channel();
        self.to.send(ToNetwork::Statistics(answer)).await.unwrap();
        statistics.await.unwrap()
    }
}

struct Forwarder {
    socket: UdpSocket,
}

impl Forwarder {
    async fn connect(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(address).await.unwrap();
        let forwarder = Self { socket };
        forwarder.say(2, [7, 7], "").await;
        assert_eq!(forwarder.hear().await, [2, 7, 7, 4]);
        forwarder
    }

    async fn say(&self, identifier: u8, token: [u8; 2], body: &str) {
        let mut datagram = vec![2, token[0], token[1], identifier];
        datagram.extend(EUI);
        datagram.extend(body.as_bytes());
        self.socket.send(&datagram).await.unwrap();
    }

    async fn hear(&self) -> Vec<u8> {
        let mut buffer = [0; 1_000];
        let length = self.socket.recv(&mut buffer).await.unwrap();
        buffer[..length].to_vec()
    }

    /// Reports a frame, and awaits the acknowledgement.
    async fn push(&self, phy: &[u8], tmst: u32) {
        let rxpk = json!({"tmst": tmst, "freq": 868.1, "datr": "SF7BW125", "rssi": -50, "lsnr": 9.0,
            "data": STANDARD.encode(phy)});
        self.say(0, [1, 2], &json!({ "rxpk": [rxpk] }).to_string()).await;
        assert_eq!(self.hear().await, [2, 1, 2, 1]);
    }

    /// Awaits a frame to send, and takes it.
    async fn sends(&self) -> (u32, Vec<u8>) {
        let datagram = self.hear().await;
        assert_eq!(datagram[3], 3);
        let body: Value = serde_json::from_slice(&datagram[4..]).unwrap();
        self.say(5, [datagram[1], datagram[2]], "").await;
        let txpk = &body["txpk"];
        let phy = STANDARD.decode(txpk["data"].as_str().unwrap()).unwrap();
        (u32::try_from(txpk["tmst"].as_u64().unwrap()).unwrap(), phy)
    }
}

#[tokio::test]
async fn a_device_joins_and_is_answered_over_udp() {
    let mut lamp = Lamp::new(1);
    let (mut running, forwarder) = Running::connected(&lamp).await;
    forwarder.push(&lamp.join_request(), 1_000_000).await;
    let device = async {
        let (tmst, accept) = forwarder.sends().await;
        assert_eq!(tmst, 6_000_000);
        lamp.accept(&accept).expect("it is for it");
        forwarder.push(&lamp.reports_confirmed(b"on"), 9_000_000).await;
    };
    let (uplink, ()) = tokio::join!(running.next_uplink(), device);
    let receipt = uplink.receipt.expect("it is confirmed").id;
    running.to.send(ToNetwork::Settled(receipt)).await.unwrap();
    let device = async {
        let (tmst, answer) = forwarder.sends().await;
        assert_eq!(tmst, 10_000_000);
        assert!(lamp.hears(&answer).expect("it is for it").ack);
        // Nobody reads the answer of the statistics before the outcome has come.
        forwarder.push(&lamp.reports(b"end"), 12_000_000).await;
    };
    tokio::join!(running.next_uplink(), device);
    let statistics = running.statistics().await;
    let counters = statistics.forwarders.forwarders.values().next().unwrap().counters;
    assert_eq!((counters.frames, counters.told, counters.sent), (3, 2, 2));
    assert_eq!((statistics.network.joins, statistics.network.on_air), (1, 2));
    assert_eq!(statistics.unsent, 0);
}

#[tokio::test]
async fn who_reads_no_events_holds_up_no_acknowledgement() {
    let lamp = Lamp::new(1);
    let (running, forwarder) = Running::connected(&lamp).await;
    for number in 0..2 * limits::EVENTS {
        forwarder.push(&number.to_be_bytes(), 1).await;
    }
    let statistics = running.statistics().await;
    assert_eq!(
        statistics.network.frames + statistics.forwarders.dropped,
        2 * limits::EVENTS as u64
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_the_orders_are_still_heard() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut running = Running::start(taken.local_addr().unwrap(), &Lamp::new(1));
    let Some(FromNetwork::NotListening(reason)) = running.from.recv().await else {
        panic!("it cannot listen");
    };
    assert!(
        reason.contains("cannot listen on UDP port 127.0.0.1:"),
        "{reason}"
    );
    let (answer, stopped) = oneshot::channel();
    running.to.send(ToNetwork::Stop(answer)).await.unwrap();
    let saves = async {
        while let Some(news) = running.from.recv().await {
            if let FromNetwork::Event(Event::Save(request)) = news {
                let (id, result) = (request.id, Ok(()));
                running.to.send(ToNetwork::Saved { id, result }).await.unwrap();
            }
        }
    };
    tokio::select! {
        outcome = stopped => outcome.expect("everything is saved"),
        () = saves => panic!("it runs until it is dropped"),
    }
}
