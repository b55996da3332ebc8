//! `[[bus]]`: a Modbus line or a Modbus TCP target.

use std::sync::Arc;

use ucifi_profiles::document::Item;

use super::section::{Section, name_of};

/// The line speeds that serial ports commonly have.
const BAUDS: [u32; 9] = [1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 76_800, 115_200];

/// One Modbus bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    /// Its name.
    pub name: Arc<str>,
    /// What it hangs on.
    pub port: BusPort,
    /// Whether anything may be written to its devices.
    pub writes: bool,
}

/// What a bus hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusPort {
    /// A serial port: Modbus RTU.
    Serial {
        /// The device file.
        path: String,
        /// Bits a second.
        baud: u32,
        /// Bits of a character.
        format: SerialFormat,
    },
    /// A socket: Modbus TCP.
    Tcp {
        /// Host and port.
        address: String,
    },
}

impl BusPort {
    /// Returns it as a person would say it.
    pub fn describe(&self) -> String {
        match self {
            Self::Serial { path, baud, format } => format!("{path} at {baud} {}", format.name()),
            Self::Tcp { address } => format!("tcp://{address}"),
        }
    }
}

/// The characters of a serial line. Modbus RTU has eight data bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialFormat {
    /// No parity, one stop bit.
    N1,
    /// No parity, two stop bits.
    N2,
    /// Even parity, one stop bit: what the standard asks for.
    E1,
    /// Odd parity, one stop bit.
    O1,
}

impl SerialFormat {
    const ALL: [Self; 4] = [Self::N1, Self::N2, Self::E1, Self::O1];

    /// Returns the name used in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::N1 => "8N1",
            Self::N2 => "8N2",
            Self::E1 => "8E1",
            Self::O1 => "8O1",
        }
    }

    /// Returns the bits of one character on the line, start and stop bits counted.
    pub const fn bits_per_char(self) -> u8 {
        match self {
            Self::N1 => 10,
            Self::N2 | Self::E1 | Self::O1 => 11,
        }
    }
}

pub(super) fn read(section: &Section<'_>) -> Option<Bus> {
    let name = section.require("name").and_then(name_of);
    let port = section.require("port");
    let baud = section.get("baud");
    let format = section.get("format");
    let writes = section.writes();
    section.finish();
    let port = match port?.string()?.strip_prefix("tcp://") {
        Some(address) => tcp(port?, address, baud, format),
        None => serial(port?, baud, format),
    };
    Some(Bus {
        name: name?,
        port: port?,
        writes,
    })
}

fn tcp(port: Item<'_>, address: &str, baud: Option<Item<'_>>, format: Option<Item<'_>>) -> Option<BusPort> {
    for serial_only in [baud, format].into_iter().flatten() {
        serial_only.error::<()>(format!(
            "{} belongs to a serial port, this bus is TCP",
            serial_only.key()
        ));
    }
    let number = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, number)| number);
    match number.map(|number| number.parse::<u16>()) {
        Some(Ok(1..)) => Some(BusPort::Tcp {
            address: address.to_owned(),
        }),
        Some(Ok(0) | Err(_)) => port.error_with_help("the TCP port is no number from 1 to 65535", TCP_HELP),
        None => Some(BusPort::Tcp {
            address: format!("{address}:502"),
        })
        .filter(|_| !address.is_empty())
        .or_else(|| port.error_with_help("tcp:// is followed by no host", TCP_HELP)),
    }
}

const TCP_HELP: &str = "as in tcp://192.168.1.10:502";

fn serial(port: Item<'_>, baud: Option<Item<'_>>, format: Option<Item<'_>>) -> Option<BusPort> {
    let path = port.string()?;
    if path.contains("://") {
        return port.error_with_help(format!("port {path:?} is no serial port"), TCP_HELP);
    }
    if !path.starts_with('/') {
        return port.error_with_help(
            format!("port {path:?} is no absolute path"),
            "best one that stays when cables are moved: /dev/serial/by-id/...",
        );
    }
    let baud = match baud {
        Some(item) => baud_of(item)?,
        None => 9600,
    };
    let format = match format {
        Some(item) => item.one_of(&SerialFormat::ALL.map(|format| (format.name(), format)))?,
        None => SerialFormat::N1,
    };
    Some(BusPort::Serial {
        path: path.to_owned(),
        baud,
        format,
    })
}

fn baud_of(item: Item<'_>) -> Option<u32> {
    let baud = item.integer(1..=4_000_000)?;
    if BAUDS.contains(&baud) {
        return Some(baud);
    }
    let nearest = BAUDS
        .into_iter()
        .min_by_key(|known| known.abs_diff(baud))
        .unwrap_or(9600);
    item.error_with_help(
        format!("no serial port runs at {baud} baud"),
        format!("did you mean {nearest}?"),
    )
}
