//! The arguments of `simulate`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which device is played, and where.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SimulateOptions {
    #[command(subcommand)]
    pub(crate) peer: Option<SimulatedPeer>,
    /// What kind of device: the id of a profile, or the file of one
    #[arg(required = true)]
    pub(crate) profile: Option<String>,
    /// Its unit address, of a Modbus device; by default 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=247))]
    pub(crate) unit: Option<u8>,
    /// The speed of its line, of a Modbus device; by default that of the profile
    #[arg(long, value_parser = clap::value_parser!(u32).range(300..=1_000_000))]
    pub(crate) baud: Option<u32>,
    /// A name for its port that stays the same, of a Modbus device: a symbolic link to the pseudo-terminal
    #[arg(long, value_name = "PATH")]
    pub(crate) link: Option<PathBuf>,
    /// The broker, of an MQTT device; by default mqtt://127.0.0.1:1883
    #[arg(long, value_name = "URI")]
    pub(crate) broker: Option<String>,
    /// What stands for it in its topics, of an MQTT device; by default mqtt-1
    #[arg(long, value_name = "TOPIC")]
    pub(crate) device: Option<String>,
    /// Where the gateway listens for packet forwarders, of a LoRaWAN device; by default 127.0.0.1:1700
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Option<SocketAddr>,
    /// The EUI of the packet forwarder, of a LoRaWAN device; by default AA555A0000000101
    #[arg(long, value_name = "EUI", value_parser = eui)]
    pub(crate) forwarder_eui: Option<[u8; 8]>,
    /// Its DevEUI, of a LoRaWAN device; by default 0200000000000001, which no maker has
    #[arg(long, value_name = "EUI", value_parser = eui)]
    pub(crate) dev_eui: Option<[u8; 8]>,
    /// Its JoinEUI, of a LoRaWAN device; by default zeros
    #[arg(long, value_name = "EUI", value_parser = eui)]
    pub(crate) join_eui: Option<[u8; 8]>,
    /// The file of its AppKey, of a LoRaWAN device; made with a new key if it is not there. By default DEVEUI.key
    #[arg(long, value_name = "FILE")]
    pub(crate) app_key_file: Option<PathBuf>,
    /// How often it speaks, in seconds, of a device that does so by itself; by default as the profile says
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) every: Option<u64>,
    /// Print JSON, one object a line; the first one has the configuration
    #[arg(long)]
    pub(crate) json: bool,
}

/// An EUI as labels have it.
fn eui(text: &str) -> Result<[u8; 8], String> {
    let digits = crate::hex::bytes(&text.replace('-', ""));
    let eui = digits.and_then(|bytes| bytes.try_into().ok());
    eui.ok_or_else(|| "an EUI has 16 hex digits, as in 70B3D57ED0001234".to_owned())
}

/// What stands beside the devices where a cabinet is only tried.
#[derive(Debug, Subcommand)]
pub enum SimulatedPeer {
    /// An LwM2M server that lets anybody in and shows what it is told, in place of a device
    Server(PeerOptions),
    /// An MQTT broker that lets anybody in, in place of a device
    Broker(PeerOptions),
}

/// Where a server or a broker listens.
#[derive(Debug, Args)]
pub struct PeerOptions {
    /// Where it listens; by default on this machine only, at the usual port
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Print JSON, one object a line; the first one has the configuration
    #[arg(long)]
    pub(crate) json: bool,
}
