//! What outlives a restart: registration, observations, attributes, object 1, and what must not be used twice.

mod bytes;

use std::collections::BTreeSet;
use std::time::Duration;

use coap_lite::{CoapOption, Packet};

use crate::client::tests::peer::{Ask, Bench, code, number, payload, texts};
use crate::client::{ClientConfig, Event, RegistrationState, SendId, SendOutcome, SendRefused, limits};
use crate::coap::Code;
use crate::format::{Entry, Record};
use crate::{Path, Value};

const TEMPERATURE: &str = "/3303/0/5700";

fn config() -> ClientConfig {
    ClientConfig {
        reserves_message_ids: true,
        ..Bench::config()
    }
}

/// A registered client whose ids are reserved.
fn registered() -> Bench {
    let mut bench = Bench::started(config());
    assert_eq!(bench.sent, [], "no id is reserved yet");
    assert_eq!(bench.events, [Event::SaveDue]);
    bench.save();
    let register = bench.take_sent();
    bench.answer(&register, "2.01", &["rd", "5a3f"]);
    assert!(bench.events.contains(&Event::SaveDue));
    bench.save();
    bench.events.clear();
    bench
}

fn observe(bench: &mut Bench, path: &str, token: &[u8]) -> u32 {
    let answer = bench.ask(&Ask::get(path).observe(0).token(token));
    number(&answer, CoapOption::Observe).expect("the observation is accepted")
}

/// Starts a client after a restart; returns its first message.
fn start(bench: &mut Bench) -> Packet {
    bench.client.start(&bench.device, bench.now);
    bench.collect();
    assert_eq!(bench.sent, [], "no id is reserved yet");
    bench.save();
    if bench.sent.is_empty() {
        // After many restarts in a short time ids are short.
        bench.pass_until_sent();
    }
    bench.take_sent()
}

/// Restarts a client, which finds its registration alive.
fn resumed(mut bench: Bench, config: ClientConfig) -> Bench {
    let saved = bench.save();
    bench.pass_secs(5);
    let mut bench = bench.restarted(config, &saved);
    let update = start(&mut bench);
    assert_eq!(texts(&update, CoapOption::UriPath), ["rd", "5a3f"]);
    bench.answer(&update, "2.04", &[]);
    bench
}

fn send(bench: &mut Bench, id: u64) -> Result<(), SendRefused> {
    let entry = Entry {
        path: Path::resource(3303, 0, 5700),
        value: Value::Float(1.5),
    };
    let records = vec![Record { entry, time: None }];
    let result = bench.client.send(SendId(id), records, bench.now);
    bench.collect();
    result
}

#[test]
fn after_a_restart_an_update_goes_out_and_the_registration_goes_on() {
    let mut bench = registered();
    let saved = bench.save();
    let mut bench = bench.restarted(config(), &saved);
    assert_eq!(
        code(&bench.ask(&Ask::get(TEMPERATURE))),
        "2.05",
        "it is answered before its start"
    );
    let update = start(&mut bench);
    assert_eq!((code(&update).as_str(), update.payload.len()), ("0.02", 0));
    assert_eq!(texts(&update, CoapOption::UriPath), ["rd", "5a3f"]);
    assert_eq!(texts(&update, CoapOption::UriQuery), Vec::<String>::new());
    assert_eq!(bench.client.state(), RegistrationState::Registering);
    assert_eq!(send(&mut bench, 1), Err(SendRefused::NotRegistered));
    assert_eq!(code(&bench.ask(&Ask::get(TEMPERATURE))), "2.05");
    bench.events.clear();
    bench.answer(&update, "2.04", &[]);
    let location = "rd/5a3f".to_owned();
    assert_eq!(bench.events, [Event::Resumed { location }]);
    assert_eq!(send(&mut bench, 1), Ok(()));
    // From then on as if it had never stopped.
    bench.sent.clear();
    bench.client.update(bench.now);
    bench.pass_secs(0);
    bench.events.clear();
}

