//! When and how the gateway saves what is to outlive a restart, on a disk that works, fails or says nothing.

use super::restarts::{MODEL, config, registrations, running, state_events};
use crate::limits::{MAX_CHANGES_PER_SAVE, MAX_SAVE_BYTES, VALUES_TURNS};
use crate::state::MAX_VALUE_BYTES;
use crate::testing::{Meter, Saves, StateStore, TestCabinet, device, one_server, words};
use crate::{Event, StateEvent};

#[test]
fn nobody_speaks_before_message_ids_are_reserved_on_disk() {
    let mut cabinet = TestCabinet::kept(config(), StateStore::which(Saves::Wait));
    cabinet.run_ms(5_000);
    assert_eq!(cabinet.datagrams.len(), 0);
    cabinet.finish_save();
    cabinet.store.saves = Saves::Work;
    cabinet.run_ms(5_000);
    assert_eq!(registrations(&cabinet), (3, 0));
    assert!(cabinet.store.changes.len() < 20, "{:?}", cabinet.store.changes);
}

#[test]
fn while_saving_fails_live_traffic_goes_on_and_a_person_is_told_once() {
    let mut cabinet = TestCabinet::kept(config(), StateStore::which(Saves::Fail));
    cabinet.run_ms(5_000);
    cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(5_000);
    assert_eq!(registrations(&cabinet).0, 3);
    assert!(!cabinet.sent().is_empty());
    cabinet.run_ms(600_000);
    let told = |event: &&Event| matches!(event, Event::StateFailed { .. } | Event::StateWorks);
    let events: Vec<_> = cabinet.events.iter().filter(told).cloned().collect();
    let reason = "the disk is broken".to_owned();
    assert_eq!(events, [Event::StateFailed { reason }]);
    let attempts = cabinet.store.changes.len();
    assert!((12..25).contains(&attempts), "{attempts} attempts in ten minutes");

    cabinet.store.saves = Saves::Work;
    cabinet.run_ms(60_000);
    assert_eq!(cabinet.events.last(), Some(&Event::StateWorks));
    cabinet.server.got.clear();
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    assert_eq!(
        registrations(&cabinet),
        (0, 3),
        "what could not be saved then is saved now"
    );
}

#[test]
fn a_disk_that_does_not_answer_is_not_waited_for() {
    let mut cabinet = TestCabinet::kept(config(), StateStore::which(Saves::Wait));
    cabinet.run_ms(20_000);
    assert_eq!(registrations(&cabinet), (3, 0));
    cabinet.store.saves = Saves::Work;
    cabinet.finish_save();
    cabinet.run_ms(1_000);
    assert!(cabinet.events.contains(&Event::StateWorks));
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    assert_eq!(registrations(&cabinet), (3, 3));
}

#[test]
fn a_stop_on_a_broken_disk_ends_all_the_same() {
    let mut cabinet = running();
    cabinet.store.saves = Saves::Fail;
    assert!(!cabinet.gateway.is_stopped());
    cabinet.stop();
    assert!(cabinet.gateway.is_stopped());
}

#[test]
fn a_stop_waits_for_the_disk_and_begins_nothing() {
    let mut cabinet = running();
    cabinet.store.saves = Saves::Wait;
    cabinet.stop();
    cabinet.uplink(1, words(0, &[2500, 25, 360]));
    cabinet.run_ms(2_000);
    assert_eq!(cabinet.sent(), Vec::<Vec<String>>::new());
    for _ in 0..10 {
        if cabinet.gateway.is_stopped() {
            break;
        }
        cabinet.finish_save();
    }
    assert!(cabinet.gateway.is_stopped());
    assert!(cabinet.store.names().contains(&"core/stopped"));
}

#[test]
fn values_are_saved_when_they_are_first_complete_and_then_now_and_then() {
    let mut cabinet = TestCabinet::kept(config(), StateStore::default());
    cabinet.run_ms(2_000);
    let requests = |cabinet: &TestCabinet| cabinet.store.changes.len();
    cabinet.uplink(1, words(0, &[2301, 15, 340]));
    let before = requests(&cabinet);
    assert!(cabinet.store.names().iter().all(|name| !name.contains("/3421/")));
    cabinet.uplink(1, words(3, &[9, 123, 12_345]));
    assert_eq!(requests(&cabinet), before + 1);
    assert!(cabinet.store.names().contains(&"core/values/meter-1/3421/0/0"));
    cabinet.run_ms(5_000);
    let before = requests(&cabinet);
    for _ in 0..60 {
        cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
        cabinet.run_ms(60_000);
    }
    let hour = requests(&cabinet) - before;
    assert!((4..=8).contains(&hour), "{hour} requests in an hour");
}

