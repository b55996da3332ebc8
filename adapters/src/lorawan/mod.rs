//! LoRaWAN 1.0.x in EU868: an embedded network server behind packet forwarders.
//!
//! [`NetworkServer`] is the engine: joins, sessions, counters, acknowledgements, commands. [`Forwarders`] is the engine
//! below it: which packet forwarder hears what, and which sends what, when; [`gwmp`] is the protocol that it speaks with
//! them. What went through the air is told in the types of [`air`]; the tables of the region are in [`region`]. No data
//! rate is adapted (ADR): a device keeps the one that it has or chooses itself. None of it does IO or reads a clock; the
//! module `io` runs it on a socket. What a payload means is not known here.

pub mod air;
mod config;
mod event;
mod f_cnt;
pub mod forwarders;
pub mod gwmp;
#[cfg(feature = "io")]
pub mod io;
mod keys;
pub mod limits;
pub mod mac_command;
mod network_server;
mod node;
mod outgoing;
pub mod phy_payload;
mod queue;
mod record;
pub mod region;
mod saver;
mod session;
mod statistics;

#[cfg(test)]
mod tests;

pub use air::{
    AirFrame, ForwarderId, Heard, Purpose, Sent, Transmission, TransmissionId, TxError, When, Window,
};
pub use config::{Activation, ConfigError, NetworkConfig, NodeConfig};
pub use event::{Event, Sender, WhyRefused};
pub use forwarders::Forwarders;
pub use keys::Key;
pub use network_server::NetworkServer;
pub use phy_payload::{DevAddr, JoinEui};
pub use region::DataRate;
pub use statistics::NetworkStatistics;
