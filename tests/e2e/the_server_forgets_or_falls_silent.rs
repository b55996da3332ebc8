//! Registrations that are lost on the other side.

use std::time::Duration;

use lwm2m_client::Path;
use ucifi_sim::cabinet::{Cabinet, Plan};
use ucifi_sim::server::{Code, Event, ServerRequest};

use crate::meter;

const SECOND: Duration = Duration::from_secs(1);
const METER: &str = "cab-17-meter-1";

fn cabinet() -> Cabinet {
    let mut cabinet = Plan::new(1).with_meter("meter-1", 3).build();
    cabinet.run_for(SECOND * 30);
    assert_eq!(cabinet.server().clients().len(), 2);
    cabinet
}

fn registrations(cabinet: &Cabinet) -> usize {
    let registered = cabinet
        .server_events()
        .iter()
        .filter(|(_, event)| matches!(event, Event::Registered(view) if view.endpoint == METER));
    registered.count()
}

#[test]
fn a_server_that_forgot_a_client_gets_it_back_with_all_its_objects() {
    let mut cabinet = cabinet();
    let before = cabinet.server().client(METER).unwrap();
    cabinet.server_mut().forget(METER);
    assert!(cabinet.run_until(SECOND * 300, |cabinet| cabinet.server().client(METER).is_some()));
    let after = cabinet.server().client(METER).unwrap();
    assert_eq!(
        (after.instances, after.objects),
        (before.instances, before.objects)
    );
    assert_eq!(registrations(&cabinet), 2);
}

#[test]
fn what_was_measured_while_it_was_forgotten_arrives_with_its_own_time() {
    let mut cabinet = cabinet();
    cabinet.server_mut().forget(METER);
    cabinet.run_for(SECOND * 120);
    assert!(meter::check_arrivals(&cabinet, "meter-1", 3) > 50);
    largest_gap_is_small(&cabinet);
}

#[test]
fn what_was_measured_while_the_server_was_silent_arrives_with_its_own_time() {
    let mut cabinet = cabinet();
    cabinet.server_mut().manners_mut().silent = true;
    cabinet.run_for(SECOND * 900);
    cabinet.server_mut().manners_mut().silent = false;
    cabinet.run_for(SECOND * 600);
    assert!(cabinet.server().client(METER).is_some());
    assert!(meter::check_arrivals(&cabinet, "meter-1", 3) > 500);
    largest_gap_is_small(&cabinet);
}

/// Checks that the power, which is polled each two seconds and moves all the time, has no hole in its times.
fn largest_gap_is_small(cabinet: &Cabinet) {
    let power = Path::resource(3422, 0, 15);
    let arrivals = cabinet.arrivals(METER);
    let of_power = arrivals.iter().filter(|arrival| arrival.received.path == power);
    let mut times: Vec<i64> = of_power
        .filter_map(|arrival| arrival.received.time)
        .map(|t| t.unix_ms())
        .collect();
    times.sort_unstable();
    let largest = times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .expect("the power arrives more than once");
    assert!(largest < 7_000, "{largest} ms without a reading");
}

#[test]
fn a_server_that_refuses_for_a_while_is_asked_again() {
    let mut plan = Plan::new(1).with_meter("meter-1", 3);
    plan.lifetime_secs = 60;
    let mut cabinet = plan.build();
    cabinet.server_mut().manners_mut().refuse_register = Some(Code::FORBIDDEN);
    cabinet.run_for(SECOND * 20);
    assert_eq!(cabinet.server().clients(), []);
    cabinet.server_mut().manners_mut().refuse_register = None;
    cabinet.run_for(SECOND * 120);
    assert_eq!(cabinet.server().clients().len(), 2);
}

#[test]
fn an_observation_is_made_again_after_each_registration() {
    let mut cabinet = Plan::new(1).with_meter("meter-1", 3).build();
    let voltage = Path::resource(3421, 0, 1);
    cabinet.server_mut().manners_mut().observe = vec![voltage];
    cabinet.run_for(SECOND * 30);
    assert_eq!(cabinet.server().client(METER).unwrap().observed, [voltage]);
    cabinet.server_mut().forget(METER);
    cabinet.run_for(SECOND * 300);
    assert_eq!(cabinet.server().client(METER).unwrap().observed, [voltage]);
    let read = ServerRequest::Read {
        path: voltage,
        accept: None,
    };
    assert_eq!(cabinet.ask(METER, read).unwrap().code, Code::CONTENT);
}
