//! What was saved, read once at the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::numbers::{Commands, Encoded, EndpointName, Stopped};
use super::{Damage, Name, Owner, Saved};
use crate::limits;

/// What was saved, as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The first command number that certainly was not used.
    pub(crate) commands: u64,
    /// The number of the last run that ended with everything saved.
    pub(crate) stopped: Option<u32>,
    /// The endpoint names that were allotted.
    pub(crate) endpoints: BTreeMap<Owner, Arc<str>>,
    /// What cannot be read, and why.
    pub(crate) damaged: Vec<(Name, Damage)>,
}

impl Restored {
    /// Reads what was saved; names that are none of the gateway's core are passed over.
    pub(crate) fn read(saved: Saved) -> Self {
        let mut restored = Self::default();
        for (name, bytes) in &saved.values {
            let Some(name) = Name::parse(name) else { continue };
            if let Err(damage) = restored.take(&name, bytes) {
                restored.damaged.push((name, damage));
            }
        }
        if saved.may_be_old {
            restored.commands = restored.commands.saturating_add(limits::COMMANDS_JUMP);
        }
        restored
    }

    fn take(&mut self, name: &Name, bytes: &[u8]) -> Result<(), Damage> {
        match name {
            Name::Commands => self.commands = Commands::from_bytes(bytes)?.reserved,
            Name::Stopped => self.stopped = Some(Stopped::from_bytes(bytes)?.boot),
            Name::Endpoint(owner) => {
                let EndpointName { name } = EndpointName::from_bytes(bytes)?;
                self.endpoints.insert(owner.clone(), name.into());
            }
            Name::Client { .. } | Name::Values { .. } => {}
        }
        Ok(())
    }
}
