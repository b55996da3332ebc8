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
    /// What follows from the names of gateway and device, or from the DevEUI.
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
        derived: device.link.endpoint_name(&config.name, &device.id).into(),
    });
    std::iter::once(cabinet).chain(devices).collect()
}

#[cfg(test)]
mod tests {
    use lwm2m_client::object::Model;

    use super::*;
    use crate::field::{DevEui, Link};
    use crate::testing::{Meter, device, one_server};

    fn config(ids: &[&str]) -> Config {
        let devices = (1..).zip(ids).map(|(unit, id)| device(id, unit, Meter::new()));
        one_server(Model::Y2026, devices.collect())
    }

    fn kept(names: &[(&str, &str)]) -> BTreeMap<Owner, Arc<str>> {
        let owner = |id: &str| match id {
            "~" => Owner::Cabinet,
            _ => Owner::Device(id.into()),
        };
        names
            .iter()
            .map(|(id, name)| (owner(id), (*name).into()))
            .collect()
    }

    fn named(config: &Config, names: &[(&str, &str)]) -> Result<Named, ConfigError> {
        endpoint_names(config, &kept(names), &|_| false)
    }

    #[test]
    fn a_name_is_what_is_configured_else_what_was_kept_else_what_is_derived() {
        let mut config = config(&["a", "b", "c"]);
        config.devices[2].endpoint = Some("feeder".into());
        let named = named(&config, &[("~", "cab-1"), ("b", "cab-1-b"), ("c", "cab-1-c")]).unwrap();
        let names: Vec<&str> = named.names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["cab-1", "cab-17-a", "cab-1-b", "feeder"]);
        assert_eq!(named.changed, [1, 3]);
        assert_eq!(named.events.len(), 2, "the cabinet and b keep theirs");
    }

    #[test]
    fn two_configured_devices_never_have_one_name() {
        let names = named(&config(&["a", "b"]), &[("a", "cab-17-b")]);
        assert!(
            matches!(names, Err(ConfigError::DuplicateEndpoint { .. })),
            "{names:?}"
        );
    }

    #[test]
    fn the_name_of_a_removed_device_is_not_derived_for_another_one() {
        let taken = named(&config(&["b-c"]), &[("c", "cab-17-b-c")]);
        assert!(
            matches!(taken, Err(ConfigError::EndpointTaken { .. })),
            "{taken:?}"
        );
        let own = named(&config(&["c"]), &[("c", "cab-17-c")]).unwrap();
        assert_eq!((own.changed, own.events), (vec![0], vec![]));
    }

    #[test]
    fn a_configured_device_may_give_its_old_name_to_another_one() {
        let mut config = config(&["a", "b"]);
        config.devices[0].endpoint = Some("new".into());
        config.devices[1].endpoint = Some("old".into());
        let named = named(&config, &[("~", "cab-17"), ("a", "old"), ("b", "cab-17-b")]).unwrap();
        assert_eq!(
            (named.changed, named.events, named.bereft),
            (vec![1, 2], vec![], vec![])
        );
    }

    #[test]
    fn a_lorawan_device_is_named_by_its_dev_eui_and_keeps_the_name_when_it_is_replaced() {
        let mut config = config(&["lamp"]);
        let lamp = |last| Link::LoRaWan {
            dev_eui: DevEui([0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, last]),
        };
        config.devices[0].link = lamp(1);
        let name = "urn:dev:eui64:70b3d57ed0000001";
        assert_eq!(*named(&config, &[]).unwrap().names[1], *name);
        config.devices[0].link = lamp(2);
        assert_eq!(*named(&config, &[("lamp", name)]).unwrap().names[1], *name);
    }
}
