//! Under which endpoint name each device appears: allotted once and kept, and never given to another device by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::output::StateEvent;
use crate::state::Owner;

/// What became of the names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Named {
    /// The names of the cabinet and of the devices, in their order.
    pub(super) names: Vec<Arc<str>>,
    /// The places of those whose name is another than was kept.
    pub(super) changed: Vec<usize>,
    /// The removed devices whose name another one has now.
    pub(super) bereft: Vec<Owner>,
    /// What a person should know.
    pub(super) events: Vec<StateEvent>,
}

/// A device that wants a name.
struct Wish<'a> {
    owner: Owner,
    /// The id of the device, the gateway's name for the cabinet.
    id: &'a Arc<str>,
    /// What the configuration says.
    endpoint: Option<&'a Arc<str>>,
    /// What follows from the names of gateway and device.
    derived: Arc<str>,
}

/// Returns the endpoint names of the cabinet and of the devices, which no two of them share: what the configuration
/// says, else what was `kept`, else what is derived. `owes` says whether a removed device still has readings for a
/// server.
pub(super) fn endpoint_names(
    config: &Config,
    kept: &BTreeMap<Owner, Arc<str>>,
    owes: &dyn Fn(&Owner) -> bool,
) -> Result<Named, ConfigError> {
    let mut named = Named::default();
    let mut taken: BTreeMap<Arc<str>, Wish<'_>> = BTreeMap::new();
    for (place, wish) in wishes(config).into_iter().enumerate() {
        let kept = kept.get(&wish.owner);
        let name = Arc::clone(wish.endpoint.or(kept).unwrap_or(&wish.derived));
        if wish.endpoint.is_none() && name != wish.derived {
            named.events.push(StateEvent::NameKept {
                device: Arc::clone(wish.id),
                name: Arc::clone(&name),
                derived: Arc::clone(&wish.derived),
            });
        }
        if kept != Some(&name) {
            named.changed.push(place);
        }
        named.names.push(Arc::clone(&name));
        let second = Arc::clone(wish.id);
        if let Some(first) = taken.insert(Arc::clone(&name), wish) {
            let first = Arc::clone(first.id);
            return Err(ConfigError::DuplicateEndpoint { first, second, name });
        }
    }
    spare_the_removed(&taken, kept, owes, &mut named)?;
    Ok(named)
}

/// A removed device keeps its name, unless somebody has given it to another one in so many words.
fn spare_the_removed(
    taken: &BTreeMap<Arc<str>, Wish<'_>>,
    kept: &BTreeMap<Owner, Arc<str>>,
    owes: &dyn Fn(&Owner) -> bool,
    named: &mut Named,
) -> Result<(), ConfigError> {
    for (owner, name) in kept {
        let Some(wish) = taken.get(name).filter(|wish| wish.owner != *owner) else {
            continue;
        };
        if taken.values().any(|wish| wish.owner == *owner) {
            // It is configured, and has another name by its `endpoint`.
            continue;
        }
        let (device, removed) = (Arc::clone(wish.id), owner.id());
        let name = Arc::clone(name);
        if owes(owner) {
            return Err(ConfigError::EndpointOwes {
                device,
                removed,
                name,
            });
        }
        if wish.endpoint.is_none() && kept.get(&wish.owner) != Some(&name) {
            return Err(ConfigError::EndpointTaken {
                device,
                removed,
                name,
            });
        }
        named.bereft.push(owner.clone());
        named.events.push(StateEvent::NameTaken {
            device,
            removed,
            name,
        });
    }
    Ok(())
}

fn wishes(config: &Config) -> Vec<Wish<'_>> {
    let cabinet = Wish {
        owner: Owner::Cabinet,
        id: &config.name,
        endpoint: config.cabinet.endpoint.as_ref(),
        derived: Arc::clone(&config.name),
    };
    let devices = config.devices.iter().map(|device| Wish {
        owner: Owner::Device(Arc::clone(&device.id)),
        id: &device.id,
        endpoint: device.endpoint.as_ref(),
        derived: format!("{}-{}", config.name, device.id).into(),
    });
    std::iter::once(cabinet).chain(devices).collect()
}
