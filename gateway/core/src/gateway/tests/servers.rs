use lwm2m_client::Path;
use lwm2m_client::client::EnablerVersion;
use lwm2m_client::object::Model;

use super::{CABINET, METER, RELAY, meter_and_relay};
use crate::testing::{Got, Meter, TestCabinet, Wire, device, one_server, words};
use crate::{AccountConfig, EndpointState, Event, limits};

/// MAX_TRANSMIT_WAIT, RFC 7252 section 4.8.2, and what a turn takes.
const EXCHANGE_FAILS_MS: u64 = 95_000;

fn states(cabinet: &TestCabinet) -> Vec<EndpointState> {
    cabinet
        .gateway
        .endpoints()
        .into_iter()
        .map(|endpoint| endpoint.state)
        .collect()
}

#[test]
fn endpoints_register_one_after_the_other_at_the_pace_of_the_account() {
    let mut config = meter_and_relay(Model::Y2026);
    config.accounts[0].registrations_per_sec = 2;
    let mut cabinet = TestCabinet::new(config);
    let registered = |cabinet: &TestCabinet| {
        states(cabinet)
            .iter()
            .filter(|state| **state == EndpointState::Registered)
            .count()
    };
    cabinet.run_ms(0);
    assert_eq!(registered(&cabinet), 1);
    cabinet.run_ms(499);
    assert_eq!(registered(&cabinet), 1);
    cabinet.run_ms(1);
    assert_eq!(registered(&cabinet), 2);
    cabinet.run_ms(500);
    assert_eq!(states(&cabinet), [EndpointState::Registered; 3]);
    let queries = cabinet.server.got.iter().filter_map(|(_, got)| {
        let Got::Register { query, .. } = got else {
            return None;
        };
        query.split('&').find(|parameter| parameter.starts_with("ep="))
    });
    assert_eq!(
        queries.collect::<Vec<_>>(),
        ["ep=cab-17", "ep=cab-17-meter-1", "ep=cab-17-relay-1"]
    );
}

#[test]
fn readings_of_a_new_instance_wait_until_the_server_has_been_told_of_it() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.run_ms(1_000);
    cabinet.server.got.clear();
    cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(1_000);
    let place = |what: fn(&Got) -> bool| cabinet.server.got.iter().position(|(_, got)| what(got)).unwrap();
    let update = place(|got| matches!(got, Got::Update { .. }));
    let send = place(|got| matches!(got, Got::Send(_)));
    assert!(update < send, "{:?}", cabinet.server.got);
}

#[test]
fn every_device_and_the_cabinet_say_who_they_are() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.run_ms(1_000);
    for (endpoint, resource, text) in [
        (CABINET, "/3/0/0", "Example"),
        (CABINET, "/3/0/1", "G1"),
        (CABINET, "/3/0/3", "0.1.0"),
        (CABINET, "/3/0/16", "U"),
        (CABINET, "/3/0/17", "gateway"),
        (METER, "/3/0/1", "M6"),
        (METER, "/3/0/2", "4711"),
        (METER, "/3/0/11/0", "0"),
        (METER, "/3/0/13", "1760000001"),
        (METER, "/3/0/17", "meter"),
        (METER, "/3/0/22/0", "3410:0"),
        (METER, "/3410/0/2", "0A1B2C"),
        (METER, "/3410/0/3", "Feeder A"),
    ] {
        assert_eq!(
            cabinet.read(endpoint, resource),
            ("2.05".to_owned(), text.to_owned()),
            "{resource}"
        );
    }
    assert_eq!(
        cabinet.read(CABINET, "/3/0/2").0,
        "4.04",
        "the cabinet has no serial number"
    );
    assert_eq!(
        cabinet.read(RELAY, "/3410/0/2"),
        ("2.05".to_owned(), String::new()),
        "the maker of the relay has no number"
    );
}

