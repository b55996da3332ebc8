//! A server goes away and comes back; so does the gateway.

mod crashes;
mod disk;
mod returns;

use std::collections::BTreeMap;

use coap_lite::ResponseType;
use lwm2m_client::format::RecordTime;
use lwm2m_client::object::Model;
use lwm2m_client::{Timestamp, Value};

use super::{CABINET, METER, RELAY, meter_and_relay};
use crate::buffer::{DiskError, GapReason, Moment};
use crate::limits;
use crate::profile::PointClass;
use crate::testing::{Got, Meter, TestBuffer, TestCabinet, coils, device, one_server, words};
use crate::{AccountConfig, Config, DropReason, EndpointState, EndpointStatus, Event};

const ALL: [u16; 6] = [2301, 15, 340, 9, 123, 12_345];
const START_MS: i64 = 1_760_000_000_000;

/// A reading of the current, as the server got it: when it was measured, and its tenths.
type Current = (i64, i64);

fn keeping() -> TestCabinet {
    let mut cabinet = TestCabinet::keeping(meter_and_relay(Model::Y2026));
    settle_in(&mut cabinet);
    cabinet
}

/// Lets a cabinet register and say all once.
fn settle_in(cabinet: &mut TestCabinet) {
    cabinet.run_ms(2_000);
    cabinet.uplink(1, words(0, &ALL));
    cabinet.uplink(2, coils(0, &[false, false]));
    cabinet.run_ms(18_000);
    cabinet.server.got.clear();
}

fn disk(cabinet: &mut TestCabinet) -> &mut TestBuffer {
    &mut cabinet.buffer
}

fn status(cabinet: &TestCabinet, endpoint: u32) -> EndpointStatus {
    cabinet.gateway.endpoints().swap_remove(endpoint as usize)
}

/// Measures a current once a second; returns what was measured.
fn measure(cabinet: &mut TestCabinet, tenths: std::ops::Range<u16>) -> Vec<Current> {
    let mut measured = Vec::new();
    for value in tenths {
        cabinet.uplink(1, words(1, &[value]));
        measured.push((cabinet.now.wall.unwrap().unix_ms(), i64::from(value)));
        cabinet.run_ms(1_000);
    }
    measured
}

/// Returns the currents that the server got from an endpoint, in the order in which it did.
fn currents(cabinet: &TestCabinet, endpoint: u32) -> Vec<Current> {
    let mut currents = Vec::new();
    for (from, got) in &cabinet.server.got {
        let Got::Send(records) = got else { continue };
        for record in records.iter().filter(|_| from.0 == endpoint) {
            let (Value::Float(value), Some(RecordTime::Absolute(time))) = (&record.entry.value, record.time)
            else {
                continue;
            };
            if record.entry.path.to_string() == "/3421/0/6" {
                currents.push((time.unix_ms(), (value * 10.0).round() as i64));
            }
        }
    }
    currents
}

fn adds_up(status: &EndpointStatus, at_start: u64) -> bool {
    let totals = status.totals;
    totals.produced + at_start
        == totals.delivered_live
            + totals.delivered_late
            + totals.dropped
            + status.waiting as u64
            + status.buffered
}

fn count(cabinet: &TestCabinet, is: fn(&Event) -> bool) -> usize {
    cabinet.events.iter().filter(|event| is(event)).count()
}

fn away_for_long(cabinet: &mut TestCabinet) {
    cabinet.is_connected = false;
    cabinet.uplink(1, words(1, &[9_999]));
    cabinet.run_ms(200_000);
    assert_ne!(status(cabinet, METER).state, EndpointState::Registered);
}

#[test]
fn while_the_server_answers_nothing_is_written() {
    let mut cabinet = keeping();
    let measured = measure(&mut cabinet, 100..200);
    assert_eq!(currents(&cabinet, METER), measured);
    assert_eq!(disk(&mut cabinet).written(), 0);
    assert_eq!(disk(&mut cabinet).commits.len(), 0, "not even a word");
    let status = status(&cabinet, METER);
    assert_eq!((status.waiting, status.buffered, status.totals.stored), (0, 0, 0));
    assert!(adds_up(&status, 0));
}

