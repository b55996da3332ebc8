//! Register, Update, De-register, and what becomes of them when datagrams are lost or servers say no.

use std::time::Duration;

use coap_lite::{CoapOption, MessageType, Packet};

use super::peer::{Ask, Bench, code, format_of, payload, texts};
use crate::client::{Client, ClientConfig, EnablerVersion, Event, RegistrationState, RetryPolicy};
use crate::{InstanceId, Value};

const LIST: &str = "</>;rt=\"oma.lwm2m\";ct=\"110 112 11542\",</1>;ver=1.1,</1/0>,</3>;ver=1.0,</3/0>,\
                    </3303>;ver=1.1,</3303/0>,</3311/0>,</3311/1>,</3340>";

#[test]
fn a_register_names_endpoint_lifetime_version_binding_and_objects() {
    let config = ClientConfig {
        lifetime_secs: 300,
        register_query: vec![("gw".to_owned(), "cab-17".to_owned())],
        ..Bench::config()
    };
    let mut bench = Bench::started(config);
    let register = bench.take_sent();
    assert_eq!(code(&register), "0.02");
    assert_eq!(register.header.get_type(), MessageType::Confirmable);
    assert_eq!(texts(&register, CoapOption::UriPath), ["rd"]);
    let query = ["ep=urn:dev:os:1", "lt=300", "lwm2m=1.1", "b=U", "gw=cab-17"];
    assert_eq!(texts(&register, CoapOption::UriQuery), query);
    assert_eq!(format_of(&register), Some(40));
    assert_eq!(payload(&register), LIST);
    assert_eq!(bench.client.state(), RegistrationState::Registering);
}

#[test]
fn the_path_of_the_server_address_goes_before_rd() {
    let config = ClientConfig {
        server_uri: "coap://host:5683/lwm2m/v1?x".to_owned(),
        ..Bench::config()
    };
    let register = Bench::started(config).take_sent();
    assert_eq!(texts(&register, CoapOption::UriPath), ["lwm2m", "v1", "rd"]);
}

#[test]
fn a_lost_register_is_repeated_and_the_location_is_kept_verbatim() {
    let mut bench = Bench::started(Bench::config());
    let first = bench.take_sent();
    let waited = bench.pass_until_sent();
    assert!((2.0..=3.0).contains(&waited.as_secs_f64()), "{waited:?}");
    let repeated = bench.take_sent();
    assert_eq!(repeated, first);
    bench.answer(&repeated, "2.01", &["rd", "a b/ü", "%2F", "7"]);
    assert_eq!(
        bench.events,
        [Event::Registered {
            location: "rd/a b/ü/%2F/7".to_owned()
        }]
    );
    bench.client.update(bench.now);
    bench.pass_secs(0);
    assert_eq!(
        texts(&bench.take_sent(), CoapOption::UriPath),
        ["rd", "a b/ü", "%2F", "7"]
    );
}

#[test]
fn the_update_comes_before_the_lifetime_ends_and_carries_nothing() {
    let mut bench = Bench::registered(ClientConfig {
        lifetime_secs: 300,
        ..Bench::config()
    });
    for _ in 0..3 {
        let waited = bench.pass_until_sent().as_secs_f64();
        // 300 s less the 93 s that all repetitions take, less up to a tenth.
        assert!((186.0..=207.0).contains(&waited), "{waited}");
        let update = bench.take_sent();
        assert_eq!(code(&update), "0.02");
        assert_eq!(texts(&update, CoapOption::UriPath), ["rd", "5a3f"]);
        assert_eq!(texts(&update, CoapOption::UriQuery), [""; 0]);
        assert_eq!((format_of(&update), payload(&update).as_str()), (None, ""));
        bench.answer(&update, "2.04", &[]);
        assert_eq!(std::mem::take(&mut bench.events), [Event::Updated]);
    }
}