#[test]
fn an_instance_is_listed_once_everything_mandatory_has_a_value() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.run_ms(1_000);
    let first = cabinet.object_lists(METER);
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(
        first[0].contains("</3/0>") && first[0].contains("</3410/0>"),
        "{first:?}"
    );
    assert!(!first[0].contains("</3421"), "{first:?}");

    cabinet.uplink(1, words(0, &[2301, 15, 340]));
    cabinet.run_ms(1_000);
    let second = cabinet.object_lists(METER);
    assert!(second.iter().all(|list| !list.contains("</3421")), "{second:?}");
    assert_eq!(cabinet.read(METER, "/3421/0/1").0, "4.04");

    cabinet.uplink(1, words(3, &[9, 123]));
    cabinet.run_ms(1_000);
    let third = cabinet.object_lists(METER);
    assert_eq!(third.len(), 1, "one Update for all: {third:?}");
    assert!(third[0].contains("</3421>;ver=2.0,</3421/0>"), "{third:?}");
    assert_eq!(
        cabinet.read(METER, "/3421/0/1"),
        ("2.05".to_owned(), "230.1".to_owned())
    );
}

#[test]
fn each_model_is_shown_its_own_versions_and_units() {
    for (model, energy) in [
        (Model::Y2020, "1.2345"),
        (Model::Y2023, "1234.5"),
        (Model::Y2026, "1234.5"),
    ] {
        let mut cabinet = TestCabinet::new(meter_and_relay(model));
        cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
        cabinet.run_ms(1_000);
        let list = cabinet.object_lists(METER).concat();
        assert!(list.contains("</3418/0>"), "{list}");
        assert_eq!(list.contains("</3418>;ver=2.0"), model == Model::Y2023, "{list}");
        assert_eq!(list.contains("</3418>;ver=2.1"), model == Model::Y2026, "{list}");
        assert_eq!(
            cabinet.read(METER, "/3418/0/6"),
            ("2.05".to_owned(), energy.to_owned())
        );
        let timestamp = cabinet.read(METER, "/3418/0/5518").0;
        assert_eq!(timestamp, if model == Model::Y2020 { "4.04" } else { "2.05" });
    }
}

#[test]
fn two_servers_see_one_device_each_in_its_model() {
    let mut config = one_server(Model::Y2020, vec![device("meter-1", 1, Meter::new())]);
    config
        .accounts
        .push(AccountConfig::new("utility", "coap://192.0.2.2"));
    let mut cabinet = TestCabinet::new(config);
    cabinet.uplink(1, words(5, &[12_345]));
    cabinet.run_ms(1_000);
    assert_eq!(cabinet.read(1, "/3418/0/6").1, "1.2345");
    assert_eq!(cabinet.read(3, "/3418/0/6").1, "1234.5");
}

#[test]
fn a_device_can_leave_and_come_back() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.run_ms(1_000);
    assert_eq!(cabinet.gateway.deregister(None, Some("meter-1"), cabinet.now), 1);
    cabinet.run_ms(100);
    assert_eq!(
        states(&cabinet),
        [
            EndpointState::Registered,
            EndpointState::Deregistered,
            EndpointState::Registered
        ]
    );
    assert!(
        cabinet
            .server
            .got
            .iter()
            .any(|(from, got)| from.0 == METER && *got == Got::Deregister)
    );
    assert_eq!(
        cabinet
            .gateway
            .register(Some("city"), Some("meter-1"), cabinet.now),
        1
    );
    cabinet.run_ms(100);
    assert_eq!(states(&cabinet), [EndpointState::Registered; 3]);
    assert_eq!(cabinet.gateway.update(None, None, cabinet.now), 3);
    assert_eq!(
        cabinet.gateway.deregister(Some("elsewhere"), None, cabinet.now),
        0
    );
}

#[test]
fn a_server_that_does_not_answer_is_told_of_in_events_and_status() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.is_connected = false;
    cabinet.run_ms(200_000);
    assert!(
        cabinet
            .events
            .iter()
            .any(|event| matches!(event, Event::RegistrationFailed { .. }))
    );
    let endpoint = cabinet.gateway.endpoints().swap_remove(1);
    assert!(endpoint.last_error.is_some());
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    assert_eq!(states(&cabinet), [EndpointState::Registered; 3]);
    assert_eq!(cabinet.gateway.endpoints()[1].last_error, None);
}

