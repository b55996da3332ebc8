//! What a configuration comes to: which endpoints appear at which server, how busy each bus will be, and what looks
//! like a mistake although it is none.

mod links;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use ucifi_core::Profile;
use ucifi_core::field::{Link, ReadLimits, RegisterPoint};

use crate::config::{BufferBound, Bus, BusPort, Configuration, Device};
use crate::store::buffer_folder;
use links::{broker_meaning, denied_commands, lorawan_meaning, radio_warnings};

pub use links::{BrokerMeaning, LoRaWanMeaning, RadioDeviceMeaning, TopicMeaning};

/// What a configuration comes to.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// The name of the gateway.
    pub name: String,
    /// Its servers.
    pub servers: Vec<ServerMeaning>,
    /// Its buses.
    pub buses: Vec<BusMeaning>,
    /// Its brokers.
    pub brokers: Vec<BrokerMeaning>,
    /// Its radio network.
    pub lorawan: Option<LoRaWanMeaning>,
    /// What registers at each server: the cabinet, then its devices.
    pub endpoints: Vec<EndpointMeaning>,
    /// Its buffer.
    pub buffer: BufferMeaning,
    /// What looks like a mistake.
    pub warnings: Vec<String>,
}

/// A server.
#[derive(Clone, Debug)]
pub struct ServerMeaning {
    /// Its name.
    pub name: String,
    /// Its address.
    pub uri: String,
    /// The object versions that it is shown.
    pub model: String,
    /// How much of the buffer it may have.
    pub buffer: BufferBound,
}

/// What is kept while a server is away.
#[derive(Clone, Debug)]
pub struct BufferMeaning {
    /// Where.
    pub folder: String,
    /// The most that it takes on disk, in MiB.
    pub max_mb: u32,
    /// The readings of how long before a power cut it may cost, in milliseconds.
    pub power_cut_ms: u64,
}

/// A bus.
#[derive(Clone, Debug)]
pub struct BusMeaning {
    /// Its name.
    pub name: String,
    /// Its port, speed and format.
    pub port: String,
    /// Whether anything may be written.
    pub writes: bool,
    /// How many devices hang on it.
    pub devices: usize,
    /// How busy it will be.
    pub load: BusLoad,
}

/// How busy a bus will be, estimated from the profiles' intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BusLoad {
    /// Requests a second.
    pub requests_per_sec: f64,
    /// The share of the time that the line is occupied; none for TCP.
    pub busy_share: Option<f64>,
}

/// One endpoint name and what is behind it.
#[derive(Clone, Debug)]
pub struct EndpointMeaning {
    /// The endpoint name.
    pub endpoint: String,
    /// The id of the device; the gateway's name for the cabinet.
    pub device: String,
    /// What people call it.
    pub label: String,
    /// The profile.
    pub profile: String,
    /// How it is reached.
    pub link: String,
    /// How many points are read.
    pub points: usize,
}

/// Milliseconds that a typical unit takes before it answers.
const TURNAROUND_MS: f64 = 30.0;

/// Registers that are read along to save a request, where a profile leaves that to the poller.
const USUAL_GAP: u16 = 10;

/// The share of a line's time beyond which polls will be late when a unit fails.
const BUSY_WARNING: f64 = 0.7;

/// Returns what a configuration comes to.
pub fn meaning(configuration: &Configuration) -> Meaning {
    let buses: Vec<BusMeaning> = configuration
        .buses
        .iter()
        .map(|bus| of_bus(bus, configuration))
        .collect();
    let servers = configuration.servers.iter().map(|server| ServerMeaning {
        name: server.name.to_string(),
        uri: server.uri.text.clone(),
        model: server.model.name().to_owned(),
        buffer: server.buffer,
    });
    let name = configuration.gateway.name.to_string();
    let cabinet = EndpointMeaning {
        endpoint: name.clone(),
        device: name.clone(),
        label: String::new(),
        profile: "cabinet".to_owned(),
        link: String::new(),
        points: 0,
    };
    let devices = configuration
        .devices
        .iter()
        .map(|device| of_device(device, &name));
    let warnings = warnings(configuration, &buses);
    Meaning {
        servers: servers.collect(),
        buses,
        brokers: configuration
            .brokers
            .iter()
            .map(|broker| broker_meaning(broker, configuration))
            .collect(),
        lorawan: configuration
            .lorawan
            .as_ref()
            .map(|lorawan| lorawan_meaning(lorawan, configuration)),
        endpoints: [cabinet].into_iter().chain(devices).collect(),
        buffer: BufferMeaning {
            folder: buffer_folder(&configuration.gateway.state_dir)
                .display()
                .to_string(),
            max_mb: configuration.buffer.max_mb,
            power_cut_ms: configuration.buffer.hold_ms + configuration.buffer.commit_ms,
        },
        warnings,
        name,
    }
}

