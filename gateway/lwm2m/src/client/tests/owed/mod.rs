//! Notifications that are owed: none is forgotten, and late ones leave the newest value the last.

mod walk;

use std::time::Duration;

use coap_lite::{CoapOption, MessageType, Packet};

use crate::client::tests::peer::{Ask, Bench, code, payload, texts};
use crate::client::{ClientConfig, Event, NotifyRefused, RegistrationState, SendId, SendOutcome, limits};
use crate::format::{Entry, Record, RecordTime};
use crate::{Path, Timestamp, Value};

const TEMPERATURE: &str = "/3303/0/5700";
const JSON: u16 = 110;
const TEXT: u16 = 0;
const NOTHING: [u16; 0] = [];
/// The wall time of value 0; each value is measured that many seconds later.
const BEGIN_SECS: i64 = 1_700_000_000;

/// A client that owes its notifications, and of which the temperature is observed.
fn observed(format: u16) -> Bench {
    observed_with(format, Bench::config())
}

fn observed_with(format: u16, config: ClientConfig) -> Bench {
    let mut bench = Bench::registered(config);
    bench.client.set_owes_notifications(true);
    observe(&mut bench, format);
    bench
}

fn observe(bench: &mut Bench, format: u16) {
    let answer = bench.ask(&Ask::get(TEMPERATURE).accept(format).observe(0).token(&[1]));
    assert_eq!(code(&answer), "2.05");
    bench.events.clear();
}

fn measure(bench: &mut Bench, value: u16) {
    bench.device.measured_at = Some(time(value));
    bench.change(TEMPERATURE, Value::Float(value.into()));
}

fn time(value: u16) -> Timestamp {
    Timestamp::from_unix_ms((BEGIN_SECS + i64::from(value)) * 1000)
}

fn record(value: u16) -> Record {
    Record {
        entry: Entry {
            path: Path::resource(3303, 0, 5700),
            value: Value::Float(value.into()),
        },
        time: Some(RecordTime::Absolute(time(value))),
    }
}

/// Takes what was told to be owed, with its times checked.
fn owed(bench: &mut Bench) -> Vec<u16> {
    let mut values = Vec::new();
    bench.events.retain(|event| {
        let Event::NotificationOwed { records } = event else {
            return true;
        };
        let [only] = records.as_slice() else {
            panic!("{records:?}")
        };
        let value = only.entry.value.as_f64().unwrap() as u16;
        assert_eq!(*only, record(value));
        values.push(value);
        false
    });
    values
}

/// Takes the notifications sent so far, without repetitions: message and value.
fn notifications(bench: &mut Bench) -> Vec<(Packet, u16)> {
    let mut all: Vec<(Packet, u16)> = Vec::new();
    for packet in std::mem::take(&mut bench.sent) {
        if code(&packet) == "2.05"
            && !all
                .iter()
                .any(|(p, _)| p.header.message_id == packet.header.message_id)
        {
            let value = value_of(&packet);
            all.push((packet, value));
        }
    }
    all
}

fn value_of(packet: &Packet) -> u16 {
    let Ok(pack) = serde_json::from_slice::<serde_json::Value>(&packet.payload) else {
        panic!("{packet:?}")
    };
    let value = if pack.is_array() { &pack[0]["v"] } else { &pack };
    let value = value.as_f64().unwrap() as u16;
    if pack.is_array() {
        let at = pack[0]["bt"].as_f64().unwrap();
        assert_eq!(at as i64, BEGIN_SECS + i64::from(value), "{pack}");
    }
    value
}

fn acknowledge(bench: &mut Bench, packet: &Packet) {
    bench.reply_empty(packet, MessageType::Acknowledgement);
}

/// Takes the one notification that was sent and acknowledges it.
fn deliver(bench: &mut Bench) -> u16 {
    let all = notifications(bench);
    let [(packet, value)] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(packet.header.get_type(), MessageType::Confirmable);
    acknowledge(bench, packet);
    *value
}

fn late(bench: &mut Bench, id: u64, values: &[u16]) -> Result<(), NotifyRefused> {
    let records = values.iter().map(|v| record(*v)).collect();
    let result = bench.client.notify_late(SendId(id), records, bench.now);
    bench.collect();
    result
}

