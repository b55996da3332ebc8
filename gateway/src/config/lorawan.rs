//! `[lorawan]`: the radio network, and the keys of its devices.

use std::net::{Ipv4Addr, SocketAddr};

use ucifi_core::field::DevEui;
use ucifi_profiles::document::Item;

use super::secret::{Secret, Secrets};
use super::section::Section;
use crate::hex;

/// The radio network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoRaWan {
    /// Where it is, and so which frequencies it uses.
    pub region: Region,
    /// Where packet forwarders send to.
    pub listen: SocketAddr,
    /// The NetID that joining devices are told, 24 bits.
    pub net_id: u32,
    /// The EUIs of the packet forwarders that are listened to; all where there is none.
    pub forwarders: Vec<DevEui>,
    /// How long an uplink waits for the same one by another forwarder, in milliseconds.
    pub dedup_ms: u64,
    /// Whether commands may be sent to its devices.
    pub writes: bool,
}

/// The regions of LoRaWAN Regional Parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Europe, 863 to 870 MHz.
    Eu868,
}

impl Region {
    /// Returns the name used in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eu868 => "EU868",
        }
    }
}

/// A 128-bit key.
pub type Key = Secret<[u8; 16]>;

/// How a device comes to its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activation {
    /// It joins over the air.
    Otaa {
        /// Its JoinEUI, as it is printed.
        join_eui: DevEui,
        /// AppKey
        app_key: Key,
    },
    /// Its session was written into it.
    Abp {
        /// DevAddr
        dev_addr: u32,
        /// NwkSKey
        nwk_s_key: Key,
        /// AppSKey
        app_s_key: Key,
    },
}

/// The usual address of forwarders: on the same machine, at the port of Semtech's protocol.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1700);

pub(super) fn read(section: &Section<'_>) -> Option<LoRaWan> {
    let region = section.require("region").and_then(region_of);
    let listen = section.get("listen").map_or(Some(LISTEN), listen_of);
    let net_id = section.get("net_id").map_or(Some(0), net_id_of);
    let forwarders = section.get("forwarders").map_or(Some(Vec::new()), forwarders_of);
    let dedup_ms = section.integer("dedup_ms", 0..=500, 100);
    let writes = section.writes();
    section.finish();
    Some(LoRaWan {
        region: region?,
        listen: listen?,
        net_id: net_id?,
        forwarders: forwarders?,
        dedup_ms,
        writes,
    })
}

fn region_of(item: Item<'_>) -> Option<Region> {
    const OTHERS: [&str; 9] = [
        "US915", "AU915", "AS923", "CN470", "CN779", "EU433", "IN865", "KR920", "RU864",
    ];
    match item.string() {
        Some(known) if OTHERS.contains(&known) => item.error_with_help(
            format!("region {known:?} is not in this version"),
            "only \"EU868\" is",
        ),
        Some(_) => item.one_of(&[(Region::Eu868.name(), Region::Eu868)]),
        None => None,
    }
}

fn listen_of(item: Item<'_>) -> Option<SocketAddr> {
    let text = item.string()?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(address),
        Ok(_) | Err(_) => item.error_with_help(
            format!("listen {text:?} is no address with a port"),
            "as in 127.0.0.1:1700, or 0.0.0.0:1700 for forwarders on other machines",
        ),
    }
}

fn net_id_of(item: Item<'_>) -> Option<u32> {
    let [high, middle, low] = digits(item, "000000")?;
    Some(u32::from_be_bytes([0, high, middle, low]))
}

fn forwarders_of(item: Item<'_>) -> Option<Vec<DevEui>> {
    let items = item.items()?;
    items.into_iter().map(eui_of).collect()
}

/// Returns an EUI-64, as labels have it: hex digits, often with dashes or colons.
pub(super) fn eui_of(item: Item<'_>) -> Option<DevEui> {
    digits(item, "70B3D57ED0001234").map(DevEui)
}

/// Returns what is written as hex digits; `example` shows one.
fn digits<const N: usize>(item: Item<'_>, example: &str) -> Option<[u8; N]> {
    let text = item.string()?;
    let found = hex_of(text);
    found.or_else(|| {
        item.error_with_help(
            // Not what is there: it may be a key in the wrong place.
            format!("{} is not {} hex digits", item.key(), 2 * N),
            format!("as in {example}"),
        )
    })
}

fn hex_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::bytes(&text.replace('-', ""))?.try_into().ok()
}

/// Reads how a device is activated; what is missing is told.
pub(super) fn activation_of(section: &Section<'_>, secrets: &Secrets) -> Option<Activation> {
    let join_eui = section.get("join_eui");
    let app_key = KeyOption::of(section, "app_key", "app_key_file");
    let dev_addr = section.get("dev_addr");
    let nwk_s_key = KeyOption::of(section, "nwk_s_key", "nwk_s_key_file");
    let app_s_key = KeyOption::of(section, "app_s_key", "app_s_key_file");
    let first_otaa = join_eui.or_else(|| app_key.any());
    let first_abp = dev_addr.or_else(|| nwk_s_key.any()).or_else(|| app_s_key.any());
    match (first_otaa, first_abp) {
        (Some(_), Some(abp)) => abp.error_with_help(
            format!("{} beside a key for joining", abp.key()),
            "a device either joins (join_eui, app_key) or has its session written into it (dev_addr, nwk_s_key, \
             app_s_key)",
        ),
        (None, Some(_)) => {
            let dev_addr = section
                .require("dev_addr")
                .and_then(|item| digits(item, "26011BDA"))
                .map(u32::from_be_bytes);
            let nwk_s_key = nwk_s_key.require(section, secrets);
            let app_s_key = app_s_key.require(section, secrets);
            Some(Activation::Abp {
                dev_addr: dev_addr?,
                nwk_s_key: nwk_s_key?,
                app_s_key: app_s_key?,
            })
        }
        (Some(_) | None, None) => {
            let join_eui = section.require("join_eui").and_then(eui_of);
            let app_key = app_key.require(section, secrets);
            Some(Activation::Otaa {
                join_eui: join_eui?,
                app_key: app_key?,
            })
        }
    }
}

/// A key, written in place or in a file of its own.
struct KeyOption<'d> {
    name: &'static str,
    text: Option<Item<'d>>,
    file: Option<Item<'d>>,
}

impl<'d> KeyOption<'d> {
    fn of(section: &Section<'d>, name: &'static str, file: &str) -> Self {
        Self {
            name,
            text: section.get(name),
            file: section.get(file),
        }
    }

    fn any(&self) -> Option<Item<'d>> {
        self.text.or(self.file)
    }

    /// Returns the key; what is wrong with it is told without a digit of it.
    fn require(&self, section: &Section<'_>, secrets: &Secrets) -> Option<Key> {
        let (item, text) = match (self.text, self.file) {
            (Some(text), None) => (text, text.string()?.to_owned()),
            (None, Some(file)) => (file, secrets.read(file)?.reveal().clone()),
            (Some(_), Some(file)) => {
                return file.error(format!("{} and {} are both there", self.name, file.key()));
            }
            (None, None) => {
                section.require(self.name);
                return None;
            }
        };
        let key = hex_of(&text).map(Secret::new);
        key.or_else(|| item.error(format!("{} is not 32 hex digits", self.name)))
    }
}
