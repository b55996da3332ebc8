//! The real binary with 1,000 LoRaWAN devices and a server that acknowledges: how long it takes to start, how much
//! memory it needs, and how long a reading is under way at which rate.
//!
//! `UCIFI_GATEWAY` names the binary, best one built with `--profile dist --no-default-features`. A reading is under way
//! from the sending of its PUSH_DATA until the server has decoded the Send with it: two ways over loopback, and the
//! simulated forwarder and server, which share a processor, are in that time.

#[path = "../daemon/mod.rs"]
mod daemon;
mod plain_forwarder;
#[path = "../daemon/usage.rs"]
mod usage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lwm2m_client::Value;
use tokio::sync::mpsc;
use ucifi_sim::server::{Event, io};

use daemon::Daemon;
use plain_forwarder::{APP_S_KEY, NWK_S_KEY, PUSH_ACK, PlainForwarder};

const DEVICES: u32 = 1_000;
const READINGS_PER_FRAME: u32 = 4;
/// Frames a second. In the first run each device is heard for the first time, which lists its instances in an Update;
/// the second one is what is to be carried on one core.
const RATES: [u32; 6] = [100, 500, 1_000, 2_000, 4_000, 8_000];
const RUN: Duration = Duration::from_secs(10);
/// Reports on their way at a time: as many as the forwarders of a district have.
const WINDOW: u32 = 16;
/// How long all may take to register.
const STARTS: Duration = Duration::from_secs(120);
/// How long after a run what is under way may take to arrive.
const ARRIVES: Duration = Duration::from_secs(5);

/// Four numbers in a frame, of which the first tells the frame.
const PROFILE: &str = r#"schema = 1
id = "bench.four"
version = "1.0.0"
status = "draft"
source = "made up"
[identity]
manufacturer = "Example"
model = "Four"
[lorawan]
class = "A"
uplink_every_secs = 900
endian = "big"
[[uplink]]
port = 10
[uplink.points]
a = { at = 0, type = "u32", path = "/3300/0/5700" }
b = { at = 4, type = "u32", path = "/3300/1/5700" }
c = { at = 8, type = "u32", path = "/3300/2/5700" }
d = { at = 12, type = "u32", path = "/3300/3/5700" }
[[test]]
name = "four numbers"
source = "made up"
port = 10
payload = "00000001 00000002 00000003 00000004"
expect = { a = 1, b = 2, c = 3, d = 4 }
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let binary = std::env::var("UCIFI_GATEWAY").context("UCIFI_GATEWAY names the binary to measure")?;
    let mut server = daemon::start_server().await?;
    let folder = tempfile::tempdir()?;
    let forwarder_port = free_port()?;
    let config = configuration(folder.path(), forwarder_port, server.address)?;
    let begin = Instant::now();
    let mut gateway = Daemon::start(binary.as_ref(), &config)?;
    starts(&mut server, begin).await?;
    eprintln!("  {}", gateway.memory()?);
    let mut forwarder = PlainForwarder::start(forwarder_port, 1, DEVICES).await?;
    let mut next = 1;
    for rate in RATES {
        measure(&mut gateway, &mut server, &mut forwarder, rate, &mut next).await?;
        eprintln!("  {}", gateway.memory()?);
    }
    Ok(())
}

/// Waits until every device and the cabinet are registered.
async fn starts(server: &mut io::Running, begin: Instant) -> anyhow::Result<()> {
    let mut names = std::collections::BTreeSet::new();
    let all = async {
        while names.len() <= DEVICES as usize {
            let event = server.events.recv().await.context("the server runs")?;
            if let Event::Registered(client) = event {
                if names.is_empty() {
                    eprintln!("first Register after {:?}", begin.elapsed());
                }
                names.insert(client.endpoint);
            }
        }
        anyhow::Ok(())
    };
    let in_time = tokio::time::timeout(STARTS, all).await;
    let count = names.len();
    in_time.with_context(|| format!("{count} have registered"))??;
    eprintln!("{count} endpoints registered after {:?}", begin.elapsed());
    Ok(())
}

