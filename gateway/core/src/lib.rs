//! The gateway without IO: devices and their values, commands, and what each LwM2M server is shown of them.
//!
//! `core` never looks inside a frame: adapters know how it is framed, profiles know what it means. It does no IO and
//! reads no clock: [`Gateway`] is told what came in, and asked what must go out. The same inputs with the same seed
//! give the same outputs.
//!
//! | module | what it is for |
//! |---|---|
//! | [`gateway`] | the state machine: the front of everything |
//! | [`field`], [`profile`] | the seams towards adapters and profiles |
//! | [`config`], [`output`], [`status`] | what goes in once, what comes out, what is told of the state |
//! | `device`, `point`, `tree`, `derive`, `identity`, `cabinet` | a device: its frames become values, and some of them news |
//! | `model`, `view` | what a server is shown: versions, units, types |
//! | [`buffer`], [`state`] | what goes to disk: readings owed, and what else outlives a restart |
//! | `endpoint`, `outbox` | a device at a server: its client, and what it is owed |
//! | `command` | commands on their way to a device |
//! | [`limits`], `timer` | every bound; when to do what |

pub mod buffer;
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
pub mod state;
pub mod status;
#[cfg(test)]
mod testing;
mod timer;
mod tree;
mod view;

pub use config::{AccountConfig, BufferConfig, CabinetConfig, Config, ConfigError, DeviceConfig, Topology};
pub use field::{Delivery, Downlink, DownlinkId, Frame, Link, Uplink};
pub use gateway::{CommandError, Gateway};
pub use output::{
    CommandId, CommandOrigin, CommandOutcome, CommandRecord, DropReason, EndpointId, Event, Output,
    StateEvent,
};
pub use profile::Profile;
pub use reading::Quality;
pub use state::Kept;
pub use status::{DeviceStatus, EndpointState, EndpointStatus, PointValue, Totals};

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
