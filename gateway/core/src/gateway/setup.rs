//! How a gateway is made of its configuration.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::ObjectId;
use lwm2m_client::client::{Client, ClientConfig, EnablerVersion};
use lwm2m_client::object::{Model, ObjectTable};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Now;
use crate::buffer::Owing;
use crate::cabinet::Cabinet;
use crate::command::Commands;
use crate::config::{AccountConfig, Config, ConfigError, DeviceConfig, Topology};
use crate::device::{Device, UnknownResource};
use crate::endpoint::{Account, Endpoint};
use crate::field::Link;
use crate::gateway::Gateway;
use crate::gateway::naming::{Named, endpoint_names};
use crate::gateway::saving::{Saving, Subject};
use crate::identity;
use crate::limits;
use crate::model::Shown;
use crate::output::{Event, StateEvent};
use crate::state::{Kept, Name, Owner, Restored};
use crate::timer::{Timer, TimerTable};

impl Gateway {
    /// Returns a gateway that is about to register its devices. `seed` decides everything that is random in it.
    ///
    /// # Errors
    /// When the configuration contradicts itself.
    pub fn new(config: Config, table: Arc<ObjectTable>, seed: u64, now: Now) -> Result<Self, ConfigError> {
        Self::build(config, table, None, seed, now)
    }

    /// Returns a gateway that goes on where its last run ended: names, registrations and observations, latest values,
    /// readings owed. Unlike one from [`new`](Self::new) it keeps all that up to date, by [`Output::Save`] and
    /// [`Output::Buffer`]. What cannot be read of what was saved is told by [`StateEvent::Damaged`] and counts as
    /// never saved.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or gives a device the endpoint name of a removed one.
    pub fn restore(
        config: Config,
        table: Arc<ObjectTable>,
        kept: Kept,
        seed: u64,
        now: Now,
    ) -> Result<Self, ConfigError> {
        Self::build(config, table, Some(kept), seed, now)
    }

    fn build(
        config: Config,
        table: Arc<ObjectTable>,
        kept: Option<Kept>,
        seed: u64,
        now: Now,
    ) -> Result<Self, ConfigError> {
        let links = check(&config)?;
        let is_kept = kept.is_some();
        let Kept { saved, contents } = kept.unwrap_or_default();
        let restored = Restored::read(saved);
        let owes = |owner: &Owner| {
            let is_owner = |owing: &Owing| Owner::Device(Arc::clone(&owing.debt.stream.device)) == *owner;
            contents
                .debts
                .iter()
                .any(|owing| owing.count > 0 && is_owner(owing))
        };
        let named = endpoint_names(&config, &restored.endpoints, &owes)?;
        let mut devices = devices(&config, &table)?;
        for (device, name) in devices.iter_mut().zip(&named.names) {
            device.endpoint = Arc::clone(name);
        }
        let objects = objects(&devices);
        let newest = Shown::new(&table, Model::Y2026, EnablerVersion::V1_1, &objects);
        let accounts = accounts(config.accounts, &objects, &table);
        let endpoints = endpoints(&accounts, &named.names, seed, now);
        let mut gateway = Self {
            name: config.name,
            table,
            newest,
            answer_within: Duration::from_millis(config.answer_within_ms),
            devices,
            links,
            accounts,
            endpoints,
            commands: Commands::after(restored.commands),
            saving: is_kept.then(|| Saving::new(contents.boot)),
            timers: TimerTable::default(),
            outputs: VecDeque::new(),
        };
        gateway.begin_saving(restored, named);
        gateway.begin(now);
        gateway.save_next(now);
        Ok(gateway)
    }

    /// Notes what is to be saved with the first request.
    fn begin_saving(&mut self, restored: Restored, named: Named) {
        let Some(saving) = &mut self.saving else { return };
        self.commands.reserve();
        saving.note(Subject::Commands);
        let changed = named.changed.into_iter().map(Subject::Endpoint);
        let bereft = named
            .bereft
            .into_iter()
            .map(|owner| Subject::Forget(Name::Endpoint(owner)));
        changed.chain(bereft).for_each(|subject| saving.note(subject));
        for event in named.events {
            self.event(Event::State(event));
        }
        for (name, damage) in restored.damaged {
            let (name, reason) = (name.to_string(), damage.to_string());
            self.event(Event::State(StateEvent::Damaged { name, reason }));
        }
    }

    fn begin(&mut self, now: Now) {
        let each = self.devices.len();
        for index in 0..self.endpoints.len() {
            self.relist(index, now);
            self.accounts[index / each].waiting.push_back(index);
        }
        for account in 0..self.accounts.len() {
            self.timers.set(Timer::Start(account), Some(now.instant));
        }
        for device in 0..self.devices.len() {
            self.tell_interest(device);
        }
    }
}

