//! A Modbus client (RTU and TCP) for one bus with many units.
//!
//! [`Client`] is the engine: it plans reads, keeps its patience with units that don't answer, and lets commands
//! overtake polls. It does no IO and reads no clock; the module `io` runs it on a serial port or a socket. What the
//! registers mean is not known here.

mod answer;
mod bus;
mod client;
mod command;
#[cfg(feature = "io")]
pub mod io;
mod late;
pub mod limits;
mod line;
pub mod pdu;
pub mod plan;
pub mod rtu;
mod schedule;
mod statistics;
pub mod tcp;
mod unit;

#[cfg(test)]
mod bank;
#[cfg(test)]
mod tests;

pub use bus::{BusConfig, ConfigError, Event, Framing, UnitConfig, Writes};
pub use client::Client;
pub use statistics::{BusStatistics, Statistics, UnitStatistics};
