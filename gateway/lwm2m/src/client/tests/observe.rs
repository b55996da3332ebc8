//! Observe, notifications, cancellation.

use std::time::Duration;

use coap_lite::{CoapOption, MessageType, Packet};

use super::peer::{Ask, Bench, code, format_of, number, payload, texts};
use crate::client::{ClientConfig, Event, Observed, RegistrationState, limits};
use crate::coap::limits::FETCH_PAUSE_MAX;
use crate::{Path, Timestamp, Value};

const TEMPERATURE: &str = "/3303/0/5700";

fn observe(bench: &mut Bench, path: &str, token: &[u8]) -> u32 {
    let answer = bench.ask(&Ask::get(path).observe(0).token(token));
    assert_eq!(code(&answer), "2.05");
    assert_eq!(bench.events.pop(), Some(Event::ObservationsChanged));
    number(&answer, CoapOption::Observe).expect("the observation is accepted")
}

#[test]
fn a_change_is_told_with_the_token_and_a_rising_sequence() {
    let mut bench = Bench::default();
    let mut last = observe(&mut bench, TEMPERATURE, &[0xAB, 0xCD]);
    for (value, text) in [(22.0, "22"), (22.25, "22.25"), (-1.5, "-1.5")] {
        bench.change(TEMPERATURE, Value::Float(value));
        let notification = bench.take_sent();
        assert_eq!(code(&notification), "2.05");
        assert_eq!(notification.header.get_type(), MessageType::NonConfirmable);
        assert_eq!(notification.get_token(), [0xAB, 0xCD]);
        assert_eq!(
            (format_of(&notification), payload(&notification).parse::<f64>()),
            (Some(0), text.parse())
        );
        let sequence = number(&notification, CoapOption::Observe).unwrap();
        assert!(sequence > last);
        last = sequence;
    }
    // Nothing is told twice.
    bench.change(TEMPERATURE, Value::Float(-1.5));
    bench.change("/3/0/9", Value::Integer(1));
    bench.pass_secs(100);
    assert_eq!(bench.sent, []);
}

#[test]
fn notifications_keep_the_format_that_the_observe_accepted() {
    for (format, expected) in [
        (0, &b"22"[..]),
        (11542, b"\xE4\x16\x44\x41\xB0\x00\x00"),
        (110, br#"[{"bn":"/3303/0/5700","v":22}]"#),
    ] {
        let mut bench = Bench::default();
        bench.ask(&Ask::get(TEMPERATURE).observe(0).accept(format));
        bench.change(TEMPERATURE, Value::Float(22.0));
        let notification = bench.take_sent();
        assert_eq!(format_of(&notification), Some(format.into()));
        if format != 110 {
            assert_eq!(notification.payload, expected);
        } else {
            let text = payload(&notification).replace("22.0", "22");
            assert_eq!(text.as_bytes(), expected);
        }
    }
}

#[test]
fn a_notification_in_senml_about_one_resource_tells_when_it_was_measured() {
    let mut bench = Bench::default();
    bench.device.measured_at = Some(Timestamp::from_unix_ms(1_700_000_000_000));
    let first = bench.ask(&Ask::get(TEMPERATURE).observe(0).accept(110));
    assert!(!payload(&first).contains("1700000000"), "{}", payload(&first));
    bench.change(TEMPERATURE, Value::Float(22.0));
    let told = payload(&bench.take_sent());
    assert!(told.contains("1700000000"), "{told}");
}

#[test]
fn attributes_hold_notifications_back_and_bring_them_on() {
    let mut bench = Bench::default();
    assert_eq!(
        code(&bench.ask(&Ask::put("/3303/0").query("pmin=10&pmax=60"))),
        "2.04"
    );
    observe(&mut bench, TEMPERATURE, &[1]);
    bench.pass_secs(2);
    bench.change(TEMPERATURE, Value::Float(30.0));
    bench.change(TEMPERATURE, Value::Float(31.0));
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(8));
    assert_eq!(payload(&bench.take_sent()), "31");
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(60));
    assert_eq!(payload(&bench.take_sent()), "31");
    // Attributes written later hold from then on.
    assert_eq!(
        code(&bench.ask(&Ask::put(TEMPERATURE).query("pmax=20&st=5&pmin=0"))),
        "2.04"
    );
    bench.change(TEMPERATURE, Value::Float(34.0));
    assert_eq!(bench.sent, []);
    bench.change(TEMPERATURE, Value::Float(36.0));
    assert_eq!(payload(&bench.take_sent()), "36");
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(20));
    let observed = Observed {
        path: Path::resource(3303, 0, 5700),
        pmin_secs: 0,
        pmax_secs: Some(20),
        epmin_secs: None,
        epmax_secs: None,
    };
    assert_eq!(bench.client.observed(), [observed]);
}

