//! Send: what goes out, and how it ends.

use coap_lite::{CoapOption, Packet};

use super::peer::{Ask, Bench, code, format_of, texts};
use crate::client::{
    ClientConfig, EnablerVersion, Event, RegistrationState, SendId, SendOutcome, SendRefused, limits,
};
use crate::coap::Code;
use crate::coap::limits::BODY_MAX_BYTES;
use crate::format::{Entry, Record, RecordTime};
use crate::{Path, Timestamp, Value};

fn record(value: f64) -> Record {
    let entry = Entry {
        path: Path::resource(3303, 0, 5700),
        value: Value::Float(value),
    };
    Record {
        entry,
        time: Some(RecordTime::Absolute(Timestamp::from_unix_ms(1_700_000_000_000))),
    }
}

fn send(bench: &mut Bench, id: u64) -> Result<(), SendRefused> {
    let result = bench.client.send(SendId(id), vec![record(21.5)], bench.now);
    bench.collect();
    result
}

fn outcomes(bench: &mut Bench) -> Vec<(u64, SendOutcome)> {
    let events = std::mem::take(&mut bench.events);
    let mut finished = Vec::new();
    for event in events {
        if let Event::SendFinished { id, outcome } = event {
            finished.push((id.0, outcome));
        }
    }
    finished
}

fn take_send(bench: &mut Bench) -> Packet {
    let packet = bench.sent.remove(0);
    assert_eq!(texts(&packet, CoapOption::UriPath), ["dp"], "{packet:?}");
    packet
}

#[test]
fn a_send_posts_senml_cbor_to_dp_and_is_over_with_2_04() {
    let mut bench = Bench::default();
    send(&mut bench, 5).unwrap();
    let packet = take_send(&mut bench);
    assert_eq!((code(&packet).as_str(), format_of(&packet)), ("0.02", Some(112)));
    // The name is in it as it stands, the rest is the codec's business.
    assert!(
        packet.payload.windows(4).any(|w| w == b"5700"),
        "{:?}",
        packet.payload
    );
    assert_eq!(outcomes(&mut bench), []);
    bench.answer(&packet, "2.04", &[]);
    assert_eq!(outcomes(&mut bench), [(5, SendOutcome::Delivered)]);
}

#[test]
fn the_path_of_the_server_address_goes_before_dp() {
    let config = ClientConfig {
        server_uri: "coap://host/x".to_owned(),
        ..Bench::config()
    };
    let mut bench = Bench::registered(config);
    send(&mut bench, 1).unwrap();
    assert_eq!(texts(&bench.take_sent(), CoapOption::UriPath), ["x", "dp"]);
}

#[test]
fn sends_go_one_after_the_other_and_are_bounded() {
    let mut bench = Bench::default();
    let all = u64::try_from(limits::SENDS).unwrap();
    for id in 0..all {
        send(&mut bench, id).unwrap();
    }
    assert_eq!(send(&mut bench, 99), Err(SendRefused::Busy));
    for id in 0..all {
        let packet = take_send(&mut bench);
        bench.answer(&packet, "2.04", &[]);
        assert_eq!(outcomes(&mut bench), [(id, SendOutcome::Delivered)]);
    }
    assert_eq!(send(&mut bench, 100), Ok(()));
}

#[test]
fn a_send_is_refused_where_it_cannot_be() {
    assert_eq!(
        send(&mut Bench::idle(Bench::config()), 1),
        Err(SendRefused::NotRegistered)
    );
    assert_eq!(
        send(&mut Bench::started(Bench::config()), 1),
        Err(SendRefused::NotRegistered)
    );
    let muted = ClientConfig {
        mute_send: true,
        ..Bench::config()
    };
    assert_eq!(send(&mut Bench::registered(muted), 1), Err(SendRefused::Muted));
    let old = ClientConfig {
        version: EnablerVersion::V1_0,
        ..Bench::config()
    };
    assert_eq!(
        send(&mut Bench::registered(old), 1),
        Err(SendRefused::NotInVersion)
    );
    let mut bench = Bench::default();
    let mut large = record(1.0);
    large.entry.value = Value::Opaque(vec![0; BODY_MAX_BYTES]);
    let refused = bench.client.send(SendId(1), vec![large], bench.now);
    assert!(matches!(refused, Err(SendRefused::Invalid(_))), "{refused:?}");
    for count in [0, limits::RECORDS + 1] {
        let refused = bench.client.send(SendId(1), vec![record(1.0); count], bench.now);
        assert!(matches!(refused, Err(SendRefused::Invalid(_))), "{count}");
    }
    assert!(
        bench
            .client
            .send(SendId(1), vec![record(1.0); limits::RECORDS], bench.now)
            .is_ok()
    );
}