#[test]
fn what_was_measured_in_an_outage_arrives_in_order_with_its_own_time() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..700);
    let away = status(&cabinet, METER);
    assert!(away.buffered >= 590 && away.waiting <= 30, "{away:?}");
    assert_eq!(away.oldest, Some(Timestamp::from_unix_ms(measured[0].0)));
    assert!(adds_up(&away, 0));
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    let got = currents(&cabinet, METER);
    let mut sorted = got.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, measured, "each once");
    let turns = got.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    assert!(turns <= 8, "only what was live came before the backlog: {turns}");
    let after = status(&cabinet, METER);
    assert_eq!((after.waiting, after.buffered, after.oldest), (0, 0, None));
    assert!(
        after.totals.delivered_late >= 590 && adds_up(&after, 0),
        "{after:?}"
    );
    let disk = disk(&mut cabinet);
    assert!(
        disk.stored.is_empty(),
        "the disk has been told: {:?}",
        disk.stored
    );
    assert_eq!(
        disk.written() as u64,
        after.totals.stored,
        "each reading is written once"
    );
    let commits = disk.commits.len();
    assert!(commits <= 650, "{commits} commits in 600 s");
}

#[test]
fn live_readings_go_on_while_the_backlog_drains() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    let mut measured = measure(&mut cabinet, 0..300);
    cabinet.is_connected = true;
    measured.extend(measure(&mut cabinet, 300..900));
    cabinet.run_ms(10_000);
    let mut got = currents(&cabinet, METER);
    assert_eq!(status(&cabinet, METER).buffered, 0);
    got.sort_unstable();
    assert_eq!(got, measured);
}

#[test]
fn an_alarm_is_written_at_once_while_the_server_is_away() {
    let mut cabinet = keeping();
    away_for_long(&mut cabinet);
    cabinet.run_ms(200_000);
    assert_ne!(status(&cabinet, RELAY).state, EndpointState::Registered);
    let before = disk(&mut cabinet).commits.len();
    cabinet.uplink(2, coils(1, &[true]));
    let disk = disk(&mut cabinet);
    assert_eq!(disk.commits.len(), before + 1);
    let classes: Vec<PointClass> = disk.commits[before]
        .batches
        .iter()
        .map(|b| b.stream.class)
        .collect();
    assert_eq!(classes, [PointClass::Alarm]);
}

#[test]
fn what_is_billed_waits_for_the_next_commit_only_and_the_rest_goes_with_it() {
    let mut cabinet = keeping();
    away_for_long(&mut cabinet);
    let (commits, before) = (disk(&mut cabinet).commits.len(), disk(&mut cabinet).written());
    cabinet.uplink(1, words(4, &[200]));
    cabinet.run_ms(900);
    cabinet.uplink(1, words(1, &[77]));
    assert_eq!(
        disk(&mut cabinet).written(),
        before,
        "what comes soon goes with it"
    );
    cabinet.run_ms(100);
    let written = disk(&mut cabinet).written();
    assert!(written > before + 1);
    cabinet.run_ms(10_000);
    assert_eq!(disk(&mut cabinet).written(), written);
    assert_eq!(disk(&mut cabinet).commits.len(), commits + 1);
}

#[test]
fn an_alarm_on_its_way_is_written_as_soon_as_the_server_proves_to_be_away() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    cabinet.uplink(2, coils(1, &[true]));
    cabinet.run_ms(2_900);
    assert_eq!(disk(&mut cabinet).written(), 0, "the answer may come yet");
    cabinet.run_ms(200);
    assert_eq!(
        disk(&mut cabinet).written(),
        1,
        "held no longer than an answer takes"
    );
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    let sent = cabinet.sent().concat();
    assert_eq!(
        sent.iter().filter(|text| text.starts_with("/3200/")).count(),
        1,
        "{sent:?}"
    );
}

fn two_servers() -> Config {
    let mut config = one_server(Model::Y2026, vec![device("meter-1", 1, Meter::new())]);
    config.accounts.push(AccountConfig {
        model: Model::Y2026,
        ..AccountConfig::new("test", "coap://192.0.2.2:5683")
    });
    config
}

