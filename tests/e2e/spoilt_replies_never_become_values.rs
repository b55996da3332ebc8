//! Late, foreign, corrupt and other bad replies on the line.

use std::time::Duration;

use lwm2m_client::Value;
use ucifi_sim::cabinet::{Cabinet, Plan, endpoint_of};
use ucifi_sim::serial_line::{Fault, Faults, Foreign, foreign_value};

use crate::meter;

const RUN: Duration = Duration::from_secs(300);

/// Two meters of one kind, so that the answers of one fit the questions to the other.
fn run(seed: u64, faults: &[(f64, Fault)]) -> Cabinet {
    let mut cabinet = Plan::new(seed).with_meter("a", 1).with_meter("b", 2).build();
    for unit in [1, 2] {
        cabinet
            .line_mut()
            .set_faults(unit, Faults::random(faults.to_vec()));
    }
    cabinet.run_for(RUN);
    cabinet
}

/// Checks that what arrived was shown by the meter at its time, and returns how much arrived.
fn check(cabinet: &Cabinet) -> usize {
    for device in ["a", "b"] {
        let foreign = Value::Float(f64::from(foreign_value()));
        let arrivals = cabinet.arrivals(&endpoint_of(device));
        assert!(
            arrivals.iter().all(|arrival| arrival.received.value != foreign),
            "{device}"
        );
    }
    assert!(
        cabinet.line().counters().faults > 10,
        "{:?}",
        cabinet.line().counters()
    );
    meter::check_arrivals(cabinet, "a", 1) + meter::check_arrivals(cabinet, "b", 2)
}

fn each_seed(faults: &[(f64, Fault)]) {
    for seed in 1..=2 {
        let checked = check(&run(seed, faults));
        assert!(checked > 100, "seed {seed}: only {checked} values");
    }
}

#[test]
fn a_late_reply_answers_nothing_however_late_it_is() {
    for late_ms in [450, 520, 700, 1_000, 1_500, 2_500, 7_000] {
        each_seed(&[(0.1, Fault::Late(Duration::from_millis(late_ms)))]);
    }
}

#[test]
fn a_foreign_reply_answers_nothing() {
    for kind in [Foreign::OtherUnit, Foreign::OtherFunction, Foreign::OtherLength] {
        each_seed(&[(0.1, Fault::Foreign(kind))]);
    }
}

#[test]
fn a_corrupt_or_truncated_reply_answers_nothing() {
    each_seed(&[(0.1, Fault::Corrupt), (0.1, Fault::Truncated)]);
}

#[test]
fn a_reply_that_comes_twice_answers_once() {
    each_seed(&[(0.3, Fault::Duplicated)]);
}

#[test]
fn noise_answers_nothing() {
    each_seed(&[(0.1, Fault::Babble(200)), (0.1, Fault::Babble(7))]);
}

#[test]
fn all_of_it_together_answers_nothing() {
    each_seed(&[
        (0.03, Fault::Silent),
        (0.03, Fault::Mute),
        (0.03, Fault::Late(Duration::from_millis(600))),
        (0.03, Fault::Late(Duration::from_millis(1_700))),
        (0.03, Fault::Foreign(Foreign::OtherUnit)),
        (0.03, Fault::Foreign(Foreign::OtherLength)),
        (0.03, Fault::Corrupt),
        (0.03, Fault::Truncated),
        (0.03, Fault::Duplicated),
        (0.03, Fault::Exception(6)),
        (0.03, Fault::Babble(50)),
    ]);
}
