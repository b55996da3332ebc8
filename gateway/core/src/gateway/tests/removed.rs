//! What becomes of devices and servers that are configured no more.

use lwm2m_client::Path;

use super::RELAY;
use super::restarts::{MODEL, config, names, registrations, running, state_events};
use crate::StateEvent;
use crate::testing::{Got, Meter, device, one_server, words};

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

#[test]
fn a_removed_device_stays_until_its_server_has_everything_and_then_leaves() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    for round in 0..10 {
        cabinet.uplink(1, words(0, &[2000 + round * 20, 15, 340, 9, 123, 12_345]));
        cabinet.run_ms(10_000);
    }
    cabinet.stop();
    let without = one_server(MODEL, vec![config().devices.remove(1)]);
    cabinet.restart(without.clone());
    let owes = state_events(&cabinet);
    assert!(
        matches!(&owes[..], [StateEvent::RemovedOwes { device, readings }] if &**device == "meter-1" && *readings >= 10),
        "{owes:?}"
    );
    let status = cabinet.gateway.endpoints().remove(2);
    assert_eq!((&*status.name, status.buffered >= 10), ("cab-17-meter-1", true));
    cabinet.run_ms(600_000);
    assert_eq!(state_events(&cabinet).len(), 1, "it waits for the server");

    cabinet.restart(without.clone());
    cabinet.is_connected = true;
    cabinet.server.got.clear();
    cabinet.run_ms(600_000);
    let sent = cabinet.sent().concat();
    for round in 0..10 {
        let voltage = format!("/3421/0/1 {}", 200 + round * 2);
        assert!(sent.contains(&voltage), "{voltage} in {sent:?}");
    }
    let last = cabinet.server.got.iter().rfind(|(from, _)| from.0 == 2);
    assert_eq!(last.map(|(_, got)| got), Some(&Got::Deregister));
    let device = "meter-1".into();
    assert_eq!(
        state_events(&cabinet).last(),
        Some(&StateEvent::RemovedForgotten { device })
    );
    cabinet.restart(without);
    assert_eq!(names(&cabinet), ["cab-17", "cab-17-relay-1"]);
}

#[test]
fn a_removed_device_leaves_when_its_readings_are_dropped() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    cabinet.uplink(1, words(0, &[2000]));
    cabinet.stop();
    cabinet.restart(one_server(MODEL, Vec::new()));
    cabinet.run_ms(10_000);
    assert!(matches!(
        &state_events(&cabinet)[..],
        [StateEvent::RemovedOwes { .. }]
    ));
    let (now, later) = (cabinet.now, cabinet.now.wall.unwrap());
    cabinet.gateway.drop_older(later, None, now);
    cabinet.run_ms(200_000);
    let device = "meter-1".into();
    let forgotten = StateEvent::RemovedForgotten { device };
    assert!(
        state_events(&cabinet).contains(&forgotten),
        "{:?}",
        state_events(&cabinet)
    );
}

#[test]
fn what_the_cabinet_owes_it_owes_under_any_name_of_the_gateway() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    cabinet.uplink(1, words(0, &[2000]));
    cabinet.run_ms(10_000);
    let (now, later) = (cabinet.now, cabinet.now.wall.unwrap());
    cabinet.gateway.drop_older(later, None, now);
    cabinet.run_ms(30_000);
    cabinet.stop();
    cabinet.is_connected = true;
    let renamed = crate::Config {
        name: "cab-99".into(),
        ..config()
    };
    cabinet.restart(renamed);
    let is_owing = |event: &StateEvent| matches!(event, StateEvent::RemovedOwes { .. });
    assert!(!state_events(&cabinet).iter().any(is_owing), "nobody was removed");
    assert_eq!(names(&cabinet), ["cab-17", "cab-17-meter-1", "cab-17-relay-1"]);
    cabinet.run_ms(700_000);
    let is_report = |record: &lwm2m_client::format::Record| record.entry.path.to_string() == "/20/0/4014";
    let reported = cabinet.server.got.iter().any(|(from, got)| match got {
        Got::Send(records) => from.0 == 0 && records.iter().any(is_report),
        Got::Register { .. } | Got::Update { .. } | Got::Deregister | Got::Answer(_) => false,
    });
    assert!(reported, "the report of the loss, from the cabinet");
}

#[test]
fn the_endpoint_name_of_a_removed_device_is_free_only_when_it_owes_nothing_and_somebody_asks_for_it() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    cabinet.uplink(1, words(0, &[2000]));
    cabinet.stop();
    let mut heir = one_server(MODEL, vec![device("meter-2", 1, Meter::new())]);
    heir.devices[0].endpoint = Some("cab-17-meter-1".into());
    let refused = cabinet.try_restart(heir.clone()).err();
    let refused = refused.map(|error| error.to_string()).unwrap();
    assert!(
        refused.contains("meter-1") && refused.contains("still has readings"),
        "{refused}"
    );

    let without = one_server(MODEL, Vec::new());
    cabinet.is_connected = true;
    cabinet.restart(without);
    cabinet.run_ms(600_000);
    cabinet.events.clear();
    cabinet.restart(heir.clone());
    let taken = StateEvent::NameTaken {
        device: "meter-2".into(),
        removed: "meter-1".into(),
        name: "cab-17-meter-1".into(),
    };
    assert_eq!(state_events(&cabinet), [taken]);
    cabinet.events.clear();
    cabinet.restart(heir);
    assert_eq!(state_events(&cabinet), [], "the name is its own from then on");
}
