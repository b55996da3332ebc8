//! How a gateway is made of its configuration.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::ObjectId;
use lwm2m_client::client::{Client, EnablerVersion};
use lwm2m_client::object::{Model, ObjectTable};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::Now;
use crate::buffer::{Contents, Owing};
use crate::cabinet::Cabinet;
use crate::command::Commands;
use crate::config::{AccountConfig, Config, ConfigError, DeviceConfig, Topology};
use crate::device::{Device, UnknownResource};
use crate::endpoint::{Account, Endpoint};
use crate::field::Link;
use crate::gateway::Gateway;
use crate::gateway::buffer::Debts;
use crate::gateway::clients::Clients;
use crate::gateway::losses::{self, Losses};
use crate::gateway::naming::{Named, endpoint_names};
use crate::gateway::removed::{Removed, removed};
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
    /// readings owed. Unlike one from [`new`](Self::new) it keeps all that up to date, by
    /// [`Output::Save`](crate::Output::Save) and [`Output::Buffer`](crate::Output::Buffer). What cannot be read of
    /// what was saved is told by [`StateEvent::Damaged`] and counts as never saved.
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
        let mut restored = Restored::read(&saved);
        let named = endpoint_names(&config, &restored.endpoints, &|owner| owes(owner, &contents))?;
        restored.forget_names(&named.bereft);
        let mut devices = devices(&config, &table)?;
        // What servers were told is known only where nothing came after it was written down: the last word is taken
        // back before anything is said to them. The number of the run catches what a failing disk did not take back.
        let before = contents.boot.checked_sub(1);
        let is_told = restored.stopped.is_some() && restored.stopped == before && !restored.may_be_old;
        for (device, name) in devices.iter_mut().zip(&named.names) {
            device.endpoint = Arc::clone(name);
            let values = restored.values.remove(&device.owner).unwrap_or_default();
            if device.owner == Owner::Cabinet {
                losses::restore_log(device, &values, &contents);
            }
            device.restore(values, is_told, &table, now);
        }
        let mut clients = Clients {
            saved: std::mem::take(&mut restored.clients),
            damaged: Vec::new(),
            may_be_old: restored.may_be_old,
            are_kept: is_kept,
            random: StdRng::seed_from_u64(seed),
        };
        let at_servers = configured(&config.accounts, &devices, &mut clients, now);
        let names = named.names.iter().cloned().collect();
        let removed = removed(
            &config,
            &names,
            &mut restored,
            &contents,
            &mut clients,
            &table,
            now,
        );
        // A buffer can hold readings of any object, also of devices that are there no more.
        let objects = if is_kept {
            table.objects().collect()
        } else {
            objects(&devices)
        };
        let newest = Shown::new(&table, Model::Y2026, EnablerVersion::V1_1, &objects);
        let accounts = accounts(config.accounts, &objects, &table);
        let mut gateway = Self {
            name: config.name,
            table,
            newest,
            answer_within: Duration::from_millis(config.answer_within_ms),
            devices,
            links,
            accounts,
            endpoints: Vec::new(),
            removed: BTreeMap::new(),
            commands: Commands::after(restored.commands),
            saving: is_kept.then(|| Saving::new(contents.boot, &saved)),
            debts: Debts::new(config.buffer, now.instant),
            losses: Losses::default(),
            timers: TimerTable::default(),
            outputs: VecDeque::new(),
        };
        gateway.add_endpoints(at_servers, removed);
        if is_kept {
            gateway.restore_buffer(contents, now);
        }
        gateway.begin_saving(restored, clients, named);
        gateway.begin_saving_values(now);
        gateway.begin(now);
        gateway.save_next(now);
        Ok(gateway)
    }

    /// Gives every device its endpoints.
    fn add_endpoints(&mut self, at_servers: Vec<(usize, usize, Client)>, removed: Vec<Removed>) {
        for (account, device, client) in at_servers {
            self.add_endpoint(account, device, client);
        }
        for removed in removed {
            let (device, id) = (self.devices.len(), Arc::clone(&removed.device.id));
            self.devices.push(removed.device);
            for (account, client, removal) in removed.at {
                self.removed.insert(self.endpoints.len(), removal);
                self.add_endpoint(account, device, client);
            }
            let (device, readings) = (id, removed.readings);
            if readings > 0 {
                self.event(Event::State(StateEvent::RemovedOwes { device, readings }));
            }
        }
    }

    fn add_endpoint(&mut self, account: usize, device: usize, client: Client) {
        let config = &self.accounts[account].config;
        // A server that was known to speak an older version still does.
        let sends = config.send && client.version() >= EnablerVersion::V1_1;
        let name = Arc::clone(&self.devices[device].endpoint);
        self.devices[device].endpoints.push(self.endpoints.len());
        let endpoint = Endpoint::new((account, device), name, client, sends);
        self.endpoints.push(endpoint);
    }

    /// Notes what is to be saved with the first request.
    fn begin_saving(&mut self, restored: Restored, clients: Clients, named: Named) {
        let Some(saving) = &mut self.saving else { return };
        self.commands.reserve();
        // It comes before the message ids with which clients may speak.
        saving.note(Subject::Forget(Name::Stopped.to_string()));
        saving.note(Subject::Commands);
        for index in 0..self.endpoints.len() {
            saving.note(Subject::Client(index));
        }
        for (account, owner) in clients.saved.keys() {
            saving.note(Subject::Forget(Name::client_prefix(account, owner)));
        }
        for owner in restored.values.keys() {
            saving.note(Subject::Forget(Name::device_prefix(owner)));
        }
        for device in named.changed {
            saving.note(Subject::Endpoint(device));
        }
        for owner in named.bereft {
            saving.note(Subject::Forget(Name::Endpoint(owner).to_string()));
        }
        for (name, _) in &restored.damaged {
            saving.note(Subject::Forget(name.to_string()));
        }
        let damaged = restored
            .damaged
            .into_iter()
            .map(|(name, damage)| (name.to_string(), damage));
        let damaged = damaged.chain(clients.damaged).map(|(name, damage)| {
            let reason = damage.to_string();
            StateEvent::Damaged { name, reason }
        });
        for event in named.events.into_iter().chain(damaged) {
            self.event(Event::State(event));
        }
    }

    fn begin(&mut self, now: Now) {
        for index in 0..self.endpoints.len() {
            let account = self.endpoints[index].account;
            self.accounts[account].waiting.push_back(index);
        }
        for device in 0..self.devices.len() {
            let owed = self
                .endpoints_of(device)
                .map(|index| self.relist(index, now))
                .collect();
            self.take_readings(device, owed, now);
        }
        for account in 0..self.accounts.len() {
            self.timers.set(Timer::Start(account), Some(now.instant));
        }
        for device in 0..self.devices.len() {
            self.tell_interest(device);
        }
    }
}