#[test]
fn a_reading_is_written_once_and_only_for_the_server_that_is_away() {
    let (here, there) = (1, 3);
    let mut cabinet = TestCabinet::keeping(two_servers());
    settle_in(&mut cabinet);
    cabinet.away = [2, there].into();
    let measured = measure(&mut cabinet, 100..200);
    assert_eq!(currents(&cabinet, here), measured);
    assert_eq!(status(&cabinet, here).totals.stored, 0);
    let kept = disk(&mut cabinet);
    let accounts: Vec<_> = kept
        .commits
        .iter()
        .flat_map(|c| &c.batches)
        .map(|b| b.accounts.clone())
        .collect();
    assert!(
        !accounts.is_empty() && accounts.iter().all(|accounts| **accounts == ["test".into()]),
        "{accounts:?}"
    );
    cabinet.away.clear();
    cabinet.run_ms(400_000);
    let mut got = currents(&cabinet, there);
    got.sort_unstable();
    assert_eq!(got, measured);
    assert_eq!(currents(&cabinet, here), measured, "nothing is said twice");
    assert!(disk(&mut cabinet).stored.is_empty());
}

#[test]
fn what_both_servers_miss_is_written_once_for_both() {
    let mut cabinet = TestCabinet::keeping(two_servers());
    settle_in(&mut cabinet);
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 100..200);
    let written = disk(&mut cabinet).written() as u64;
    assert_eq!(written, status(&cabinet, 1).totals.stored);
    assert_eq!(written, status(&cabinet, 3).totals.stored);
    cabinet.is_connected = true;
    cabinet.away = [2, 3].into();
    cabinet.run_ms(400_000);
    assert_eq!(status(&cabinet, 1).buffered, 0);
    assert!(
        disk(&mut cabinet).stored.len() as u64 >= written,
        "the other is still owed"
    );
    cabinet.away.clear();
    cabinet.run_ms(400_000);
    assert!(disk(&mut cabinet).stored.is_empty());
    for endpoint in [1, 3] {
        let mut got = currents(&cabinet, endpoint);
        got.sort_unstable();
        assert_eq!(got, measured);
    }
}

#[test]
fn many_endpoints_load_a_few_at_a_time() {
    let meter = |unit: u8| device(&format!("meter-{unit}"), unit, Meter::new());
    let units = 1..=100u8;
    let mut cabinet = TestCabinet::keeping(one_server(Model::Y2026, units.clone().map(meter).collect()));
    cabinet.run_ms(10_000);
    for unit in units.clone() {
        cabinet.uplink(unit, words(0, &ALL));
    }
    cabinet.run_ms(10_000);
    cabinet.is_connected = false;
    for step in 0..30 {
        for unit in units.clone() {
            cabinet.uplink(unit, words(1, &[step]));
        }
        cabinet.run_ms(5_000);
    }
    disk(&mut cabinet).is_slow = true;
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    for _ in 0..60 {
        cabinet.catch_up();
        disk(&mut cabinet).is_slow = true;
        cabinet.run_ms(500);
    }
    assert_eq!(disk(&mut cabinet).most_loads, limits::MAX_LOADS);
    let left: u64 = cabinet
        .gateway
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.buffered)
        .sum();
    assert_eq!(left, 0);
}

#[test]
fn a_stored_reading_that_the_server_refuses_for_good_is_set_aside() {
    let mut cabinet = keeping();
    away_for_long(&mut cabinet);
    cabinet.is_connected = true;
    cabinet.server.send_answers.extend([ResponseType::BadRequest; 2]);
    cabinet.run_ms(400_000);
    let status = status(&cabinet, METER);
    assert!(adds_up(&status, 0), "{status:?}");
    assert_eq!((status.buffered, status.waiting), (0, 0));
    assert!(
        disk(&mut cabinet).stored.is_empty(),
        "it is not tried again after a restart"
    );
}

