//! How many messages of QoS 1 a second the real binary takes from a broker to their acknowledgement, its server being
//! there, and being away.
//!
//! `UCIFI_GATEWAY` names the binary to measure, best one built with `--profile dist --no-default-features`. The broker
//! is as plain as can be: it sends as long as fewer than a window of messages are under way. With a server each message
//! is acknowledged when its reading is; without one, when it is durable in a folder below `UCIFI_STATE`, or of the
//! system's choice.

#[path = "../daemon/mod.rs"]
mod daemon;
#[path = "../daemon/usage.rs"]
mod usage;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use daemon::Daemon;

const GADGETS: u32 = 100;
/// Messages that a broker has under way: what the gateway asks for, and what mosquitto allows unless it is told
/// otherwise.
const WINDOWS: [usize; 2] = [100, 20];
const PHASE: Duration = Duration::from_secs(20);
/// Registrations and first values are not counted.
const SETTLES: Duration = Duration::from_secs(10);
/// How long an acknowledgement is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const PROFILE: &str = r#"
schema = 1
id = "bench.number"
version = "0.1.0"
status = "draft"
source = "made up"

[identity]
manufacturer = "Bench"
model = "Number"
device_type = "counter"

[mqtt]
qos = 1

[[topic]]
topic = "count/{device}/number"
[topic.points]
number = { json = "n", path = "/3300/0/5700" }
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let binary = std::env::var("UCIFI_GATEWAY").context("UCIFI_GATEWAY names the binary to measure")?;
    for window in WINDOWS {
        let mut server = daemon::start_server().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let ports = [server.address.port(), listener.local_addr()?.port()];
        let folder = folder()?;
        let config = configure(folder.path(), ports)?;
        let mut gateway = Daemon::start(binary.as_ref(), &config)?;
        let mut broker = Broker::accept(&listener, window).await?;
        let events = tokio::spawn(async move { while server.events.recv().await.is_some() {} });
        broker.flood(SETTLES).await?;
        measure("server there", &mut broker, &mut gateway).await?;
        server.handle.change(|manners| manners.silent = true).await?;
        broker.flood(SETTLES).await?;
        measure("server away", &mut broker, &mut gateway).await?;
        eprintln!("{}", gateway.memory()?);
        events.abort();
    }
    Ok(())
}

fn folder() -> std::io::Result<tempfile::TempDir> {
    match std::env::var_os("UCIFI_STATE") {
        Some(state) => tempfile::tempdir_in(state),
        None => tempfile::tempdir(),
    }
}

fn configure(folder: &Path, [server, broker]: [u16; 2]) -> anyhow::Result<PathBuf> {
    let profiles = folder.join("profiles.d");
    std::fs::create_dir(&profiles)?;
    std::fs::write(profiles.join("number.toml"), PROFILE)?;
    let path = folder.display();
    let mut text = format!(
        "[gateway]\nname = \"cab\"\ncontrol_socket = \"{path}/control.sock\"\nstate_dir = \"{path}/state\"\n\
         [[server]]\nname = \"sim\"\nuri = \"coap://127.0.0.1:{server}\"\nregistrations_per_sec = 100\n\
         [[broker]]\nname = \"bench\"\nuri = \"mqtt://127.0.0.1:{broker}\"\ndiscover = false\n",
    );
    for gadget in 0..GADGETS {
        write!(
            text,
            "[[device]]\nid = \"g{gadget}\"\nprofile = \"bench.number\"\nbroker = \"bench\"\ntopic = \"g{gadget}\"\n"
        )?;
    }
    let config = folder.join("gateway.toml");
    std::fs::write(&config, text)?;
    Ok(config)
}

async fn measure(name: &str, broker: &mut Broker, gateway: &mut Daemon) -> anyhow::Result<()> {
    let before = gateway.processor_secs()?;
    let mut times = broker.flood(PHASE).await?;
    let busy = gateway.processor_secs()? - before;
    times.sort_unstable();
    let share = |percent: usize| times.get(times.len() * percent / 100).copied();
    eprintln!(
        "{name}, {GADGETS} devices, {} under way: {:.0} messages a second, to the acknowledgement p50 {:?} p99 {:?}, \
         {:.0} % of one core",
        broker.window,
        times.len() as f64 / PHASE.as_secs_f64(),
        share(50).unwrap_or_default(),
        share(99).unwrap_or_default(),
        busy / PHASE.as_secs_f64() * 100.0
    );
    Ok(())
}

/// The broker's end of the gateway's connection.
struct Broker {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    window: usize,
    under_way: VecDeque<(u16, Instant)>,
    sent: u32,
}

impl Broker {
    /// Waits for the gateway and for all that it subscribes to.
    async fn accept(listener: &TcpListener, window: usize) -> anyhow::Result<Self> {
        let (stream, _): (TcpStream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let mut broker = Self {
            reader: BufReader::new(reader),
            writer,
            window,
            under_way: VecDeque::new(),
            sent: 0,
        };
        let mut topics = 0;
        while topics < GADGETS as usize {
            let (first, body) = broker.packet().await?;
            let answer = match first >> 4 {
                1 => vec![0x20, 2, 0, 0],
                8 => {
                    let asked = filters(&body);
                    topics += asked;
                    // At most 64 in one SUBSCRIBE: the length takes one byte.
                    [vec![0x90, (asked + 2) as u8, body[0], body[1]], vec![1; asked]].concat()
                }
                _ => continue,
            };
            broker.writer.write_all(&answer).await?;
        }
        Ok(broker)
    }

    /// Publishes for so long, and returns for each message how long its acknowledgement took.
    async fn flood(&mut self, time: Duration) -> anyhow::Result<Vec<Duration>> {
        let end = Instant::now() + time;
        let mut times = Vec::new();
        while Instant::now() < end {
            while self.under_way.len() < self.window {
                self.publish().await?;
            }
            let (first, body) = timeout(PATIENCE, self.packet()).await.context("no PUBACK")??;
            match first >> 4 {
                4 => {
                    let (packet_id, sent) = self.under_way.pop_front().context("a PUBACK too many")?;
                    ensure!(body[..2] == packet_id.to_be_bytes(), "a PUBACK out of order");
                    times.push(sent.elapsed());
                }
                12 => self.writer.write_all(&[0xd0, 0]).await?,
                other => anyhow::bail!("a packet of type {other}"),
            }
        }
        Ok(times)
    }

    async fn publish(&mut self) -> anyhow::Result<()> {
        let topic = format!("count/g{}/number", self.sent % GADGETS);
        let payload = format!("{{\"n\":{}}}", self.sent);
        // Never 0, and never one that is under way.
        let packet_id = (self.sent % 60_000) as u16 + 1;
        let length = 2 + topic.len() + 2 + payload.len();
        let mut packet = vec![0x32, u8::try_from(length)?];
        packet.extend((topic.len() as u16).to_be_bytes());
        packet.extend(topic.as_bytes());
        packet.extend(packet_id.to_be_bytes());
        packet.extend(payload.as_bytes());
        self.writer.write_all(&packet).await?;
        self.under_way.push_back((packet_id, Instant::now()));
        self.sent += 1;
        Ok(())
    }

    /// Reads a packet (MQTT 3.1.1, section 2.2): its first byte, and what follows its length.
    async fn packet(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        let first = self.reader.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.reader.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).await?;
        Ok((first, body))
    }
}

/// Returns how many topics a SUBSCRIBE asks for.
fn filters(body: &[u8]) -> usize {
    let (mut at, mut count) = (2, 0);
    while at + 2 <= body.len() {
        at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]])) + 1;
        count += 1;
    }
    count
}
