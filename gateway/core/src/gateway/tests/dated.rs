//! Values that the device has dated, and those that nobody knows the age of.

use lwm2m_client::Timestamp;
use lwm2m_client::format::RecordTime;
use lwm2m_client::object::Model;

use crate::field::{Freshness, Reachability};
use crate::limits;
use crate::testing::{Got, Node, TestCabinet, Way, broker, lamp, message, one_server, presence};
use crate::{Config, Event, Frame, Quality, Uplink};

const LAMP: u32 = 1;
const START: u32 = 1_760_000_000;

fn config() -> Config {
    one_server(Model::Y2026, vec![lamp("lamp-1", Node::new(Way::Broker))])
}

fn registered() -> TestCabinet {
    let mut cabinet = TestCabinet::keeping(config());
    cabinet.run_ms(2_000);
    cabinet
}

/// Returns a cabinet whose lamp has said everything once.
fn running() -> TestCabinet {
    let mut cabinet = registered();
    say(
        &mut cabinet,
        message(&[(0, 1, None), (1, 20, None), (2, 0, None)]),
    );
    cabinet.run_ms(20_000);
    cabinet.sent();
    cabinet
}

fn say(cabinet: &mut TestCabinet, frame: Frame) {
    let now = cabinet.now;
    cabinet.hear(Uplink::new(broker("lamp-1"), frame, now));
}

fn retained(cabinet: &mut TestCabinet, frame: Frame) {
    let uplink = Uplink::new(broker("lamp-1"), frame, cabinet.now);
    cabinet.hear(Uplink {
        freshness: Freshness::Retained,
        ..uplink
    });
}

fn ok(text: &str) -> (String, String) {
    ("2.05".to_owned(), text.to_owned())
}

/// Takes the records that the server got, with their times in seconds.
fn dated(cabinet: &mut TestCabinet) -> Vec<(String, i64)> {
    let sent: Vec<_> = cabinet
        .server
        .got
        .iter()
        .filter_map(|(_, got)| match got {
            Got::Send(records) => Some(records.clone()),
            Got::Register { .. } | Got::Update { .. } | Got::Deregister | Got::Answer(_) => None,
        })
        .collect();
    cabinet.server.got.clear();
    let record = |record: lwm2m_client::format::Record| {
        let Some(RecordTime::Absolute(time)) = record.time else {
            panic!("{record:?} has no time")
        };
        (
            format!("{} {}", record.entry.path, record.entry.value),
            time.unix_secs(),
        )
    };
    sent.into_iter().flatten().map(record).collect()
}

#[test]
fn the_devices_own_time_is_that_of_the_reading() {
    let mut cabinet = running();
    say(&mut cabinet, message(&[(0, 7, Some(START + 10))]));
    assert_eq!(
        dated(&mut cabinet),
        [("/3416/0/3 7".to_owned(), i64::from(START) + 10)]
    );
    say(&mut cabinet, message(&[(1, 90, Some(START + 12))]));
    let values = cabinet.gateway.values("lamp-1", cabinet.now).unwrap();
    assert_eq!(
        values[1].time,
        Some(Timestamp::from_unix_ms((i64::from(START) + 12) * 1_000))
    );
}

#[test]
fn several_values_of_one_point_are_owed_one_by_one_and_the_newest_stays() {
    let mut cabinet = running();
    let said = [(1, 21, START + 4), (1, 22, START + 5), (1, 21, START + 6)];
    say(
        &mut cabinet,
        message(&said.map(|(point, value, at)| (point, value, Some(at)))),
    );
    cabinet.run_ms(1_000);
    let expected: Vec<(String, i64)> = said
        .iter()
        .map(|(_, value, at)| (format!("/3303/0/5700 {value}"), i64::from(*at)))
        .collect();
    assert_eq!(
        dated(&mut cabinet),
        expected,
        "although they are within the deadband"
    );
    assert_eq!(cabinet.read(LAMP, "/3303/0/5700"), ok("21"));
}

