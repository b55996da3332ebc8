//! Memory and processor time of the real binary with 32 units of 49 points over Modbus TCP, its server answering.
//!
//! `UCIFI_GATEWAY` names the binary to measure, best one built with `--profile dist --no-default-features`.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use lwm2m_client::object::ObjectTable;
use ucifi_sim::modbus_unit::Unit;
use ucifi_sim::server::{LwM2mServer, Transmission, io};

const UNITS: u8 = 32;
const RUN: Duration = Duration::from_secs(60);
/// Linux counts processor time in hundredths of a second, whatever the machine (`USER_HZ`).
const TICKS_PER_SEC: f64 = 100.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let binary = std::env::var("UCIFI_GATEWAY").context("UCIFI_GATEWAY names the binary to measure")?;
    let units = TcpListener::bind("127.0.0.1:0")?;
    let port = units.local_addr()?.port();
    std::thread::spawn(move || serve_units(&units));
    let table = Arc::new(ObjectTable::builtin());
    let server = LwM2mServer::new(table, Transmission::default(), 1);
    let mut running = io::start("127.0.0.1:0".parse()?, server).await?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("gateway.toml");
    std::fs::write(
        &config,
        configuration(folder.path(), port, running.address.port()),
    )?;
    let gateway = Gateway(
        Command::new(&binary)
            .args(["run", "--config"])
            .arg(&config)
            .spawn()?,
    );
    let received = count_values(&mut running).await;
    gateway.report(received)
}

fn configuration(folder: &Path, units: u16, server: u16) -> String {
    let mut text = format!(
        "[gateway]\nname = \"cab\"\ncontrol_socket = \"{0}/control.sock\"\nstate_dir = \"{0}/state\"\n\
         [[server]]\nname = \"sim\"\nuri = \"coap://127.0.0.1:{server}\"\n\
         [[bus]]\nname = \"tcp\"\nport = \"tcp://127.0.0.1:{units}\"\n",
        folder.display()
    );
    for unit in 1..=UNITS {
        let device = format!(
            "[[device]]\nid = \"m{unit}\"\nprofile = \"eastron.sdm630\"\nbus = \"tcp\"\nunit = {unit}\n"
        );
        text.write_str(&device).expect("a string takes all");
    }
    text
}

/// Counts what the server receives until the time is over.
async fn count_values(running: &mut io::Running) -> usize {
    let end = tokio::time::Instant::now() + RUN;
    let mut received = 0;
    while let Ok(Some(event)) = tokio::time::timeout_at(end, running.events.recv()).await {
        received += event.received().map_or(0, |(_, values)| values.len());
    }
    received
}

struct Gateway(Child);

impl Gateway {
    fn report(&self, received: usize) -> anyhow::Result<()> {
        let process = format!("/proc/{}", self.0.id());
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        for line in status
            .lines()
            .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
        {
            eprintln!("{line}");
        }
        let stat = std::fs::read_to_string(format!("{process}/stat"))?;
        let (_, after_name) = stat.rsplit_once(") ").context("a process has a name")?;
        // proc(5): utime and stime are fields 14 and 15, the first after the name is 3.
        let ticks: u64 = after_name
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        let seconds = ticks as f64 / TICKS_PER_SEC;
        eprintln!(
            "{UNITS} units, {} s: {received} values received, {seconds:.2} s of processor time, {:.2} % of one core",
            RUN.as_secs(),
            seconds / RUN.as_secs_f64() * 100.0
        );
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Answers for all units on every connection, framed as Modbus TCP.
fn serve_units(listener: &TcpListener) {
    for connection in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || serve_connection(connection));
    }
}

fn serve_connection(mut connection: TcpStream) -> std::io::Result<()> {
    let began = Instant::now();
    let mut units: Vec<Unit> = (0..=UNITS).map(Unit::sdm630).collect();
    let mut header = [0; 7];
    loop {
        connection.read_exact(&mut header)?;
        let mut pdu = vec![0; usize::from(header[5]).saturating_sub(1)];
        connection.read_exact(&mut pdu)?;
        let Some(unit) = units.get_mut(usize::from(header[6])) else {
            continue;
        };
        let answer = unit.answer(&pdu, began.elapsed());
        let length = (answer.len() + 1) as u16;
        header[4..6].copy_from_slice(&length.to_be_bytes());
        connection.write_all(&[&header[..], &answer].concat())?;
    }
}