#[test]
fn many_devices_share_a_few_writes() {
    let devices = (1..=100).map(|unit| device(&format!("meter-{unit}"), unit, Meter::new()));
    let mut cabinet = TestCabinet::kept(one_server(MODEL, devices.collect()), StateStore::default());
    cabinet.is_connected = false;
    let hour = |cabinet: &mut TestCabinet| {
        let before = cabinet.store.changes.len();
        for _ in 0..60 {
            for unit in 1..=100 {
                cabinet.uplink(unit, words(0, &[2301, 15, 340, 9, 123, 12_345]));
            }
            cabinet.run_ms(60_000);
        }
        cabinet.store.changes.len() - before
    };
    hour(&mut cabinet);
    let (requests, turns) = (hour(&mut cabinet), 4 * usize::try_from(VALUES_TURNS).unwrap());
    assert!(
        (turns..=turns * 5 / 2).contains(&requests),
        "{requests} requests in an hour"
    );
}

#[test]
fn many_devices_are_saved_in_requests_of_a_bounded_size() {
    let devices = (1..=250).map(|unit| device(&format!("meter-{unit}"), unit, Meter::new()));
    let config = one_server(MODEL, devices.collect());
    let mut cabinet = TestCabinet::kept(config, StateStore::default());
    cabinet.run_ms(20_000);
    assert_eq!(registrations(&cabinet).0, 251);
    for unit in 1..=250 {
        cabinet.uplink(unit, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    }
    cabinet.stop();
    assert!(cabinet.gateway.is_stopped());
    // One client or instance more than the bound goes with the others of its kind.
    let most = |of: &[usize]| of.iter().copied().max().unwrap();
    let (changes, bytes) = (most(&cabinet.store.changes), most(&cabinet.store.bytes));
    assert!(
        (MAX_CHANGES_PER_SAVE..MAX_CHANGES_PER_SAVE + 64).contains(&changes),
        "{changes}"
    );
    assert!(
        (MAX_SAVE_BYTES..MAX_SAVE_BYTES + 4 * MAX_VALUE_BYTES).contains(&bytes),
        "{bytes}"
    );
}

#[test]
fn one_value_that_is_refused_keeps_no_other_from_being_saved() {
    let devices = (1..=40).map(|unit| device(&format!("meter-{unit}"), unit, Meter::new()));
    let config = one_server(MODEL, devices.collect());
    let bad = "core/values/meter-7/";
    let mut cabinet = TestCabinet::kept(config.clone(), StateStore::which(Saves::Refuse(bad)));
    cabinet.run_ms(20_000);
    cabinet.store.saves = Saves::Wait;
    for unit in 1..=40 {
        cabinet.uplink(unit, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    }
    // The others are asked for together with it.
    cabinet.store.saves = Saves::Refuse(bad);
    cabinet.finish_save();
    cabinet.run_ms(120_000);
    let values = |cabinet: &TestCabinet| {
        let names = cabinet.store.names().into_iter();
        names
            .filter(|name| name.starts_with("core/values/meter-") && name.ends_with("/3421/0/0"))
            .count()
    };
    assert_eq!(values(&cabinet), 39);
    let told = |cabinet: &TestCabinet| {
        let is_told =
            |event: &StateEvent| matches!(event, StateEvent::NotSaved { name, .. } if name.starts_with(bad));
        state_events(cabinet)
            .iter()
            .filter(|event| is_told(event))
            .count()
    };
    let blamed = told(&cabinet);
    assert!(
        (1..=3).contains(&blamed),
        "each instance of it once: {:?}",
        cabinet.events
    );
    let before = cabinet.store.changes.len();
    cabinet.run_ms(600_000);
    let attempts = cabinet.store.changes.len() - before;
    assert!((8..=30).contains(&attempts), "{attempts} attempts in ten minutes");
    assert_eq!(told(&cabinet), blamed, "told once");

    cabinet.stop();
    assert!(cabinet.gateway.is_stopped());
    assert!(
        !cabinet.store.names().contains(&"core/stopped"),
        "not everything is saved"
    );
    cabinet.store.saves = Saves::Work;
    cabinet.restart(config);
    cabinet.uplink(7, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(1_000);
    assert_eq!(values(&cabinet), 40);
}

#[test]
fn a_client_that_cannot_be_saved_speaks_all_the_same_and_the_others_are_saved() {
    let bad = "core/client/city/meter-1/";
    let mut cabinet = TestCabinet::kept(config(), StateStore::which(Saves::Refuse(bad)));
    cabinet.run_ms(30_000);
    assert_eq!(registrations(&cabinet).0, 3);
    assert!(
        cabinet
            .store
            .names()
            .iter()
            .any(|name| name.starts_with("core/client/city/relay-1/"))
    );
    cabinet.store.saves = Saves::Work;
    cabinet.run_ms(120_000);
    assert!(cabinet.store.names().iter().any(|name| name.starts_with(bad)));
}