#[test]
fn a_registration_that_is_gone_after_a_restart_is_made_anew_without_observations() {
    for answer in [Some("4.04"), None] {
        let mut bench = registered();
        observe(&mut bench, TEMPERATURE, &[1]);
        let saved = bench.save();
        let mut bench = bench.restarted(config(), &saved);
        assert_eq!(bench.client.observed().len(), 1);
        let update = start(&mut bench);
        bench.events.clear();
        match answer {
            Some(code) => bench.answer(&update, code, &[]),
            None => bench.pass_secs(93),
        }
        let register = bench.sent.pop().unwrap();
        assert_eq!(texts(&register, CoapOption::UriPath), ["rd"]);
        assert!(
            matches!(bench.events[0], Event::Lost { .. }),
            "{:?}",
            bench.events
        );
        assert!(bench.events.contains(&Event::ObservationsChanged));
        assert_eq!(bench.client.observed(), []);
        bench.answer(&register, "2.01", &["rd", "2"]);
        assert_eq!(bench.client.state(), RegistrationState::Registered);
    }
}

#[test]
fn the_update_carries_what_has_changed_while_the_client_was_away() {
    let mut bench = registered();
    let saved = bench.save();
    let longer = ClientConfig {
        lifetime_secs: 600,
        ..config()
    };
    let mut bench = bench.restarted(longer, &saved);
    bench.device.remove(3311, 1);
    let update = start(&mut bench);
    assert_eq!(texts(&update, CoapOption::UriQuery), ["lt=600"]);
    assert!(payload(&update).contains("</3311/0>"), "{}", payload(&update));
    assert!(!payload(&update).contains("</3311/1>"), "{}", payload(&update));
}

#[test]
fn what_only_a_register_can_tell_leads_to_one() {
    let changes: [fn(&mut ClientConfig); 3] = [
        |c| c.endpoint = "another".to_owned(),
        |c| c.server_uri = "coap://127.0.0.2:5683".to_owned(),
        |c| c.register_query.push(("gw".to_owned(), "cab-17".to_owned())),
    ];
    for change in changes {
        let mut bench = registered();
        observe(&mut bench, TEMPERATURE, &[1]);
        let saved = bench.save();
        let mut changed = config();
        change(&mut changed);
        let mut bench = bench.restarted(changed, &saved);
        assert_eq!(bench.client.observed(), []);
        let register = start(&mut bench);
        assert_eq!(texts(&register, CoapOption::UriPath), ["rd"]);
    }
}

#[test]
fn observations_go_on_with_their_tokens_and_a_higher_sequence() {
    let mut bench = registered();
    bench.ask(&Ask::put(TEMPERATURE).query("pmin=3&gt=30"));
    let before = observe(&mut bench, TEMPERATURE, &[0xAB, 0xCD]);
    let mut bench = resumed(bench, config());
    bench.pass_secs(10);
    assert_eq!(bench.sent, [], "nothing has changed");
    assert_eq!(bench.client.observed()[0].pmin_secs, 3);
    bench.change(TEMPERATURE, Value::Float(29.0));
    assert_eq!(bench.sent, [], "gt holds on");
    bench.change(TEMPERATURE, Value::Float(31.0));
    let notification = bench.take_sent();
    assert_eq!(notification.get_token(), [0xAB, 0xCD]);
    assert_eq!(payload(&notification), "31");
    let sequence = number(&notification, CoapOption::Observe).unwrap();
    assert!(
        sequence > before && sequence - before < 1 << 23,
        "{before} {sequence}"
    );
}

#[test]
fn what_changed_while_the_client_was_away_is_told_after_the_update() {
    let mut bench = registered();
    observe(&mut bench, TEMPERATURE, &[1]);
    let saved = bench.save();
    let mut bench = bench.restarted(config(), &saved);
    bench.device.set(TEMPERATURE, Value::Float(7.0));
    let update = start(&mut bench);
    bench.answer(&update, "2.04", &[]);
    assert_eq!(payload(&bench.take_sent()), "7");
}

#[test]
fn where_it_is_not_known_what_was_told_the_present_value_is() {
    let mut bench = registered();
    let long = "x".repeat(limits::SAVED_VALUES_BYTES + 1);
    bench.device.set("/3/0/14", Value::String(long.clone()));
    observe(&mut bench, "/3/0/14", &[1]);
    let bench = &mut resumed(bench, config());
    assert!(long.starts_with(&payload(&bench.take_sent())));
}

