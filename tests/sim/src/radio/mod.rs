//! LoRaWAN devices and packet forwarders, and the air between them.
//!
//! The devices run a real LoRaWAN stack (the crate `lorawan-device`), the forwarders speak the real protocol and plan
//! their transmissions as the reference implementation does. A [`Field`] is all of it, in simulated time; [`io`] runs
//! one in real time towards a gateway's UDP port.

mod airwave;
mod field;
mod forwarder;
pub mod gadgets;
mod gwmp;
mod heard;
pub mod io;
mod jit;
mod node;

#[cfg(test)]
mod tests;

pub use airwave::Channel;
pub use field::{Conditions, Event, Field};
pub use forwarder::{Forwarder, ForwarderCounters, Socket};
pub use node::{NodeConfig, NodeEvent, SendOutcome};