#[test]
fn readings_without_a_clock_are_stored_with_the_time_since_the_start() {
    let mut cabinet = TestCabinet::keeping(meter_and_relay(Model::Y2026));
    cabinet.now.wall = None;
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = false;
    cabinet.run_ms(1_000);
    cabinet.uplink(1, words(0, &ALL));
    cabinet.run_ms(10_000);
    let stored = &disk(&mut cabinet).stored;
    assert!(!stored.is_empty());
    let boot = |moment| matches!(moment, Moment::Boot { boot: 2, ms: 1_000 });
    assert!(
        stored.values().all(|stored| boot(stored.record.moment)),
        "{stored:?}"
    );
    let anchors = disk(&mut cabinet)
        .commits
        .iter()
        .filter(|commit| commit.anchor.is_some())
        .count();
    assert_eq!(anchors, 0);
    // The clock is set: 11 s have passed since the start.
    cabinet.now.wall = Some(Timestamp::from_unix_ms(START_MS));
    cabinet.run_ms(60_000);
    let anchors: Vec<_> = disk(&mut cabinet)
        .commits
        .iter()
        .filter_map(|commit| commit.anchor)
        .collect();
    assert_eq!(anchors.len(), 1, "once: {anchors:?}");
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = true;
    cabinet.run_ms(100_000);
    let got = currents(&cabinet, METER);
    assert_eq!(got, [(START_MS - 10_000, 15)]);
}

#[test]
fn a_time_that_was_estimated_is_told_as_such() {
    let mut cabinet = TestCabinet::keeping(meter_and_relay(Model::Y2026));
    cabinet.now.wall = None;
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = false;
    cabinet.uplink(1, words(0, &ALL));
    cabinet.run_ms(10_000);
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.now.wall = Some(Timestamp::from_unix_ms(START_MS));
    cabinet.is_connected = true;
    cabinet.uplink(1, words(0, &ALL));
    cabinet.run_ms(100_000);
    let sends = cabinet.server.got.iter().filter_map(|(_, got)| match got {
        Got::Send(records) => Some(records),
        Got::Register { .. } | Got::Update { .. } | Got::Deregister | Got::Answer(_) => None,
    });
    let records: Vec<_> = sends.flatten().collect();
    let current = |record: &&&lwm2m_client::format::Record| record.entry.path.to_string() == "/3421/0/6";
    let is_old = |record: &&&lwm2m_client::format::Record| matches!(record.time, Some(RecordTime::Absolute(time)) if time.unix_ms() < START_MS);
    let estimated = records.iter().filter(is_old).find(current).unwrap().time;
    let quality = |path: &str, value: i64| {
        records.iter().any(|record| {
            record.entry.path.to_string() == path
                && record.entry.value == Value::Integer(value)
                && record.time == estimated
        })
    };
    assert!(
        quality("/3421/0/6042", 2) && quality("/3421/0/6049", 30),
        "{records:?}"
    );
}

#[test]
fn dropping_what_is_old_takes_it_from_memory_and_disk() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 0..100);
    let before = Timestamp::from_unix_ms(measured[97].0);
    cabinet.gateway.drop_older(before, Some("city"), cabinet.now);
    cabinet.run_ms(1);
    let left = status(&cabinet, METER);
    assert!(adds_up(&left, 0), "{left:?}");
    let gaps = |event: &Event| matches!(event, Event::Gap { endpoint: Some(_), gap } if gap.reason == GapReason::Dropped);
    assert_eq!(count(&cabinet, gaps), 1);
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    let mut got = currents(&cabinet, METER);
    got.sort_unstable();
    // What was on its way when it was dropped may still arrive.
    assert!(got.ends_with(&measured[97..]) && got.len() < 20, "{got:?}");
}

#[test]
fn the_cabinet_owes_nothing() {
    let cabinet = keeping();
    assert_eq!(status(&cabinet, CABINET).totals.produced, 0);
    assert_eq!(status(&cabinet, RELAY).queued, 0);
}

#[test]
fn stored_readings_wait_for_their_instance_to_be_listed_but_not_for_ever() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    let measured = measure(&mut cabinet, 0..20);
    // Without its values the device shows no instance to which they belong.
    cabinet.store.saved.values.clear();
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.is_connected = true;
    cabinet.run_ms(300_000);
    assert_eq!(currents(&cabinet, METER), []);
    cabinet.run_ms(600_000);
    assert!(currents(&cabinet, METER).starts_with(&measured[..10]));
}
