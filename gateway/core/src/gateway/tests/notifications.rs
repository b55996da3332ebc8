//! What goes to a server by notification: where it is sent nothing, and where it has muted Send.

use lwm2m_client::Value;
use lwm2m_client::format::{Record, RecordTime};
use lwm2m_client::object::Model;

use super::{METER, meter_and_relay};
use crate::testing::{Got, TestCabinet, words};
use crate::{Config, EndpointState, EndpointStatus};

const CURRENT: &str = "/3421/0/6";
const VOLTAGE: &str = "/3421/0/1";

/// When a value was measured, and its tenths.
type Measured = (i64, i64);

fn without_send() -> Config {
    let mut config = meter_and_relay(Model::Y2026);
    config.accounts[0].send = false;
    config
}

/// Returns a cabinet that is registered and has measured everything once; the current is observed.
fn observed(config: Config) -> TestCabinet {
    let mut cabinet = TestCabinet::keeping(config);
    cabinet.run_ms(2_000);
    cabinet.uplink(1, words(0, &[2400, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(18_000);
    observe(&mut cabinet, CURRENT);
    cabinet
}

fn observe(cabinet: &mut TestCabinet, path: &str) {
    let observe = cabinet.server.observe_with_times(path);
    cabinet.server.got.clear();
    cabinet.datagram(METER, &observe);
}

fn status(cabinet: &TestCabinet) -> EndpointStatus {
    cabinet.gateway.endpoints().swap_remove(METER as usize)
}

/// Measures a current once a second.
fn measure(cabinet: &mut TestCabinet, tenths: std::ops::Range<u16>) -> Vec<Measured> {
    let mut measured = Vec::new();
    for value in tenths {
        cabinet.uplink(1, words(1, &[value]));
        measured.push((cabinet.now.wall.unwrap().unix_ms(), i64::from(value)));
        cabinet.run_ms(1_000);
    }
    measured
}

/// Lets the server come back, and runs until it has registered the meter anew.
fn come_back(cabinet: &mut TestCabinet) {
    cabinet.is_connected = true;
    cabinet.server.got.clear();
    let is_registered = |cabinet: &TestCabinet| {
        let got = &cabinet.server.got;
        got.iter()
            .any(|(from, got)| from.0 == METER && matches!(got, Got::Register { .. }))
    };
    for _ in 0..4_000 {
        if is_registered(cabinet) {
            break;
        }
        cabinet.run_ms(100);
    }
    assert_eq!(status(cabinet).state, EndpointState::Registered);
    cabinet.server.got.clear();
}

fn of_path(records: &[Record], path: &str) -> Vec<Measured> {
    let mut found = Vec::new();
    for record in records.iter().filter(|r| r.entry.path.to_string() == path) {
        // What is told of a whole instance as it changes has no times.
        let (Value::Float(value), Some(RecordTime::Absolute(time))) = (&record.entry.value, record.time)
        else {
            continue;
        };
        found.push((time.unix_ms(), (value * 10.0).round() as i64));
    }
    found
}

/// Returns what the server got of a path by confirmable notification, and what by Send.
fn got(cabinet: &TestCabinet, path: &str) -> (Vec<Measured>, Vec<Measured>) {
    let (mut notified, mut sent) = (Vec::new(), Vec::new());
    for (_, got) in cabinet.server.got.iter().filter(|(from, _)| from.0 == METER) {
        match got {
            Got::Answer(answer) if answer.is_confirmable => notified.extend(of_path(&answer.records, path)),
            Got::Send(records) => sent.extend(of_path(records, path)),
            Got::Answer(_) | Got::Register { .. } | Got::Update { .. } | Got::Deregister => {}
        }
    }
    (notified, sent)
}

fn adds_up(status: &EndpointStatus, at_start: u64) -> bool {
    let totals = status.totals;
    let there = status.waiting as u64 + status.buffered;
    totals.produced + at_start == totals.delivered_live + totals.delivered_late + totals.dropped + there
}

#[test]
fn what_was_observed_in_an_outage_arrives_by_notification_once_it_is_observed_again() {
    let mut cabinet = observed(without_send());
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..400);
    come_back(&mut cabinet);
    cabinet.run_ms(20_000);
    assert_eq!(got(&cabinet, CURRENT).0, [], "nobody observes it");
    let waiting = status(&cabinet);
    assert_eq!(waiting.queued, measured.len(), "{waiting:?}");
    observe(&mut cabinet, CURRENT);
    cabinet.run_ms(30_000);
    let (mut notified, sent) = got(&cabinet, CURRENT);
    // The last one may be told once more.
    notified.dedup();
    assert_eq!((notified, sent), (measured, Vec::new()));
    let after = status(&cabinet);
    assert_eq!((after.queued, after.oldest), (0, None), "{after:?}");
    assert!(adds_up(&after, 0), "{after:?}");
    cabinet.run_ms(5_000);
    assert!(cabinet.buffer.stored.is_empty(), "the disk has been told");
}

#[test]
fn while_late_ones_arrive_the_newest_value_is_the_last_one_told() {
    let mut cabinet = observed(without_send());
    cabinet.is_connected = false;
    let mut measured = measure(&mut cabinet, 100..400);
    come_back(&mut cabinet);
    observe(&mut cabinet, CURRENT);
    measured.extend(measure(&mut cabinet, 400..410));
    cabinet.run_ms(10_000);
    let (mut notified, _) = got(&cabinet, CURRENT);
    assert_eq!(notified.last(), measured.last());
    notified.sort_unstable();
    notified.dedup();
    assert_eq!(notified, measured);
    assert_eq!(status(&cabinet).queued, 0);
}

#[test]
fn after_a_crash_in_the_outage_what_was_stored_arrives_by_notification() {
    let mut cabinet = observed(without_send());
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..300);
    cabinet.restart(without_send());
    let at_start = status(&cabinet).buffered;
    assert!(at_start + 12 >= measured.len() as u64, "{at_start}");
    cabinet.run_ms(200_000);
    cabinet.uplink(1, words(1, &[999]));
    let newest = (cabinet.now.wall.unwrap().unix_ms(), 999);
    come_back(&mut cabinet);
    observe(&mut cabinet, CURRENT);
    cabinet.run_ms(30_000);
    let (mut notified, _) = got(&cabinet, CURRENT);
    assert_eq!(notified.pop(), Some(newest));
    assert!(notified.len() + 12 >= measured.len());
    assert_eq!(notified, measured[..notified.len()], "each once and in order");
    let after = status(&cabinet);
    assert!(after.queued == 0 && adds_up(&after, at_start), "{after:?}");
}

#[test]
fn a_stop_in_good_order_keeps_what_was_not_acknowledged() {
    let mut cabinet = observed(without_send());
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..103);
    cabinet.stop();
    cabinet.run_ms(100);
    assert!(cabinet.gateway.is_stopped());
    assert_eq!(cabinet.buffer.stored.len(), measured.len());
}

