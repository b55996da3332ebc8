//! Object 1, which the client serves itself.

use std::time::Duration;

use coap_lite::CoapOption;

use super::peer::{Ask, Bench, code, payload, texts};
use crate::client::server_object::{ID, ServerObject};
use crate::client::{ClientConfig, EnablerVersion, Event, RegistrationState};
use crate::object::ObjectTable;

#[test]
fn its_definition_is_the_one_of_the_registry_less_what_is_not_offered() {
    let table = ObjectTable::builtin();
    for version in [EnablerVersion::V1_0, EnablerVersion::V1_1] {
        let config = ClientConfig {
            version,
            ..Bench::config()
        };
        let server = ServerObject::new(&config);
        let own = server.definition();
        let registered = table.in_enabler(ID, version).unwrap();
        assert_eq!((own.version, &own.urn), (registered.version, &registered.urn));
        assert_eq!(
            (own.multiple, own.mandatory),
            (registered.multiple, registered.mandatory)
        );
        for resource in own.resources.values() {
            let theirs = &registered.resources[&resource.id];
            assert_eq!(resource.name, theirs.name);
            assert_eq!(resource.operations, theirs.operations, "{}", resource.id);
            assert_eq!(
                (resource.multiple, resource.mandatory),
                (theirs.multiple, theirs.mandatory)
            );
            assert_eq!(resource.value_type, theirs.value_type);
        }
        let missing = registered
            .resources
            .values()
            .filter(|r| !own.resources.contains_key(&r.id));
        assert!(missing.into_iter().all(|r| !r.mandatory));
    }
}

#[test]
fn its_values_are_those_of_the_account() {
    let config = ClientConfig {
        short_server_id: 101,
        lifetime_secs: 600,
        default_pmin_secs: Some(3),
        notification_storing: false,
        ..Bench::config()
    };
    let mut bench = Bench::registered(config);
    for (path, expected) in [
        ("/1/0/0", "101"),
        ("/1/0/1", "600"),
        ("/1/0/2", "3"),
        ("/1/0/5", "86400"),
        ("/1/0/6", "0"),
        ("/1/0/7", "U"),
        ("/1/0/23", "0"),
    ] {
        assert_eq!(payload(&bench.ask(&Ask::get(path))), expected, "{path}");
    }
    for (path, expected) in [
        ("/1/0/3", "4.04"),
        ("/1/0/4", "4.05"),
        ("/1/0/9", "4.04"),
        ("/1/1", "4.04"),
    ] {
        assert_eq!(code(&bench.ask(&Ask::get(path))), expected, "{path}");
    }
}

#[test]
fn what_is_written_is_read_back_and_nothing_else_is_taken() {
    let mut bench = Bench::default();
    for (path, value, expected) in [
        ("/1/0/2", "7", "2.04"),
        ("/1/0/3", "70", "2.04"),
        ("/1/0/5", "60", "2.04"),
        ("/1/0/6", "0", "2.04"),
        ("/1/0/7", "U", "2.04"),
        ("/1/0/7", "UQ", "4.00"),
        ("/1/0/2", "-1", "4.00"),
        ("/1/0/1", "4294967296", "4.00"),
        ("/1/0/0", "2", "4.05"),
        ("/1/0/8", "2", "4.05"),
        ("/1/0/17", "2", "4.04"),
        ("/1/1/2", "2", "4.04"),
    ] {
        assert_eq!(
            code(&bench.ask(&Ask::put(path).body(0, value))),
            expected,
            "{path}={value}"
        );
    }
    for (path, expected) in [
        ("/1/0/2", "7"),
        ("/1/0/3", "70"),
        ("/1/0/5", "60"),
        ("/1/0/6", "0"),
        ("/1/0/7", "U"),
    ] {
        assert_eq!(payload(&bench.ask(&Ask::get(path))), expected, "{path}");
    }
    assert!(!bench.client.stores_notifications());
    assert_eq!(bench.client.state(), RegistrationState::Registered);
}

#[test]
fn a_partial_write_keeps_the_rest_and_a_replace_resets_it() {
    let config = ClientConfig {
        default_pmin_secs: Some(3),
        ..Bench::config()
    };
    let mut bench = Bench::registered(config);
    let partial = r#"[{"bn":"/1/0/","n":"3","v":30},{"n":"6","vb":false}]"#;
    assert_eq!(code(&bench.ask(&Ask::post("/1/0").body(110, partial))), "2.04");
    assert_eq!(payload(&bench.ask(&Ask::get("/1/0/2"))), "3");
    // One wrong value, and nothing of it holds.
    let wrong = r#"[{"bn":"/1/0/","n":"2","v":9},{"n":"7","vs":"T"}]"#;
    assert_eq!(code(&bench.ask(&Ask::post("/1/0").body(110, wrong))), "4.00");
    assert_eq!(payload(&bench.ask(&Ask::get("/1/0/2"))), "3");
    let incomplete = r#"[{"bn":"/1/0/","n":"1","v":86400}]"#;
    assert_eq!(code(&bench.ask(&Ask::put("/1/0").body(110, incomplete))), "4.00");
    let whole =
        r#"[{"bn":"/1/0/","n":"1","v":86400},{"n":"6","vb":true},{"n":"7","vs":"U"},{"n":"23","vb":false}]"#;
    assert_eq!(code(&bench.ask(&Ask::put("/1/0").body(110, whole))), "2.04");
    assert_eq!(code(&bench.ask(&Ask::get("/1/0/2"))), "4.04");
    assert_eq!(payload(&bench.ask(&Ask::get("/1/0/6"))), "1");
}