fn outcomes(bench: &mut Bench) -> Vec<(u64, SendOutcome)> {
    let mut finished = Vec::new();
    bench.events.retain(|event| {
        let Event::SendFinished { id, outcome } = event else {
            return true;
        };
        finished.push((id.0, *outcome));
        false
    });
    finished
}

#[test]
fn what_is_acknowledged_is_not_owed_and_everything_is_confirmable() {
    let mut bench = observed(JSON);
    for value in 1..4 {
        measure(&mut bench, value);
        bench.pass_secs(1);
        assert_eq!(deliver(&mut bench), value);
    }
    bench.pass_secs(100);
    assert_eq!(owed(&mut bench), NOTHING);
}

#[test]
fn what_fires_while_one_is_under_way_follows_it_in_order() {
    let mut bench = observed(JSON);
    for value in 1..4 {
        measure(&mut bench, value);
    }
    for value in 1..4 {
        assert_eq!(deliver(&mut bench), value);
    }
    bench.pass_secs(10);
    assert_eq!((bench.sent.len(), owed(&mut bench)), (0, vec![]));
}

#[test]
fn what_is_not_acknowledged_soon_is_owed_in_order_with_what_waits_behind_it() {
    let mut bench = observed(JSON);
    for value in 1..4 {
        measure(&mut bench, value);
    }
    bench.pass(limits::OWED_AFTER - Duration::from_millis(1));
    assert_eq!(owed(&mut bench), NOTHING);
    bench.pass(Duration::from_millis(1));
    assert_eq!(owed(&mut bench), [1, 2, 3]);
    measure(&mut bench, 4);
    assert_eq!(owed(&mut bench), [4]);
    bench.pass_secs(200);
    assert_eq!(owed(&mut bench), NOTHING, "each is told once");
}

#[test]
fn too_many_that_wait_are_owed_at_once() {
    let mut bench = observed(JSON);
    let all: Vec<u16> = (1..=u16::try_from(limits::WAITING_NOTIFICATIONS).unwrap() + 2).collect();
    for value in &all {
        assert_eq!(owed(&mut bench), NOTHING);
        measure(&mut bench, *value);
    }
    assert_eq!(owed(&mut bench), all);
}

#[test]
fn what_would_be_told_while_the_server_is_away_is_owed_until_a_register_ends_the_observation() {
    let mut bench = observed(JSON);
    measure(&mut bench, 1);
    bench.pass_secs(400);
    assert_eq!(bench.client.state(), RegistrationState::Registering);
    assert_eq!(owed(&mut bench), [1]);
    assert_eq!(bench.client.observed().len(), 1, "values are wanted as before");
    for value in 2..5 {
        measure(&mut bench, value);
        bench.pass_secs(50);
        assert_eq!(owed(&mut bench), [value]);
    }
    while bench
        .sent
        .last()
        .is_none_or(|p| texts(p, CoapOption::UriPath) != ["rd"])
    {
        bench.sent.clear();
        bench.pass_until_sent();
    }
    let register = bench.sent.pop().unwrap();
    bench.events.clear();
    bench.answer(&register, "2.01", &["rd", "2"]);
    assert!(bench.events.contains(&Event::ObservationsChanged));
    measure(&mut bench, 9);
    assert_eq!((owed(&mut bench), bench.client.observed()), (vec![], vec![]));
}

#[test]
fn an_observe_that_overtakes_the_answer_to_the_register_stays() {
    let mut bench = observed(JSON);
    bench.client.update(bench.now);
    bench.pass_secs(0);
    let update = bench.take_sent();
    bench.answer(&update, "4.04", &[]);
    let register = bench.take_sent();
    let answer = bench.ask(&Ask::get(TEMPERATURE).accept(JSON).observe(0).token(&[2]));
    assert_eq!(code(&answer), "2.05");
    measure(&mut bench, 1);
    assert_eq!(owed(&mut bench), [1], "of the first observation");
    bench.answer(&register, "2.01", &["rd", "2"]);
    assert_eq!(bench.client.observed().len(), 1);
    assert_eq!(deliver(&mut bench), 1);
}