#[test]
fn foreign_datagrams_change_nothing_and_are_told() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.run_ms(1_000);
    for datagram in [&b""[..], b"\x40", b"GET / HTTP/1.1", &[0xff; 1500]] {
        cabinet.datagram(METER, datagram);
    }
    cabinet.datagram(99, b"\x40\x01\x00\x01");
    assert!(
        cabinet
            .events
            .iter()
            .any(|event| matches!(event, Event::ServerMessageRefused { .. }))
    );
    assert_eq!(cabinet.read(METER, "/3/0/1").1, "M6");
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let run = |seed| {
        let mut cabinet = TestCabinet::with_seed(meter_and_relay(Model::Y2023), seed);
        for round in 0..50u16 {
            cabinet.is_connected = round % 7 != 3;
            cabinet.uplink(
                1,
                words(0, &[2301 + round * 7, 15 + round, 340, 9, 123 + round, 12_345]),
            );
            cabinet.run_ms(10_000);
        }
        cabinet.transcript
    };
    let first = run(7);
    assert!(first == run(7), "two runs with one seed differ");
    assert!(first != run(8), "the seed decides tokens and message ids");
}

#[test]
fn a_server_of_lwm2m_1_0_gets_no_send_and_nothing_waits_for_it() {
    let mut config = meter_and_relay(Model::Y2020);
    config.accounts[0].version = EnablerVersion::V1_0;
    let mut cabinet = TestCabinet::new(config);
    cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123]));
    cabinet.run_ms(1_000);
    cabinet.uplink(1, words(0, &[2400]));
    assert_eq!(cabinet.sent(), [[""; 0]; 0]);
    assert_eq!(cabinet.gateway.endpoints()[METER as usize].queued, 0);
    assert_eq!(cabinet.read(METER, "/3421/0/1").1, "240");
}

#[test]
fn people_are_told_the_instances_that_are_complete() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2020));
    let instances = |cabinet: &TestCabinet| {
        cabinet.gateway.devices(cabinet.now)[METER as usize]
            .instances
            .clone()
    };
    assert_eq!(
        instances(&cabinet),
        [Path::instance(3, 0), Path::instance(3410, 0)]
    );
    cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123]));
    assert!(instances(&cabinet).contains(&Path::instance(3421, 0)));
}

/// Runs a cabinet over a bad line, and returns everything that came out and the currents that the server got.
fn over_a_bad_line(seed: u64) -> (Vec<String>, Vec<String>) {
    let mut cabinet = TestCabinet::with_seed(meter_and_relay(Model::Y2026), seed);
    cabinet.wire = Some(Wire::new(seed, 0.2, 0.1));
    for round in 0..30u16 {
        cabinet.uplink(1, words(0, &[2301, 100 + round, 340, 9, 123, 12_345]));
        cabinet.run_ms(10_000);
    }
    cabinet.run_ms(600_000);
    let mut currents: Vec<String> = Vec::new();
    for text in cabinet
        .sent()
        .concat()
        .into_iter()
        .filter(|text| text.starts_with("/3421/0/6 "))
    {
        // A Send whose acknowledgement was lost comes again: the same value at the same time, no harm.
        if !currents.contains(&text) {
            currents.push(text);
        }
    }
    (cabinet.transcript, currents)
}

#[test]
fn over_a_line_that_delays_loses_doubles_and_reorders_every_reading_arrives_in_order() {
    for seed in 1..6 {
        let (_, currents) = over_a_bad_line(seed);
        let expected: Vec<String> = (0..30)
            .map(|round| format!("/3421/0/6 {}", f64::from(100 + round) / 10.0))
            .collect();
        assert_eq!(currents, expected, "seed {seed}");
    }
}

#[test]
fn over_a_bad_line_the_same_seed_gives_the_same_outputs() {
    assert!(
        over_a_bad_line(3).0 == over_a_bad_line(3).0,
        "two runs with one seed differ"
    );
}