#[test]
fn an_update_that_is_lost_once_keeps_the_registration() {
    let mut bench = Bench::registered(ClientConfig {
        lifetime_secs: 60,
        ..Bench::config()
    });
    bench.pass_until_sent();
    let lost = bench.take_sent();
    bench.pass_until_sent();
    let repeated = bench.take_sent();
    assert_eq!(repeated, lost);
    bench.answer(&repeated, "2.04", &[]);
    assert_eq!(bench.client.state(), RegistrationState::Registered);
    // The answer comes again, late: it is nobody's.
    bench.answer(&repeated, "4.04", &[]);
    assert_eq!(bench.client.state(), RegistrationState::Registered);
}

#[test]
fn an_infinite_lifetime_needs_no_update() {
    let mut bench = Bench::registered(ClientConfig {
        lifetime_secs: 0,
        ..Bench::config()
    });
    bench.pass_secs(10 * 86_400);
    assert_eq!(bench.sent, []);
}

#[test]
fn clients_started_together_do_not_stay_together() {
    let now = super::start();
    let device = super::device::Device::new();
    let mut times: Vec<_> = (0..20)
        .map(|seed| {
            let mut client = Client::new(Bench::config(), seed, 1, now);
            client.start(&device, now);
            let register = Packet::from_bytes(&client.poll_transmit().unwrap()).unwrap();
            let mut bench = Bench::idle(Bench::config());
            (bench.client, bench.now) = (client, now);
            bench.answer(&register, "2.01", &["rd", "1"]);
            bench.client.poll_timeout().unwrap()
        })
        .collect();
    times.sort();
    assert!(
        *times.last().unwrap() - times[0] > Duration::from_secs(3600),
        "{times:?}"
    );
}

#[test]
fn an_update_carries_only_what_has_changed() {
    let mut bench = Bench::default();
    bench.device.set("/3340/5/5850", Value::Boolean(true));
    bench.client.handle_instances_changed(&bench.device, bench.now);
    bench.collect();
    let update = bench.take_sent();
    assert_eq!(texts(&update, CoapOption::UriQuery), [""; 0]);
    assert_eq!(format_of(&update), Some(40));
    assert_eq!(payload(&update), LIST.replace("</3340>", "</3340/5>"));
    bench.answer(&update, "2.04", &[]);
    // The same list again is no change.
    bench.client.handle_instances_changed(&bench.device, bench.now);
    bench.collect();
    assert_eq!(bench.sent, []);
}

#[test]
fn a_list_that_changes_during_a_register_or_an_update_is_told_after_it() {
    let mut bench = Bench::started(Bench::config());
    let register = bench.take_sent();
    bench.device.set("/3340/5/5850", Value::Boolean(true));
    bench.client.handle_instances_changed(&bench.device, bench.now);
    bench.collect();
    assert_eq!(bench.sent, []);
    bench.answer(&register, "2.01", &["rd", "1"]);
    let first = bench.take_sent();
    assert!(payload(&first).ends_with("</3340/5>"), "{}", payload(&first));
    bench.device.remove(3340, 5);
    bench.client.handle_instances_changed(&bench.device, bench.now);
    bench.collect();
    assert_eq!(bench.sent, []);
    bench.answer(&first, "2.04", &[]);
    assert!(payload(&bench.take_sent()).ends_with("</3340>"));
}

#[test]
fn a_server_that_does_not_speak_1_1_is_registered_at_with_1_0() {
    let mut bench = Bench::started(Bench::config());
    let register = bench.take_sent();
    bench.answer(&register, "4.12", &[]);
    let register = bench.take_sent();
    assert!(texts(&register, CoapOption::UriQuery).contains(&"lwm2m=1.0".to_owned()));
    assert!(
        payload(&register).starts_with("</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,"),
        "{}",
        payload(&register)
    );
    bench.answer(&register, "2.01", &["rd", "1"]);
    assert_eq!(bench.client.version(), EnablerVersion::V1_0);
    // Several values go as TLV when the server names no format.
    assert_eq!(format_of(&bench.ask(&Ask::get("/3/0"))), Some(11542));
}

#[test]
fn a_server_that_speaks_neither_is_tried_again_later() {
    let mut bench = Bench::started(Bench::config());
    for _ in 0..2 {
        let register = bench.take_sent();
        bench.answer(&register, "4.12", &[]);
    }
    assert_eq!(bench.client.state(), RegistrationState::Waiting);
    bench.pass_until_sent();
    assert!(texts(&bench.take_sent(), CoapOption::UriQuery).contains(&"lwm2m=1.1".to_owned()));
}