#[test]
fn the_server_mutes_and_unmutes_send() {
    let mut bench = Bench::default();
    assert_eq!(code(&bench.ask(&Ask::put("/1/0/23").body(0, "1"))), "2.04");
    assert!(bench.client.is_send_muted());
    assert!(bench.events.contains(&Event::SendMuted(true)));
    assert_eq!(send(&mut bench, 1), Err(SendRefused::Muted));
    bench.events.clear();
    assert_eq!(code(&bench.ask(&Ask::put("/1/0/23").body(0, "0"))), "2.04");
    assert_eq!(bench.events, [Event::SendMuted(false)]);
    // Nothing is told where nothing changes.
    assert_eq!(code(&bench.ask(&Ask::put("/1/0/23").body(0, "0"))), "2.04");
    assert_eq!(bench.events.len(), 1);
    assert_eq!(send(&mut bench, 1), Ok(()));
}

#[test]
fn a_send_answered_as_if_unregistered_leads_to_an_update_and_if_need_be_to_a_register() {
    for (text, expected) in [("4.04", Code::NOT_FOUND), ("4.00", Code::BAD_REQUEST)] {
        let mut bench = Bench::default();
        send(&mut bench, 1).unwrap();
        let packet = take_send(&mut bench);
        bench.answer(&packet, text, &[]);
        assert_eq!(outcomes(&mut bench), [(1, SendOutcome::Rejected(expected))]);
        let update = bench.take_sent();
        assert_eq!(texts(&update, CoapOption::UriPath), ["rd", "5a3f"]);
        send(&mut bench, 2).unwrap();
        bench.answer(&update, "4.04", &[]);
        assert_eq!(outcomes(&mut bench), [(2, SendOutcome::Lost)]);
        assert_eq!(bench.client.state(), RegistrationState::Registering);
    }
}

#[test]
fn a_server_that_refuses_every_send_is_asked_once_a_minute_whether_it_knows_the_client() {
    let mut bench = Bench::default();
    let mut updates = 0;
    for id in 0..600 {
        send(&mut bench, id).unwrap();
        let packet = take_send(&mut bench);
        bench.answer(&packet, "4.04", &[]);
        if !bench.sent.is_empty() {
            let update = bench.take_sent();
            bench.answer(&update, "2.04", &[]);
            updates += 1;
        }
        bench.pass_secs(1);
    }
    assert_eq!(updates, 10);
    assert!(!bench.events.iter().any(|e| matches!(e, Event::Lost { .. })));
}

#[test]
fn a_send_that_is_too_large_or_of_the_wrong_format_is_told_as_it_is() {
    for (text, expected) in [
        ("4.13", Code::REQUEST_ENTITY_TOO_LARGE),
        ("4.15", Code::UNSUPPORTED_CONTENT_FORMAT),
    ] {
        let mut bench = Bench::default();
        send(&mut bench, 1).unwrap();
        let packet = take_send(&mut bench);
        bench.answer(&packet, text, &[]);
        assert_eq!(outcomes(&mut bench), [(1, SendOutcome::Rejected(expected))]);
        assert_eq!(bench.client.state(), RegistrationState::Registered);
        assert_eq!(bench.sent, []);
    }
}

#[test]
fn a_send_without_an_answer_takes_the_others_with_it_and_asks_for_the_server() {
    let mut bench = Bench::default();
    for id in 1..=3 {
        send(&mut bench, id).unwrap();
    }
    bench.pass_secs(94);
    let timed_out: Vec<_> = (1..=3).map(|id| (id, SendOutcome::TimedOut)).collect();
    assert_eq!(outcomes(&mut bench), timed_out);
    assert_eq!(
        texts(bench.sent.last().unwrap(), CoapOption::UriPath),
        ["rd", "5a3f"]
    );
}

#[test]
fn a_deregister_gives_up_what_is_under_way() {
    let mut bench = Bench::default();
    send(&mut bench, 1).unwrap();
    bench.client.deregister(bench.now);
    bench.collect();
    assert_eq!(outcomes(&mut bench), [(1, SendOutcome::Lost)]);
}