#[test]
fn object_1_is_as_the_server_left_it_except_for_what_is_configured_anew() {
    let mut bench = registered();
    for (path, value) in [
        ("/1/0/1", "700"),
        ("/1/0/2", "4"),
        ("/1/0/6", "0"),
        ("/1/0/23", "1"),
    ] {
        bench.send(&Ask::put(path).body(0, value));
        // A new lifetime is told by an Update, also before the disk has it.
        let mut updates = std::mem::take(&mut bench.sent);
        bench.save();
        assert_eq!(code(&bench.sent.remove(0)), "2.04");
        assert!(bench.events.contains(&Event::SaveDue), "{path}");
        updates.append(&mut bench.sent);
        for update in updates {
            bench.answer(&update, "2.04", &[]);
        }
        bench.events.clear();
    }
    let anew = ClientConfig {
        default_pmin_secs: Some(9),
        ..config()
    };
    let mut bench = resumed(bench, anew);
    for (path, value) in [
        ("/1/0/1", "700"),
        ("/1/0/2", "9"),
        ("/1/0/6", "0"),
        ("/1/0/23", "1"),
    ] {
        assert_eq!(payload(&bench.ask(&Ask::get(path).accept(0))), value, "{path}");
    }
}

#[test]
fn the_format_of_sends_that_a_server_takes_is_remembered() {
    let mut bench = registered();
    send(&mut bench, 1).unwrap();
    let first = bench.take_sent();
    assert_eq!(number(&first, CoapOption::ContentFormat), Some(112));
    bench.answer(&first, "4.15", &[]);
    let refused = SendOutcome::Rejected(Code::UNSUPPORTED_CONTENT_FORMAT);
    let finished = Event::SendFinished {
        id: SendId(1),
        outcome: refused,
    };
    assert!(bench.events.contains(&finished), "{:?}", bench.events);
    assert!(bench.events.contains(&Event::SaveDue));
    let mut bench = resumed(bench, config());
    for id in 2..4 {
        send(&mut bench, id).unwrap();
        let json = bench.take_sent();
        assert_eq!(number(&json, CoapOption::ContentFormat), Some(110));
        bench.answer(&json, "4.06", &[]);
    }
}

#[test]
fn what_the_server_may_rely_on_is_durable_before_it_is_told() {
    let asks = [
        Ask::get(TEMPERATURE).observe(0),
        Ask::put(TEMPERATURE).query("pmin=0"),
        Ask::put("/1/0/2").body(0, "0"),
    ];
    for ask in asks {
        let mut bench = registered();
        bench.send(&ask);
        assert_eq!(
            (bench.sent.len(), bench.events.contains(&Event::SaveDue)),
            (0, true),
            "{ask:?}"
        );
        let early = bench.client.save();
        // Whatever the observation would tell follows its beginning.
        bench.change(TEMPERATURE, Value::Float(5.0));
        bench.send(&Ask::put("/3/0").query("pmin=7"));
        assert_eq!(bench.sent, [], "{ask:?}");
        bench.client.handle_saved(&early, bench.now);
        bench.collect();
        assert_eq!(
            bench.sent.len(),
            1,
            "the second change is not durable yet: {ask:?}"
        );
        assert!(code(&bench.sent.remove(0)).starts_with("2.0"));
        bench.pass_secs(0);
        let told = bench.sent.drain(..).map(|packet| code(&packet));
        assert!(told.eq(bench.client.observed().iter().map(|_| "2.05")), "{ask:?}");
        bench.save();
        assert_eq!(code(&bench.take_sent()), "2.04");
    }
}

#[test]
fn an_answer_that_waits_for_a_slow_disk_comes_apart_from_the_acknowledgement() {
    let mut bench = registered();
    bench.send(&Ask::get(TEMPERATURE).observe(0).token(&[9]));
    bench.pass_secs(2);
    assert_eq!(code(&bench.take_sent()), "0.00");
    bench.save();
    let answer = bench.take_sent();
    assert_eq!((code(&answer).as_str(), answer.get_token()), ("2.05", &[9][..]));
}

#[test]
fn answers_that_wait_for_a_disk_that_never_answers_are_bounded() {
    let mut bench = registered();
    for _ in 0..4 {
        for value in 0..limits::HELD_ANSWERS {
            bench.send(&Ask::put("/1/0/2").body(0, (value + 1).to_string()));
        }
        bench.pass_secs(300);
    }
    bench.sent.clear();
    bench.save();
    assert!(bench.sent.len() <= limits::HELD_ANSWERS, "{}", bench.sent.len());
}

