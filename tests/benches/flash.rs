//! What the real binary writes to its flash while its server is there, while it is away and while the buffer drains.
//!
//! `UCIFI_GATEWAY` names the binary. Its state is on an ext4 of its own on a loop device, which counts what reaches it:
//! needs root, best in a mount namespace of its own (`unshare --mount`). 32 units of 49 points over Modbus TCP.

#[path = "../daemon/mod.rs"]
mod daemon;
#[path = "../daemon/meters.rs"]
mod meters;
#[path = "../power/mount.rs"]
mod mount;
#[path = "../daemon/usage.rs"]
mod usage;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;
use ucifi_sim::server::io;

use daemon::Daemon;
use meters::Site;
use mount::Mounted;

const UNITS: u8 = 32;
const DRIVE_BYTES: u64 = 512 << 20;
/// Registrations and first values are not counted.
const SETTLES: Duration = Duration::from_secs(30);
const SECTOR: u64 = 512;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let binary = std::env::var("UCIFI_GATEWAY").context("UCIFI_GATEWAY names the binary to measure")?;
    let phase = Duration::from_secs(seconds("UCIFI_SECONDS", 120)?);
    let folder = tempfile::tempdir()?;
    let (image, state) = (folder.path().join("image"), folder.path().join("state"));
    std::fs::write(&image, mount::format(DRIVE_BYTES)?)?;
    std::fs::create_dir(&state)?;
    let mounted = Mounted::new(&image, &state, "noatime")?;
    let mut running = daemon::start_server().await?;
    let site = Site {
        state: &state,
        meters: UNITS,
        units: meters::start_meters(UNITS)?,
        server: running.address.port(),
        sections: "",
        options: "",
    };
    let config = site.write(folder.path())?;
    let mut gateway = Daemon::start(binary.as_ref(), &config)?;
    count(&mut running, SETTLES).await;
    let drive = Drive::of(mounted.folder())?;
    measure("present", &drive, &mut gateway, &mut running, phase).await?;
    running.handle.change(|manners| manners.silent = true).await?;
    measure("away", &drive, &mut gateway, &mut running, phase).await?;
    running.handle.change(|manners| manners.silent = false).await?;
    measure("back", &drive, &mut gateway, &mut running, phase).await?;
    measure("present again", &drive, &mut gateway, &mut running, phase).await?;
    drop(gateway);
    mounted.unmount()
}

fn seconds(name: &str, default: u64) -> anyhow::Result<u64> {
    std::env::var(name).map_or(Ok(default), |text| Ok(text.parse()?))
}

async fn measure(
    name: &str,
    drive: &Drive,
    gateway: &mut Daemon,
    running: &mut io::Running,
    time: Duration,
) -> anyhow::Result<()> {
    let (before, worked_before) = (drive.counts()?, gateway.processor_secs()?);
    let received = count(running, time).await;
    let (after, worked) = (drive.counts()?, gateway.processor_secs()? - worked_before);
    eprintln!(
        "{name}, {} s: {received} values received; {} bytes and {} FLUSHes reached the drive; {worked:.2} s of \
         processor time; {}",
        time.as_secs(),
        after.bytes - before.bytes,
        after.flushes - before.flushes,
        gateway.memory()?,
    );
    Ok(())
}

/// Counts what the server receives until the time is over.
async fn count(running: &mut io::Running, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut received = 0;
    while let Ok(Some(event)) = tokio::time::timeout_at(end, running.events.recv()).await {
        received += event.received().map_or(0, |(_, values)| values.len());
    }
    received
}

/// The block device below a folder.
struct Drive(std::path::PathBuf);

struct Counts {
    bytes: u64,
    flushes: u64,
}

impl Drive {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let is_own = |line: &&str| line.split(' ').nth(1) == folder.to_str();
        let line = mounts.lines().rfind(is_own).context("the folder is mounted")?;
        let device = line
            .split(' ')
            .next()
            .and_then(|device| device.strip_prefix("/dev/"));
        let device = device.context("a device is mounted")?;
        Ok(Self(format!("/sys/block/{device}/stat").into()))
    }

    /// Reads what has reached the device: Documentation/block/stat.rst of the kernel, fields 7 and 16.
    fn counts(&self) -> anyhow::Result<Counts> {
        let text = std::fs::read_to_string(&self.0)?;
        let fields: Vec<u64> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let field = |number: usize| fields.get(number - 1).copied().context("the kernel counts less");
        Ok(Counts {
            bytes: field(7)? * SECTOR,
            flushes: field(16)?,
        })
    }
}