#[test]
fn the_defaults_of_the_server_object_hold_where_nothing_is_attached() {
    let config = ClientConfig {
        default_pmin_secs: Some(5),
        default_pmax_secs: Some(30),
        ..Bench::config()
    };
    let mut bench = Bench::registered(config);
    observe(&mut bench, TEMPERATURE, &[1]);
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(30));
    bench.sent.clear();
    assert_eq!(code(&bench.ask(&Ask::put("/1/0/3").body(0, "40"))), "2.04");
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(40));
    bench.sent.clear();
    bench.change(TEMPERATURE, Value::Float(1.0));
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(5));
}

#[test]
fn an_observation_of_an_instance_or_object_sees_everything_below_it() {
    for path in ["/3311", "/3311/0"] {
        let mut bench = Bench::default();
        observe(&mut bench, path, &[1]);
        bench.change("/3311/0/5851", Value::Integer(7));
        assert_eq!(format_of(&bench.take_sent()), Some(112));
        bench.change("/3303/0/5700", Value::Float(7.0));
        assert_eq!(bench.sent, []);
    }
}

#[test]
fn an_observation_ends_by_reset_by_token_or_by_path() {
    let mut bench = Bench::default();
    observe(&mut bench, TEMPERATURE, &[1]);
    bench.change(TEMPERATURE, Value::Float(1.0));
    let notification = bench.take_sent();
    bench.reply_empty(&notification, MessageType::Reset);
    assert_eq!(bench.events.pop(), Some(Event::ObservationsChanged));
    assert_eq!(bench.client.observed(), []);
    let update = bench.take_sent();
    bench.answer(&update, "2.04", &[]);

    observe(&mut bench, TEMPERATURE, &[2]);
    observe(&mut bench, "/3/0/9", &[3]);
    let answer = bench.ask(&Ask::get(TEMPERATURE).observe(1).token(&[2]));
    assert_eq!((code(&answer).as_str(), payload(&answer).as_str()), ("2.05", "1"));
    assert_eq!(number(&answer, CoapOption::Observe), None);
    assert_eq!(bench.client.observed().len(), 1);
    bench.ask(&Ask::get("/3/0/9").observe(1).token(&[77]));
    assert_eq!(bench.client.observed(), []);
    bench.change(TEMPERATURE, Value::Float(2.0));
    assert_eq!(bench.sent, []);
}

#[test]
fn the_same_token_begins_the_observation_anew() {
    let mut bench = Bench::default();
    observe(&mut bench, TEMPERATURE, &[1]);
    observe(&mut bench, "/3/0/9", &[1]);
    assert_eq!(bench.client.observed()[0].path, Path::resource(3, 0, 9));
    assert_eq!(bench.client.observed().len(), 1);
}

#[test]
fn what_cannot_be_read_is_not_observed() {
    let mut bench = Bench::default();
    for (path, expected) in [
        ("/3/0/4", "4.05"),
        ("/9", "4.04"),
        ("/0", "4.01"),
        ("/3303/0/5701", "4.04"),
    ] {
        let answer = bench.ask(&Ask::get(path).observe(0));
        assert_eq!(code(&answer), expected);
        assert_eq!(number(&answer, CoapOption::Observe), None);
    }
    assert_eq!(bench.client.observed(), []);
}

