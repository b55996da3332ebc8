use coap_lite::ResponseType;
use lwm2m_client::format::RecordTime;
use lwm2m_client::object::Model;
use lwm2m_client::{Timestamp, Value};

use super::{METER, RELAY, meter_and_relay};
use crate::field::{PointId, Reachability};
use crate::testing::Meter;
use crate::testing::{ABSENT, Got, IMPOSSIBLE, TestCabinet, coils, device, one_server, words};
use crate::{Config, DropReason, Event, Quality};

const ALL: [u16; 6] = [2301, 15, 340, 9, 123, 12_345];

fn running(config: Config) -> TestCabinet {
    let mut cabinet = TestCabinet::new(config);
    cabinet.uplink(1, words(0, &ALL));
    cabinet.run_ms(1_000);
    cabinet
}

fn meter() -> TestCabinet {
    running(meter_and_relay(Model::Y2026))
}

fn ok(text: &str) -> (String, String) {
    ("2.05".to_owned(), text.to_owned())
}

#[test]
fn a_reading_carries_when_it_was_measured_and_how_good_it_is() {
    let mut cabinet = meter();
    cabinet.run_ms(250);
    cabinet.uplink(1, words(0, &[2400]));
    assert_eq!(cabinet.read(METER, "/3421/0/1"), ok("240"));
    assert_eq!(cabinet.read(METER, "/3421/0/5518"), ok("1760000001"));
    assert_eq!(cabinet.read(METER, "/3421/0/6050"), ok("0.25"));
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("4"));
    assert_eq!(cabinet.read(METER, "/3421/0/6049"), ok("100"));
    assert_eq!(
        cabinet.read(METER, "/3418/0/6042"),
        ok("3"),
        "one of its values is derived"
    );
    assert_eq!(cabinet.read(METER, "/3418/0/4"), ok("34"));
}

#[test]
fn a_value_that_the_device_does_not_have_changes_nothing() {
    let mut cabinet = meter();
    cabinet.uplink(1, words(0, &[ABSENT]));
    assert_eq!(cabinet.read(METER, "/3421/0/1"), ok("230.1"));
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("4"));
}

#[test]
fn a_fault_keeps_the_last_good_value_and_lowers_the_quality() {
    let mut cabinet = meter();
    cabinet.sent();
    cabinet.uplink(1, words(0, &[IMPOSSIBLE]));
    cabinet.uplink(1, words(0, &[IMPOSSIBLE]));
    assert_eq!(cabinet.read(METER, "/3421/0/1"), ok("230.1"));
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("1"));
    assert_eq!(
        cabinet.sent(),
        [["/3421/0/6042 1", "/3421/0/6049 0"]],
        "the server is told once"
    );
    let faults = cabinet
        .events
        .iter()
        .filter(|event| matches!(event, Event::PointFault { .. }))
        .count();
    assert_eq!(faults, 1, "the log is told once");
    cabinet.uplink(1, words(0, &[2302]));
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("4"));
    assert_eq!(cabinet.sent(), [["/3421/0/6042 4", "/3421/0/6049 100"]]);
}

#[test]
fn a_value_older_than_twice_its_interval_is_stale_until_it_is_measured_again() {
    let mut cabinet = meter();
    cabinet.run_ms(18_900);
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("4"));
    cabinet.run_ms(200);
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("2"));
    assert_eq!(cabinet.read(METER, "/3421/0/6049"), ok("30"));
    assert_eq!(cabinet.read(METER, "/3421/0/1"), ok("230.1"));
    assert_eq!(
        cabinet.read(METER, "/3418/0/6042"),
        ok("2"),
        "what is derived from it is as stale"
    );
    cabinet.uplink(1, words(0, &ALL));
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("4"));
}