impl Meaning {
    /// Returns the same as JSON.
    pub fn to_json(&self) -> Json {
        let servers: Vec<Json> = self.servers.iter().map(server_json).collect();
        let buses: Vec<Json> = self.buses.iter().map(bus_json).collect();
        let endpoints: Vec<Json> = self.endpoints.iter().map(endpoint_json).collect();
        json!({
            "name": self.name,
            "servers": servers,
            "buses": buses,
            "brokers": self.brokers.iter().map(BrokerMeaning::to_json).collect::<Vec<_>>(),
            "lorawan": self.lorawan.as_ref().map(LoRaWanMeaning::to_json),
            "endpoints": endpoints,
            "buffer": {
                "folder": self.buffer.folder,
                "max_mb": self.buffer.max_mb,
                "power_cut_ms": self.buffer.power_cut_ms,
            },
        })
    }
}

fn server_json(server: &ServerMeaning) -> Json {
    json!({
        "name": server.name,
        "uri": server.uri,
        "model": server.model,
        "buffer_max_mb": server.buffer.max_mb,
        "buffer_max_age_days": server.buffer.max_age_days,
    })
}

fn bus_json(bus: &BusMeaning) -> Json {
    json!({
        "name": bus.name,
        "port": bus.port,
        "writes": bus.writes,
        "devices": bus.devices,
        "requests_per_sec": bus.load.requests_per_sec,
        "load_percent": bus.load.busy_share.map(|share| share * 100.0),
    })
}

fn endpoint_json(endpoint: &EndpointMeaning) -> Json {
    json!({
        "endpoint": endpoint.endpoint,
        "device": endpoint.device,
        "label": endpoint.label,
        "profile": endpoint.profile,
        "link": endpoint.link,
        "points": endpoint.points,
    })
}

fn of_device(device: &Device, gateway: &str) -> EndpointMeaning {
    EndpointMeaning {
        endpoint: device.endpoint_name(gateway),
        device: device.id.to_string(),
        label: device.label.clone().unwrap_or_default(),
        profile: device.profile.id().to_owned(),
        link: device.link.to_string(),
        points: device.profile.points().len(),
    }
}

fn of_bus(bus: &Bus, configuration: &Configuration) -> BusMeaning {
    let devices: Vec<&Device> = devices_on(bus, configuration).collect();
    BusMeaning {
        name: bus.name.to_string(),
        port: bus.port.describe(),
        writes: bus.writes,
        devices: devices.len(),
        load: devices
            .iter()
            .map(|device| load_of(device, &bus.port))
            .fold(start(&bus.port), add),
    }
}

fn devices_on<'c>(bus: &'c Bus, configuration: &'c Configuration) -> impl Iterator<Item = &'c Device> {
    configuration.devices.iter().filter(|device| match &device.link {
        Link::Modbus { bus: name, .. } => *name == bus.name,
        Link::LoRaWan { .. } | Link::Mqtt { .. } => false,
    })
}

fn start(port: &BusPort) -> BusLoad {
    let busy_share = match port {
        BusPort::Serial { .. } => Some(0.0),
        BusPort::Tcp { .. } => None,
    };
    BusLoad {
        requests_per_sec: 0.0,
        busy_share,
    }
}

fn add(sum: BusLoad, one: BusLoad) -> BusLoad {
    BusLoad {
        requests_per_sec: sum.requests_per_sec + one.requests_per_sec,
        busy_share: sum.busy_share.zip(one.busy_share).map(|(a, b)| a + b),
    }
}