/// Sends frames at a rate, and tells when the server had them.
async fn measure(
    gateway: &mut Daemon,
    server: &mut io::Running,
    forwarder: &mut PlainForwarder,
    rate: u32,
    next: &mut u32,
) -> anyhow::Result<()> {
    let first = *next;
    let count = rate * u32::try_from(RUN.as_secs())?;
    *next += count;
    let worked = gateway.processor_secs()?;
    let (sent, mut times) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let sending = async {
        let mut open = 0;
        for number in first..first + count {
            let due = begin + Duration::from_secs_f64(f64::from(number - first) / f64::from(rate));
            tokio::time::sleep_until(due.into()).await;
            sent.send((number, Instant::now()))?;
            forwarder
                .send(0, number % DEVICES, &payload(number), false)
                .await?;
            open += 1;
            while open >= WINDOW {
                open -= u32::from(forwarder.hear().await?[3] == PUSH_ACK);
            }
        }
        anyhow::Ok(begin.elapsed())
    };
    let receiving = arrivals(server, first, count);
    let (took, arrived) = tokio::join!(sending, receiving);
    let took = took?;
    let worked = gateway.processor_secs()? - worked;
    let mut under_way = Vec::new();
    while let Ok((number, at)) = times.try_recv() {
        under_way.extend(arrived.get(&number).map(|arrived| *arrived - at));
    }
    report(rate, count, took, worked, under_way)
}

/// Takes what the server gets until it has every frame, or nothing more comes.
async fn arrivals(server: &mut io::Running, first: u32, count: u32) -> BTreeMap<u32, Instant> {
    let mut arrived = BTreeMap::new();
    while arrived.len() < count as usize {
        let Ok(Some(event)) = tokio::time::timeout(ARRIVES, server.events.recv()).await else {
            break;
        };
        let now = Instant::now();
        let values = event.received().map_or(&[][..], |(_, values)| values);
        for value in values {
            let is_number = value.path == lwm2m_client::Path::resource(3300, 0, 5700);
            if let (true, Value::Float(number)) = (is_number, &value.value)
                && *number >= f64::from(first)
            {
                arrived.insert(*number as u32, now);
            }
        }
    }
    arrived
}

fn report(
    rate: u32,
    count: u32,
    took: Duration,
    worked: f64,
    mut under_way: Vec<Duration>,
) -> anyhow::Result<()> {
    under_way.sort_unstable();
    ensure!(!under_way.is_empty(), "nothing has arrived");
    let share = |percent: usize| under_way[(under_way.len() - 1) * percent / 100];
    let readings = f64::from(count * READINGS_PER_FRAME) / took.as_secs_f64();
    eprintln!(
        "{rate} frames a second wanted, {readings:.0} readings a second sent: p50 {:?} p99 {:?} longest {:?}, {} of \
         {count} frames did not arrive, {:.1} % of one core",
        share(50),
        share(99),
        share(100),
        count as usize - under_way.len(),
        worked / took.as_secs_f64() * 100.0
    );
    Ok(())
}

fn payload(number: u32) -> Vec<u8> {
    (0..READINGS_PER_FRAME)
        .flat_map(|place| (number + place).to_be_bytes())
        .collect()
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}

fn configuration(folder: &Path, forwarders: SocketAddr, server: SocketAddr) -> anyhow::Result<PathBuf> {
    let mut text = format!(
        "[gateway]\nname = \"cab\"\ncontrol_socket = \"{folder}/control.sock\"\nstate_dir = \"{folder}/state\"\n\
         [[server]]\nname = \"sim\"\nuri = \"coap://{server}\"\n\
         [lorawan]\nregion = \"EU868\"\nlisten = \"{forwarders}\"\n",
        folder = folder.display(),
    );
    let (nwk_s_key, app_s_key) = (hex(&NWK_S_KEY), hex(&APP_S_KEY));
    for device in 0..DEVICES {
        write!(
            text,
            "[[device]]\nid = \"d{device}\"\nprofile = \"bench.four\"\ndev_eui = \"{device:016X}\"\n\
             dev_addr = \"{device:08X}\"\nnwk_s_key = \"{nwk_s_key}\"\napp_s_key = \"{app_s_key}\"\n"
        )?;
    }
    let profiles = folder.join("profiles.d");
    std::fs::create_dir(&profiles)?;
    std::fs::write(profiles.join("four.toml"), PROFILE)?;
    let config = folder.join("gateway.toml");
    std::fs::write(&config, text)?;
    Ok(config)
}

fn hex(key: &[u8]) -> String {
    key.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        write!(text, "{byte:02X}").ok();
        text
    })
}
