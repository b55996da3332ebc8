//! What a simulated cabinet is made of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use lwm2m_client::Timestamp;
use lwm2m_client::object::{EnablerVersion, Model, ObjectTable};
use ucifi_adapters::modbus::{self, BusConfig, Framing, UnitConfig, Writes};
use ucifi_core::state::Saved;
use ucifi_core::{
    AccountConfig, BufferConfig, CabinetConfig, Config, DeviceConfig, EndpointId, Link, Profile, Topology,
};
use ucifi_profiles::{Catalogue, CompiledProfile};

use super::message_ids::MessageIds;
use super::mqtt::{self, Messages};
use super::orders::Orders;
use super::radio::{Network as RadioNetwork, Radio};
use super::scripted::{Script, ScriptedDevice, ScriptedProfile, Way};
use super::store::{Store, StorePlan};
use super::{Cabinet, Server, Trace, endpoint_of};
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::modbus_unit::Unit;
use crate::network::{Conditions, Network};
use crate::serial_line::Line;
use crate::server::{LwM2mServer, Transmission};

/// Where the server is.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 5683);

/// Where a second server is.
pub(super) const SECOND_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 5683);

/// The names of the servers, in their order.
const SERVER_NAMES: [&str; 2] = ["city", "utility"];

/// What the server's wall clock says when a run starts: 2026-07-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_unix_ms(1_782_864_000_000);

/// The name of every simulated cabinet.
pub(super) const NAME: &str = "cab-17";

pub(super) const BUS: &str = "rs485-1";

/// Where the packet forwarders are.
pub(super) const FORWARDERS_AT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 18));

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17));
const FIRST_PORT: u16 = 40_000;

/// Read once for all cabinets of a process.
static STOCK: LazyLock<(Arc<ObjectTable>, Catalogue)> = LazyLock::new(|| {
    let table = ObjectTable::builtin();
    let catalogue = Catalogue::stock(&table);
    (Arc::new(table), catalogue)
});

/// A cabinet to be built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that is random.
    pub seed: u64,
    /// The model of the server's account.
    pub model: Model,
    /// The model of a second server, where there is one.
    pub second_model: Option<Model>,
    /// How the network treats datagrams.
    pub conditions: Conditions,
    /// The speed of the line, at 8N1.
    pub baud: u32,
    /// The lifetime of the registrations.
    pub lifetime_secs: u32,
    /// Whether readings are sent by Send.
    pub send: bool,
    /// Whether commands may be sent over the bus.
    pub writes: Writes,
    /// What the gateway's wall clock says at the start; none where it is not set.
    pub wall: Option<Timestamp>,
    /// When readings go to disk.
    pub buffer: BufferConfig,
    /// How the gateway keeps what outlives a restart; none where nothing does.
    pub store: Option<StorePlan>,
    devices: Vec<(String, String, Unit)>,
    scripted: Vec<ScriptedDevice>,
}

