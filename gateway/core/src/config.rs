//! What the gateway is told at its start: itself, the servers, the devices.
//!
//! Everything is checked before it gets here, except what only the gateway as a whole can see: see [`ConfigError`].

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::Path;
use lwm2m_client::client::EnablerVersion;
use lwm2m_client::object::Model;

use crate::field::{Link, PointId};
use crate::profile::Profile;

/// The gateway: its name, its servers, its devices.
#[derive(Clone)]
pub struct Config {
    /// The name of the cabinet: its own endpoint name, and the first part of its devices'.
    pub name: Arc<str>,
    /// What /3/0 of the cabinet says.
    pub cabinet: CabinetConfig,
    /// The servers, in the order of the configuration.
    pub accounts: Vec<AccountConfig>,
    /// The field devices, in the order of the configuration.
    pub devices: Vec<DeviceConfig>,
    /// How long a server or a person waits for the answer to a command, in milliseconds.
    pub answer_within_ms: u64,
    /// What is kept on disk while a server is away; without effect where nothing is kept.
    pub buffer: BufferConfig,
}

/// When readings that a server has not got are written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferConfig {
    /// How long a reading waits in memory for its server to take it, in milliseconds; alarms and what is billed do not
    /// wait while the server is away.
    pub hold_ms: u64,
    /// The shortest time between two writes, in milliseconds; alarms do not wait for it.
    pub commit_ms: u64,
    /// What is written at once without waiting for it, in bytes as they are estimated.
    pub commit_bytes: usize,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            hold_ms: 5_000,
            commit_ms: 1_000,
            commit_bytes: 64 * 1024,
        }
    }
}

/// What /3/0 of the cabinet says; a value that is empty is not offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CabinetConfig {
    /// /3/0/0
    pub manufacturer: Arc<str>,
    /// /3/0/1
    pub model_number: Arc<str>,
    /// /3/0/2
    pub serial: Arc<str>,
    /// /3/0/3
    pub firmware_version: Arc<str>,
    /// The endpoint name of the cabinet; none makes it the gateway's name.
    pub endpoint: Option<Arc<str>>,
}

/// A LwM2M server, and how the devices appear there.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its address, for example `coap://192.0.2.1:5683`.
    pub server_uri: Arc<str>,
    /// What resource /1/0/0 says, 1 to 65534.
    pub short_server_id: u16,
    /// Which object versions it knows.
    pub model: Model,
    /// How devices become LwM2M clients.
    pub topology: Topology,
    /// The highest LwM2M version that is announced.
    pub version: EnablerVersion,
    /// The lifetime of a registration, in seconds.
    pub lifetime_secs: u32,
    /// The default minimum period of observations, in seconds; none is no limit.
    pub default_pmin_secs: Option<u32>,
    /// The default maximum period of observations, in seconds; none is no limit.
    pub default_pmax_secs: Option<u32>,
    /// Whether notifications are kept while the server is away.
    pub notification_storing: bool,
    /// Whether every notification is confirmable.
    pub confirmable_notifications: bool,
    /// How many registrations are begun in a second when the gateway starts, at least 1.
    pub registrations_per_sec: u32,
    /// Whether readings are sent by Send as they come in.
    pub send: bool,
}

impl AccountConfig {
    /// Returns a server with the defaults: the newest model, a client for each device, a lifetime of five minutes,
    /// LwM2M 1.1, twenty registrations a second, readings by Send.
    pub fn new(name: impl Into<Arc<str>>, server_uri: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            server_uri: server_uri.into(),
            short_server_id: 1,
            model: Model::Y2026,
            topology: Topology::EndpointPerDevice,
            version: EnablerVersion::V1_1,
            lifetime_secs: 300,
            default_pmin_secs: None,
            default_pmax_secs: None,
            notification_storing: true,
            confirmable_notifications: false,
            registrations_per_sec: 20,
            send: true,
        }
    }
}