#[test]
fn the_observations_are_bounded_and_what_is_beyond_is_a_read() {
    let mut bench = Bench::default();
    for i in 0..limits::OBSERVATIONS {
        observe(&mut bench, TEMPERATURE, &[u8::try_from(i).unwrap(), 1]);
    }
    let answer = bench.ask(&Ask::get(TEMPERATURE).observe(0).token(&[0xFF]));
    assert_eq!(code(&answer), "2.05");
    assert_eq!(number(&answer, CoapOption::Observe), None);
    assert_eq!(bench.client.observed().len(), limits::OBSERVATIONS);
}

#[test]
fn what_the_server_observes_is_told_once_however_often_it_changes() {
    let mut bench = Bench::default();
    for i in 0..100u16 {
        let ask = Ask::get(TEMPERATURE).observe(u32::from(i % 2)).to_packet(i);
        bench
            .client
            .handle_datagram(&ask.to_bytes().unwrap(), &bench.device, bench.now);
    }
    bench.collect();
    assert_eq!(bench.events, [Event::ObservationsChanged]);
}

#[test]
fn a_confirmable_notification_waits_for_its_acknowledgement_and_the_newest_value_is_the_last() {
    let config = ClientConfig {
        confirmable_notifications: true,
        ..Bench::config()
    };
    let mut bench = Bench::registered(config);
    observe(&mut bench, TEMPERATURE, &[1]);
    bench.change(TEMPERATURE, Value::Float(1.0));
    let first = bench.take_sent();
    assert_eq!(first.header.get_type(), MessageType::Confirmable);
    bench.change(TEMPERATURE, Value::Float(2.0));
    bench.change(TEMPERATURE, Value::Float(3.0));
    assert_eq!(bench.sent, []);
    bench.reply_empty(&first, MessageType::Acknowledgement);
    let second = bench.take_sent();
    assert_eq!(payload(&second), "3");
}

#[test]
fn every_day_has_a_confirmable_notification() {
    let mut bench = Bench::registered(ClientConfig {
        lifetime_secs: 0,
        ..Bench::config()
    });
    bench.ask(&Ask::put(TEMPERATURE).query("pmax=3600"));
    observe(&mut bench, TEMPERATURE, &[1]);
    for hour in 1..=50 {
        bench.pass_until_sent();
        let notification = bench.take_sent();
        let confirmable = notification.header.get_type() == MessageType::Confirmable;
        assert_eq!(confirmable, hour % 24 == 0, "hour {hour}");
        if confirmable {
            bench.reply_empty(&notification, MessageType::Acknowledgement);
        }
    }
}

#[test]
fn a_notification_without_acknowledgement_leads_to_an_update_and_is_repeated_after_it() {
    let config = ClientConfig {
        confirmable_notifications: true,
        ..Bench::config()
    };
    let mut bench = Bench::registered(config);
    observe(&mut bench, TEMPERATURE, &[1]);
    bench.change(TEMPERATURE, Value::Float(1.0));
    let is_update = |packet: &Packet| texts(packet, CoapOption::UriPath) == ["rd", "5a3f"];
    for _ in 0..100 {
        if !bench.sent.iter().any(is_update) {
            bench.pass_secs(1);
        }
    }
    let update = bench.sent.iter().find(|packet| is_update(packet)).cloned();
    bench.sent.clear();
    bench.answer(&update.expect("an Update goes out"), "2.04", &[]);
    bench.pass_secs(60);
    let notified = |packet: &Packet| payload(packet) == "1" && packet.get_token() == [1];
    assert!(bench.sent.iter().any(notified), "{:?}", bench.sent);
}

