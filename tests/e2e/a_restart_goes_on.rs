//! Stopped or killed and started again, the gateway goes on with the registrations and observations it had.

use std::time::Duration;

use lwm2m_client::{Path, Value};
use ucifi_core::field::Table;
use ucifi_sim::cabinet::{Cabinet, Down, Plan, StorePlan, path_of};
use ucifi_sim::disk::PowerCut;
use ucifi_sim::modbus_unit::{Signal, Unit};
use ucifi_sim::server::{Event, Origin, ServerRequest};

const SECOND: Duration = Duration::from_secs(1);
const SCRIPTED: &str = "cab-17-a";
const METER: &str = "cab-17-meter-1";
const VOLTAGE: Path = Path::resource(3421, 0, 1);

/// A cabinet whose clients are registered and observed.
fn cabinet(seed: u64) -> Cabinet {
    let mut cabinet = Plan::new(seed)
        .with_meter("meter-1", 3)
        .with_scripted("a", SECOND)
        .with_store(StorePlan::default())
        .build();
    cabinet.run_for(SECOND * 30);
    for (endpoint, path) in [(SCRIPTED, path_of(2)), (METER, VOLTAGE)] {
        let request = ServerRequest::Observe { path, accept: None };
        cabinet
            .ask(endpoint, request)
            .expect("the client can be observed");
    }
    cabinet.run_for(SECOND * 30);
    cabinet
}

/// Checks what the server saw of a restart at `at`.
fn check(cabinet: &Cabinet, at: Duration) {
    let since = || {
        cabinet
            .server_events()
            .iter()
            .filter(|(when, _)| *when > at)
            .map(|(_, event)| event)
    };
    let mut updated: Vec<&str> = Vec::new();
    for event in since() {
        match event {
            Event::Updated(view) => updated.push(&view.endpoint),
            Event::Registered(view) => panic!("{} registered anew", view.endpoint),
            Event::Received { .. } => {}
            Event::Deregistered { .. }
            | Event::Expired { .. }
            | Event::Refused { .. }
            | Event::ObservationEnded { .. }
            | Event::Undecodable { .. }
            | Event::Finished { .. }
            | Event::Malformed { .. } => panic!("{event:?}"),
        }
    }
    for endpoint in ["cab-17", SCRIPTED, METER] {
        assert!(
            updated.contains(&endpoint),
            "{endpoint} was not updated: {updated:?}"
        );
    }
    for (endpoint, observed) in [(SCRIPTED, path_of(2)), (METER, VOLTAGE)] {
        let notified = since().filter(|event| {
            let is_it =
                |origin: &Origin| matches!(origin, Origin::Notification { path, .. } if *path == observed);
            event.endpoint() == Some(endpoint) && event.received().is_some_and(|(origin, _)| is_it(origin))
        });
        assert!(notified.count() > 3, "{endpoint} is not observed any more");
    }
}

fn check_books(cabinet: &mut Cabinet) {
    cabinet.silence_scripted();
    cabinet.run_for(SECOND * 10);
    cabinet.ledger_mut().check_all_arrived();
    assert_eq!(cabinet.ledger().faults(), &[] as &[String]);
    let (messages, reused) = cabinet.message_ids();
    assert!(messages > 100 && reused.is_empty(), "{reused:?}");
}

#[test]
fn after_a_stop_and_a_start_within_seconds_nothing_is_lost_and_nobody_registers() {
    let mut cabinet = cabinet(1);
    assert!(cabinet.stop(SECOND * 10), "it ends when all is kept");
    let at = cabinet.elapsed();
    cabinet.run_for(SECOND * 5);
    cabinet.power_on().unwrap();
    cabinet.run_for(SECOND * 60);
    check(&cabinet, at);
    check_books(&mut cabinet);
    assert_eq!(cabinet.ledger().totals().lost, 0);
}

#[test]
fn after_a_kill_or_a_power_cut_observations_go_on_and_no_message_id_is_used_again() {
    let downs = PowerCut::ALL.map(Down::PowerCut).into_iter().chain([Down::Kill]);
    for (seed, down) in (1..).zip(downs) {
        let mut cabinet = cabinet(seed);
        let at = cabinet.elapsed();
        cabinet.go_down(down);
        cabinet.run_for(SECOND * 5);
        cabinet.power_on().unwrap();
        cabinet.run_for(SECOND * 60);
        check(&cabinet, at);
        check_books(&mut cabinet);
    }
}

#[test]
fn a_gateway_that_is_killed_again_and_again_uses_no_message_id_twice() {
    let mut cabinet = cabinet(7);
    for _ in 0..60 {
        cabinet.go_down(Down::Kill);
        cabinet.power_on().unwrap();
        cabinet.run_for(SECOND * 3);
    }
    cabinet.run_for(SECOND * 60);
    check_books(&mut cabinet);
    assert_eq!(cabinet.starts(), 61);
}

#[test]
fn what_was_measured_before_a_restart_is_shown_as_old_until_it_is_measured_again() {
    let mut unit = Unit::sdm630(3);
    unit.registers_mut()
        .set_f32(Table::InputRegisters, 0, Signal::Constant(231.5));
    let mut cabinet = Plan::new(1)
        .with("meter-1", "eastron.sdm630", unit)
        .with_store(StorePlan::default())
        .build();
    cabinet.run_for(SECOND * 60);
    let before = cabinet.value("meter-1", VOLTAGE).expect("it is measured");
    cabinet.stop(SECOND * 10);
    cabinet.power_on().unwrap();
    let after = cabinet.value("meter-1", VOLTAGE).expect("it was kept");
    assert_eq!(after.0, before.0);
    assert_ne!(after.1, before.1, "its quality says that it is old");
    cabinet.run_for(SECOND * 60);
    assert_eq!(cabinet.value("meter-1", VOLTAGE), Some(before));
}

#[test]
fn after_a_kill_a_value_is_told_again_although_an_earlier_start_had_told_it_before_it_was_stopped() {
    let mut unit = Unit::sdm630(3);
    let volts = |unit: &mut Unit, volts| {
        unit.registers_mut()
            .set_f32(Table::InputRegisters, 0, Signal::Constant(volts));
    };
    volts(&mut unit, 231.5);
    let mut cabinet = Plan::new(1)
        .with("meter-1", "eastron.sdm630", unit)
        .with_store(StorePlan::default())
        .build();
    cabinet.run_for(SECOND * 60);
    for (next, down) in [(250.0, None), (231.5, Some(Down::Kill))] {
        match down {
            None => assert!(cabinet.stop(SECOND * 10)),
            Some(down) => cabinet.go_down(down),
        }
        let unit = cabinet.line_mut().unit_mut(3).expect("the meter is on the line");
        volts(unit, next);
        cabinet.power_on().unwrap();
        let at = cabinet.elapsed();
        cabinet.run_for(SECOND * 60);
        let arrivals = cabinet.arrivals(METER);
        let told = arrivals.iter().filter(|arrival| arrival.at > at);
        let told = told.filter(|arrival| {
            arrival.received.path == VOLTAGE && arrival.received.value == Value::Float(next)
        });
        assert!(told.count() > 0, "{next} V is news to the server");
    }
}
