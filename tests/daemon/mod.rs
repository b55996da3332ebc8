//! The real binary with three-phase meters behind Modbus TCP and a simulated server, for suites that measure or starve
//! it from outside.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::object::ObjectTable;
use ucifi_sim::modbus_unit::Unit;
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

/// What a configuration is made of.
pub(crate) struct Site<'s> {
    /// Where the state is kept.
    pub(crate) state: &'s Path,
    pub(crate) meters: u8,
    /// The port of the meters.
    pub(crate) units: u16,
    /// The port of the server.
    pub(crate) server: u16,
    /// More sections.
    pub(crate) sections: &'s str,
    /// More options of every meter.
    pub(crate) options: &'s str,
}

impl Site<'_> {
    /// Writes the configuration into a folder, and returns its file.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let mut text = format!(
            "[gateway]\nname = \"cab\"\ncontrol_socket = \"{}/control.sock\"\nstate_dir = \"{}\"\n{}\n\
             [[server]]\nname = \"sim\"\nuri = \"coap://127.0.0.1:{}\"\n\
             [[bus]]\nname = \"tcp\"\nport = \"tcp://127.0.0.1:{}\"\n",
            folder.display(),
            self.state.display(),
            self.sections,
            self.server,
            self.units,
        );
        for unit in 1..=self.meters {
            write!(
                text,
                "[[device]]\nid = \"m{unit}\"\nprofile = \"eastron.sdm630\"\nbus = \"tcp\"\nunit = {unit}\n{}\n",
                self.options
            )?;
        }
        let config = folder.join("gateway.toml");
        std::fs::write(&config, text)?;
        Ok(config)
    }
}

/// Starts a server that acknowledges.
pub(crate) async fn start_server() -> anyhow::Result<io::Running> {
    let table = Arc::new(ObjectTable::builtin());
    let server = LwM2mServer::new(table, Transmission::default(), 1);
    Ok(io::start("127.0.0.1:0".parse()?, server).await?)
}

/// Answers for so many meters on every connection, framed as Modbus TCP; returns the port.
pub(crate) fn start_meters(meters: u8) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve_connection(connection, meters));
        }
    });
    Ok(port)
}

fn serve_connection(mut connection: TcpStream, meters: u8) -> std::io::Result<()> {
    let began = Instant::now();
    let mut units: Vec<Unit> = (0..=meters).map(Unit::sdm630).collect();
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