#[test]
fn a_server_that_falls_silent_is_asked_and_left_soon_however_much_it_observes() {
    let mut bench = Bench::registered(ClientConfig {
        confirmable_notifications: true,
        ..Bench::config()
    });
    for token in 0..20 {
        observe(&mut bench, TEMPERATURE, &[token]);
    }
    bench.change(TEMPERATURE, Value::Float(1.0));
    let first_of = |bench: &mut Bench, path: &[&str]| {
        let begin = bench.now;
        while !bench.sent.iter().any(|p| texts(p, CoapOption::UriPath) == path) {
            bench.sent.clear();
            bench.pass_until_sent();
        }
        bench.sent.clear();
        bench.now - begin
    };
    // MAX_TRANSMIT_WAIT of RFC 7252 each: one notification, then one Update.
    assert!(first_of(&mut bench, &["rd", "5a3f"]) <= Duration::from_secs(93));
    assert!(first_of(&mut bench, &["rd"]) <= Duration::from_secs(93));
    assert!(bench.events.iter().any(|e| matches!(e, Event::Lost { .. })));
    assert_eq!(bench.client.state(), RegistrationState::Registering);
}

#[test]
fn what_was_dropped_for_the_sake_of_the_update_is_told_after_it() {
    let mut bench = Bench::registered(ClientConfig {
        confirmable_notifications: true,
        ..Bench::config()
    });
    for token in 0..20 {
        observe(&mut bench, TEMPERATURE, &[token]);
    }
    bench.change(TEMPERATURE, Value::Float(1.0));
    while !bench
        .sent
        .iter()
        .any(|p| texts(p, CoapOption::UriPath) == ["rd", "5a3f"])
    {
        bench.sent.clear();
        bench.pass_until_sent();
    }
    let update = bench.sent.pop().unwrap();
    bench.sent.clear();
    bench.answer(&update, "2.04", &[]);
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 20 {
        bench.pass_until_sent();
        let notification = bench.take_sent();
        assert_eq!(payload(&notification), "1");
        told.insert(notification.get_token().to_vec());
        bench.reply_empty(&notification, MessageType::Acknowledgement);
    }
}

#[test]
fn a_reset_makes_the_client_ask_once_a_minute_whether_it_is_still_registered() {
    let mut bench = Bench::default();
    for (token, asks) in [(1, true), (2, false), (3, true)] {
        observe(&mut bench, TEMPERATURE, &[token]);
        bench.change(TEMPERATURE, Value::Float(token.into()));
        let notification = bench.take_sent();
        bench.reply_empty(&notification, MessageType::Reset);
        if asks {
            let update = bench.take_sent();
            assert_eq!(texts(&update, CoapOption::UriPath), ["rd", "5a3f"]);
            bench.answer(&update, "2.04", &[]);
        }
        assert_eq!(bench.sent, []);
        bench.pass(limits::DOUBT_EVERY / 2);
    }
}

#[test]
fn the_end_of_an_observation_is_told_behind_the_register_and_not_while_waiting_to_register() {
    for (answer, told) in [("2.01", true), ("4.03", false)] {
        let mut bench = Bench::started(Bench::config());
        let register = bench.take_sent();
        observe(&mut bench, "/3311/1/5850", &[1]);
        if told {
            remove_lamp(&mut bench);
            assert_eq!(bench.sent, []);
        }
        bench.answer(&register, answer, &["rd", "5a3f"]);
        if !told {
            assert_eq!(bench.client.state(), RegistrationState::Waiting);
            remove_lamp(&mut bench);
        }
        assert_eq!(bench.client.observed(), []);
        let sent: Vec<_> = bench.sent.iter().map(code).collect();
        assert_eq!(sent == ["4.04"], told, "{sent:?}");
        assert_eq!(sent.is_empty(), !told, "{sent:?}");
    }
}

fn remove_lamp(bench: &mut Bench) {
    bench.device.remove(3311, 1);
    bench.client.handle_instances_changed(&bench.device, bench.now);
    bench.collect();
}