fn load_of(device: &Device, port: &BusPort) -> BusLoad {
    let Some((points, limits)) = device.profile.register_reads() else {
        return start(port);
    };
    let mut by_interval: BTreeMap<u64, Vec<&RegisterPoint>> = BTreeMap::new();
    for point in points {
        let every_ms = device
            .intervals_ms
            .get(&point.id)
            .copied()
            .unwrap_or(point.every_ms);
        by_interval.entry(every_ms).or_default().push(point);
    }
    // What is read once is nothing in the long run.
    by_interval.remove(&0);
    let loads = by_interval.into_iter().flat_map(|(every_ms, points)| {
        let rate = 1_000.0 / every_ms as f64;
        blocks(points, limits).into_iter().map(move |bytes| (rate, bytes))
    });
    loads
        .map(|(rate, bytes)| load_of_block(rate, bytes, limits, port))
        .fold(start(port), add)
}

/// Returns the bytes of content of each read that the points need.
fn blocks(mut points: Vec<&RegisterPoint>, limits: &ReadLimits) -> Vec<f64> {
    points.sort_by_key(|point| (point.table, point.address));
    let gap = limits.max_gap.unwrap_or(USUAL_GAP);
    let mut blocks: Vec<(&RegisterPoint, u32)> = Vec::new();
    for point in points {
        let end = u32::from(point.address) + u32::from(point.count);
        let most = if point.table.is_bits() {
            limits.max_bits
        } else {
            limits.max_registers
        };
        match blocks.last_mut() {
            Some((first, last_end))
                if first.table == point.table
                    && u32::from(point.address) <= *last_end + u32::from(gap)
                    && end - u32::from(first.address) <= u32::from(most) =>
            {
                *last_end = end.max(*last_end);
            }
            Some(_) | None => blocks.push((point, end)),
        }
    }
    let bytes = |(first, end): (&RegisterPoint, u32)| {
        let count = f64::from(end - u32::from(first.address));
        if first.table.is_bits() {
            (count / 8.0).ceil()
        } else {
            count * 2.0
        }
    };
    blocks.into_iter().map(bytes).collect()
}

/// A request has 8 characters, an answer 5 and its content; silence of 3.5 characters goes before each.
fn load_of_block(rate: f64, bytes: f64, limits: &ReadLimits, port: &BusPort) -> BusLoad {
    let busy_share = match port {
        BusPort::Serial { baud, format, .. } => {
            let char_ms = f64::from(format.bits_per_char()) * 1_000.0 / f64::from(*baud);
            let line_ms = (8.0 + 5.0 + bytes + 2.0 * 3.5) * char_ms;
            Some((line_ms + TURNAROUND_MS + limits.min_gap_ms as f64) * rate / 1_000.0)
        }
        BusPort::Tcp { .. } => None,
    };
    BusLoad {
        requests_per_sec: rate,
        busy_share,
    }
}

fn warnings(configuration: &Configuration, buses: &[BusMeaning]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (bus, load) in configuration.buses.iter().zip(buses) {
        if load.devices == 0 {
            warnings.push(format!("bus {} has no device", bus.name));
        }
        if let Some(share) = load.load.busy_share.filter(|share| *share > BUSY_WARNING) {
            warnings.push(format!(
                "bus {} would be busy {:.0} % of the time: raise intervals_ms or the baud rate",
                bus.name,
                share * 100.0
            ));
        }
    }
    for broker in &configuration.brokers {
        if links::on_broker(broker, configuration).next().is_none() {
            warnings.push(format!("broker {} has no device", broker.name));
        }
    }
    warnings.extend(radio_warnings(configuration));
    warnings.extend(denied_commands(configuration));
    warnings.extend(bounds_beyond_all(configuration));
    warnings
}

/// A server that may have more than there is only has what there is.
fn bounds_beyond_all(configuration: &Configuration) -> impl Iterator<Item = String> {
    let all = configuration.buffer.max_mb;
    let servers = configuration.servers.iter();
    servers.filter(move |server| server.buffer.max_mb > all).map(move |server| {
        let (name, own) = (&server.name, server.buffer.max_mb);
        format!("server {name} may have {own} MiB of the buffer, which has {all} MiB in all: raise max_mb of [buffer]")
    })
}
