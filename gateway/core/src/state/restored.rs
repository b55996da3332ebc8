//! What was saved, read once at the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::numbers::{Commands, Encoded, EndpointName, Stopped};
use super::{Damage, KeptValue, Name, Owner, Saved, values};
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
    /// The parts of the clients, by server and device.
    pub(crate) clients: BTreeMap<(Arc<str>, Owner), BTreeMap<String, Vec<u8>>>,
    /// The latest values.
    pub(crate) values: BTreeMap<Owner, Vec<KeptValue>>,
    /// Whether all this may be minutes old.
    pub(crate) may_be_old: bool,
    /// What cannot be read, and why.
    pub(crate) damaged: Vec<(Name, Damage)>,
}

impl Restored {
    /// Reads what was saved; names that are none of the gateway's core are passed over.
    pub(crate) fn read(saved: &Saved) -> Self {
        let mut restored = Self {
            may_be_old: saved.may_be_old,
            ..Self::default()
        };
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

    /// Forgets the names of removed devices that others have now.
    pub(crate) fn forget_names(&mut self, owners: &[Owner]) {
        for owner in owners {
            self.endpoints.remove(owner);
        }
    }

    fn take(&mut self, name: &Name, bytes: &[u8]) -> Result<(), Damage> {
        match name {
            Name::Commands => {
                let Commands { reserved } = Commands::from_bytes(bytes)?;
                if reserved > limits::MAX_COMMAND {
                    return Err(Damage(format!("{reserved} commands cannot have been")));
                }
                self.commands = reserved;
            }
            Name::Stopped => self.stopped = Some(Stopped::from_bytes(bytes)?.boot),
            Name::Endpoint(owner) => {
                let EndpointName { name } = EndpointName::from_bytes(bytes)?;
                if name.is_empty()
                    || name.len() > limits::MAX_ENDPOINT_NAME
                    || name.contains(char::is_control)
                {
                    return Err(Damage(format!("{name:?} is no endpoint name")));
                }
                self.endpoints.insert(owner.clone(), name.into());
            }
            Name::Client { account, owner, part } => {
                let client = self.clients.entry((Arc::clone(account), owner.clone()));
                client.or_default().insert(part.clone(), bytes.to_vec());
            }
            Name::Values {
                owner,
                object,
                instance,
                ..
            } => {
                let values = values::decode(*object, *instance, bytes)?;
                self.values.entry(owner.clone()).or_default().extend(values);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_saved_values_can_be_restored(
            values in btree_map(
                "core/(commands|stopped|endpoint/[~a]|client/a/b/[a-z]{1,3}|values/[~a]/3421/0/[0-9])",
                vec(any::<u8>(), 0..64),
                0..12,
            ),
            may_be_old in any::<bool>(),
        ) {
            let count = values.len();
            let restored = Restored::read(&Saved { values, may_be_old });
            prop_assert!(restored.damaged.len() <= count);
        }
    }

    #[test]
    fn what_cannot_have_been_is_damaged_though_it_can_be_read() {
        let text = |text: &str| {
            EndpointName {
                name: text.to_owned(),
            }
            .to_bytes()
        };
        let long = "x".repeat(limits::MAX_ENDPOINT_NAME);
        for (name, bytes, is_damaged) in [
            ("core/endpoint/a", text(&long), false),
            ("core/endpoint/a", text(&format!("{long}x")), true),
            ("core/endpoint/a", text(""), true),
            ("core/endpoint/a", text("a\nb"), true),
            (
                "core/commands",
                Commands {
                    reserved: limits::MAX_COMMAND,
                }
                .to_bytes(),
                false,
            ),
            ("core/commands", Commands { reserved: u64::MAX }.to_bytes(), true),
        ] {
            let values = [(name.to_owned(), bytes)].into();
            let restored = Restored::read(&Saved {
                values,
                may_be_old: false,
            });
            assert_eq!(restored.damaged.len(), usize::from(is_damaged), "{restored:?}");
        }
    }

    #[test]
    fn a_damaged_value_is_named_and_the_others_are_there() {
        let values = [
            ("core/commands", vec![0xFF]),
            ("core/stopped", vec![0x81, 0x07]),
            ("net/port", vec![1]),
        ];
        let values = values.map(|(name, bytes)| (name.to_owned(), bytes)).into();
        let restored = Restored::read(&Saved {
            values,
            may_be_old: false,
        });
        assert_eq!(restored.stopped, Some(7));
        let damaged: Vec<&Name> = restored.damaged.iter().map(|(name, _)| name).collect();
        assert_eq!(damaged, [&Name::Commands]);
    }
}