#[test]
fn an_older_value_is_owed_and_does_not_take_the_place_of_a_newer_one() {
    let mut cabinet = running();
    say(&mut cabinet, message(&[(0, 50, Some(START + 21))]));
    assert_eq!(cabinet.read(LAMP, "/3416/0/3"), ok("50"));
    say(&mut cabinet, message(&[(0, 40, Some(START + 20))]));
    assert_eq!(cabinet.read(LAMP, "/3416/0/3"), ok("50"));
    cabinet.run_ms(1_000);
    let got: Vec<String> = dated(&mut cabinet).into_iter().map(|(text, _)| text).collect();
    assert_eq!(got, ["/3416/0/3 50", "/3416/0/3 40"]);
}

#[test]
fn how_far_an_instance_can_be_trusted_is_said_once_for_one_moment() {
    let mut cabinet = running();
    for level in [40, 60] {
        let uplink = Uplink::new(broker("lamp-1"), message(&[(0, level, None)]), cabinet.now);
        cabinet.hear(Uplink {
            quality: Quality::Stale,
            ..uplink
        });
    }
    cabinet.run_ms(1_000);
    let mut got: Vec<String> = dated(&mut cabinet).into_iter().map(|(text, _)| text).collect();
    got.sort();
    let expected = [
        "/3416/0/3 40",
        "/3416/0/3 60",
        "/3416/0/6042 2",
        "/3416/0/6049 30",
    ];
    assert_eq!(got, expected);
}

#[test]
fn what_stands_in_two_logs_is_owed_once() {
    let mut cabinet = running();
    let minute = |n: u32| START - 100_000 + 60 * n;
    let log = |first: u32| {
        let values = (first..first + 4).map(|n| (0, (n % 100) as u8, Some(minute(n))));
        message(&values.collect::<Vec<_>>())
    };
    say(&mut cabinet, log(1));
    cabinet.run_ms(1_000);
    assert_eq!(dated(&mut cabinet).len(), 4);
    say(&mut cabinet, log(3));
    cabinet.run_ms(1_000);
    let new: Vec<i64> = dated(&mut cabinet).into_iter().map(|(_, time)| time).collect();
    assert_eq!(new, [5, 6].map(|n| i64::from(minute(n))));
    // More than is remembered.
    for place in 0..=limits::MAX_DATED_VALUES as u32 / 4 {
        say(&mut cabinet, log(100 + 4 * place));
        cabinet.run_ms(1_000);
    }
    dated(&mut cabinet);
    say(&mut cabinet, log(100));
    cabinet.run_ms(1_000);
    assert_eq!(dated(&mut cabinet).len(), 4, "forgotten, and told again");
}

#[test]
fn a_clock_that_cannot_be_right_tells_nothing_and_lowers_the_quality() {
    for wrong in [1_000_000_000, START + 22 + 3_601] {
        let mut cabinet = running();
        say(&mut cabinet, message(&[(0, 50, Some(wrong))]));
        let now = cabinet.now.wall.unwrap().unix_secs();
        let quality = ["/3416/0/6042 3", "/3416/0/6049 60"].map(|text| (text.to_owned(), now));
        let mut expected = vec![("/3416/0/3 50".to_owned(), now)];
        expected.extend(quality);
        assert_eq!(dated(&mut cabinet), expected);
    }
    let mut cabinet = running();
    say(&mut cabinet, message(&[(0, 50, Some(START + 22 + 3_600))]));
    assert_eq!(
        dated(&mut cabinet),
        [("/3416/0/3 50".to_owned(), i64::from(START) + 22 + 3_600)]
    );
}

#[test]
fn a_frame_says_how_far_its_values_can_be_trusted_at_best() {
    let mut cabinet = running();
    let uplink = Uplink::new(broker("lamp-1"), message(&[(0, 50, None)]), cabinet.now);
    cabinet.hear(Uplink {
        quality: Quality::Stale,
        ..uplink
    });
    assert_eq!(cabinet.read(LAMP, "/3416/0/6042"), ok("2"));
    assert_eq!(
        cabinet.sent(),
        [["/3416/0/3 50", "/3416/0/6042 2", "/3416/0/6049 30"]]
    );
}

