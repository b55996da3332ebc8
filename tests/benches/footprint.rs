//! Memory and processor time of the real binary with 32 units of 49 points over Modbus TCP, its server answering.
//!
//! `UCIFI_GATEWAY` names the binary to measure, best one built with `--profile dist --no-default-features`.

#[path = "../daemon/mod.rs"]
mod daemon;
#[path = "../daemon/meters.rs"]
mod meters;
#[path = "../daemon/usage.rs"]
mod usage;

use std::time::Duration;

use anyhow::Context;
use ucifi_sim::server::io;

use daemon::Daemon;
use meters::Site;

const UNITS: u8 = 32;
const RUN: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let binary = std::env::var("UCIFI_GATEWAY").context("UCIFI_GATEWAY names the binary to measure")?;
    let mut running = daemon::start_server().await?;
    let folder = tempfile::tempdir()?;
    let site = Site {
        state: &folder.path().join("state"),
        meters: UNITS,
        units: meters::start_meters(UNITS)?,
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
    eprintln!("{}", gateway.memory()?);
    let seconds = gateway.processor_secs()?;
    eprintln!(
        "{UNITS} units, {} s: {received} values received, {seconds:.2} s of processor time, {:.2} % of one core",
        RUN.as_secs(),
        seconds / RUN.as_secs_f64() * 100.0
    );
    Ok(())
}
