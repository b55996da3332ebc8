//! The configuration: read once, checked whole, then only looked at.
//!
//! [`Sources`] are the texts as they stand in files and environment; [`read`] makes a [`Loaded`] of them or says
//! everything that is wrong. Nothing here opens a port or a socket.

mod broker;
mod buffer;
mod bus;
mod device;
mod gateway;
mod link;
mod lorawan;
mod overrides;
mod reader;
mod secret;
mod section;
mod server;
mod sources;
mod uri;

pub use broker::{Broker, BrokerUri, Login, MqttVersion};
pub use buffer::{BufferBound, BufferOptions};
pub use bus::{Bus, BusPort, SerialFormat};
pub use device::Device;
pub use gateway::{GatewayOptions, OnStop};
pub use lorawan::{Activation, Key, LoRaWan, Region};
pub use overrides::Override;
pub use reader::{Loaded, read};
pub use secret::{Secret, Secrets};
pub use server::{Server, ServerUri};
pub use sources::{File, Sources};
pub(crate) use sources::{beside, read_file};

/// Where the configuration is looked for unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/ucifi-gateway/gateway.toml";

/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ucifi-gateway/control.sock";

/// Where the gateway keeps what outlives it unless the configuration says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/ucifi-gateway";

/// What the gateway is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// The gateway itself.
    pub gateway: GatewayOptions,
    /// The readings that a server has not taken yet.
    pub buffer: BufferOptions,
    /// The LwM2M servers.
    pub servers: Vec<Server>,
    /// The field buses.
    pub buses: Vec<Bus>,
    /// The MQTT brokers.
    pub brokers: Vec<Broker>,
    /// The radio network; none where there is none.
    pub lorawan: Option<LoRaWan>,
    /// The devices on them.
    pub devices: Vec<Device>,
}

#[cfg(test)]
mod tests;
