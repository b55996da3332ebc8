//! What stored readings wait for when their server is back.

use super::*;

#[test]
fn a_server_that_comes_and_goes_does_not_make_stored_readings_wait_anew() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 0..20);
    cabinet.store.saved.values.clear();
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = true;
    cabinet.run_ms(10_000);
    for _ in 0..2 {
        cabinet.gateway.deregister(None, None, cabinet.now);
        cabinet.run_ms(1_000);
        cabinet.gateway.register(None, None, cabinet.now);
        cabinet.run_ms(290_000);
    }
    assert_eq!(currents(&cabinet, METER), []);
    cabinet.run_ms(20_000);
    assert!(
        currents(&cabinet, METER).starts_with(&measured[..10]),
        "nothing else wakes it"
    );
}

#[test]
fn nothing_is_stored_for_a_server_that_was_known_to_take_no_send() {
    let mut cabinet = TestCabinet::keeping(meter_and_relay(Model::Y2026));
    cabinet.server.is_old = true;
    cabinet.gateway.deregister(None, None, cabinet.now);
    cabinet.run_ms(1_000);
    cabinet.gateway.register(None, None, cabinet.now);
    settle_in(&mut cabinet);
    assert_eq!(status(&cabinet, METER).state, EndpointState::Registered);
    let before = disk(&mut cabinet).written();
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = false;
    measure(&mut cabinet, 0..20);
    assert_eq!(disk(&mut cabinet).written(), before);
    assert_eq!(status(&cabinet, METER).totals.produced, 0);
}
