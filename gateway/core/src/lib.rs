//! The gateway without IO: devices and their values, commands, and what each LwM2M server is shown of them.
//!
//! `core` never looks inside a frame: adapters know how it is framed, profiles know what it means.

mod cabinet;
mod command;
pub mod config;
mod derive;
mod device;
mod endpoint;
pub mod field;
pub mod gateway;
mod identity;
pub mod limits;
mod model;
mod outbox;
pub mod output;
mod point;
pub mod profile;
pub mod reading;
pub mod status;
#[cfg(test)]
mod testing;
mod timer;
mod tree;
mod view;

pub use config::{AccountConfig, CabinetConfig, Config, ConfigError, DeviceConfig, Topology};
pub use field::{Delivery, Downlink, DownlinkId, Frame, Link, Uplink};
pub use gateway::{CommandError, Gateway};
pub use output::{
    CommandId, CommandOrigin, CommandOutcome, CommandRecord, DropReason, EndpointId, Event, Output,
};
pub use profile::Profile;
pub use reading::{Quality, Reading};
pub use status::{DeviceStatus, EndpointState, EndpointStatus, PointValue};

use std::time::Instant;

use lwm2m_client::Timestamp;

/// The two clocks, as every method that needs them is told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock; none until it has been set.
    pub wall: Option<Timestamp>,
}
