//! The running buses: orders to them, and what is known of their ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use ucifi_adapters::modbus::io::{Parity, Port, ToBus, run};
use ucifi_adapters::modbus::{BusConfig, Client, ConfigError, Framing, Statistics, UnitConfig, Writes};
use ucifi_core::field::{Link, PointId};
use ucifi_core::{Downlink, Profile};

use super::Input;
use super::field::Tasks;
use crate::config::{Bus, BusPort, Configuration, Device, SerialFormat};
use crate::limits::BUS_ORDERS;

/// All buses by name.
pub(super) struct Buses {
    buses: BTreeMap<Arc<str>, RunningBus>,
}

/// One bus.
struct RunningBus {
    port: String,
    orders: mpsc::Sender<ToBus>,
    /// Intervals that the bus could not take yet; the newest one counts.
    unsaid: BTreeMap<(u8, PointId), u64>,
    state: PortState,
}

/// How the port of a bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortState {
    /// Nothing has been heard of it.
    Opening,
    /// It is open.
    Open,
    /// It is not, for the reason given.
    Closed(String),
}

impl PortState {
    /// Returns the state in words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Opening => "opening".to_owned(),
            Self::Open => "open".to_owned(),
            Self::Closed(reason) => format!("closed: {reason}"),
        }
    }
}

/// What `status` shows of a bus, its counters still under way.
pub(super) struct BusStatus {
    pub(super) name: Arc<str>,
    pub(super) port: String,
    pub(super) state: PortState,
    pub(super) statistics: Option<oneshot::Receiver<Statistics>>,
}

impl Buses {
    /// Starts every bus.
    ///
    /// # Errors
    /// When the units of a bus cannot be polled as configured.
    pub(super) fn open(
        configuration: &Configuration,
        seed: u64,
        now: Instant,
        tasks: &mut Tasks,
    ) -> Result<Self, ConfigError> {
        let mut buses = BTreeMap::new();
        for (bus, client) in clients(configuration, seed, now)? {
            let (orders, taken) = mpsc::channel(BUS_ORDERS);
            let (events, told) = mpsc::channel(BUS_ORDERS);
            let name = bus.name.clone();
            tasks.run_measuring(run(client, port(&bus.port), taken, events), told, move |event| {
                Input::Bus {
                    bus: name.clone(),
                    event,
                }
            });
            let running = RunningBus {
                port: bus.port.describe(),
                orders,
                unsaid: BTreeMap::new(),
                state: PortState::Opening,
            };
            buses.insert(bus.name.clone(), running);
        }
        Ok(Self { buses })
    }

    /// Hands a downlink to its bus; says whether the bus could take it.
    pub(super) fn downlink(&self, downlink: Downlink) -> bool {
        let Link::Modbus { bus, .. } = &downlink.link else {
            return false;
        };
        let Some(running) = self.buses.get(bus) else {
            return false;
        };
        running.orders.try_send(ToBus::Downlink(downlink)).is_ok()
    }

    /// Tells a bus how often a point is wanted.
    pub(super) fn interest(&mut self, link: &Link, point: PointId, every_ms: u64) {
        let Link::Modbus { bus, unit } = link else { return };
        if let Some(running) = self.buses.get_mut(bus) {
            running.unsaid.insert((*unit, point), every_ms);
        }
        self.say_interests();
    }

    /// Tells every bus the intervals that it could not take before.
    pub(super) fn say_interests(&mut self) {
        for bus in self.buses.values_mut() {
            let orders = bus.orders.clone();
            bus.unsaid.retain(|(unit, point), every_ms| {
                let order = ToBus::Interest {
                    unit: *unit,
                    point: *point,
                    every_ms: *every_ms,
                };
                orders.try_send(order).is_err()
            });
        }
    }

    /// Takes note of how a port is, for `status`; the bus's own task has logged it.
    pub(super) fn note(&mut self, name: &Arc<str>, state: PortState) {
        if let Some(bus) = self.buses.get_mut(name) {
            bus.state = state;
        }
    }

    /// Asks every bus for its counters.
    pub(super) fn status(&self) -> Vec<BusStatus> {
        let one = |(name, bus): (&Arc<str>, &RunningBus)| {
            let (reply, statistics) = oneshot::channel();
            let asked = bus.orders.try_send(ToBus::Statistics(reply)).is_ok();
            BusStatus {
                name: name.clone(),
                port: bus.port.clone(),
                state: bus.state.clone(),
                statistics: asked.then_some(statistics),
            }
        };
        self.buses.iter().map(one).collect()
    }
}

/// Makes the engine of every bus.
///
/// # Errors
/// When the units of a bus cannot be polled as configured.
pub(super) fn clients(
    configuration: &Configuration,
    seed: u64,
    now: Instant,
) -> Result<Vec<(&Bus, Client)>, ConfigError> {
    let client = |(bus, place)| {
        let units = configuration
            .devices
            .iter()
            .filter_map(|device| unit_on(bus, device))
            .collect();
        Ok((
            bus,
            Client::new(engine_config(bus), units, seed.wrapping_add(place), now)?,
        ))
    };
    configuration.buses.iter().zip(1..).map(client).collect()
}

fn unit_on(bus: &Bus, device: &Device) -> Option<UnitConfig> {
    let Link::Modbus { bus: name, unit } = &device.link else {
        return None;
    };
    let (points, limits) = device.profile.register_reads()?;
    let mut points = points.to_vec();
    for point in &mut points {
        point.every_ms = device
            .intervals_ms
            .get(&point.id)
            .copied()
            .unwrap_or(point.every_ms);
    }
    (*name == bus.name).then(|| UnitConfig {
        unit: *unit,
        points,
        limits: limits.clone(),
    })
}

fn engine_config(bus: &Bus) -> BusConfig {
    let framing = match &bus.port {
        BusPort::Serial { baud, format, .. } => Framing::Rtu {
            baud: *baud,
            bits_per_char: format.bits_per_char(),
        },
        BusPort::Tcp { .. } => Framing::Tcp,
    };
    let writes = if bus.writes { Writes::Allow } else { Writes::Deny };
    BusConfig {
        name: bus.name.clone(),
        framing,
        writes,
    }
}

fn port(port: &BusPort) -> Port {
    match port {
        BusPort::Serial { path, baud, format } => {
            let (parity, stop_bits) = match format {
                SerialFormat::N1 => (Parity::None, 1),
                SerialFormat::N2 => (Parity::None, 2),
                SerialFormat::E1 => (Parity::Even, 1),
                SerialFormat::O1 => (Parity::Odd, 1),
            };
            Port::Serial {
                path: path.clone(),
                baud: *baud,
                parity,
                stop_bits,
                data_bits: 8,
            }
        }
        BusPort::Tcp { address } => Port::Tcp {
            address: address.clone(),
        },
    }
}
