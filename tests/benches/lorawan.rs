//! How long a confirmed uplink takes to its answer, and how many uplinks a second are taken, over UDP on loopback.
//!
//! The forwarder and the devices are as plain as can be, so that the gateway's own time is what is seen. From the
//! sending of a PUSH_DATA to the arrival of the PULL_RESP there are two datagrams, the engines, and the way of the
//! uplink through a channel to whoever makes it durable and back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lorawan::creator::DataPayloadCreator;
use lorawan::keys::{AppSKey, NewSKey};
use lorawan::parser::FCtrl;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use ucifi_adapters::lorawan::forwarders::Config;
use ucifi_adapters::lorawan::io::{FromNetwork, Statistics, ToNetwork, run};
use ucifi_adapters::lorawan::{
    Activation, DevAddr, Event, Forwarders, Key, NetworkConfig, NetworkServer, NodeConfig,
};
use ucifi_core::field::{DevEui, DeviceClass, LoRaWanTraits};

const DEVICES: u32 = 1_000;
const ANSWERED: u32 = 2_000;
/// Answers of one forwarder need their time on air: several, in turns, have enough of it.
const FORWARDERS: u8 = 24;
/// From one answered uplink to the next: each forwarder has 120 ms for the 41 of its answer and its own gap.
const PACE: Duration = Duration::from_millis(5);
const FLOOD: u32 = 20_000;
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
    socket: UdpSocket,
    to: mpsc::Sender<ToNetwork>,
    /// When the counters of the forwarders began.
    begin: Instant,
    counters: Vec<u32>,
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
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        socket.connect(address).await.expect("an address");
        let site = Self {
            socket,
            to,
            begin: Instant::now(),
            counters: vec![0; DEVICES as usize],
        };
        for forwarder in 0..FORWARDERS {
            site.say(forwarder, 2, [0, 0], "").await;
            assert_eq!(site.hear().await[3], 4);
        }
        site
    }

    /// Sends a confirmed uplink; returns the time to its answer.
    async fn answered(&mut self, number: u32) -> Duration {
        let forwarder = (number % u32::from(FORWARDERS)) as u8;
        let report = self.report(number % DEVICES, true);
        let begin = Instant::now();
        self.say(forwarder, 0, [0, 1], &report).await;
        let time = loop {
            let heard = self.hear().await;
            if heard[3] == 3 {
                let time = begin.elapsed();
                self.say(forwarder, 5, [heard[1], heard[2]], "").await;
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
            let report = self.report(number % DEVICES, false);
            self.say(0, 0, [0, 1], &report).await;
            open += 1;
            while open >= WINDOW {
                match timeout(PATIENCE, self.hear()).await {
                    Ok(heard) => open -= u32::from(heard[3] == 1),
                    Err(_) => {
                        lost += open;
                        open = 0;
                    }
                }
            }
        }
        (f64::from(FLOOD) / begin.elapsed().as_secs_f64(), lost)
    }

    fn report(&mut self, device: u32, is_confirmed: bool) -> String {
        let f_cnt = &mut self.counters[device as usize];
        let phy = uplink(device, *f_cnt, is_confirmed);
        *f_cnt += 1;
        // It wraps.
        let tmst = self.begin.elapsed().as_micros() as u32;
        let rxpk = json!({"tmst": tmst, "freq": 868.1, "stat": 1, "modu": "LORA", "datr": "SF7BW125", "codr": "4/5",
            "rssi": -50, "lsnr": 9.0, "size": phy.len(), "data": STANDARD.encode(phy)});
        json!({ "rxpk": [rxpk] }).to_string()
    }

    async fn say(&self, forwarder: u8, identifier: u8, token: [u8; 2], body: &str) {
        let mut datagram = vec![2, token[0], token[1], identifier];
        datagram.extend([forwarder; 8]);
        datagram.extend(body.as_bytes());
        self.socket.send(&datagram).await.expect("loopback takes it");
    }

    async fn hear(&self) -> Vec<u8> {
        let mut buffer = [0; 1_000];
        let length = self.socket.recv(&mut buffer).await.expect("loopback");
        buffer[..length].to_vec()
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
            nwk_s_key: Key::new([8; 16]),
            app_s_key: Key::new([9; 16]),
        },
        traits: LoRaWanTraits {
            class: DeviceClass::A,
            rx2_data_rate: None,
            uplink_every_secs: 900,
        },
    }
}

fn uplink(device: u32, f_cnt: u32, is_confirmed: bool) -> Vec<u8> {
    let mut creator = DataPayloadCreator::new();
    creator
        .set_uplink(true)
        .set_confirmed(is_confirmed)
        .set_dev_addr(&device.to_le_bytes())
        .set_fctrl(&FCtrl::new(0, true))
        .set_fcnt(f_cnt)
        .set_f_port(10);
    let (nwk_s_key, app_s_key) = (NewSKey::from([8; 16]), AppSKey::from([9; 16]));
    creator
        .build(&[0x5a; 20], &[], &nwk_s_key, &app_s_key)
        .expect("a short frame")
        .to_vec()
}