#[test]
fn nothing_is_owed_to_a_server_that_wants_no_notifications_kept() {
    let mut cabinet = observed(without_send());
    cabinet.write(METER, "/1/0/6", "0");
    cabinet.is_connected = false;
    measure(&mut cabinet, 100..300);
    assert_eq!(status(&cabinet).totals.produced, 0);
    assert_eq!(cabinet.buffer.written(), 0);
}

#[test]
fn what_is_observed_without_times_waits_for_an_observation_that_has_them() {
    let mut cabinet = observed(without_send());
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..300);
    come_back(&mut cabinet);
    let plain = cabinet.server.observe(CURRENT);
    cabinet.datagram(METER, &plain);
    cabinet.run_ms(60_000);
    assert_eq!(status(&cabinet).queued, measured.len());
    observe(&mut cabinet, "/3421/0");
    cabinet.run_ms(30_000);
    let (mut notified, _) = got(&cabinet, CURRENT);
    notified.dedup();
    assert_eq!(notified, measured);
}

#[test]
fn while_send_is_muted_readings_go_by_notification_where_observed_and_by_send_afterwards() {
    let mut cabinet = observed(meter_and_relay(Model::Y2026));
    cabinet.write(METER, "/1/0/23", "1");
    cabinet.server.got.clear();
    let mut currents = Vec::new();
    let mut voltages = Vec::new();
    for step in 0..200u16 {
        let voltage = 2300 + 100 * (step % 2);
        cabinet.uplink(1, words(0, &[voltage]));
        voltages.push((cabinet.now.wall.unwrap().unix_ms(), i64::from(voltage)));
        currents.extend(measure(&mut cabinet, 100 + step..101 + step));
    }
    cabinet.run_ms(10_000);
    let (mut notified, sent) = got(&cabinet, CURRENT);
    assert_eq!(sent, []);
    notified.dedup();
    assert_eq!(notified, currents, "though the voltages before them wait");
    assert_eq!(got(&cabinet, VOLTAGE), (Vec::new(), Vec::new()));
    assert!(status(&cabinet).queued >= voltages.len());
    cabinet.write(METER, "/1/0/23", "0");
    cabinet.run_ms(10_000);
    assert_eq!(got(&cabinet, CURRENT).1, [], "nothing is told twice");
    let (notified, mut sent) = got(&cabinet, VOLTAGE);
    sent.sort_unstable();
    assert_eq!((notified, sent), (Vec::new(), voltages));
    let after = status(&cabinet);
    assert!(after.queued == 0 && adds_up(&after, 0), "{after:?}");
}

