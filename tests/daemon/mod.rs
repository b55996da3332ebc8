//! The real binary and a simulated server, for suites that measure it from outside.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use lwm2m_client::object::ObjectTable;
use ucifi_sim::server::{LwM2mServer, Transmission, io};

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