/// How the devices of a gateway appear at a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// Each device is a LwM2M client with an endpoint name of its own.
    #[default]
    EndpointPerDevice,
}

/// A field device.
#[derive(Clone)]
pub struct DeviceConfig {
    /// Its name in the configuration, unique in the gateway.
    pub id: Arc<str>,
    /// What people call it (/3410/0/3); empty where they don't.
    pub label: Arc<str>,
    /// Its serial number (/3/0/2), empty where it is not known.
    pub serial: Arc<str>,
    /// What kind of device it is.
    pub profile: Arc<dyn Profile>,
    /// How it is reached.
    pub link: Link,
    /// Its endpoint name; none makes it what [`Link::endpoint_name`] says.
    pub endpoint: Option<Arc<str>>,
    /// The points that this site wants at another interval than the profile says, in milliseconds.
    pub intervals: BTreeMap<PointId, u64>,
}

/// Why a gateway cannot be made of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two devices have one id, or one has the gateway's name.
    #[error("the device id {id:?} is used twice: give one of the two another id")]
    DuplicateDevice {
        /// The id.
        id: Arc<str>,
    },
    /// Two devices are reached in the same way.
    #[error("{first} and {second} are both on {link}: give one of them another address")]
    DuplicateLink {
        /// The device that came first.
        first: Arc<str>,
        /// The other one.
        second: Arc<str>,
        /// How they are reached.
        link: Link,
    },
    /// Two servers have one name.
    #[error("the server name {name:?} is used twice: give one of the two another name")]
    DuplicateAccount {
        /// The name.
        name: Arc<str>,
    },
    /// Two devices would appear under one endpoint name.
    #[error("{first} and {second} both have the endpoint name {name:?}: set `endpoint` of one of them")]
    DuplicateEndpoint {
        /// The device that came first.
        first: Arc<str>,
        /// The other one.
        second: Arc<str>,
        /// The endpoint name.
        name: Arc<str>,
    },
    /// A device would get the endpoint name of a removed one whose readings a server has not got yet.
    #[error(
        "{device} has the endpoint name {name:?} of {removed}, which was removed and still has readings for a server: \
         wait until they are delivered or drop them, or set another `endpoint`"
    )]
    EndpointOwes {
        /// The device.
        device: Arc<str>,
        /// The removed one.
        removed: Arc<str>,
        /// The endpoint name.
        name: Arc<str>,
    },
    /// A new device would by chance get the endpoint name that a removed one had.
    #[error(
        "the endpoint name {name:?} of {device} belonged to {removed}, which was removed: set `endpoint = {name:?}` if \
         {device} takes its place, or another one"
    )]
    EndpointTaken {
        /// The device.
        device: Arc<str>,
        /// The removed one.
        removed: Arc<str>,
        /// The endpoint name.
        name: Arc<str>,
    },
    /// An override names a point that the profile does not have.
    #[error("{device} sets the interval of point {point}, but {profile} has {points} points only")]
    UnknownPoint {
        /// The device.
        device: Arc<str>,
        /// Its profile.
        profile: Arc<str>,
        /// The number of the point.
        point: u16,
        /// How many points the profile has.
        points: usize,
    },
    /// A profile fills a resource that no version of the object has.
    #[error("the profile {profile} of {device} fills {path}, which the object registry does not know")]
    UnknownResource {
        /// The device.
        device: Arc<str>,
        /// Its profile.
        profile: Arc<str>,
        /// The resource.
        path: Path,
    },
    /// There are more servers than the gateway can serve.
    #[error("{count} servers are more than the {limit} that one gateway serves")]
    TooManyAccounts {
        /// How many there are.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// There are more devices or servers than the gateway can serve.
    #[error("{count} endpoints are more than the {limit} that one gateway serves")]
    TooManyEndpoints {
        /// Devices times servers.
        count: usize,
        /// The bound.
        limit: usize,
    },
}
