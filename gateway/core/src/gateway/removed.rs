//! Devices that are configured no more: they stay at a server until it has what it is owed, then they say goodbye.
//!
//! ```text
//!  Owing ── it has everything ──► Leaving ── De-register is answered, or nobody answers ──► Gone
//!                                    ▲
//!     at the start, with nothing owed but a registration that the server may know
//! ```
//! Their values are those from before; they have no profile and take no commands. Their endpoint names stay allotted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lwm2m_client::client::Client;
use lwm2m_client::object::ObjectTable;

use crate::Now;
use crate::buffer::Contents;
use crate::config::Config;
use crate::device::Device;
use crate::gateway::Gateway;
use crate::gateway::clients::Clients;
use crate::gateway::saving::Subject;
use crate::identity;
use crate::limits;
use crate::output::{Event, StateEvent};
use crate::state::{Name, Owner, Restored};

/// How far a removed device is at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// The server has not got all its readings.
    Owing,
    /// It is saying goodbye.
    Leaving,
    /// The server knows it no more.
    Gone,
}

/// A removed device, and what it has to do where.
pub(super) struct Removed {
    /// The device.
    pub(super) device: Device,
    /// The servers, by their place, with the client and what it is there for.
    pub(super) at: Vec<(usize, Client, Removal)>,
    /// How many readings it owes to all of them.
    pub(super) readings: u64,
}

/// Finds the devices that are configured no more and have something to do yet.
pub(super) fn removed(
    config: &Config,
    names: &BTreeSet<Arc<str>>,
    restored: &mut Restored,
    contents: &Contents,
    clients: &mut Clients,
    table: &ObjectTable,
    now: Now,
) -> Vec<Removed> {
    let mut room = limits::MAX_ENDPOINTS - (config.devices.len() + 1) * config.accounts.len();
    let mut taken = names.clone();
    let mut all = Vec::new();
    for id in ids(config, contents, clients) {
        let owner = Owner::Device(Arc::clone(&id));
        let derived = || format!("{}-{id}", config.name).into();
        let name = restored.endpoints.get(&owner).cloned().unwrap_or_else(derived);
        let owed = owed(&owner, contents);
        let at = at_servers(config, &owner, &name, &owed, clients, now);
        if at.is_empty() {
            continue;
        }
        let values = restored.values.remove(&owner).unwrap_or_default();
        // What finds no room keeps its readings in the buffer.
        if at.len() > room || !taken.insert(Arc::clone(&name)) {
            continue;
        }
        room -= at.len();
        let mut device = Device::removed(Arc::clone(&id), table);
        device.endpoint = name;
        identity::fill(&mut device, "", "", true, table);
        device.restore_all(values, table);
        let readings = owed.values().sum();
        all.push(Removed { device, at, readings });
    }
    all
}

/// Returns the devices that are not configured and of which something is left.
fn ids(config: &Config, contents: &Contents, clients: &Clients) -> BTreeSet<Arc<str>> {
    let owing = contents.debts.iter().filter(|owing| owing.count > 0);
    let owing = owing.map(|owing| Owner::of_stream(&owing.debt.stream.device));
    let saved = clients.saved.keys().map(|(_, owner)| owner.clone());
    let devices = owing.chain(saved).filter_map(|owner| match owner {
        Owner::Cabinet => None,
        Owner::Device(id) => Some(id),
    });
    let configured: BTreeSet<_> = config.devices.iter().map(|device| &device.id).collect();
    let is_removed = |id: &Arc<str>| *id != config.name && !configured.contains(id);
    devices.filter(is_removed).collect()
}

/// Returns how many readings of a device each server is owed.
fn owed(owner: &Owner, contents: &Contents) -> BTreeMap<Arc<str>, u64> {
    let (mut owed, stream) = (BTreeMap::new(), owner.stream());
    for owing in contents.debts.iter().filter(|owing| owing.count > 0) {
        if owing.debt.stream.device == stream {
            *owed.entry(Arc::clone(&owing.debt.account)).or_default() += owing.count;
        }
    }
    owed
}

fn at_servers(
    config: &Config,
    owner: &Owner,
    name: &str,
    owed: &BTreeMap<Arc<str>, u64>,
    clients: &mut Clients,
    now: Now,
) -> Vec<(usize, Client, Removal)> {
    let mut at = Vec::new();
    for (place, account) in config.accounts.iter().enumerate() {
        let key = (Arc::clone(&account.name), owner.clone());
        let is_owed = owed.contains_key(&account.name);
        if !is_owed && !clients.saved.contains_key(&key) {
            continue;
        }
        let parts = clients.saved.get(&key).cloned();
        let client = clients.take(account, owner, name, now);
        if is_owed {
            at.push((place, client, Removal::Owing));
        } else if client.is_resuming() {
            at.push((place, client, Removal::Leaving));
        } else if let Some(parts) = parts {
            // Left behind for whoever clears up.
            clients.saved.insert(key, parts);
        }
    }
    at
}

impl Gateway {
    /// Says whether a server knows no more of a removed device.
    pub(super) fn is_gone(&self, index: usize) -> bool {
        self.removed.get(&index) == Some(&Removal::Gone)
    }

    /// Says whether a removed device has nothing to do at a server but to say goodbye.
    pub(super) fn is_leaving(&self, index: usize) -> bool {
        self.removed.get(&index) == Some(&Removal::Leaving)
    }

    /// Lets a removed device say goodbye to a server that has got everything.
    pub(super) fn leave_when_paid(&mut self, index: usize, now: Now) {
        let is_owing = self.removed.get(&index) == Some(&Removal::Owing);
        if is_owing && self.endpoints[index].is_started && self.endpoint_status(index).queued == 0 {
            self.removed.insert(index, Removal::Leaving);
            self.endpoints[index].client.deregister(now.instant);
        }
    }

    /// Forgets a removed device at a server that it has left, and altogether where that was the last one.
    pub(super) fn handle_left(&mut self, index: usize, now: Now) {
        if !self.is_leaving(index) {
            return;
        }
        self.removed.insert(index, Removal::Gone);
        self.want_saved(Subject::Client(index), now);
        let device = self.endpoints[index].device;
        if self.endpoints_of(device).all(|index| self.is_gone(index)) {
            let device = &self.devices[device];
            let (under, device) = (Name::device_prefix(&device.owner), Arc::clone(&device.id));
            self.want_saved(Subject::Forget(under), now);
            self.event(Event::State(StateEvent::RemovedForgotten { device }));
        }
    }
}