#[test]
fn a_device_that_does_not_answer_is_stale_at_once_and_told() {
    let mut cabinet = meter();
    let silent = Reachability::Unreachable("no answer to 3 requests".to_owned());
    cabinet.reachability(1, Reachability::Unreachable("no answer to 1 request".to_owned()));
    cabinet.reachability(1, silent);
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("2"));
    let status = &cabinet.gateway.devices(cabinet.now)[1];
    assert_eq!(status.reachable, Some(false));
    assert_eq!(
        status.unreachable_because.as_deref(),
        Some("no answer to 3 requests")
    );
    cabinet.uplink(1, words(0, &ALL));
    assert_eq!(cabinet.gateway.devices(cabinet.now)[1].reachable, Some(true));
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("4"));
    let told = |wanted: fn(&Event) -> bool| cabinet.events.iter().filter(|event| wanted(event)).count();
    assert_eq!(told(|event| matches!(event, Event::DeviceUnreachable { .. })), 1);
    assert_eq!(
        told(|event| matches!(event, Event::DeviceReachable { .. })),
        2,
        "at first and at last"
    );
}

#[test]
fn frames_of_strangers_and_of_another_kind_are_told_and_change_nothing() {
    let mut cabinet = meter();
    cabinet.uplink(77, words(0, &ALL));
    cabinet.uplink(1, coils(0, &[true]));
    assert!(
        cabinet
            .events
            .iter()
            .any(|event| matches!(event, Event::FrameOfStranger { .. }))
    );
    assert!(
        cabinet
            .events
            .iter()
            .any(|event| matches!(event, Event::FrameRefused { .. }))
    );
    let status = &cabinet.gateway.devices(cabinet.now)[1];
    assert_eq!((status.frames, status.frames_refused), (2, 1));
    assert_eq!(cabinet.read(METER, "/3421/0/1"), ok("230.1"));
}

#[test]
fn the_readings_of_one_frame_go_in_one_send_with_their_time() {
    let mut cabinet = meter();
    cabinet.sent();
    cabinet.run_ms(5_000);
    cabinet.uplink(1, words(0, &[2400, 20, 400]));
    let Some((_, Got::Send(records))) = cabinet.server.got.last().cloned() else {
        panic!("no Send came")
    };
    let at = RecordTime::Absolute(Timestamp::from_unix_ms(1_760_000_006_000));
    assert!(
        records.iter().all(|record| record.time == Some(at)),
        "{records:?}"
    );
    assert_eq!(
        cabinet.sent(),
        [[
            "/3421/0/1 240",
            "/3421/0/6 2",
            "/3421/0/16 40",
            "/3418/0/4 40",
            "/3418/0/6042 3",
            "/3418/0/6049 60"
        ]]
    );
}

#[test]
fn what_is_within_the_deadband_is_not_owed_until_the_heartbeat() {
    let mut cabinet = meter();
    cabinet.sent();
    for _ in 0..5 {
        cabinet.run_ms(10_000);
        cabinet.uplink(1, words(0, &[2305]));
    }
    assert_eq!(
        cabinet.read(METER, "/3421/0/1"),
        ok("230.5"),
        "a Read is always answered with the newest"
    );
    let of_voltage = |sent: Vec<Vec<String>>| {
        sent.concat()
            .into_iter()
            .filter(|text| text.starts_with("/3421/0/1 "))
            .collect::<Vec<_>>()
    };
    assert_eq!(of_voltage(cabinet.sent()), [""; 0]);
    cabinet.run_ms(10_000);
    cabinet.uplink(1, words(0, &[2305]));
    assert_eq!(of_voltage(cabinet.sent()), ["/3421/0/1 230.5"]);
}

#[test]
fn what_was_measured_while_the_server_was_away_is_delivered_afterwards_in_order() {
    let mut cabinet = meter();
    cabinet.run_ms(1_000);
    cabinet.sent();
    cabinet.is_connected = false;
    for step in 1..=5u16 {
        cabinet.uplink(1, words(1, &[15 + step]));
        cabinet.run_ms(2_000);
    }
    assert!(cabinet.gateway.endpoints()[METER as usize].queued >= 5);
    cabinet.is_connected = true;
    cabinet.run_ms(120_000);
    let currents: Vec<String> = cabinet
        .sent()
        .concat()
        .into_iter()
        .filter(|text| text.starts_with("/3421/0/6 "))
        .collect();
    assert_eq!(
        currents,
        ["1.6", "1.7", "1.8", "1.9", "2"].map(|value| format!("/3421/0/6 {value}"))
    );
    assert_eq!(cabinet.gateway.endpoints()[METER as usize].queued, 0);
}

