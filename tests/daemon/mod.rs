//! The real binary and a simulated server, for suites that measure it from outside.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use anyhow::Context;
use lwm2m_client::object::ObjectTable;
use ucifi_sim::server::{LwM2mServer, Transmission, io};

/// Linux counts processor time in hundredths of a second, whatever the machine (`USER_HZ`).
const TICKS_PER_SEC: f64 = 100.0;

/// The binary at work; killed when dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(binary: &Path, config: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        Ok(Self(command.args(["run", "--config"]).arg(config).spawn()?))
    }

    /// Returns the number of the process while it runs.
    pub(crate) fn id(&mut self) -> anyhow::Result<u32> {
        let ended = self.0.try_wait()?;
        ended.map_or(Ok(self.0.id()), |status| {
            Err(anyhow::anyhow!("the gateway has ended with {status}"))
        })
    }

    /// Returns its memory now and at the most, as the kernel says it.
    pub(crate) fn memory(&mut self) -> anyhow::Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let of_memory = |line: &&str| line.starts_with("VmRSS") || line.starts_with("VmHWM");
        let lines = status.lines().filter(of_memory);
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        Ok(words.join(" "))
    }

    /// Returns the processor time that it has used, in seconds.
    pub(crate) fn processor_secs(&mut self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()?))?;
        let (_, after_name) = stat.rsplit_once(") ").context("a process has a name")?;
        // proc(5): utime and stime are fields 14 and 15, the first after the name is 3.
        let times = after_name.split(' ').skip(11).take(2);
        let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / TICKS_PER_SEC)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a server that acknowledges.
pub(crate) async fn start_server() -> anyhow::Result<io::Running> {
    let table = Arc::new(ObjectTable::builtin());
    let server = LwM2mServer::new(table, Transmission::default(), 1);
    Ok(io::start("127.0.0.1:0".parse()?, server).await?)
}
