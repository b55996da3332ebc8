//! The MQTT adapter at a mosquitto: what is killed before it is safe is sent again.
//!
//! After a reconnect mosquitto 2.0.11 sends everything that it has kept at once, whatever its `max_inflight_messages` and
//! the receive maximum of MQTT 5 say: there are thousands of messages under way then, and the adapter stops reading.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use ucifi_adapters::mqtt::io::{FromBroker, Options, ToBroker, Version, run};
use ucifi_adapters::mqtt::{Address, BrokerConfig, Client, DeviceConfig, Event, Writes};
use ucifi_core::field::{
    Delivery, Downlink, DownlinkId, Frame, Freshness, Link, MqttPublish, Qos, ReceiptId, Subscription,
    TopicTemplate,
};

use crate::mosquitto::Mosquitto;
use crate::mqtt_relay::{self, Record, Seen};

const MESSAGES: u32 = 10_000;
const TOPIC: &str = "tele/plug/SENSOR";

/// Numbers of the messages that nothing can lose any more.
type Durable = Arc<Mutex<BTreeSet<u32>>>;

#[tokio::test(flavor = "multi_thread")]
async fn no_message_of_qos_1_is_lost_by_kills_with_mqtt_3() -> anyhow::Result<()> {
    lose_nothing(Version::V3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_of_qos_1_is_lost_by_kills_with_mqtt_5() -> anyhow::Result<()> {
    lose_nothing(Version::V5).await
}

/// 10,000 messages while the adapter is killed again and again with messages that are received and not settled.
async fn lose_nothing(version: Version) -> anyhow::Result<()> {
    let mosquitto = Mosquitto::start()?;
    let durable = Durable::default();
    let (address, record) = relay(mosquitto.address, Arc::clone(&durable)).await?;
    let mut rng = StdRng::seed_from_u64(1);
    let began = Instant::now();

    let mut adapter = Adapter::start(address, version);
    adapter.subscribed(&mosquitto).await?;
    mosquitto.publish(TOPIC, (0..MESSAGES).map(|n| format!("#{n}")))?;
    let (mut kills, mut repeated) = (0, 0);
    loop {
        let until_killed = rng.random_range(500..2_000);
        if adapter.settle_late(&durable, until_killed, &mut rng).await? {
            break;
        }
        ensure!(
            !adapter.pending.is_empty(),
            "a kill that costs nothing shows nothing"
        );
        repeated += adapter.statistics().await?.broker.repeated;
        adapter.kill().await;
        kills += 1;
        adapter = Adapter::start(address, version);
    }
    repeated += adapter.statistics().await?.broker.repeated;
    let took = began.elapsed();
    eprintln!(
        "{version:?}: {MESSAGES} messages, {kills} kills, {repeated} came again, {} acknowledged, {took:?}",
        mqtt_relay::acknowledged(&record)
    );
    ensure!(kills >= 3, "only {kills} kills");
    mqtt_relay::in_order(&record)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mosquitto_kept_is_not_of_the_present() -> anyhow::Result<()> {
    for version in [Version::V3, Version::V5] {
        let mosquitto = Mosquitto::start()?;
        mosquitto.publish_retained(TOPIC, "1")?;
        let mut adapter = Adapter::start(mosquitto.address, version);
        let (freshness, receipt, said) = adapter.uplink().await?;
        ensure!(freshness == Freshness::Retained && said == "1" && receipt.is_none());
        // The same topic, now live: also what is to be kept is of the present for whoever is there.
        mosquitto.publish_retained(TOPIC, "2")?;
        let (freshness, receipt, said) = adapter.uplink().await?;
        ensure!(freshness == Freshness::Fresh && said == "2" && receipt.is_some());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_sent_when_mosquitto_has_acknowledged_it() -> anyhow::Result<()> {
    for version in [Version::V3, Version::V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mosquitto = Mosquitto::start()?;
            let mut adapter = Adapter::start(mosquitto.address, version);
            adapter.subscribed(&mosquitto).await?;
            // It comes back on the topic that the adapter hears.
            adapter.commands.send(ToBroker::Downlink(echo(qos)?)).await?;
            let mut delivery = None;
            let mut said = None;
            while delivery.is_none() || said.is_none() {
                match adapter.event().await? {
                    Event::Delivery { delivery: told, .. } => delivery = Some(told),
                    Event::Uplink(uplink) => said = Some(text(&uplink.frame)?),
                    Event::Reachability { .. }
                    | Event::SubscriptionRefused { .. }
                    | Event::Unknown { .. } => {}
                }
            }
            ensure!(delivery == Some(Delivery::Sent) && said.as_deref() == Some("ON"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_is_found_again() -> anyhow::Result<()> {
    let mosquitto = Mosquitto::start()?;
    let (address, _record) = relay(mosquitto.address, Durable::default()).await?;
    let mut adapter = Adapter::start(address, Version::V3);
    adapter.subscribed(&mosquitto).await?;
    drop(mosquitto);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        match adapter.news().await? {
            FromBroker::Disconnected(reason) => heard.push(reason),
            FromBroker::Connected | FromBroker::Event(_) => {}
        }
    }
    ensure!(!adapter.statistics().await?.broker.is_connected);
    Ok(())
}

/// A relay that sees to it that nothing is acknowledged before it is durable.
async fn relay(broker: SocketAddr, durable: Durable) -> anyhow::Result<(SocketAddr, Record)> {
    let under_way = Mutex::new(std::collections::BTreeMap::new());
    let check = move |seen: &Seen| match seen {
        Seen::Message { packet_id, packet } => {
            under_way
                .lock()
                .expect("nobody panics while it is held")
                .insert(*packet_id, number(packet));
        }
        Seen::Acknowledged { packet_id } => {
            let number = under_way
                .lock()
                .expect("nobody panics while it is held")
                .remove(packet_id);
            if let Some(Some(number)) = number {
                assert!(
                    durable
                        .lock()
                        .expect("nobody panics while it is held")
                        .contains(&number),
                    "{number} is not durable"
                );
            }
        }
    };
    mqtt_relay::start(broker, Arc::new(check)).await
}

/// Returns the number at the end of a packet; none for the one that shows that the subscription is there.
fn number(packet: &[u8]) -> Option<u32> {
    let mark = packet.iter().rposition(|byte| *byte == b'#')?;
    std::str::from_utf8(&packet[mark + 1..]).ok()?.parse().ok()
}

/// A running adapter, and what a gateway would keep of its messages until they are safe.
struct Adapter {
    task: JoinHandle<()>,
    commands: mpsc::Sender<ToBroker>,
    news: mpsc::Receiver<FromBroker>,
    pending: Vec<(ReceiptId, Option<u32>)>,
}

impl Adapter {
    fn start(broker: SocketAddr, version: Version) -> Self {
        let (commands, inbox) = mpsc::channel(64);
        let (outbox, news) = mpsc::channel(64);
        let client = Client::new(config(), 1, Instant::now()).expect("one plug can be subscribed to");
        let options = Options {
            address: Address {
                host: broker.ip().to_string(),
                port: broker.port(),
            },
            version,
            client_id: "cab-17".to_owned(),
            credentials: None,
            keep_alive_secs: 30,
            receive_window: 100,
        };
        Self {
            task: tokio::spawn(run(client, options, inbox, outbox)),
            commands,
            news,
            pending: Vec::new(),
        }
    }

    /// Ends it in the middle of whatever it does.
    async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    async fn news(&mut self) -> anyhow::Result<FromBroker> {
        let news = timeout(Duration::from_secs(20), self.news.recv()).await;
        news.context("nothing comes within 20 s")?
            .context("the adapter ended")
    }

    async fn event(&mut self) -> anyhow::Result<Event> {
        loop {
            if let FromBroker::Event(event) = self.news().await? {
                return Ok(event);
            }
        }
    }

    async fn uplink(&mut self) -> anyhow::Result<(Freshness, Option<ReceiptId>, String)> {
        loop {
            if let Event::Uplink(uplink) = self.event().await? {
                let said = text(&uplink.frame)?;
                return Ok((uplink.freshness, uplink.receipt.map(|r| r.id), said));
            }
        }
    }

    /// Waits until a message comes through: the broker tells nobody when a subscription is there.
    async fn subscribed(&mut self, mosquitto: &Mosquitto) -> anyhow::Result<()> {
        loop {
            mosquitto.publish(TOPIC, std::iter::once("there?".to_owned()))?;
            let heard = timeout(Duration::from_millis(300), self.uplink()).await;
            if let Ok(heard) = heard {
                let receipt = heard?.1.context("a message of QoS 1 has a receipt")?;
                self.commands.send(ToBroker::Settled(receipt)).await?;
                return Ok(());
            }
        }
    }

    /// Settles every few milliseconds what came meanwhile, in any order; false when so many have come that it is to
    /// be killed, true when all are durable.
    async fn settle_late(
        &mut self,
        durable: &Durable,
        most: usize,
        rng: &mut StdRng,
    ) -> anyhow::Result<bool> {
        let mut heard = 0;
        loop {
            while let Ok(news) = self.news.try_recv() {
                heard += self.keep(news)?;
            }
            if durable.lock().expect("nobody panics while it is held").len() == MESSAGES as usize {
                return Ok(true);
            }
            if heard >= most && !self.pending.is_empty() {
                return Ok(false);
            }
            self.pending.shuffle(rng);
            for (receipt, number) in self.pending.drain(..) {
                durable
                    .lock()
                    .expect("nobody panics while it is held")
                    .extend(number);
                self.commands.send(ToBroker::Settled(receipt)).await?;
            }
            sleep(Duration::from_millis(3)).await;
        }
    }

    fn keep(&mut self, news: FromBroker) -> anyhow::Result<usize> {
        let FromBroker::Event(Event::Uplink(uplink)) = news else {
            return Ok(0);
        };
        let receipt = uplink.receipt.context("a message of QoS 1 has a receipt")?;
        // A message that asked whether the subscription is there may come again.
        let said = text(&uplink.frame)?;
        let number = said.strip_prefix('#').map(str::parse).transpose()?;
        self.pending.push((receipt.id, number));
        Ok(1)
    }

    async fn statistics(&self) -> anyhow::Result<ucifi_adapters::mqtt::Statistics> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.commands.send(ToBroker::Statistics(sender)).await?;
        Ok(answer.await?)
    }
}

fn config() -> BrokerConfig {
    let topic = TopicTemplate::new("tele/{device}/SENSOR").expect("a template");
    BrokerConfig {
        name: "local".into(),
        place: 1,
        receive_window: 100,
        writes: Writes::Allow,
        devices: vec![DeviceConfig {
            device: "plug".into(),
            topics: vec![Subscription {
                topic,
                qos: Qos::AtLeastOnce,
            }],
        }],
        discovery: Vec::new(),
    }
}

fn echo(qos: Qos) -> anyhow::Result<Downlink> {
    Ok(Downlink {
        id: DownlinkId(1),
        link: Link::Mqtt {
            broker: "local".into(),
            device: "plug".into(),
        },
        path: "/3416/0/1".parse()?,
        frame: Frame::MqttPublish(MqttPublish {
            topic: TopicTemplate::new("tele/{device}/SENSOR")?,
            payload: b"ON".to_vec(),
            qos,
            retain: false,
        }),
    })
}

fn text(frame: &Frame) -> anyhow::Result<String> {
    let Frame::MqttMessage(message) = frame else {
        anyhow::bail!("{frame:?} is no message");
    };
    Ok(String::from_utf8(message.payload.clone())?)
}
