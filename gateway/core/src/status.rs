//! What people and tools are told of the gateway's state: plain values, taken at one moment.

use std::sync::Arc;

use lwm2m_client::{Path, Timestamp, Value};

use crate::field::Link;
use crate::output::EndpointId;
use crate::reading::Quality;

/// One device at one server.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointStatus {
    /// Its number in datagrams.
    pub id: EndpointId,
    /// The server's name in the configuration.
    pub account: Arc<str>,
    /// The server's address.
    pub server_uri: Arc<str>,
    /// The endpoint name.
    pub name: Arc<str>,
    /// The device's id; the gateway's name for the cabinet itself.
    pub device: Arc<str>,
    /// How far the registration is.
    pub state: EndpointState,
    /// Where the server keeps the registration.
    pub location: Option<String>,
    /// What went wrong last; none once it works again.
    pub last_error: Option<String>,
    /// How many observations the server has.
    pub observations: usize,
    /// How many readings wait for this server, in memory and on disk.
    pub queued: usize,
    /// How many readings the server has acknowledged.
    pub delivered: u64,
    /// How many readings were dropped.
    pub dropped: u64,
    /// How many of the readings that wait are in memory only.
    pub waiting: usize,
    /// How many of them are in the buffer on disk.
    pub buffered: u64,
    /// When the oldest of them was measured, where that is known.
    pub oldest: Option<Timestamp>,
    /// What became of the readings of this run.
    pub totals: Totals,
}

/// What became of the readings of one device for one server since the gateway has started.
///
/// With what was in the buffer at the start, `produced` is the sum of `delivered_live`, `delivered_late`, `dropped` and
/// what waits in memory and in the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many readings the server was to get.
    pub produced: u64,
    /// How many it took before they were written to disk.
    pub delivered_live: u64,
    /// How many were written to disk.
    pub stored: u64,
    /// How many it took out of the buffer, those of earlier runs counted too.
    pub delivered_late: u64,
    /// How many it will never get.
    pub dropped: u64,
}

/// How far a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It waits for its turn.
    Waiting,
    /// It is being made.
    Registering,
    /// It stands.
    Registered,
    /// It failed, and is tried again later.
    Failed,
    /// The server has sent the client away for a while.
    Disabled,
    /// It was ended on purpose.
    Deregistered,
}

impl EndpointState {
    /// Returns the word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Registering => "registering",
            Self::Registered => "registered",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Deregistered => "deregistered",
        }
    }
}

/// One device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceStatus {
    /// Its id; the gateway's name for the cabinet itself.
    pub id: Arc<str>,
    /// What people call it.
    pub label: Arc<str>,
    /// The name of its profile.
    pub profile: Arc<str>,
    /// How it is reached; none for the cabinet.
    pub link: Option<Link>,
    /// Whether it answers; none until that is known.
    pub reachable: Option<bool>,
    /// Why it does not answer.
    pub unreachable_because: Option<String>,
    /// Milliseconds since its last frame.
    pub last_frame_age_ms: Option<u64>,
    /// How many frames it sent.
    pub frames: u64,
    /// How many of them were kept for whoever asks (retained MQTT messages).
    pub frames_retained: u64,
    /// How many of them said nothing that its profile knows.
    pub frames_refused: u64,
    /// How many values it gave that cannot be.
    pub faults: u64,
    /// The object instances that it shows in the newest model.
    pub instances: Vec<Path>,
}

/// One value of a device, in the newest model.
#[derive(Clone, Debug, PartialEq)]
pub struct PointValue {
    /// The name of the point, or the registry's name of the resource where no point fills it.
    pub name: Arc<str>,
    /// The resource.
    pub path: Path,
    /// Its value; none until there is one.
    pub value: Option<Value>,
    /// The registry's unit, often empty.
    pub unit: Arc<str>,
    /// When it was measured.
    pub time: Option<Timestamp>,
    /// Milliseconds since it was received; none for what was never received.
    pub age_ms: Option<u64>,
    /// How far it can be trusted; none where there is no value.
    pub quality: Option<Quality>,
}
