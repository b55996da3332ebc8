//! The real gateway on a disk without space: it lives, its readings arrive, and when there is space again the buffer
//! works as before.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time::Instant;
use ucifi_sim::server::io;

use crate::ballast;
use crate::daemon::{self, Daemon};
use crate::meters::{self, Site};
use crate::mount::{self, Mounted};

const METERS: u8 = 10;
const DRIVE_BYTES: u64 = 32 << 20;
const WITHIN: Duration = Duration::from_secs(60);
/// So that an outage of seconds reaches the disk.
const BUFFER: &str = "[buffer]\nhold_ms = 300\ncommit_ms = 100\nmax_mb = 8";
const OFTEN: &str =
    "intervals_ms = { p_l1 = 200, p_l2 = 200, p_l3 = 200, s_l1 = 200, s_l2 = 200, s_l3 = 200 }";

#[tokio::test]
async fn a_disk_that_fills_up_stops_neither_the_gateway_nor_its_readings() {
    let mut rig = Rig::new().await.expect("a rig");
    rig.start().expect("the gateway");
    rig.registered().await.expect("registrations");
    rig.receive(100).await.expect("readings on a disk with space");
    rig.fill().expect("a ballast");
    rig.outage().await.expect("an outage");
    rig.receive(300).await.expect("readings on a full disk");
    rig.still_runs().expect("the gateway on a full disk");
    rig.free().expect("no ballast");
    rig.buffer_works().await.expect("the buffer after that");
}

#[tokio::test]
async fn a_gateway_that_starts_on_a_full_disk_works_and_buffers_once_there_is_space() {
    let mut rig = Rig::new().await.expect("a rig");
    rig.fill().expect("a ballast");
    rig.start().expect("the gateway");
    rig.registered().await.expect("registrations");
    rig.receive(300).await.expect("readings on a full disk");
    rig.still_runs().expect("the gateway on a full disk");
    rig.free().expect("no ballast");
    rig.buffer_works().await.expect("the buffer after that");
}

struct Rig {
    daemon: Option<Daemon>,
    mounted: Mounted,
    running: io::Running,
    config: PathBuf,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (image, state) = (folder.path().join("image"), folder.path().join("state"));
        std::fs::write(&image, mount::format(DRIVE_BYTES)?)?;
        std::fs::create_dir(&state)?;
        let mounted = Mounted::new(&image, &state, "noatime")?;
        let running = daemon::start_server().await?;
        let site = Site {
            state: &state,
            meters: METERS,
            units: meters::start_meters(METERS)?,
            server: running.address.port(),
            sections: BUFFER,
            options: OFTEN,
        };
        Ok(Self {
            daemon: None,
            config: site.write(folder.path())?,
            mounted,
            running,
            _folder: folder,
        })
    }

    fn start(&mut self) -> anyhow::Result<()> {
        self.daemon = Some(Daemon::start(&binary()?, &self.config)?);
        Ok(())
    }

    /// Leaves not a byte.
    fn fill(&self) -> anyhow::Result<()> {
        ballast::fill(self.mounted.folder(), 0)?;
        ensure!(
            ballast::available(self.mounted.folder())? == 0,
            "there is space left"
        );
        Ok(())
    }

    fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.mounted.folder().join("ballast"))?)
    }

    /// Waits until every endpoint is registered.
    async fn registered(&mut self) -> anyhow::Result<()> {
        self.wait_until(|rig| {
            let status = rig.status()?;
            let endpoints = status["endpoints"].as_array().context("a list of endpoints")?;
            let registered = endpoints
                .iter()
                .filter(|endpoint| endpoint["state"] == "registered");
            Ok(registered.count() == usize::from(METERS) + 1)
        })
        .await
    }

    /// Waits until the server has got so many more values.
    async fn receive(&mut self, count: usize) -> anyhow::Result<()> {
        let end = Instant::now() + WITHIN;
        let mut received = 0;
        while received < count {
            let event = tokio::time::timeout_at(end, self.running.events.recv()).await;
            let event = event.with_context(|| format!("{received} of {count} values have come"))?;
            received += event
                .context("the server runs")?
                .received()
                .map_or(0, |(_, values)| values.len());
        }
        Ok(())
    }

    /// Lets the server say nothing for some seconds: longer than readings wait for it in memory only.
    async fn outage(&mut self) -> anyhow::Result<()> {
        self.running
            .handle
            .change(|manners| manners.silent = true)
            .await?;
        let queued = self.queued()?;
        self.wait_until(|rig| Ok(rig.queued()? > queued + 300)).await?;
        self.running
            .handle
            .change(|manners| manners.silent = false)
            .await?;
        Ok(())
    }

    /// Lets the server go away, and waits until readings are on disk, and until they have arrived when it is back.
    async fn buffer_works(&mut self) -> anyhow::Result<()> {
        self.running
            .handle
            .change(|manners| manners.silent = true)
            .await?;
        self.wait_until(|rig| Ok(rig.sum("buffered")? > 100)).await?;
        self.running
            .handle
            .change(|manners| manners.silent = false)
            .await?;
        self.wait_until(|rig| Ok(rig.sum("buffered")? == 0)).await?;
        self.still_runs()
    }

    fn still_runs(&mut self) -> anyhow::Result<()> {
        let daemon = self.daemon.as_mut().context("it was started")?;
        daemon.id().map(drop)
    }

    async fn wait_until(&mut self, holds: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let end = Instant::now() + WITHIN;
        // Until its control socket is there, nothing is known.
        while !holds(self).unwrap_or(false) {
            ensure!(
                Instant::now() < end,
                "it does not come to that: {}",
                self.status()?
            );
            // The events are taken meanwhile, so that there is always room for new ones.
            let soon = Instant::now() + Duration::from_millis(100);
            while tokio::time::timeout_at(soon, self.running.events.recv())
                .await
                .is_ok()
            {}
        }
        Ok(())
    }

    fn queued(&self) -> anyhow::Result<u64> {
        self.sum("queued")
    }

    /// Adds up a number over all endpoints.
    fn sum(&self, name: &str) -> anyhow::Result<u64> {
        let status = self.status()?;
        let endpoints = status["endpoints"].as_array().context("a list of endpoints")?;
        let each = endpoints.iter().map(|endpoint| endpoint[name].as_u64());
        each.sum::<Option<u64>>()
            .with_context(|| format!("{name} of every endpoint"))
    }

    fn status(&self) -> anyhow::Result<Value> {
        let mut command = Command::new(binary()?);
        let output = command
            .args(["status", "--json", "--config"])
            .arg(&self.config)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "status: {error}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The binary that was built beside this test: `target/<profile>/ucifi-gateway`.
fn binary() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).map(Path::to_owned);
    let binary = folder
        .context("a test runs from target/<profile>/deps")?
        .join("ucifi-gateway");
    ensure!(
        binary.exists(),
        "{} is missing: run cargo build -p ucifi-gateway first",
        binary.display()
    );
    Ok(binary)
}