#[test]
fn what_was_measured_before_the_version_was_known_waits_for_an_observation() {
    let mut cabinet = TestCabinet::keeping(meter_and_relay(Model::Y2026));
    cabinet.server.is_old = true;
    cabinet.is_connected = false;
    cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(20_000);
    let waiting = status(&cabinet).queued;
    assert!(waiting > 0);
    come_back(&mut cabinet);
    assert_eq!(status(&cabinet).queued, waiting);
    observe(&mut cabinet, "/3421");
    cabinet.run_ms(20_000);
    let (notified, sent) = got(&cabinet, CURRENT);
    assert!(notified.iter().any(|(_, tenths)| *tenths == 15), "{notified:?}");
    assert_eq!(sent, []);
}

#[test]
fn what_two_observations_miss_is_owed_once() {
    let mut cabinet = observed(without_send());
    observe(&mut cabinet, "/3421/0");
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..300);
    come_back(&mut cabinet);
    observe(&mut cabinet, CURRENT);
    cabinet.run_ms(30_000);
    let (mut notified, _) = got(&cabinet, CURRENT);
    notified.dedup();
    assert_eq!(notified, measured);
}

#[test]
fn what_was_owed_to_an_observer_goes_by_send_where_there_is_one_after_the_registration() {
    let mut cabinet = observed(without_send());
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..300);
    cabinet.stop();
    cabinet.run_ms(100);
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = true;
    cabinet.run_ms(60_000);
    let (notified, sent) = got(&cabinet, CURRENT);
    assert_eq!((notified, sent), (Vec::new(), measured));
    assert_eq!(status(&cabinet).queued, 0);
}

#[test]
fn a_notification_that_is_not_acknowledged_pays_nothing() {
    let mut cabinet = observed(meter_and_relay(Model::Y2026));
    cabinet.write(METER, "/1/0/23", "1");
    let plain = cabinet.server.observe(VOLTAGE);
    cabinet.datagram(METER, &plain);
    cabinet.server.got.clear();
    for step in 0..20u16 {
        cabinet.uplink(1, words(0, &[2000 + 20 * step]));
        cabinet.run_ms(1_000);
    }
    let of_voltage = cabinet.server.got.iter().filter(
        |(_, got)| matches!(got, Got::Answer(answer) if !answer.is_confirmable && answer.text.starts_with("2")),
    );
    assert!(of_voltage.count() > 15, "they are told");
    assert!(status(&cabinet).queued >= 20, "and owed");
    cabinet.write(METER, "/1/0/23", "0");
    cabinet.run_ms(10_000);
    assert_eq!(got(&cabinet, VOLTAGE).1.len(), 20);
}

#[test]
fn a_late_notification_that_is_not_answered_counts_the_server_as_away() {
    let mut cabinet = observed(meter_and_relay(Model::Y2026));
    cabinet.write(METER, "/1/0/23", "1");
    cabinet.is_connected = false;
    cabinet.uplink(1, words(1, &[100]));
    cabinet.run_ms(2_500);
    let is_failing = |cabinet: &TestCabinet| cabinet.gateway.endpoints[METER as usize].outbox.is_failing();
    assert!(!is_failing(&cabinet));
    cabinet.run_ms(1_000);
    assert!(is_failing(&cabinet));
}