#[test]
fn a_full_queue_drops_the_oldest_readings_and_says_so() {
    let mut cabinet = meter();
    cabinet.is_connected = false;
    for step in 0..70_000u32 {
        cabinet.uplink(1, words(1, &[u16::from(step % 2 == 0)]));
    }
    let status = cabinet.gateway.endpoints().swap_remove(METER as usize);
    assert_eq!(status.queued, crate::limits::MAX_QUEUED_READINGS);
    assert!(status.dropped > 0);
    let dropped = cabinet.events.iter().filter_map(|event| {
        let Event::ReadingsDropped {
            count,
            reason: DropReason::QueueFull,
            ..
        } = event
        else {
            return None;
        };
        Some(*count as u64)
    });
    let told: u64 = dropped.sum();
    assert_eq!(told, status.dropped);
}

#[test]
fn a_server_that_refuses_a_send_gets_it_again() {
    let mut cabinet = meter();
    cabinet.sent();
    cabinet
        .server
        .send_answers
        .extend([ResponseType::InternalServerError, ResponseType::BadRequest]);
    cabinet.uplink(1, words(1, &[20]));
    cabinet.run_ms(60_000);
    let sent = cabinet.sent();
    let current = |records: &&Vec<String>| records.contains(&"/3421/0/6 2".to_owned());
    assert_eq!(sent.iter().filter(current).count(), 3, "{sent:?}");
    assert_eq!(cabinet.gateway.endpoints()[METER as usize].queued, 0);
}

#[test]
fn a_pause_that_ends_while_the_device_is_not_registered_wakes_nobody() {
    for is_connected in [true, false] {
        let mut cabinet = meter();
        cabinet
            .server
            .send_answers
            .push_back(ResponseType::ServiceUnavailable);
        cabinet.uplink(1, words(0, &[2400]));
        cabinet.is_connected = is_connected;
        cabinet.gateway.deregister(None, Some("meter-1"), cabinet.now);
        for _ in 0..20 {
            cabinet.run_ms(30_000);
            cabinet.gateway.handle_timeout(cabinet.now);
            let next = cabinet.gateway.poll_timeout();
            assert!(next.is_none_or(|next| next > cabinet.now.instant), "{next:?}");
        }
        cabinet.is_connected = true;
        cabinet.sent();
        cabinet.gateway.register(None, Some("meter-1"), cabinet.now);
        cabinet.run_ms(30_000);
        let sent = cabinet.sent().concat();
        assert!(sent.contains(&"/3421/0/1 240".to_owned()), "{sent:?}");
    }
}

#[test]
fn a_reading_that_the_server_refuses_for_good_is_set_aside_and_told() {
    let mut cabinet = meter();
    cabinet.sent();
    cabinet
        .server
        .send_answers
        .extend([ResponseType::BadRequest, ResponseType::BadRequest]);
    cabinet.uplink(1, words(1, &[20]));
    cabinet.run_ms(10_000);
    assert_eq!(
        cabinet.sent(),
        [["/3421/0/6 2"], ["/3421/0/6 2"]],
        "once more after the Update"
    );
    let set_aside = cabinet.events.iter().any(|event| {
        matches!(
            event,
            Event::ReadingsDropped {
                count: 1,
                reason: DropReason::Poison,
                ..
            }
        )
    });
    assert!(set_aside);
    cabinet.uplink(1, words(1, &[21]));
    assert_eq!(
        cabinet.sent(),
        [["/3421/0/6 2.1"]],
        "what comes after it goes as ever"
    );
}

#[test]
fn an_observed_resource_notifies_when_the_frame_comes_that_saw_the_change() {
    let mut cabinet = meter();
    let observe = cabinet.server.observe("/3421/0/6");
    cabinet.datagram(METER, &observe);
    assert_eq!(cabinet.answer().text, "1.5");
    cabinet.run_ms(3_000);
    cabinet.uplink(1, words(1, &[20]));
    cabinet.run_ms(100);
    let texts: Vec<String> = cabinet.answers().into_iter().map(|answer| answer.text).collect();
    assert_eq!(texts, ["2"]);
}

