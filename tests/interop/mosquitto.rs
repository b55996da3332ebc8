//! A mosquitto of the test's own, and its publishing client.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// Debian keeps it out of the path of ordinary users.
const PLACES: [&str; 2] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];

/// Under this topic nobody may publish.
const DENIED: &str = "zigbee2mqtt/attic/set";

pub(crate) struct Mosquitto {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Mosquitto {
    /// Starts it with `max_queued_messages 0`: what nobody has acknowledged is kept, however much it is, also through a
    /// restart.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_in(TempDir::new()?, "")
    }

    /// The same, and it lets nobody publish on [`DENIED`]. After a restart such a broker drops what comes for clients that
    /// are not connected again: it does not know yet what they may hear.
    pub(crate) fn start_denying() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let rules = folder.path().join("acl");
        std::fs::write(&rules, format!("topic deny {DENIED}\ntopic readwrite #\n"))?;
        Self::start_in(folder, &format!("acl_file {}\n", rules.display()))
    }

    fn start_in(folder: TempDir, more: &str) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let settings = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence true\n\
             persistence_location {}/\nuser root\n{more}",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), settings)?;
        let started = Self {
            child: run(&folder)?,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            folder,
        };
        started.wait()?;
        Ok(started)
    }

    /// Ends it as systemd does.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(told.success(), "cannot signal mosquitto");
        Ok(())
    }

    /// Ends it as systemd does, and starts it again.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.child.wait()?;
        self.child = run(&self.folder)?;
        self.wait()
    }

    fn wait(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.address).is_err() {
            ensure!(Instant::now() < deadline, "mosquitto does not listen within 10 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Publishes each line as a message of QoS 1, and returns when the broker has them all.
    pub(crate) fn publish(&self, topic: &str, lines: impl Iterator<Item = String>) -> anyhow::Result<()> {
        self.say(topic, &["-q", "1"], lines)
    }

    /// Publishes one that the broker keeps for whoever subscribes later.
    pub(crate) fn publish_retained(&self, topic: &str, line: &str) -> anyhow::Result<()> {
        self.say(topic, &["-q", "1", "-r"], std::iter::once(line.to_owned()))
    }

    fn say(&self, topic: &str, options: &[&str], lines: impl Iterator<Item = String>) -> anyhow::Result<()> {
        let mut publisher = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-l", "-t", topic, "-p"])
            .arg(self.address.port().to_string())
            .args(options)
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start mosquitto_pub, `.ci/peers` installs it")?;
        let mut input = publisher.stdin.take().context("no standard input")?;
        for line in lines {
            writeln!(input, "{line}")?;
        }
        drop(input);
        ensure!(publisher.wait()?.success(), "mosquitto_pub failed");
        Ok(())
    }
}

fn run(folder: &TempDir) -> anyhow::Result<Child> {
    let program = PLACES.into_iter().find(|place| Path::new(place).exists());
    Command::new(program.unwrap_or("mosquitto"))
        .arg("-c")
        .arg(folder.path().join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start mosquitto, `.ci/peers` installs it")
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
