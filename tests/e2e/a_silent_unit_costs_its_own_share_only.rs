//! One dead unit on a line with others.

use std::time::Duration;

use lwm2m_client::Path;
use ucifi_core::Event;
use ucifi_core::field::Table;
use ucifi_sim::cabinet::{Cabinet, Plan};
use ucifi_sim::serial_line::{Fault, Faults};

const SECOND: Duration = Duration::from_secs(1);
const RUN: Duration = Duration::from_secs(600);

/// Three meters and a board; of the second meter every request goes unanswered.
fn run(faults: Faults) -> Cabinet {
    let plan = Plan::new(1)
        .with_meter("a", 1)
        .with_meter("b", 2)
        .with_meter("c", 3)
        .with_relays("d", 4);
    let mut cabinet = plan.build();
    cabinet.line_mut().set_faults(2, faults);
    cabinet.run_for(RUN);
    cabinet
}

fn polls(cabinet: &Cabinet, unit: u8) -> u64 {
    cabinet.bus_statistics().units[&unit].ok
}

#[test]
fn the_others_are_polled_as_often_as_if_it_answered() {
    let (good, bad) = (run(Faults::none()), run(Faults::always(Fault::Silent)));
    for unit in [1, 3, 4] {
        let (before, after) = (polls(&good, unit), polls(&bad, unit));
        assert!(
            after as f64 >= before as f64 * 0.98,
            "unit {unit}: {after} polls instead of {before}"
        );
    }
    assert_eq!(polls(&bad, 2), 0);
}

#[test]
fn it_takes_no_more_of_the_line_than_its_time_outs() {
    let cabinet = run(Faults::always(Fault::Silent));
    let statistics = cabinet.bus_statistics();
    let asked = statistics.units[&2].requests;
    // Three requests until it counts as away, then probes after 5, 10, 30 and each 60 s; half a second each.
    assert!(asked <= 20, "{asked} requests to a unit that is not there");
    assert!(statistics.busy_share(2) < 0.02, "{}", statistics.busy_share(2));
}

#[test]
fn it_is_told_once_that_it_is_away_and_once_that_it_is_back() {
    let mut cabinet = run(Faults::during(vec![(SECOND * 60..SECOND * 180, Fault::Silent)]));
    cabinet.run_for(SECOND * 60);
    let told = cabinet.events().iter().filter_map(|(at, event)| {
        let (device, reachable) = match event {
            Event::DeviceUnreachable { device, .. } => (device, false),
            Event::DeviceReachable { device } => (device, true),
            Event::Registered { .. }
            | Event::RegistrationFailed { .. }
            | Event::RegistrationLost { .. }
            | Event::Deregistered { .. }
            | Event::ServerMessageRefused { .. }
            | Event::FrameOfStranger { .. }
            | Event::FrameRefused { .. }
            | Event::PointFault { .. }
            | Event::CommandFinished(_)
            | Event::Gap { .. }
            | Event::BufferFailed { .. }
            | Event::BufferWorks
            | Event::ReadingsDropped { .. }
            | Event::StateFailed { .. }
            | Event::StateWorks
            | Event::State(_) => return None,
        };
        (&**device == "b").then_some((reachable, at.as_secs()))
    });
    let told: Vec<(bool, u64)> = told.collect();
    let states: Vec<bool> = told.iter().map(|(reachable, _)| *reachable).collect();
    assert_eq!(states, [true, false, true], "{told:?}");
    assert!(
        (60..80).contains(&told[1].1) && (180..245).contains(&told[2].1),
        "{told:?}"
    );
}

#[test]
fn a_command_to_a_good_unit_does_not_wait_for_a_dead_one() {
    let mut cabinet = run(Faults::always(Fault::Silent));
    for channel in 0..8 {
        cabinet.run_for(SECOND * 7);
        let before = cabinet.elapsed();
        let value = lwm2m_client::Value::Integer(100);
        cabinet
            .command("d", Path::resource(3413, channel, 3), value)
            .unwrap();
        let on = |cabinet: &Cabinet| {
            cabinet
                .line()
                .unit(4)
                .unwrap()
                .registers()
                .bit(Table::Coils, channel)
                == Some(true)
        };
        assert!(cabinet.run_until(SECOND * 5, on));
        let took = cabinet.elapsed() - before;
        assert!(
            took < Duration::from_millis(1200),
            "channel {channel} after {took:?}"
        );
    }
}
