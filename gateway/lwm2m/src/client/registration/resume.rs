//! A registration over a restart.

use super::{Registered, Registration, State, Told};
use crate::client::limits;
use crate::client::saved::SavedRegistration;
use crate::coap::fingerprint;
use crate::object::EnablerVersion;

impl Registration {
    /// Takes over a registration from before a restart, unless it was made with other words; says so.
    pub(in crate::client) fn resume(&mut self, saved: &SavedRegistration) -> bool {
        let version = match saved.version {
            0 => EnablerVersion::V1_0,
            _ => EnablerVersion::V1_1,
        };
        if saved.announced != self.announced() || saved.location.is_empty() || version > self.configured {
            return false;
        }
        self.version = version;
        self.saved = Some(Registered {
            location: saved.location.clone(),
            told: Told {
                lifetime_secs: saved.lifetime_secs,
                objects: saved.objects,
            },
            update_at: None,
            update: None,
            resuming: true,
        });
        true
    }

    /// Returns the registration that the server knows, or may still know.
    pub(in crate::client) fn save(&self) -> Option<SavedRegistration> {
        let registered = match &self.state {
            State::Registered(registered) => Some(registered),
            State::Idle => self.saved.as_ref(),
            State::Registering(_)
            | State::Waiting { .. }
            | State::Deregistering { .. }
            | State::Disabled { .. }
            | State::Stopped => None,
        };
        let length = |r: &&Registered| r.location.iter().map(|s| s.len() + 3).sum::<usize>();
        let registered = registered.filter(|r| length(r) <= limits::SAVED_LOCATION_BYTES)?;
        Some(SavedRegistration {
            location: registered.location.clone(),
            version: match self.version {
                EnablerVersion::V1_0 => 0,
                EnablerVersion::V1_1 => 1,
            },
            lifetime_secs: registered.told.lifetime_secs,
            objects: registered.told.objects,
            announced: self.announced(),
        })
    }

    /// Says whether a registration from before a restart waits to be found alive.
    pub(in crate::client) const fn is_resuming(&self) -> bool {
        match &self.state {
            State::Registered(registered) => registered.resuming,
            State::Idle => self.saved.is_some(),
            State::Registering(_)
            | State::Waiting { .. }
            | State::Deregistering { .. }
            | State::Disabled { .. }
            | State::Stopped => false,
        }
    }

    /// Returns a fingerprint of what only a Register tells.
    fn announced(&self) -> u64 {
        fingerprint(format!("{} {:?}", self.configured, self.query).as_bytes())
    }

    pub(super) fn wanted(&self) -> Told {
        Told {
            lifetime_secs: self.lifetime_secs,
            objects: fingerprint(self.objects.as_bytes()),
        }
    }
}
