//! How long a confirmed uplink takes to its answer, and how many uplinks a second are taken, over UDP on loopback.
//!
//! The forwarder and the devices are as plain as can be, so that the gateway's own time is what is seen. From the
//! sending of a PUSH_DATA to the arrival of the PULL_RESP there are two datagrams, the engines, and the way of the
//! uplink through a channel to whoever makes it durable and back.

mod plain_forwarder;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use ucifi_adapters::lorawan::forwarders::Config;
use ucifi_adapters::lorawan::io::{FromNetwork, Statistics, ToNetwork, run};
use ucifi_adapters::lorawan::{
    Activation, DevAddr, Event, Forwarders, Key, NetworkConfig, NetworkServer, NodeConfig,
};
use ucifi_core::field::{DevEui, DeviceClass, LoRaWanTraits};

use plain_forwarder::{APP_S_KEY, NWK_S_KEY, PUSH_ACK, PlainForwarder};

/// What a datagram is, by its fourth byte.
const PULL_RESP: u8 = 3;
const TX_ACK: u8 = 5;
const DEVICES: u32 = 1_000;
const ANSWERED: u32 = 2_000;
/// Answers of one forwarder need their time on air: several, in turns, have enough of it.
const FORWARDERS: u8 = 24;
/// From one answered uplink to the next: each forwarder has 120 ms for the 41 of its answer and its own gap.
const PACE: Duration = Duration::from_millis(5);
const FLOOD: u32 = 20_000;
const PAYLOAD: [u8; 20] = [0x5a; 20];
/// Reports on their way at a time: as many as the forwarders of a district have.
const WINDOW: u32 = 16;
/// How long an acknowledgement is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut site = Site::start().await;
        let mut times = Vec::new();
        for number in 0..ANSWERED {
            times.push(site.answered(number).await);
        }
        times.sort_unstable();
        let share = |percent: usize| times[(times.len() - 1) * percent / 100];
        eprintln!("from a confirmed uplink to its answer, {DEVICES} devices, {ANSWERED} uplinks:");
        eprintln!(
            "  p50 {:?}  p99 {:?}  longest {:?}",
            share(50),
            share(99),
            share(100)
        );
        let (frames, lost) = site.flood().await;
        eprintln!(
            "unconfirmed uplinks, {WINDOW} reports at a time: {frames:.0} a second, {lost} not acknowledged"
        );
        let statistics = site.statistics().await;
        eprintln!(
            "  taken {} of {}, answers too late {}, datagrams not sent {}",
            statistics.network.uplinks,
            ANSWERED + FLOOD,
            statistics.network.answers_missed,
            statistics.unsent
        );
    });
}

struct Site {
    forwarder: PlainForwarder,
    to: mpsc::Sender<ToNetwork>,
}

impl Site {
    async fn start() -> Self {
        let server = NetworkServer::new(
            NetworkConfig::default(),
            (0..DEVICES).map(device).collect(),
            &BTreeMap::new(),
            false,
            1,
            Instant::now(),
        );
        let config = Config {
            // Each frame is heard by one forwarder only.
            window_ms: 0,
            ..Config::default()
        };
        let forwarders = Forwarders::new(config, 1);
        let (to, orders) = mpsc::channel(256);
        let (events, mut from) = mpsc::channel(256);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        tokio::spawn(run(
            listen,
            forwarders,
            server.expect("a network"),
            orders,
            events,
        ));
        let Some(FromNetwork::Listening(address)) = from.recv().await else {
            panic!("it listens on loopback");
        };
        tokio::spawn(keep(from, to.clone()));
        let forwarder = PlainForwarder::start(address, FORWARDERS, DEVICES).await;
        Self {
            forwarder: forwarder.expect("loopback has sockets"),
            to,
        }
    }

    /// Sends a confirmed uplink; returns the time to its answer.
    async fn answered(&mut self, number: u32) -> Duration {
        let forwarder = (number % u32::from(FORWARDERS)) as u8;
        let begin = Instant::now();
        self.send(forwarder, number, true).await;
        let time = loop {
            let heard = self.forwarder.hear().await.expect("loopback");
            if heard[3] == PULL_RESP {
                let time = begin.elapsed();
                let token = [heard[1], heard[2]];
                let acknowledged = self.forwarder.say(forwarder, TX_ACK, token, "").await;
                acknowledged.expect("loopback takes it");
                break time;
            }
        };
        tokio::time::sleep(PACE.saturating_sub(time)).await;
        time
    }

    /// Sends uplinks as fast as they are acknowledged; returns how many a second, and how many were not.
    async fn flood(&mut self) -> (f64, u32) {
        let begin = Instant::now();
        let (mut open, mut lost) = (0, 0);
        for number in 0..FLOOD {
            self.send(0, number, false).await;
            open += 1;
            while open >= WINDOW {
                match timeout(PATIENCE, self.forwarder.hear()).await {
                    Ok(heard) => open -= u32::from(heard.expect("loopback")[3] == PUSH_ACK),
                    Err(_) => {
                        lost += open;
                        open = 0;
                    }
                }
            }
        }
        (f64::from(FLOOD) / begin.elapsed().as_secs_f64(), lost)
    }

    async fn send(&mut self, forwarder: u8, number: u32, is_confirmed: bool) {
        let device = number % DEVICES;
        let sent = self
            .forwarder
            .send(forwarder, device, &PAYLOAD, is_confirmed)
            .await;
        sent.expect("loopback takes it");
    }

    async fn statistics(&self) -> Statistics {
        let (answer, statistics) = oneshot::channel();
        self.to
            .send(ToNetwork::Statistics(answer))
            .await
            .expect("it runs");
        statistics.await.expect("it runs")
    }
}

/// Keeps what is to be kept, and settles every uplink at once.
async fn keep(mut from: mpsc::Receiver<FromNetwork>, to: mpsc::Sender<ToNetwork>) {
    while let Some(news) = from.recv().await {
        let order = match news {
            FromNetwork::Event(Event::Save(request)) => Some(ToNetwork::Saved {
                id: request.id,
                result: Ok(()),
            }),
            FromNetwork::Event(Event::Uplink(uplink)) => {
                uplink.receipt.map(|receipt| ToNetwork::Settled(receipt.id))
            }
            FromNetwork::Event(_)
            | FromNetwork::Listening(_)
            | FromNetwork::NotListening(_)
            | FromNetwork::Connected(_)
            | FromNetwork::Lost(_) => None,
        };
        if let Some(order) = order
            && to.send(order).await.is_err()
        {
            return;
        }
    }
}

fn device(number: u32) -> NodeConfig {
    NodeConfig {
        dev_eui: DevEui(u64::from(number).to_be_bytes()),
        activation: Activation::Abp {
            dev_addr: DevAddr(number),
            nwk_s_key: Key::new(NWK_S_KEY),
            app_s_key: Key::new(APP_S_KEY),
        },
        traits: LoRaWanTraits {
            class: DeviceClass::A,
            rx2_data_rate: None,
            uplink_every_secs: 900,
        },
    }
}