#[test]
fn an_observer_in_a_hurry_makes_the_device_be_polled_more_often_but_not_what_is_billed() {
    let mut cabinet = meter();
    assert_eq!(cabinet.interests, []);
    let attributes = cabinet
        .server
        .request(coap_lite::RequestType::Put, "/3421/0?pmin=2", "");
    cabinet.datagram(METER, &attributes);
    assert_eq!(cabinet.answer().code, "2.04");
    let observe = cabinet.server.observe("/3421/0/6");
    cabinet.datagram(METER, &observe);
    assert_eq!(cabinet.answer().code, "2.05");
    assert_eq!(cabinet.interests, [(1, 2_000)]);
    let observe_energy = cabinet.server.observe("/3421/0/25");
    cabinet.datagram(METER, &observe_energy);
    assert_eq!(cabinet.interests, [(1, 2_000)], "a counter keeps its pace");
}

#[test]
fn a_site_can_want_a_point_at_another_interval() {
    let mut config = one_server(Model::Y2026, vec![device("meter-1", 1, Meter::new())]);
    config.devices[0].intervals = [(PointId(0), 60_000)].into();
    let mut cabinet = running(config);
    assert_eq!(cabinet.interests, [(0, 60_000)]);
    cabinet.uplink(1, words(1, &ALL[1..]));
    cabinet.run_ms(15_000);
    let values = cabinet.gateway.values("meter-1", cabinet.now).unwrap();
    assert_eq!(
        values[0].quality,
        Some(Quality::Good),
        "it is not stale before its own time"
    );
}

#[test]
fn an_alarm_goes_before_everything_that_waits() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.uplink(2, coils(0, &[false, false]));
    cabinet.run_ms(1_000);
    cabinet.sent();
    cabinet.is_connected = false;
    cabinet.uplink(2, coils(0, &[true]));
    cabinet.uplink(2, coils(0, &[false]));
    cabinet.uplink(2, coils(1, &[true]));
    cabinet.is_connected = true;
    cabinet.run_ms(10_000);
    let sent = cabinet.sent().concat();
    assert_eq!(
        sent,
        ["/3311/0/5850 true", "/3200/0/5500 true", "/3311/0/5850 false"],
        "the first was under way"
    );
    assert_eq!(cabinet.gateway.endpoints()[RELAY as usize].queued, 0);
}

#[test]
fn people_see_points_by_name_with_unit_age_and_quality() {
    let mut cabinet = meter();
    cabinet.run_ms(500);
    let values = cabinet.gateway.values("meter-1", cabinet.now).unwrap();
    let voltage = &values[0];
    assert_eq!(
        (&*voltage.name, voltage.path.to_string().as_str()),
        ("voltage", "/3421/0/1")
    );
    assert_eq!(voltage.value, Some(Value::Float(230.1)));
    assert_eq!(
        (voltage.age_ms, voltage.quality),
        (Some(1_500), Some(Quality::Good))
    );
    assert!(values.iter().any(|value| &*value.name == "Manufacturer"));
    let power = values
        .iter()
        .find(|value| value.path.to_string() == "/3418/0/4")
        .unwrap();
    assert_eq!((&*power.unit, power.quality), ("W", Some(Quality::Derived)));
    let before = TestCabinet::new(meter_and_relay(Model::Y2026));
    let values = before.gateway.values("meter-1", before.now).unwrap();
    assert_eq!(
        (&*values[0].name, &values[0].value),
        ("voltage", &None),
        "a point is there before its value"
    );
    assert_eq!(
        cabinet.gateway.point("meter-1", "current"),
        Some((PointId(1), "/3421/0/6".parse().unwrap()))
    );
    assert!(cabinet.gateway.values("meter-9", cabinet.now).is_none());
}

#[test]
fn without_a_clock_readings_have_no_timestamp_and_go_with_their_age() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.now.wall = None;
    cabinet.uplink(1, words(0, &ALL));
    cabinet.run_ms(2_000);
    assert_eq!(cabinet.read(METER, "/3421/0/5518").0, "4.04");
    assert_eq!(cabinet.read(METER, "/3421/0/6042"), ok("4"));
    let sends = cabinet.server.got.iter().filter_map(|(_, got)| {
        let Got::Send(records) = got else { return None };
        Some(records)
    });
    let times: Vec<_> = sends.flatten().map(|record| record.time).collect();
    assert!(!times.is_empty());
    assert!(
        times
            .iter()
            .all(|time| matches!(time, Some(RecordTime::RelativeMs(_)) | None)),
        "{times:?}"
    );
}
