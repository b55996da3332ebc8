//! A gateway that is killed again and again at a mosquitto: what it has not acknowledged comes again, and what it has
//! acknowledged arrives.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::runtime::Runtime;

use crate::arrivals::Arrivals;
use crate::cabinet::{Process, start_gateway};
use crate::mosquitto::Mosquitto;
use crate::mqtt_relay::{self, Record};

const MESSAGES: u32 = 10_000;
const GADGETS: u32 = 10;
/// So many messages of one gadget follow each other at once.
const BURST: u32 = 100;
/// From one burst to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// After so many kills the broker is started anew.
const KILLS_TO_RESTART: usize = 6;
const PATIENCE: Duration = Duration::from_secs(90);

/// A gateway between a mosquitto and a server, which are ours to disturb.
struct Site {
    runtime: Runtime,
    mosquitto: Arc<Mutex<Mosquitto>>,
    record: Record,
    arrivals: Arrivals,
    gateway: Process,
    folder: tempfile::TempDir,
}

impl Site {
    /// Starts everything; `before` is what the broker is told before there is a gateway.
    fn start(version: &str, before: impl FnOnce(&Mosquitto) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let mosquitto = Mosquitto::start()?;
        before(&mosquitto)?;
        let (relay, record) = runtime.block_on(mqtt_relay::start(mosquitto.address, Arc::new(|_| {})))?;
        let arrivals = Arrivals::start(&runtime)?;
        let folder = tempfile::tempdir()?;
        let profiles = folder.path().join("profiles.d");
        std::fs::create_dir(&profiles)?;
        std::fs::write(profiles.join("number.toml"), include_str!("number.toml"))?;
        let ports = [arrivals.port, relay.port()];
        let text = configuration(&folder.path().display().to_string(), version, ports);
        std::fs::write(folder.path().join("gateway.toml"), text)?;
        Ok(Self {
            gateway: start_gateway(folder.path())?,
            runtime,
            mosquitto: Arc::new(Mutex::new(mosquitto)),
            record,
            arrivals,
            folder,
        })
    }

    /// Publishes numbers from `first` on, until one comes through: the broker tells nobody when a subscription is there.
    fn subscribed(&self, first: u32) -> anyhow::Result<()> {
        for number in (first..).take(200) {
            say(&self.mosquitto, 0, [number].into_iter())?;
            thread::sleep(Duration::from_millis(100));
            if self.arrivals.has(number) {
                return Ok(());
            }
        }
        anyhow::bail!("nothing comes through")
    }

    /// Lives for a while with a server that comes and goes, and is killed with messages under way, if more of them come.
    /// Returns how many there were.
    fn live_and_be_killed(
        &mut self,
        more_come: impl Fn() -> bool,
        rng: &mut StdRng,
    ) -> anyhow::Result<usize> {
        for _ in 0..rng.random_range(1..4) {
            self.arrivals.be_silent(&self.runtime, rng.random_bool(0.5))?;
            thread::sleep(Duration::from_millis(rng.random_range(100..900)));
        }
        while mqtt_relay::under_way(&self.record) == 0 && more_come() {
            thread::sleep(Duration::from_millis(1));
        }
        let under_way = mqtt_relay::under_way(&self.record);
        self.gateway.kill()?;
        Ok(under_way)
    }