#[test]
fn what_was_kept_for_whoever_asks_fills_what_has_no_value_and_is_owed_to_nobody() {
    let mut cabinet = registered();
    cabinet.object_lists(LAMP);
    retained(&mut cabinet, message(&[(0, 33, None)]));
    cabinet.run_ms(2_000);
    assert!(cabinet.object_lists(LAMP).concat().contains("</3416/0>"));
    assert_eq!(cabinet.read(LAMP, "/3416/0/3"), ok("33"));
    assert_eq!(cabinet.read(LAMP, "/3416/0/6042"), ok("2"));
    retained(&mut cabinet, message(&[(0, 34, None)]));
    assert_eq!(
        cabinet.read(LAMP, "/3416/0/3"),
        ok("34"),
        "the broker knows better by now"
    );
    cabinet.is_connected = false;
    cabinet.run_ms(60_000);
    assert_eq!(cabinet.buffer.written(), 0);
    let status = &cabinet.gateway.devices(cabinet.now)[1];
    assert_eq!((status.frames, status.frames_retained), (2, 2));
    assert_eq!(
        (status.reachable, status.last_frame_age_ms),
        (None, None),
        "nobody has heard the lamp itself"
    );
    cabinet.is_connected = true;
    cabinet.run_ms(200_000);
    assert_eq!(cabinet.sent(), [[""; 0]; 0]);
}

#[test]
fn what_was_measured_is_not_replaced_by_what_was_kept() {
    let mut cabinet = running();
    retained(&mut cabinet, message(&[(0, 33, None)]));
    assert_eq!(cabinet.read(LAMP, "/3416/0/3"), ok("1"));
    assert_eq!(cabinet.sent(), [[""; 0]; 0]);
}

#[test]
fn the_first_value_after_one_that_was_kept_is_a_reading() {
    let mut cabinet = registered();
    retained(&mut cabinet, message(&[(0, 33, None)]));
    cabinet.run_ms(2_000);
    say(&mut cabinet, message(&[(0, 33, None)]));
    assert_eq!(
        cabinet.sent(),
        [["/3416/0/3 33", "/3416/0/6042 4", "/3416/0/6049 100"]]
    );
}

#[test]
fn a_broker_says_that_a_device_is_gone_and_that_it_is_there() {
    let mut cabinet = running();
    let told = |cabinet: &mut TestCabinet| -> Vec<bool> {
        let events = std::mem::take(&mut cabinet.events);
        let reachable = |event: &Event| matches!(event, Event::DeviceReachable { .. });
        let unreachable = |event: &Event| {
            matches!(event, Event::DeviceUnreachable { reason, .. }
                if reason == "its broker says that it is offline")
        };
        let told = events
            .iter()
            .filter(|event| reachable(event) || unreachable(event));
        told.map(reachable).collect()
    };
    told(&mut cabinet);
    say(&mut cabinet, presence(false));
    assert_eq!(cabinet.read(LAMP, "/3416/0/6042"), ok("2"));
    retained(&mut cabinet, message(&[(1, 9, None)]));
    assert_eq!(cabinet.gateway.devices(cabinet.now)[1].reachable, Some(false));
    say(&mut cabinet, message(&[(0, 1, None)]));
    assert_eq!(told(&mut cabinet), [false, true]);
    retained(&mut cabinet, presence(false));
    retained(&mut cabinet, presence(true));
    assert_eq!(
        told(&mut cabinet),
        [false, true],
        "what a broker keeps of it is what it knows"
    );
    cabinet
        .gateway
        .handle_reachability(&broker("lamp-1"), Reachability::Reachable, cabinet.now);
    assert_eq!(told(&mut cabinet), [true; 0]);
}