impl Plan {
    /// Begins with an empty cabinet at 9600 baud, a good network, the newest model, Send, and a clock that is set.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            model: Model::Y2026,
            second_model: None,
            conditions: Conditions::good(),
            baud: 9600,
            lifetime_secs: 300,
            send: true,
            writes: Writes::Allow,
            wall: Some(START),
            buffer: BufferConfig::default(),
            store: None,
            devices: Vec::new(),
            scripted: Vec::new(),
        }
    }

    /// Adds a device: its id, its profile, and the unit that it is on the line.
    #[must_use]
    pub fn with(mut self, id: &str, profile: &str, unit: Unit) -> Self {
        self.devices.push((id.to_owned(), profile.to_owned(), unit));
        self
    }

    /// Adds a meter, Eastron SDM630.
    #[must_use]
    pub fn with_meter(self, id: &str, address: u8) -> Self {
        self.with(id, "eastron.sdm630", Unit::sdm630(address))
    }

    /// Adds a relay board, Waveshare with eight channels.
    #[must_use]
    pub fn with_relays(self, id: &str, address: u8) -> Self {
        self.with(id, "waveshare.relay-8ch", Unit::relay_board(address))
    }

    /// Adds a device that gives readings that can be told apart, about so often.
    #[must_use]
    pub fn with_scripted(self, id: &str, every: Duration) -> Self {
        self.with_script(id, every, Way::Bus)
    }

    /// Adds one that publishes such readings at a broker with QoS 1.
    #[must_use]
    pub fn with_scripted_messages(self, id: &str, every: Duration) -> Self {
        self.with_script(id, every, Way::Broker)
    }

    /// Adds one that sends them through the air, and may want each of its frames acknowledged.
    #[must_use]
    pub fn with_scripted_node(self, id: &str, every: Duration, is_confirmed: bool) -> Self {
        self.with_script(id, every, Way::Radio { is_confirmed })
    }

    fn with_script(mut self, id: &str, every: Duration, way: Way) -> Self {
        let id = id.into();
        self.scripted.push(ScriptedDevice { id, every, way });
        self
    }

    /// Lets the gateway keep what outlives a restart.
    #[must_use]
    pub fn with_store(mut self, store: StorePlan) -> Self {
        self.store = Some(store);
        self
    }

    /// Builds the cabinet and starts its gateway.
    ///
    /// # Panics
    /// When the plan names a profile that is none, or two devices the same.
    pub fn build(self) -> Cabinet {
        let (table, _) = &*STOCK;
        let mut clock = Clock::new();
        if let Some(wall) = self.wall {
            clock.set_wall(wall);
        }
        let servers = self.servers().map(|(name, address, _)| Server {
            name,
            address,
            engine: LwM2mServer::new(
                Arc::clone(table),
                Transmission::default(),
                self.seed
                    .wrapping_add(1 + u64::from(address == SECOND_SERVER) * 7),
            ),
            carrier: None,
            events: Vec::new(),
        });
        let servers: Vec<Server> = servers.collect();
        let start = clock.origin();
        let line = Line::new(self.baud, 10, self.seed.wrapping_add(2), start);
        let units = self.devices.iter().map(|(_, _, unit)| unit.clone());
        let mut cabinet = Cabinet {
            process: None,
            store: self
                .store
                .clone()
                .map(|store| Store::new(store, self.seed.wrapping_add(4))),
            script: Script::new(&self.scripted, self.seed.wrapping_add(5), start),
            line: units.fold(line, Line::with_unit),
            messages: Messages::of(&self.scripted, start),
            radio: Radio::of(&self.scripted, self.seed.wrapping_add(6), start),
            orders: Orders::default(),
            past_radio: Vec::new(),
            network: Network::new(self.conditions.clone(), self.seed.wrapping_add(3), start),
            ledger: Ledger::new(servers.iter().map(|server| server.name.clone()).collect()),
            servers,
            starts: 0,
            planned: None,
            downs: Vec::new(),
            message_ids: MessageIds::default(),
            trace: Trace::new(),
            events: Vec::new(),
            finished: BTreeMap::new(),
            clock,
            plan: self,
        };
        cabinet.power_on().expect("the plan is one that can be");
        cabinet
    }

    /// Returns what the gateway is made of at a start.
    pub(super) fn gateway(&self, start: u32) -> (Config, Arc<ObjectTable>, u64) {
        let (table, catalogue) = &*STOCK;
        (self.config(catalogue), Arc::clone(table), self.seed_of(start))
    }

    /// Returns the engine of the bus at a start.
    pub(super) fn bus_client(&self, start: u32, now: Instant) -> modbus::Client {
        let (_, catalogue) = &*STOCK;
        let client = modbus::Client::new(self.bus(), self.units(catalogue), self.seed_of(start), now);
        client.expect("the plan is one that can be")
    }

    /// Returns the client of the broker at a start, where there is a broker.
    pub(super) fn message_client(&self, start: u32, now: Instant) -> Option<ucifi_adapters::mqtt::Client> {
        mqtt::client(&self.scripted, self.seed_of(start), now)
    }

    /// Returns the radio network at a start, where there is one.
    pub(super) fn radio_network(&self, saved: &Saved, start: u32, now: Instant) -> Option<RadioNetwork> {
        let kept = (&saved.values, saved.may_be_old);
        RadioNetwork::of(&self.scripted, kept, self.seed_of(start), now)
    }

    /// Returns the longest time that a reading is in memory only before it is to be written.
    pub(super) const fn longest_in_memory(&self) -> Duration {
        Duration::from_millis(self.buffer.hold_ms + self.buffer.commit_ms)
    }

    /// The first start has the seed of the plan.
    fn seed_of(&self, start: u32) -> u64 {
        self.seed.wrapping_add(u64::from(start - 1) << 32)
    }

    fn config(&self, catalogue: &Catalogue) -> Config {
        let devices = self.devices.iter().map(|(id, profile, unit)| DeviceConfig {
            id: id.as_str().into(),
            label: "".into(),
            serial: "".into(),
            profile: find(catalogue, profile),
            link: Link::Modbus {
                bus: BUS.into(),
                unit: unit.address(),
            },
            endpoint: None,
            intervals: BTreeMap::new(),
        });
        let profile: Arc<dyn Profile> = Arc::new(ScriptedProfile::new());
        let scripted = self.scripted.iter().enumerate();
        let scripted = scripted.map(|(place, device)| DeviceConfig {
            id: Arc::clone(&device.id),
            label: "".into(),
            serial: "".into(),
            profile: Arc::clone(&profile),
            link: device.link(place),
            endpoint: Some(endpoint_of(&device.id)),
            intervals: BTreeMap::new(),
        });
        Config {
            name: NAME.into(),
            cabinet: CabinetConfig::default(),
            accounts: self.servers().map(|server| self.account(server)).collect(),
            devices: devices.chain(scripted).collect(),
            answer_within_ms: 4_000,
            buffer: self.buffer,
        }
    }

    /// Returns name, address and model of each server.
    fn servers(&self) -> impl Iterator<Item = (Arc<str>, SocketAddr, Model)> {
        let models = [Some(self.model), self.second_model];
        let named = SERVER_NAMES.into_iter().zip([SERVER, SECOND_SERVER]).zip(models);
        named.filter_map(|((name, address), model)| Some((name.into(), address, model?)))
    }

    fn account(&self, (name, address, model): (Arc<str>, SocketAddr, Model)) -> AccountConfig {
        AccountConfig {
            short_server_id: if address == SERVER { 1 } else { 2 },
            name,
            server_uri: format!("coap://{address}").into(),
            model,
            topology: Topology::EndpointPerDevice,
            lifetime_secs: self.lifetime_secs,
            version: EnablerVersion::V1_1,
            default_pmin_secs: None,
            default_pmax_secs: None,
            notification_storing: true,
            confirmable_notifications: false,
            registrations_per_sec: 10,
            send: self.send,
        }
    }

    fn bus(&self) -> BusConfig {
        let framing = Framing::Rtu {
            baud: self.baud,
            bits_per_char: 10,
        };
        BusConfig {
            name: BUS.into(),
            framing,
            writes: self.writes,
        }
    }

    fn units(&self, catalogue: &Catalogue) -> Vec<UnitConfig> {
        let devices = self.devices.iter();
        devices
            .map(|(_, profile, unit)| {
                let profile = find(catalogue, profile);
                let (points, limits) = profile.register_reads().expect("the device is one for Modbus");
                UnitConfig {
                    unit: unit.address(),
                    points: points.to_vec(),
                    limits: limits.clone(),
                }
            })
            .collect()
    }
}

fn find(catalogue: &Catalogue, profile: &str) -> Arc<CompiledProfile> {
    Arc::clone(catalogue.find(profile).expect("the profile is in stock"))
}

/// Returns where an endpoint of the gateway is: each has a port of its own.
pub(super) fn address_of(endpoint: EndpointId) -> SocketAddr {
    let number = u16::try_from(endpoint.0).expect("a simulated cabinet is small");
    SocketAddr::new(GATEWAY, FIRST_PORT + number)
}

/// Returns which endpoint is at an address.
pub(super) fn endpoint_at(address: SocketAddr) -> Option<EndpointId> {
    let number = address.port().checked_sub(FIRST_PORT)?;
    (address.ip() == GATEWAY).then(|| EndpointId(u32::from(number)))
}

/// Returns the address in the URI of a simulated server.
pub(super) fn address_in(uri: &str) -> SocketAddr {
    let address = uri
        .strip_prefix("coap://")
        .and_then(|address| address.parse().ok());
    address.expect("servers are named by their addresses")
}
