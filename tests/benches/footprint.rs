//! Memory and processor time of the real binary with 32 units of 49 points over Modbus TCP, its server answering.
//!
//! `UCIFI_GATEWAY` names the binary to measure, best one built with `--profile dist --no-default-features`.

#[path = "../daemon/mod.rs"]
mod daemon;

use std::time::Duration;

use anyhow::Context;
use ucifi_sim::server::io;

use daemon::{Daemon, Site};

const UNITS: u8 = 32;
const RUN: Duration = Duration::from_secs(60);
/// Linux counts processor time in hundredths of a second, whatever the machine (`USER_HZ`).
const TICKS_PER_SEC: f64 = 100.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let binary = std::env::var("UCIFI_GATEWAY").context("UCIFI_GATEWAY names the binary to measure")?;
    let mut running = daemon::start_server().await?;
    let folder = tempfile::tempdir()?;
    let site = Site {
        state: &folder.path().join("state"),
        meters: UNITS,
        units: daemon::start_meters(UNITS)?,
        server: running.address.port(),
        sections: "",
        options: "",
    };
    let config = site.write(folder.path())?;
    let mut gateway = Daemon::start(binary.as_ref(), &config)?;
    let received = count_values(&mut running).await;
    report(&mut gateway, received)
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

fn report(gateway: &mut Daemon, received: usize) -> anyhow::Result<()> {
    let process = format!("/proc/{}", gateway.id()?);
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