#[test]
fn a_new_lifetime_is_told_by_an_update_and_holds_from_then_on() {
    let mut bench = Bench::default();
    bench.send(&Ask::put("/1/0/1").body(0, "120"));
    assert_eq!(code(&bench.sent.remove(0)), "2.04");
    let update = bench.take_sent();
    assert_eq!(texts(&update, CoapOption::UriQuery), ["lt=120"]);
    assert_eq!(payload(&update), "");
    bench.answer(&update, "2.04", &[]);
    assert_eq!(bench.client.lifetime_secs(), 120);
    assert!(bench.pass_until_sent() <= Duration::from_secs(60));
}

#[test]
fn the_update_trigger_is_answered_and_followed_by_an_update() {
    for ask in [Ask::post("/1/0/8"), Ask::post("/1/0/8").body(0, "0='U'")] {
        let mut bench = Bench::default();
        bench.send(&ask);
        assert_eq!(code(&bench.sent.remove(0)), "2.04");
        assert_eq!(texts(&bench.take_sent(), CoapOption::UriPath), ["rd", "5a3f"]);
    }
}

#[test]
fn a_disabled_client_leaves_is_silent_and_comes_back() {
    let mut bench = Bench::default();
    bench.ask(&Ask::put("/1/0/5").body(0, "500"));
    bench.send(&Ask::post("/1/0/4"));
    assert_eq!(code(&bench.sent.remove(0)), "2.04");
    let deregister = bench.take_sent();
    assert_eq!(code(&deregister), "0.04");
    bench.answer(&deregister, "2.02", &[]);
    assert_eq!(bench.client.state(), RegistrationState::Disabled);
    assert!(bench.events.contains(&Event::Deregistered));
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(500));
    assert_eq!(texts(&bench.take_sent(), CoapOption::UriPath), ["rd"]);
}

#[test]
fn a_client_disabled_before_its_register_is_answered_comes_back() {
    let mut bench = Bench::started(Bench::config());
    bench.take_sent();
    assert_eq!(code(&bench.ask(&Ask::post("/1/0/4"))), "2.04");
    assert_eq!(bench.client.state(), RegistrationState::Disabled);
    assert_eq!(bench.pass_until_sent(), Duration::from_secs(86_400));
    let register = bench.take_sent();
    assert_eq!(texts(&register, CoapOption::UriPath), ["rd"]);
    bench.answer(&register, "4.03", &[]);
    assert_eq!(bench.client.state(), RegistrationState::Waiting);
    assert_eq!(code(&bench.ask(&Ask::post("/1/0/4"))), "2.04");
    assert_eq!(bench.client.state(), RegistrationState::Disabled);
}

#[test]
fn a_client_told_to_stop_while_it_is_disabled_stays_away() {
    let mut bench = Bench::default();
    bench.send(&Ask::post("/1/0/4"));
    bench.sent.remove(0);
    let deregister = bench.take_sent();
    bench.client.deregister(bench.now);
    bench.answer(&deregister, "2.02", &[]);
    assert_eq!(bench.client.state(), RegistrationState::Stopped);
}

#[test]
fn what_a_replace_resets_is_told_to_whoever_observes_it() {
    let mut bench = Bench::default();
    bench.ask(&Ask::put("/1/0/5").body(0, "500"));
    bench.ask(&Ask::get("/1/0/5").observe(0));
    let without_5 =
        r#"[{"bn":"/1/0/","n":"1","v":86400},{"n":"6","vb":true},{"n":"7","vs":"U"},{"n":"23","vb":false}]"#;
    bench.send(&Ask::put("/1/0").token(&[9]).body(110, without_5));
    assert_eq!(code(&bench.sent.remove(0)), "2.04");
    assert_eq!(payload(&bench.take_sent()), "86400");
}

#[test]
fn object_1_is_observed_like_any_other() {
    let mut bench = Bench::default();
    bench.ask(&Ask::get("/1/0/2").observe(0));
    // Absent, so there is nothing to observe.
    assert_eq!(bench.client.observed(), []);
    bench.ask(&Ask::get("/1/0/5").observe(0));
    bench.send(&Ask::put("/1/0/5").token(&[9]).body(0, "77"));
    assert_eq!(code(&bench.sent.remove(0)), "2.04");
    assert_eq!(payload(&bench.take_sent()), "77");
}
