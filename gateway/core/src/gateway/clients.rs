//! The LwM2M clients of the devices at the servers, as the gateway starts: new ones, and those that go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::client::{Client, ClientConfig, Saved};
use rand::Rng;
use rand::rngs::StdRng;

use crate::Now;
use crate::config::AccountConfig;
use crate::gateway::Gateway;
use crate::state::{Damage, Name, Owner};

/// The part of a saved client that says which numbers must not be used again.
const COUNTERS: &str = "counters";

/// What clients are made of.
pub(super) struct Clients {
    /// What was saved, by server and device; what is left in the end belongs to nobody any more.
    pub(super) saved: BTreeMap<(Arc<str>, Owner), BTreeMap<String, Vec<u8>>>,
    /// What of it cannot be read, by what the names begin with.
    pub(super) damaged: Vec<(String, Damage)>,
    /// Whether it may be minutes old.
    pub(super) may_be_old: bool,
    /// Whether the clients are saved.
    pub(super) are_kept: bool,
    /// Where seeds come from.
    pub(super) random: StdRng,
}

impl Clients {
    /// Returns the client of a device at a server.
    pub(super) fn take(&mut self, account: &AccountConfig, owner: &Owner, name: &str, now: Now) -> Client {
        let config = ClientConfig {
            reserves_message_ids: self.are_kept,
            ..client_config(account, name)
        };
        let (seed, first_message_id) = (self.random.random(), self.random.random());
        let parts = self.saved.remove(&(Arc::clone(&account.name), owner.clone()));
        match parts.and_then(|parts| self.read(&account.name, owner, &parts)) {
            Some(saved) => Client::resume(config, &saved, seed, now.instant),
            None => Client::new(config, seed, first_message_id, now.instant),
        }
    }

    /// Reads a client; where a part of it is damaged, only what must not be used twice.
    fn read(&mut self, account: &str, owner: &Owner, parts: &BTreeMap<String, Vec<u8>>) -> Option<Saved> {
        let whole = Saved::from_parts(parts.values().map(Vec::as_slice));
        let saved = whole.or_else(|error| {
            let under = Name::client_prefix(account, owner);
            self.damaged.push((under, Damage(error.to_string())));
            Saved::from_parts(parts.get(COUNTERS).map(Vec::as_slice))
        });
        let saved = saved.ok()?;
        Some(if self.may_be_old {
            saved.after_loss()
        } else {
            saved
        })
    }
}

impl Gateway {
    /// Returns what is to stand under the names of a client.
    pub(super) fn present_client(&mut self, index: usize) -> (String, Vec<(String, Vec<u8>)>) {
        let endpoint = &self.endpoints[index];
        let account = &self.accounts[endpoint.account].config.name;
        let owner = &self.devices[endpoint.device].owner;
        let under = Name::client_prefix(account, owner);
        if self.is_gone(index) {
            return (under, Vec::new());
        }
        let saved = endpoint.client.save();
        let name = |part| Name::Client {
            account: Arc::clone(account),
            owner: owner.clone(),
            part,
        };
        let parts = saved.parts().into_iter();
        let named = parts
            .map(|(part, bytes)| (name(part).to_string(), bytes))
            .collect();
        if let Some(saving) = &mut self.saving {
            saving.clients.push((index, saved));
        }
        (under, named)
    }

    /// Tells clients that what they have reserved is theirs.
    pub(super) fn grant(&mut self, clients: Vec<(usize, Saved)>, now: Now) {
        for (index, saved) in clients {
            self.endpoints[index].client.handle_saved(&saved, now.instant);
            self.pump(index, now);
        }
    }
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
