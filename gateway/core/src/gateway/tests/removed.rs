//! What becomes of devices and servers that are configured no more.

use lwm2m_client::Path;

use super::RELAY;
use super::restarts::{MODEL, config, names, registrations, running, state_events};
use crate::StateEvent;
use crate::testing::{Got, one_server};

#[test]
fn a_removed_device_that_owes_nothing_deregisters_and_is_forgotten_but_its_name_stays() {
    let mut cabinet = running();
    let without = one_server(MODEL, vec![config().devices.remove(1)]);
    cabinet.restart(without.clone());
    assert_eq!(names(&cabinet), ["cab-17", "cab-17-relay-1", "cab-17-meter-1"]);
    cabinet.run_ms(2_000);
    let gone = cabinet
        .server
        .got
        .iter()
        .filter(|(_, got)| *got == Got::Deregister);
    assert_eq!(gone.map(|(from, _)| from.0).collect::<Vec<_>>(), [2]);
    assert_eq!(
        state_events(&cabinet),
        [StateEvent::RemovedForgotten {
            device: "meter-1".into()
        }]
    );
    let of_meter: Vec<_> = cabinet
        .store
        .names()
        .into_iter()
        .filter(|name| name.contains("meter-1"))
        .collect();
    assert_eq!(of_meter, ["core/endpoint/meter-1"]);

    cabinet.restart(without);
    assert_eq!(names(&cabinet), ["cab-17", "cab-17-relay-1"]);
    cabinet.restart(config());
    assert_eq!(names(&cabinet), ["cab-17", "cab-17-meter-1", "cab-17-relay-1"]);
}

#[test]
fn a_removed_device_whose_server_is_away_is_forgotten_all_the_same() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    cabinet.restart(one_server(MODEL, Vec::new()));
    cabinet.run_ms(600_000);
    let forgotten = state_events(&cabinet);
    assert_eq!(forgotten.len(), 2, "{forgotten:?}");
}

#[test]
fn a_removed_server_is_forgotten() {
    let mut cabinet = running();
    let mut moved = config();
    moved.accounts[0].name = "town".into();
    cabinet.restart(moved);
    cabinet.run_ms(2_000);
    assert_eq!(registrations(&cabinet), (3, 0));
    assert!(cabinet.store.names().iter().all(|name| !name.contains("city")));
}

#[test]
fn a_command_to_a_removed_device_is_refused() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    cabinet.restart(one_server(MODEL, Vec::new()));
    cabinet.run_ms(1_000);
    let value = lwm2m_client::Value::Boolean(true);
    let refused = cabinet
        .gateway
        .command("relay-1", Path::resource(3, 0, 14), value, cabinet.now);
    assert!(refused.is_err());
    assert_eq!(
        cabinet.gateway.devices(cabinet.now)[RELAY as usize]
            .profile
            .as_ref(),
        "removed"
    );
}
