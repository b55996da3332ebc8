//! What a crash costs, and that a stop costs nothing.

use super::*;

#[test]
fn after_a_crash_all_arrives_but_what_was_measured_last() {
    for outage_secs in [7, 60, 500] {
        let mut cabinet = keeping();
        cabinet.is_connected = false;
        let measured = measure(&mut cabinet, 0..outage_secs);
        cabinet.restart(meter_and_relay(Model::Y2026));
        let at_start = status(&cabinet, METER).buffered;
        assert!(
            at_start + 7 >= u64::from(outage_secs),
            "hold and commit are 6 s: {at_start}"
        );
        cabinet.is_connected = true;
        cabinet.run_ms(400_000);
        let mut got = currents(&cabinet, METER);
        got.sort_unstable();
        assert_eq!(got, measured[..got.len()], "none invented, none out of turn");
        assert!(got.len() + 7 >= measured.len());
        assert!(adds_up(&status(&cabinet, METER), at_start));
        assert!(disk(&mut cabinet).stored.is_empty());
    }
}

#[test]
fn a_stop_in_good_order_loses_nothing() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 0..30);
    cabinet.gateway.begin_stop(cabinet.now);
    cabinet.run_ms(100);
    assert!(cabinet.gateway.is_stopped());
    assert_eq!(status(&cabinet, METER).waiting, 0);
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    let mut got = currents(&cabinet, METER);
    got.sort_unstable();
    assert_eq!(got, measured);
}

#[test]
fn duplicates_after_a_crash_are_what_was_paid_since_the_last_commit() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 0..300);
    cabinet.is_connected = true;
    while status(&cabinet, METER).state != EndpointState::Registered {
        cabinet.run_ms(10);
    }
    cabinet.run_ms(5);
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.run_ms(400_000);
    let got = currents(&cabinet, METER);
    let mut times: BTreeMap<Current, usize> = BTreeMap::new();
    for current in &got {
        *times.entry(*current).or_default() += 1;
    }
    assert!(times.keys().all(|current| measured.contains(current)));
    assert!(times.values().all(|count| *count <= 2));
    assert!(times.len() + 7 >= measured.len());
}