#[test]
fn when_a_server_is_back_all_its_endpoints_try_again_and_not_each_at_its_own_time() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.run_ms(2_000);
    cabinet.is_connected = false;
    cabinet.run_ms(40 * 60 * 1_000);
    assert!(!states(&cabinet).contains(&EndpointState::Registered));
    cabinet.is_connected = true;
    let mut waited_ms = 0;
    while !states(&cabinet).contains(&EndpointState::Registered) {
        cabinet.run_ms(100);
        waited_ms += 100;
        assert!(waited_ms < 24 * 3_600 * 1_000, "nobody tries again");
    }
    let in_turn = |cabinet: &TestCabinet| {
        let states = states(cabinet);
        let waits = |state: &&EndpointState| **state == EndpointState::Failed;
        states.iter().filter(waits).count()
    };
    cabinet.run_ms(1_000);
    assert_eq!(in_turn(&cabinet), 0, "{:?}", states(&cabinet));
}

#[test]
fn who_waited_for_an_answer_when_the_server_came_back_tries_again_as_soon_as_that_has_failed() {
    let mut waited = 0;
    for away_secs in (2_400..2_900).step_by(13) {
        let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
        cabinet.run_ms(2_000);
        cabinet.is_connected = false;
        cabinet.run_ms(away_secs * 1_000);
        cabinet.is_connected = true;
        cabinet.gateway.update(None, Some("relay-1"), cabinet.now);
        cabinet.run_ms(5_000);
        let meter = |cabinet: &TestCabinet| states(cabinet)[METER as usize];
        waited += usize::from(meter(&cabinet) == EndpointState::Registering);
        cabinet.run_ms(EXCHANGE_FAILS_MS);
        assert_eq!(
            meter(&cabinet),
            EndpointState::Registered,
            "away for {away_secs} s"
        );
    }
    assert!(waited > 0);
}

#[test]
fn a_server_that_was_away_for_hours_is_found_within_a_minute_or_two() {
    for away_secs in (7_200..7_600).step_by(37) {
        let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
        cabinet.run_ms(2_000);
        cabinet.is_connected = false;
        cabinet.run_ms(away_secs * 1_000);
        assert!(!states(&cabinet).contains(&EndpointState::Registered));
        cabinet.is_connected = true;
        let probe_ms = u64::try_from(limits::SERVER_PROBE.as_millis()).unwrap();
        cabinet.run_ms(probe_ms + EXCHANGE_FAILS_MS);
        assert_eq!(states(&cabinet), [EndpointState::Registered; 3], "{away_secs} s");
    }
}

#[test]
fn a_device_with_readings_finds_its_server_though_others_have_noticed_nothing() {
    for away_secs in (7_200..7_600).step_by(37) {
        let mut config = meter_and_relay(Model::Y2026);
        config.accounts[0].lifetime_secs = 86_400;
        let mut cabinet = TestCabinet::new(config);
        cabinet.run_ms(2_000);
        cabinet.is_connected = false;
        cabinet.uplink(1, words(0, &[2400]));
        cabinet.run_ms(away_secs * 1_000);
        assert_eq!(states(&cabinet)[RELAY as usize], EndpointState::Registered);
        cabinet.is_connected = true;
        let probe_ms = u64::try_from(limits::SERVER_PROBE.as_millis()).unwrap();
        cabinet.run_ms(probe_ms + EXCHANGE_FAILS_MS);
        let meter = &cabinet.gateway.endpoints()[METER as usize];
        assert_eq!(meter.queued, 0, "{away_secs} s: {meter:?}");
    }
}

#[test]
fn at_a_server_that_is_away_one_endpoint_at_a_time_tries_again() {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.run_ms(2_000);
    cabinet.is_connected = false;
    cabinet.run_ms(4 * 3_600_000);
    let before = cabinet.datagrams.len();
    cabinet.run_ms(3_600_000);
    // Five datagrams an exchange: a probe every minute, and each of three endpoints after half of five to five.
    let an_hour = 5 * (60 + 3 * 24);
    assert!(
        cabinet.datagrams.len() - before <= an_hour,
        "{} datagrams",
        cabinet.datagrams.len() - before
    );
}
