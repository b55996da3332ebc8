//! A cabinet without a battery-backed clock.

use std::time::Duration;

use lwm2m_client::{Path, Timestamp};
use ucifi_sim::cabinet::{Cabinet, Plan, START};

use crate::meter;

const SECOND: Duration = Duration::from_secs(1);
const METER: &str = "cab-17-meter-1";

fn cabinet(wall: Option<Timestamp>) -> Cabinet {
    let mut plan = Plan::new(1).with_meter("meter-1", 3);
    plan.wall = wall;
    let mut cabinet = plan.build();
    cabinet.run_for(SECOND * 60);
    cabinet
}

#[test]
fn before_the_clock_is_set_values_come_with_their_age_and_the_server_makes_it_a_time() {
    let cabinet = cabinet(None);
    assert!(meter::check_arrivals(&cabinet, "meter-1", 3) > 50);
}

#[test]
fn after_the_clock_is_set_values_come_with_their_time() {
    let mut cabinet = cabinet(None);
    let wall = Timestamp::from_unix_ms(START.unix_ms() + 60_000);
    cabinet.clock_mut().set_wall(wall);
    cabinet.run_for(SECOND * 60);
    assert!(meter::check_arrivals(&cabinet, "meter-1", 3) > 100);
}

#[test]
fn a_clock_that_jumps_stops_neither_polls_nor_registrations() {
    let mut cabinet = cabinet(Some(START));
    for jump_ms in [3_600_000, -7_200_000, 86_400_000 * 365, -86_400_000 * 400] {
        let before = cabinet.arrivals(METER).len();
        cabinet.clock_mut().jump_wall(jump_ms);
        cabinet.run_for(SECOND * 400);
        let power = Path::resource(3422, 0, 15);
        let arrivals = cabinet.arrivals(METER);
        let new = arrivals[before..]
            .iter()
            .filter(|arrival| arrival.received.path == power)
            .count();
        assert!(new > 100, "{new} values after a jump of {jump_ms} ms");
        assert_eq!(cabinet.server().clients().len(), 2);
    }
}
