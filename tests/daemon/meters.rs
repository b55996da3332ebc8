//! Three-phase meters behind Modbus TCP, and the configuration of a gateway that polls them.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ucifi_sim::modbus_unit::Unit;

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