#[test]
fn an_update_answered_with_an_error_leads_to_a_new_register() {
    for error in ["4.04", "4.00", "5.00"] {
        let mut bench = Bench::default();
        bench.client.update(bench.now);
        bench.pass_secs(0);
        let update = bench.take_sent();
        bench.answer(&update, error, &[]);
        assert!(
            matches!(&bench.events[..], [Event::Lost { reason }] if reason.contains(error)),
            "{:?}",
            bench.events
        );
        let register = bench.take_sent();
        assert_eq!(payload(&register), LIST);
        bench.answer(&register, "2.01", &["rd", "new"]);
        assert_eq!(bench.client.state(), RegistrationState::Registered);
    }
}

#[test]
fn an_update_without_an_answer_leads_to_a_new_register() {
    let mut bench = Bench::default();
    bench.client.update(bench.now);
    bench.pass_secs(100);
    let paths: Vec<_> = bench.sent.iter().map(|p| texts(p, CoapOption::UriPath)).collect();
    assert_eq!(paths.iter().filter(|p| p.len() == 2).count(), 5);
    assert_eq!(paths.last().unwrap(), &["rd"]);
    assert!(matches!(bench.events[0], Event::Lost { .. }));
}

#[test]
fn registers_back_off_and_begin_again_with_each_sequence() {
    let retry = RetryPolicy {
        attempts: 4,
        timer_secs: 10,
        sequence_delay_secs: 1000,
        sequences: 2,
    };
    let mut bench = Bench::started(ClientConfig {
        retry,
        ..Bench::config()
    });
    let mut waits = Vec::new();
    loop {
        let register = bench.take_sent();
        bench.answer(&register, "5.00", &[]);
        let Some(Event::RegistrationFailed {
            reason,
            retry_after_secs,
        }) = bench.events.pop()
        else {
            panic!("{:?}", bench.events);
        };
        assert!(reason.contains("5.00"));
        if retry_after_secs.is_none() {
            break;
        }
        waits.push(bench.pass_until_sent().as_secs_f64());
    }
    let expected = [10.0, 20.0, 40.0, 1000.0, 10.0, 20.0, 40.0];
    assert_eq!(waits.len(), expected.len());
    for (wait, least) in waits.iter().zip(expected) {
        assert!((least..=least * 1.5).contains(wait), "{waits:?}");
    }
    assert_eq!(bench.client.state(), RegistrationState::Stopped);
    assert_eq!(bench.client.poll_timeout(), None);
    bench.client.start(&bench.device, bench.now);
    bench.collect();
    assert_eq!(texts(&bench.take_sent(), CoapOption::UriPath), ["rd"]);
}

#[test]
fn no_wait_is_longer_than_a_day() {
    let retry = RetryPolicy {
        attempts: u32::MAX,
        timer_secs: u32::MAX,
        sequence_delay_secs: u32::MAX,
        sequences: u32::MAX,
    };
    let mut bench = Bench::started(ClientConfig {
        retry,
        ..Bench::config()
    });
    for _ in 0..50 {
        let register = bench.take_sent();
        bench.answer(&register, "4.03", &[]);
        assert!(bench.pass_until_sent() <= Duration::from_secs(86_400));
    }
}

#[test]
fn a_busy_server_says_when_to_come_again() {
    let mut bench = Bench::started(Bench::config());
    let register = bench.take_sent();
    let mut busy = Packet::new();
    busy.header.set_type(MessageType::Acknowledgement);
    busy.header.message_id = register.header.message_id;
    busy.header.set_code("5.03");
    busy.set_token(register.get_token().to_vec());
    busy.add_option(CoapOption::MaxAge, vec![200]);
    bench.receive(&busy);
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(200));
}

#[test]
fn a_register_without_a_location_is_a_failed_one() {
    let mut bench = Bench::started(Bench::config());
    let register = bench.take_sent();
    bench.answer(&register, "2.01", &[]);
    assert_eq!(bench.client.state(), RegistrationState::Waiting);
}