    fn wait_for_all(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let missing = self.arrivals.missing(MESSAGES);
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} are missing, as {:?}",
                missing.len(),
                missing.get(..20).unwrap_or(&missing)
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Lets a gadget say numbers.
fn say(broker: &Mutex<Mosquitto>, gadget: u32, numbers: impl Iterator<Item = u32>) -> anyhow::Result<()> {
    let broker = broker.lock().expect("nobody panics while it is held");
    let lines = numbers.map(|number| format!("{{\"n\":{number}}}"));
    broker.publish(&format!("count/gadget-{gadget}/number"), lines)
}

/// Lets the gadgets say all numbers, in turns.
fn say_all(broker: &Mutex<Mosquitto>) -> anyhow::Result<()> {
    for (burst, first) in (0..MESSAGES).step_by(BURST as usize).enumerate() {
        say(broker, burst as u32 % GADGETS, first..first + BURST)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn configuration(folder: &str, version: &str, [server, broker]: [u16; 2]) -> String {
    let mut text = format!(
        r#"
[gateway]
name = "kill"
control_socket = "{folder}/control.sock"
state_dir = "{folder}/state"

[[server]]
name = "sim"
uri = "coap://127.0.0.1:{server}"

[[broker]]
name = "local"
uri = "mqtt://127.0.0.1:{broker}"
version = "{version}"
"#
    );
    for gadget in 0..GADGETS {
        text.push_str(&format!(
            "\n[[device]]\nid = \"gadget-{gadget}\"\nprofile = \"interop.number\"\nbroker = \"local\"\n\
             topic = \"gadget-{gadget}\"\n"
        ));
    }
    text
}

/// 10,000 messages at a gateway that is killed again and again with messages that are received and not acknowledged,
/// while the server comes and goes; once the broker is started anew too.
fn lose_nothing(version: &str, seed: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut site = Site::start(version, |_| Ok(()))?;
    site.subscribed(MESSAGES)?;
    let broker = Arc::clone(&site.mosquitto);
    let publisher = thread::spawn(move || say_all(&broker));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut under_way = Vec::new();
    while !publisher.is_finished() {
        under_way.push(site.live_and_be_killed(|| !publisher.is_finished(), &mut rng)?);
        if under_way.len() == KILLS_TO_RESTART {
            let mut mosquitto = site.mosquitto.lock().expect("nobody panics while it is held");
            mosquitto.restart()?;
        }
        // The last one to start finds a server.
        let is_silent = !publisher.is_finished() && rng.random_bool(0.5);
        site.arrivals.be_silent(&site.runtime, is_silent)?;
        site.gateway = start_gateway(site.folder.path())?;
    }
    publisher
        .join()
        .expect("it does not panic")
        .context("publishing")?;
    ensure!(
        under_way.len() > KILLS_TO_RESTART && under_way.iter().filter(|count| **count > 0).count() >= 6,
        "killed with {under_way:?} under way, which shows nothing"
    );
    site.wait_for_all()?;
    eprintln!(
        "{version}: {MESSAGES} messages, seed {seed}, killed with {under_way:?} under way, {} acknowledged, {:?}, {:?}",
        mqtt_relay::acknowledged(&site.record),
        site.arrivals.duplicates(),
        began.elapsed()
    );
    mqtt_relay::in_order(&site.record)
}

#[test]
fn no_message_is_lost_by_kills_of_the_gateway_with_mqtt_3() -> anyhow::Result<()> {
    lose_nothing("3.1.1", 1)
}

#[test]
fn no_message_is_lost_by_kills_of_the_gateway_with_mqtt_5() -> anyhow::Result<()> {
    lose_nothing("5", 2)
}

#[test]
fn what_mosquitto_kept_is_shown_and_sent_to_nobody_as_fresh() -> anyhow::Result<()> {
    for version in ["3.1.1", "5"] {
        let site = Site::start(version, |broker| {
            broker.publish_retained("count/gadget-0/number", "{\"n\":7}")
        })?;
        let deadline = Instant::now() + PATIENCE;
        while site.arrivals.read(&site.runtime, "kill-gadget-0").as_deref() != Some("7") {
            ensure!(Instant::now() < deadline, "what was kept is not shown");
            thread::sleep(Duration::from_millis(50));
        }
        say(&site.mosquitto, 0, [8].into_iter())?;
        while !site.arrivals.has(8) {
            ensure!(Instant::now() < deadline, "what is said now does not arrive");
            thread::sleep(Duration::from_millis(10));
        }
        ensure!(
            !site.arrivals.has(7),
            "what was kept is sent as if it were said now"
        );
        ensure!(mqtt_relay::in_order(&site.record).is_ok() && mqtt_relay::under_way(&site.record) <= 1);
    }
    Ok(())
}