#[test]
fn a_new_registration_drops_the_observations_and_an_update_keeps_them() {
    let mut bench = Bench::default();
    observe(&mut bench, TEMPERATURE, &[1]);
    bench.client.update(bench.now);
    bench.pass_secs(0);
    let update = bench.take_sent();
    bench.answer(&update, "2.04", &[]);
    assert_eq!(bench.client.observed().len(), 1);
    bench.client.update(bench.now);
    bench.pass_secs(0);
    let update = bench.take_sent();
    bench.events.clear();
    bench.answer(&update, "4.04", &[]);
    // Not registered, nothing is told.
    let register = bench.take_sent();
    bench.change(TEMPERATURE, Value::Float(1.0));
    assert_eq!(bench.sent, []);
    bench.answer(&register, "2.01", &["rd", "2"]);
    assert_eq!(bench.client.state(), RegistrationState::Registered);
    assert!(bench.events.contains(&Event::ObservationsChanged));
    assert_eq!(bench.client.observed(), []);
    bench.change(TEMPERATURE, Value::Float(2.0));
    assert_eq!(bench.sent, []);
}

#[test]
fn the_observation_of_an_instance_that_goes_ends_with_4_04() {
    let mut bench = Bench::default();
    observe(&mut bench, "/3311/1/5850", &[1]);
    observe(&mut bench, "/3311", &[2]);
    remove_lamp(&mut bench);
    let told = |token: u8, bench: &Bench| {
        bench
            .sent
            .iter()
            .filter(|p| p.get_token() == [token])
            .map(code)
            .collect()
    };
    let (gone, object): (Vec<_>, Vec<_>) = (told(1, &bench), told(2, &bench));
    assert_eq!((gone, object), (vec!["4.04".to_owned()], vec!["2.05".to_owned()]));
    assert_eq!(bench.client.observed().len(), 1);
}

#[test]
fn a_value_that_is_absent_is_not_told() {
    let mut bench = Bench::default();
    observe(&mut bench, TEMPERATURE, &[1]);
    bench.device.clear(TEMPERATURE);
    bench
        .client
        .handle_changed(&[Path::resource(3303, 0, 5700)], &bench.device, bench.now);
    bench.collect();
    assert_eq!(bench.sent, []);
    bench.change(TEMPERATURE, Value::Float(2.0));
    assert_eq!(payload(&bench.take_sent()), "2");
}

#[test]
fn a_large_read_is_fetched_whole_while_the_instance_changes_and_the_change_is_told_after_it() {
    let mut bench = Bench::default();
    bench.device.set("/3/0/14", Value::String("x".repeat(500)));
    let ask = Ask::get("/3/0").accept(110);
    bench.ask(&ask.clone().observe(0).token(&[1]));
    bench.pass_secs(10);
    let first = bench.ask(&ask);
    bench.change("/3/0/9", Value::Integer(7));
    assert_eq!(bench.sent, [], "the change waits");
    let mut rest = ask.to_packet(9);
    rest.add_option(CoapOption::Block2, vec![0x15]);
    bench.receive(&rest);
    let rest = bench.take_sent();
    assert_eq!(
        rest.get_first_option(CoapOption::ETag),
        first.get_first_option(CoapOption::ETag)
    );
    assert!(bench.pass_until_sent() <= limits::REPEAT_LOST_AFTER);
    let notification = bench.take_sent();
    assert_eq!(notification.get_token(), [1]);
    assert_ne!(
        notification.get_first_option(CoapOption::ETag),
        first.get_first_option(CoapOption::ETag)
    );
}

#[test]
fn what_was_held_back_does_not_wait_for_pmin_again() {
    let mut bench = Bench::default();
    bench.device.set("/3/0/14", Value::String("x".repeat(500)));
    bench.ask(&Ask::put("/3/0").query("pmin=60&pmax=60"));
    let ask = Ask::get("/3/0").accept(110);
    bench.ask(&ask.clone().observe(0).token(&[1]));
    bench.pass_secs(59);
    // The peer begins to read, and does not go on.
    bench.ask(&ask);
    let wait = bench.pass_until_sent();
    let most = Duration::from_secs(1) + FETCH_PAUSE_MAX + limits::REPEAT_LOST_AFTER;
    assert!(wait <= most, "{wait:?}");
    assert_eq!(bench.take_sent().get_token(), [1]);
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(60));
}
