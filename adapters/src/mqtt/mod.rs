//! An MQTT client (3.1.1 and 5) for one broker with many devices.
//!
//! [`Client`] is the engine: it knows whose topic is whose, acknowledges a message once it can be lost no more, in the
//! order of receipt and never across a reconnect, and has its patience with the broker. It does no IO, reads no clock
//! and sees messages, not packets; the module `io` runs it on a connection. What a payload means is not known here.

mod address;
mod broker;
mod client;
mod command;
#[cfg(feature = "io")]
pub mod io;
pub mod limits;
mod numbering;
mod receipts;
mod routes;
mod session;
mod statistics;

#[cfg(test)]
mod tests;

pub use address::Address;
pub use broker::{Action, BrokerConfig, ConfigError, DeviceConfig, Event, Message, Writes, place_of};
pub use client::Client;
pub use statistics::{BrokerStatistics, DeviceStatistics, Statistics, UnknownDevice};