#[test]
fn a_reset_or_a_cancellation_ends_what_is_owed() {
    let mut bench = observed(JSON);
    measure(&mut bench, 1);
    measure(&mut bench, 2);
    let (first, _) = notifications(&mut bench).remove(0);
    bench.reply_empty(&first, MessageType::Reset);
    bench.pass_secs(300);
    assert_eq!(owed(&mut bench), NOTHING);

    let mut bench = observed(JSON);
    measure(&mut bench, 1);
    measure(&mut bench, 2);
    bench.send(&Ask::get(TEMPERATURE).observe(1).token(&[1]));
    bench.pass_secs(300);
    assert_eq!(owed(&mut bench), NOTHING);
}

#[test]
fn a_server_that_wants_nothing_stored_is_owed_nothing() {
    let mut bench = observed(JSON);
    assert_eq!(code(&bench.ask(&Ask::put("/1/0/6").body(TEXT, "0"))), "2.04");
    measure(&mut bench, 1);
    let (packet, _) = notifications(&mut bench).remove(0);
    assert_eq!(packet.header.get_type(), MessageType::NonConfirmable);
    bench.pass_secs(300);
    assert_eq!(owed(&mut bench), NOTHING);
    // Written while something waits: what waits is told by its newest value only.
    let mut bench = observed(JSON);
    for value in 1..4 {
        measure(&mut bench, value);
    }
    let (first, _) = notifications(&mut bench).remove(0);
    assert_eq!(code(&bench.ask(&Ask::put("/1/0/6").body(TEXT, "0"))), "2.04");
    acknowledge(&mut bench, &first);
    bench.pass_secs(10);
    let told: Vec<_> = notifications(&mut bench)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!((told, owed(&mut bench)), (vec![3], vec![]));
}

#[test]
fn before_a_stop_everything_that_is_not_acknowledged_is_owed() {
    let mut bench = observed(JSON);
    measure(&mut bench, 1);
    measure(&mut bench, 2);
    bench.client.owe_notifications();
    bench.collect();
    assert_eq!(owed(&mut bench), [1, 2]);
    let mut bench = observed(JSON);
    measure(&mut bench, 1);
    measure(&mut bench, 2);
    bench.client.deregister(bench.now);
    bench.collect();
    assert_eq!(owed(&mut bench), [1, 2]);
}

#[test]
fn late_notifications_carry_their_times_and_the_newest_value_comes_last() {
    let mut bench = observed(JSON);
    measure(&mut bench, 9);
    assert_eq!(deliver(&mut bench), 9);
    for value in 1..4 {
        assert_eq!(late(&mut bench, value.into(), &[value]), Ok(()));
        assert_eq!(late(&mut bench, 99, &[value]), Err(NotifyRefused::Busy));
        assert_eq!(deliver(&mut bench), value);
        assert_eq!(outcomes(&mut bench), [(value.into(), SendOutcome::Delivered)]);
    }
    assert_eq!(bench.sent, []);
    assert_eq!(bench.pass_until_sent(), limits::NEWEST_AFTER_LATE);
    assert_eq!(deliver(&mut bench), 9);
    bench.pass_secs(20);
    assert_eq!((bench.sent.len(), owed(&mut bench)), (0, vec![]));
}

#[test]
fn where_the_last_late_notification_is_the_newest_value_it_is_not_repeated() {
    let mut bench = observed(JSON);
    measure(&mut bench, 1);
    measure(&mut bench, 2);
    bench.client.owe_notifications();
    let (first, _) = notifications(&mut bench).remove(0);
    acknowledge(&mut bench, &first);
    for value in 1..3 {
        assert_eq!(late(&mut bench, value.into(), &[value]), Ok(()));
        assert_eq!(deliver(&mut bench), value);
    }
    bench.pass_secs(20);
    assert_eq!(bench.sent, []);
}

#[test]
fn what_fires_behind_a_late_notification_is_told_after_it() {
    let mut bench = observed(JSON);
    late(&mut bench, 1, &[1]).unwrap();
    measure(&mut bench, 8);
    assert_eq!(deliver(&mut bench), 1);
    assert_eq!(deliver(&mut bench), 8);
    bench.pass_secs(20);
    assert_eq!(bench.sent, []);
}

#[test]
fn several_values_go_in_one_late_notification() {
    let mut bench = observed(JSON);
    late(&mut bench, 1, &[1, 2, 3]).unwrap();
    let packet = bench.take_sent();
    let text = payload(&packet);
    assert_eq!(text.matches("\"v\"").count(), 3, "{text}");
    assert_eq!(packet.header.get_type(), MessageType::Confirmable);
}