#[test]
fn an_update_by_hand_ends_the_wait_for_the_next_register() {
    let mut bench = Bench::started(Bench::config());
    let register = bench.take_sent();
    bench.answer(&register, "5.00", &[]);
    bench.client.update(bench.now);
    assert_eq!(bench.pass_until_sent(), Duration::ZERO);
}

#[test]
fn a_deregister_deletes_the_location_and_ends_everything() {
    let mut bench = Bench::default();
    bench.client.deregister(bench.now);
    bench.collect();
    let deregister = bench.take_sent();
    assert_eq!(code(&deregister), "0.04");
    assert_eq!(texts(&deregister, CoapOption::UriPath), ["rd", "5a3f"]);
    assert_eq!(bench.client.state(), RegistrationState::Deregistering);
    bench.answer(&deregister, "2.02", &[]);
    assert_eq!(bench.events, [Event::Deregistered]);
    assert_eq!(bench.client.state(), RegistrationState::Stopped);
    bench.pass_secs(7 * 86_400);
    assert_eq!(bench.sent, []);
    let refused = bench.ask(&Ask::get("/3/0/0"));
    assert_eq!(code(&refused), "5.03");
}

#[test]
fn a_deregister_without_an_answer_ends_too() {
    let mut bench = Bench::default();
    bench.client.deregister(bench.now);
    bench.pass_secs(100);
    assert_eq!(bench.events, [Event::Deregistered]);
}

#[test]
fn a_deregister_while_registering_gives_the_register_up() {
    let mut bench = Bench::started(Bench::config());
    let register = bench.take_sent();
    bench.client.deregister(bench.now);
    bench.collect();
    assert_eq!(bench.events, [Event::Deregistered]);
    bench.answer(&register, "2.01", &["rd", "1"]);
    assert_eq!(bench.client.state(), RegistrationState::Stopped);
    bench.pass_secs(1000);
    assert_eq!(bench.client.state(), RegistrationState::Stopped);
}

#[test]
fn what_is_created_or_deleted_is_told_by_an_update() {
    let mut bench = Bench::default();
    bench.send(&Ask::delete("/3311/1"));
    let (id, _) = bench.operation();
    bench.device.remove(3311, 1);
    bench.respond(id, crate::client::Response::Deleted);
    assert_eq!(code(&bench.sent.remove(0)), "2.02");
    let update = bench.take_sent();
    assert_eq!(payload(&update), LIST.replace(",</3311/1>", ""));
    bench.answer(&update, "2.04", &[]);

    bench.send(&Ask::post("/3311").body(110, r#"[{"bn":"/3311/4/","n":"5850","vb":true}]"#));
    let (id, _) = bench.operation();
    bench.device.set("/3311/4/5850", Value::Boolean(true));
    bench.respond(id, crate::client::Response::Created(InstanceId(4)));
    let created = bench.sent.remove(0);
    assert_eq!(code(&created), "2.01");
    assert_eq!(texts(&created, CoapOption::LocationPath), ["3311", "4"]);
    assert!(payload(&bench.take_sent()).contains("</3311/4>"));
}

#[test]
fn a_request_that_fits_no_message_fails_at_once() {
    let bench = Bench::started(ClientConfig {
        endpoint: "e".repeat(2000),
        ..Bench::config()
    });
    assert_eq!(bench.sent, []);
    assert!(matches!(bench.events[..], [Event::RegistrationFailed { .. }]));
    assert_eq!(bench.client.state(), RegistrationState::Waiting);

    let mut bench = Bench::started(Bench::config());
    let register = bench.take_sent();
    bench.answer(&register, "2.01", &["l".repeat(250).as_str(); 6]);
    assert_eq!(bench.client.state(), RegistrationState::Registered);
    bench.client.deregister(bench.now);
    bench.pass_secs(0);
    assert_eq!(bench.client.state(), RegistrationState::Stopped);
    assert_eq!(bench.events.last(), Some(&Event::Deregistered));
}