#[test]
fn a_flow_of_sends_and_notifications_asks_for_a_save_only_once_a_block() {
    let mut bench = registered();
    observe(&mut bench, TEMPERATURE, &[1]);
    bench.save();
    bench.events.clear();
    let mut asked = 0;
    for i in 0..3_000u16 {
        bench.change(TEMPERATURE, Value::Float(i.into()));
        send(&mut bench, i.into()).unwrap();
        let post = bench.sent.pop().unwrap();
        bench.answer(&post, "2.04", &[]);
        bench.sent.clear();
        bench.pass(Duration::from_millis(20));
        if bench.events.contains(&Event::SaveDue) {
            asked += 1;
            bench.save();
        }
        bench.events.clear();
    }
    // Blocks of 256, 512, 1,024 and 2,048 ids, each asked for when half of the one before is left.
    assert_eq!(asked, 6);
}

#[test]
fn without_an_answer_of_the_store_the_reserved_ids_are_used_and_no_more() {
    let mut bench = registered();
    observe(&mut bench, TEMPERATURE, &[1]);
    let mut sent = 0;
    for i in 0..5_000u16 {
        bench.change(TEMPERATURE, Value::Float(i.into()));
        sent += bench.sent.len();
        bench.sent.clear();
        bench.pass(Duration::from_millis(20));
    }
    assert!((64..=512).contains(&sent), "{sent}");
    bench.save();
    bench.change(TEMPERATURE, Value::Float(-1.0));
    bench.pass_secs(1);
    assert!(!bench.sent.is_empty());
}

#[test]
fn no_message_id_and_no_sequence_number_comes_again_after_a_crash() {
    let mut bench = registered();
    observe(&mut bench, TEMPERATURE, &[1]);
    let (mut ids, mut last) = (BTreeSet::new(), 0);
    for life in 0..10u16 {
        let mut durable = bench.save();
        for i in 0..life * 100 {
            bench.change(TEMPERATURE, Value::Float((life * 1_000 + i).into()));
            bench.pass(Duration::from_millis(20));
            if bench.events.contains(&Event::SaveDue) {
                durable = bench.save();
                bench.events.clear();
            }
        }
        for packet in std::mem::take(&mut bench.sent) {
            assert!(ids.insert(packet.header.message_id), "{packet:?}");
            let sequence = number(&packet, CoapOption::Observe).unwrap_or(last);
            assert!(sequence >= last, "{sequence} after {last}");
            last = sequence;
        }
        bench = bench.restarted(config(), &durable);
        let update = start(&mut bench);
        assert!(ids.insert(update.header.message_id));
        bench.answer(&update, "2.04", &[]);
    }
    assert!(ids.len() > 4_000);
}

#[test]
fn with_a_location_too_long_to_keep_a_restart_leads_to_a_register() {
    let mut bench = registered();
    bench.client.update(bench.now);
    bench.pass_secs(0);
    let update = bench.take_sent();
    bench.answer(&update, "4.04", &[]);
    let register = bench.take_sent();
    let long = "x".repeat(200);
    bench.answer(
        &register,
        "2.01",
        &[long.as_str(); limits::SAVED_LOCATION_BYTES / 200 + 1],
    );
    assert_eq!(bench.client.state(), RegistrationState::Registered);
    let saved = bench.save();
    let mut bench = bench.restarted(config(), &saved);
    assert_eq!(texts(&start(&mut bench), CoapOption::UriPath), ["rd"]);
}

#[test]
fn a_client_that_has_left_does_not_come_back_as_registered() {
    let mut bench = registered();
    bench.client.deregister(bench.now);
    bench.collect();
    let delete = bench.take_sent();
    bench.answer(&delete, "2.02", &[]);
    assert!(bench.events.contains(&Event::SaveDue));
    let saved = bench.save();
    let mut bench = bench.restarted(config(), &saved);
    assert_eq!(texts(&start(&mut bench), CoapOption::UriPath), ["rd"]);
}

#[test]
fn a_copy_that_may_be_old_is_left_far_behind() {
    let mut bench = registered();
    let sequence = observe(&mut bench, TEMPERATURE, &[1]);
    let saved = bench.save().after_loss();
    let mut bench = bench.restarted(config(), &saved);
    let update = start(&mut bench);
    let ahead = update.header.message_id.wrapping_sub(100);
    assert!((32_768..33_500).contains(&ahead), "{ahead}");
    bench.answer(&update, "2.04", &[]);
    bench.change(TEMPERATURE, Value::Float(1.0));
    let told = number(&bench.take_sent(), CoapOption::Observe).unwrap();
    assert!(
        (1 << 22..1 << 23).contains(&(told - sequence)),
        "{sequence} {told}"
    );
}