/// Finds what only the gateway as a whole can see, and how each device is reached.
fn check(config: &Config) -> Result<BTreeMap<Link, usize>, ConfigError> {
    let mut ids = BTreeSet::from([&config.name]);
    let mut links: BTreeMap<Link, usize> = BTreeMap::new();
    for (index, device) in (1..).zip(&config.devices) {
        if !ids.insert(&device.id) {
            let id = Arc::clone(&device.id);
            return Err(ConfigError::DuplicateDevice { id });
        }
        if let Some(first) = links.insert(device.link.clone(), index) {
            return Err(ConfigError::DuplicateLink {
                first: Arc::clone(&config.devices[first - 1].id),
                second: Arc::clone(&device.id),
                link: device.link.clone(),
            });
        }
        check_intervals(device)?;
    }
    let mut accounts = BTreeSet::new();
    if let Some(account) = config
        .accounts
        .iter()
        .find(|account| !accounts.insert(&account.name))
    {
        let name = Arc::clone(&account.name);
        return Err(ConfigError::DuplicateAccount { name });
    }
    let (count, limit) = (
        (config.devices.len() + 1) * config.accounts.len(),
        limits::MAX_ENDPOINTS,
    );
    if count > limit {
        return Err(ConfigError::TooManyEndpoints { count, limit });
    }
    Ok(links)
}

fn check_intervals(device: &DeviceConfig) -> Result<(), ConfigError> {
    let points = device.profile.points().len();
    match device
        .intervals
        .keys()
        .find(|point| usize::from(point.0) >= points)
    {
        None => Ok(()),
        Some(point) => Err(ConfigError::UnknownPoint {
            device: Arc::clone(&device.id),
            profile: device.profile.id().into(),
            point: point.0,
            points,
        }),
    }
}

fn devices(config: &Config, table: &ObjectTable) -> Result<Vec<Device>, ConfigError> {
    let mut devices = vec![cabinet(config, table)?];
    for device in &config.devices {
        let (id, label) = (Arc::clone(&device.id), Arc::clone(&device.label));
        let (profile, link) = (Arc::clone(&device.profile), Some(device.link.clone()));
        let mut built = Device::new(id, label, profile, link, &device.intervals, table)
            .map_err(|error| unknown_resource(device, error))?;
        identity::fill(&mut built, &device.serial, "", true, table);
        devices.push(built);
    }
    Ok(devices)
}

fn unknown_resource(device: &DeviceConfig, UnknownResource(path): UnknownResource) -> ConfigError {
    ConfigError::UnknownResource {
        device: Arc::clone(&device.id),
        profile: device.profile.id().into(),
        path,
    }
}

fn cabinet(config: &Config, table: &ObjectTable) -> Result<Device, ConfigError> {
    let profile = Arc::new(Cabinet::new(&config.cabinet));
    let (id, label) = (Arc::clone(&config.name), Arc::clone(&config.name));
    let mut cabinet =
        Device::new(id, label, profile, None, &BTreeMap::new(), table).map_err(|UnknownResource(path)| {
            ConfigError::UnknownResource {
                device: Arc::clone(&config.name),
                profile: Cabinet::ID.into(),
                path,
            }
        })?;
    cabinet.owner = Owner::Cabinet;
    identity::fill(
        &mut cabinet,
        &config.cabinet.serial,
        &config.cabinet.firmware_version,
        false,
        table,
    );
    Ok(cabinet)
}

/// Returns the objects of which a device has, or can have, a value.
fn objects(devices: &[Device]) -> BTreeSet<ObjectId> {
    let given = devices
        .iter()
        .flat_map(|device| device.tree.instances())
        .map(|(object, _)| object);
    given.chain(devices.iter().flat_map(Device::objects)).collect()
}

fn accounts(configs: Vec<AccountConfig>, objects: &BTreeSet<ObjectId>, table: &ObjectTable) -> Vec<Account> {
    let account = |config: AccountConfig| {
        let shown = Shown::new(table, config.model, config.version, objects);
        Account {
            config,
            shown,
            waiting: VecDeque::new(),
        }
    };
    configs.into_iter().map(account).collect()
}

fn endpoints(accounts: &[Account], names: &[Arc<str>], seed: u64, now: Now) -> Vec<Endpoint> {
    let mut random = StdRng::seed_from_u64(seed);
    let capacity = limits::queued_readings(accounts.len() * names.len());
    let mut endpoints = Vec::new();
    for (place, account) in accounts.iter().enumerate() {
        let Topology::EndpointPerDevice = account.config.topology;
        for (device, name) in names.iter().enumerate() {
            let config = client_config(&account.config, name);
            let client = Client::new(config, random.random(), random.random(), now.instant);
            let (place, name) = ((place, device), Arc::clone(name));
            let sends = account.config.send && account.config.version >= EnablerVersion::V1_1;
            endpoints.push(Endpoint::new(place, name, client, capacity, sends));
        }
    }
    endpoints
}

fn client_config(account: &AccountConfig, endpoint: &str) -> ClientConfig {
    ClientConfig {
        short_server_id: account.short_server_id,
        lifetime_secs: account.lifetime_secs,
        version: account.version,
        default_pmin_secs: account.default_pmin_secs,
        default_pmax_secs: account.default_pmax_secs,
        notification_storing: account.notification_storing,
        mute_send: !account.send,
        confirmable_notifications: account.confirmable_notifications,
        ..ClientConfig::new(endpoint, &*account.server_uri)
    }
}
