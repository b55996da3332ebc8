//! What a stop keeps for the next start.

use super::*;

#[test]
fn what_is_in_memory_at_a_stop_is_delivered_after_it() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    cabinet.uplink(1, words(0, &[2400, 25, 350, 8, 124, 12_346]));
    cabinet.stop();
    assert!(cabinet.gateway.is_stopped());
    cabinet.is_connected = true;
    cabinet.restart(config());
    cabinet.run_ms(30_000);
    let sent = cabinet.sent().concat();
    assert!(sent.contains(&"/3421/0/1 240".to_owned()), "{sent:?}");
    cabinet.uplink(1, words(0, &[2400]));
    cabinet.run_ms(2_000);
    let again = cabinet.sent().concat();
    assert!(
        again.iter().all(|record| !record.starts_with("/3421/0/1 ")),
        "{again:?}"
    );
}

#[test]
fn what_is_measured_while_the_gateway_stops_is_remembered_as_told() {
    let mut cabinet = running();
    cabinet.store.saves = Saves::Wait;
    cabinet.stop();
    cabinet.uplink(1, words(0, &[2400]));
    for _ in 0..10 {
        cabinet.finish_save();
        cabinet.run_ms(100);
    }
    assert!(cabinet.gateway.is_stopped());
    cabinet.store.saves = Saves::Work;
    cabinet.restart(config());
    cabinet.run_ms(5_000);
    cabinet.uplink(1, words(0, &[2301]));
    cabinet.run_ms(5_000);
    let sent = cabinet.sent().concat();
    let voltages: Vec<_> = sent
        .iter()
        .filter(|record| record.starts_with("/3421/0/1 "))
        .collect();
    assert_eq!(
        voltages,
        ["/3421/0/1 240", "/3421/0/1 230.1"],
        "the old value is news again"
    );
}

#[test]
fn what_a_full_disk_did_not_take_at_a_stop_is_news_again() {
    let mut cabinet = running();
    cabinet.is_connected = false;
    cabinet.buffer.failure = Some(crate::buffer::DiskError::Full);
    cabinet.uplink(1, words(0, &[2400]));
    cabinet.stop();
    cabinet.run_ms(10_000);
    assert!(cabinet.gateway.is_stopped());
    cabinet.is_connected = true;
    cabinet.buffer.failure = None;
    cabinet.restart(config());
    cabinet.run_ms(5_000);
    cabinet.uplink(1, words(0, &[2400]));
    cabinet.run_ms(5_000);
    let sent = cabinet.sent().concat();
    assert!(sent.contains(&"/3421/0/1 240".to_owned()), "{sent:?}");
}