/// Says whether a device still has readings for a server.
fn owes(owner: &Owner, contents: &Contents) -> bool {
    let is_owner = |owing: &Owing| Owner::of_stream(&owing.debt.stream.device) == *owner;
    contents
        .debts
        .iter()
        .any(|owing| owing.count > 0 && is_owner(owing))
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
    let (count, limit) = (config.accounts.len(), limits::MAX_ACCOUNTS);
    if count > limit {
        return Err(ConfigError::TooManyAccounts { count, limit });
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
    let of_device = |device: &Device| {
        let given = device.tree.instances().into_iter().map(|(object, _)| object);
        given.chain(device.objects()).collect::<Vec<_>>()
    };
    let all = devices.iter().flat_map(of_device);
    all.chain([losses::EVENT_LOG]).collect()
}

/// Returns the client of every configured device at every server, server by server, by their places.
fn configured(
    accounts: &[AccountConfig],
    devices: &[Device],
    clients: &mut Clients,
    now: Now,
) -> Vec<(usize, usize, Client)> {
    let mut all = Vec::new();
    for (place, account) in accounts.iter().enumerate() {
        let Topology::EndpointPerDevice = account.topology;
        for (number, device) in devices.iter().enumerate() {
            let client = clients.take(account, &device.owner, &device.endpoint, now);
            all.push((place, number, client));
        }
    }
    all
}

fn accounts(configs: Vec<AccountConfig>, objects: &BTreeSet<ObjectId>, table: &ObjectTable) -> Vec<Account> {
    let account = |config: AccountConfig| {
        let shown = Shown::new(table, config.model, config.version, objects);
        Account {
            config,
            shown,
            waiting: VecDeque::new(),
            back_at: None,
            reached_at: None,
            probed: 0,
        }
    };
    configs.into_iter().map(account).collect()
}