#[test]
fn values_of_several_resources_go_late_where_their_instance_is_observed() {
    let mut bench = Bench::default();
    bench.client.set_owes_notifications(true);
    bench.ask(&Ask::get("/3311/0").accept(JSON).observe(0).token(&[1]));
    bench.events.clear();
    bench.change("/3311/0/5851", Value::Integer(7));
    bench.client.owe_notifications();
    bench.collect();
    let Some(Event::NotificationOwed { records }) = bench.events.pop() else {
        panic!("{:?}", bench.events)
    };
    let mut paths = records.iter().map(|record| record.entry.path.to_string());
    assert!(records.len() > 1 && paths.all(|path| path.starts_with("/3311/0/")));
    let first = bench.take_sent();
    acknowledge(&mut bench, &first);
    assert_eq!(bench.client.notify_late(SendId(1), records, bench.now), Ok(()));
    bench.collect();
    assert_eq!(bench.take_sent().get_token(), [1]);
}

#[test]
fn a_late_notification_that_is_lost_is_told_so() {
    let mut bench = observed(JSON);
    late(&mut bench, 1, &[1]).unwrap();
    bench.pass_secs(93);
    assert_eq!(outcomes(&mut bench), [(1, SendOutcome::TimedOut)]);
    let mut bench = observed(JSON);
    late(&mut bench, 2, &[1]).unwrap();
    let packet = bench.take_sent();
    bench.reply_empty(&packet, MessageType::Reset);
    assert_eq!(outcomes(&mut bench), [(2, SendOutcome::Lost)]);
    let mut bench = observed(JSON);
    late(&mut bench, 3, &[1]).unwrap();
    bench.client.deregister(bench.now);
    bench.pass_secs(0);
    assert_eq!(outcomes(&mut bench), [(3, SendOutcome::Lost)]);
}

#[test]
fn a_late_notification_is_refused_where_it_cannot_be() {
    let mut bench = observed(TEXT);
    assert_eq!(late(&mut bench, 1, &[1]), Err(NotifyRefused::NoTime));
    let mut elsewhere = record(1);
    elsewhere.entry.path = Path::resource(3303, 1, 5700);
    let refused = bench.client.notify_late(SendId(1), vec![elsewhere], bench.now);
    assert_eq!(refused, Err(NotifyRefused::NotObserved));
    assert_eq!(
        late(&mut Bench::started(Bench::config()), 1, &[1]),
        Err(NotifyRefused::NotRegistered)
    );
    let mut bench = observed(JSON);
    for count in [0, limits::RECORDS + 1, 100] {
        let refused = bench
            .client
            .notify_late(SendId(1), vec![record(1); count], bench.now);
        assert!(
            matches!(refused, Err(NotifyRefused::Invalid(_))),
            "{count}: {refused:?}"
        );
    }
}

#[test]
fn without_times_the_newest_value_at_least_is_told_when_the_server_is_back() {
    let mut bench = observed(TEXT);
    measure(&mut bench, 1);
    measure(&mut bench, 2);
    bench.pass_secs(94);
    assert_eq!(owed(&mut bench), [1, 2]);
    let update = bench.sent.pop().unwrap();
    assert_eq!(texts(&update, CoapOption::UriPath), ["rd", "5a3f"]);
    bench.sent.clear();
    bench.answer(&update, "2.04", &[]);
    bench.pass_until_sent();
    assert_eq!(deliver(&mut bench), 2);
}

#[test]
fn what_changes_before_a_restart_is_confirmed_is_told_after_it() {
    let config = ClientConfig {
        reserves_message_ids: true,
        ..Bench::config()
    };
    let mut bench = Bench::started(config.clone());
    bench.save();
    let register = bench.take_sent();
    bench.answer(&register, "2.01", &["rd", "5a3f"]);
    observe(&mut bench, JSON);
    let saved = bench.save();
    let mut bench = bench.restarted(config, &saved);
    bench.client.set_owes_notifications(true);
    bench.client.start(&bench.device, bench.now);
    measure(&mut bench, 1);
    bench.save();
    let update = bench.take_sent();
    assert_eq!(owed(&mut bench), NOTHING, "it waits for the answer");
    measure(&mut bench, 2);
    bench.answer(&update, "2.04", &[]);
    assert_eq!(deliver(&mut bench), 1);
    assert_eq!(deliver(&mut bench), 2);
}
