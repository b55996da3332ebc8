//! The server against the client of `lwm2m-client`.

mod bounds;
mod rig;

use std::time::Duration;

use lwm2m_client::client;
use lwm2m_client::object::Version;
use lwm2m_client::{ObjectId, Path, Value};

use super::{Code, Event, RawRequest, RequestFailure, ServerRequest, content_format};
use crate::network::Conditions;
use rig::{CLIENT, Rig, TEMPERATURE};

const SECOND: Duration = Duration::from_secs(1);

fn count(rig: &Rig, wanted: impl Fn(&Event) -> bool) -> usize {
    rig.events.iter().filter(|(_, event)| wanted(event)).count()
}

fn registrations(rig: &Rig) -> usize {
    count(rig, |event| matches!(event, Event::Registered(_)))
}

#[test]
fn a_client_registers_and_stays_registered_beyond_its_lifetime() {
    let mut rig = Rig::registered();
    rig.run_for(SECOND * 1000);
    let clients = rig.server.clients();
    assert_eq!(
        (clients[0].endpoint.as_str(), clients[0].lifetime_secs),
        ("lamp", 300)
    );
    assert_eq!(clients[0].objects.get(&ObjectId(3303)), Some(&Version::new(1, 1)));
    assert!(clients[0].instances.contains(&Path::instance(3303, 0)));
    assert!(count(&rig, |event| matches!(event, Event::Updated(_))) >= 3);
    assert_eq!(registrations(&rig), 1);
}

#[test]
fn a_client_that_was_forgotten_registers_again() {
    let mut rig = Rig::registered();
    rig.server.forget("lamp");
    rig.client.update(rig.clock.now().instant);
    rig.run_for(SECOND * 60);
    assert_eq!((registrations(&rig), rig.server.clients().len()), (2, 1));
}

#[test]
fn a_client_that_is_refused_tries_again_later() {
    let mut rig = Rig::new(Conditions::good(), 1, |_| {});
    rig.server.manners_mut().refuse_register = Some(Code::FORBIDDEN);
    rig.run_for(SECOND * 2);
    assert_eq!(rig.server.clients(), []);
    assert!(
        rig.client_events
            .iter()
            .any(|event| matches!(event, client::Event::RegistrationFailed { .. }))
    );
    rig.server.manners_mut().refuse_register = None;
    rig.run_for(SECOND * 120);
    assert_eq!(rig.server.clients().len(), 1);
}

#[test]
fn a_client_steps_down_to_the_version_that_the_server_knows() {
    let mut rig = Rig::new(Conditions::good(), 1, |_| {});
    rig.server.manners_mut().newest_version = "1.0".to_owned();
    rig.run_for(SECOND * 60);
    assert_eq!(rig.server.clients()[0].version, "1.0");
    let refused = |event: &Event| {
        matches!(
            event,
            Event::Refused {
                code: Code::PRECONDITION_FAILED,
                ..
            }
        )
    };
    assert_eq!(count(&rig, refused), 1);
}

#[test]
fn a_registration_whose_client_falls_silent_expires() {
    let mut rig = Rig::registered();
    rig.network.conditions_mut().loss = 1.0;
    rig.run_for(SECOND * 400);
    assert_eq!(rig.server.clients(), []);
    assert_eq!(
        count(&rig, |event| *event
            == Event::Expired {
                endpoint: "lamp".to_owned()
            }),
        1
    );
}

#[test]
fn a_client_that_leaves_is_gone() {
    let mut rig = Rig::registered();
    rig.client.deregister(rig.clock.now().instant);
    rig.run_for(SECOND);
    assert_eq!(rig.server.clients(), []);
    let outcome = rig.read(TEMPERATURE);
    assert_eq!(outcome, Err(RequestFailure::NotRegistered("lamp".to_owned())));
}

#[test]
fn a_value_is_read_and_one_that_is_not_there_is_not_found() {
    let mut rig = Rig::registered();
    let answer = rig.read(TEMPERATURE).unwrap();
    assert_eq!(
        (answer.code, answer.values[0].value.clone()),
        (Code::CONTENT, Value::Float(20.0))
    );
    assert_eq!(
        rig.read(Path::resource(3303, 7, 5700)).unwrap().code,
        Code::NOT_FOUND
    );
}

#[test]
fn object_lists_and_answers_that_need_many_blocks_are_put_together() {
    let mut rig = Rig::registered();
    rig.add_instances(400);
    rig.run_for(SECOND * 60);
    assert_eq!(rig.server.clients()[0].instances.len(), 403);
    let answer = rig
        .ask(ServerRequest::Discover {
            path: Path::Object(ObjectId(3303)),
        })
        .unwrap();
    assert_eq!(answer.content_format, Some(content_format::LINK));
    assert!(answer.text().contains("</3303/400/5700>"), "{}", answer.text());
}

#[test]
fn a_request_whose_body_needs_many_blocks_is_sent_in_them() {
    let mut rig = Rig::registered();
    let request = RawRequest {
        method: 3,
        path: ["3303", "0", "5700"].map(str::to_owned).to_vec(),
        content_format: Some(content_format::TEXT),
        payload: vec![b'1'; 3000],
        ..RawRequest::default()
    };
    let answer = rig.ask(ServerRequest::Raw(request)).unwrap();
    assert_eq!(answer.code, Code::METHOD_NOT_ALLOWED, "{}", answer.text());
}

#[test]
fn an_observed_value_is_notified_until_the_observation_is_cancelled() {
    let mut rig = Rig::registered();
    let observe = ServerRequest::Observe {
        path: TEMPERATURE,
        accept: Some(content_format::TEXT),
    };
    assert_eq!(rig.ask(observe).unwrap().code, Code::CONTENT);
    assert_eq!(rig.server.clients()[0].observed, [TEMPERATURE]);
    rig.set(TEMPERATURE, Value::Float(21.0));
    rig.run_for(SECOND * 5);
    assert_eq!(rig.notified(), ["21"]);
    rig.ask(ServerRequest::CancelObservation { path: TEMPERATURE })
        .unwrap();
    rig.set(TEMPERATURE, Value::Float(22.0));
    rig.run_for(SECOND * 5);
    assert_eq!((rig.notified().len(), rig.client.observed().len()), (1, 0));
}

#[test]
fn an_observation_that_the_server_lost_is_reset() {
    let mut rig = Rig::registered();
    rig.ask(ServerRequest::Observe {
        path: TEMPERATURE,
        accept: Some(content_format::TEXT),
    })
    .unwrap();
    rig.server.forget_observation("lamp", TEMPERATURE);
    rig.set(TEMPERATURE, Value::Float(21.0));
    rig.run_for(SECOND * 5);
    assert_eq!((rig.notified().len(), rig.client.observed().len()), (0, 0));
}

#[test]
fn what_is_always_observed_is_observed_again_after_each_registration() {
    let mut rig = Rig::new(Conditions::good(), 1, |_| {});
    rig.server.manners_mut().observe = vec![TEMPERATURE, Path::resource(3416, 0, 1)];
    rig.server.manners_mut().observe_format = Some(content_format::TEXT);
    rig.run_for(SECOND * 2);
    assert_eq!(rig.server.clients()[0].observed, [TEMPERATURE]);
    rig.server.forget("lamp");
    rig.client.update(rig.clock.now().instant);
    rig.run_for(SECOND * 60);
    assert_eq!(rig.server.clients()[0].observed, [TEMPERATURE]);
    assert_eq!(rig.client.observed().len(), 1);
}

#[test]
fn a_server_that_answers_late_or_separately_is_understood() {
    for separate in [false, true] {
        let mut rig = Rig::new(Conditions::good(), 1, |_| {});
        rig.server.manners_mut().separate = separate;
        rig.server.manners_mut().answer_after = SECOND * 5;
        rig.run_for(SECOND * 60);
        assert_eq!(
            (registrations(&rig), rig.server.clients().len()),
            (1, 1),
            "separate {separate}"
        );
        assert_eq!(rig.read(TEMPERATURE).unwrap().code, Code::CONTENT);
    }
}

#[test]
fn a_client_outlives_the_silence_of_its_server() {
    let mut rig = Rig::registered();
    rig.server.manners_mut().silent = true;
    rig.run_for(SECOND * 900);
    rig.server.manners_mut().silent = false;
    rig.run_for(SECOND * 600);
    assert_eq!(rig.server.clients().len(), 1);
    assert_eq!(rig.read(TEMPERATURE).unwrap().code, Code::CONTENT);
}

#[test]
fn a_request_to_a_client_that_is_away_times_out() {
    let mut rig = Rig::registered();
    rig.network.conditions_mut().loss = 1.0;
    assert_eq!(rig.read(TEMPERATURE), Err(RequestFailure::TimedOut));
}

#[test]
fn over_a_poor_network_every_request_is_answered_once_and_every_run_is_the_same() {
    for seed in 1..=4 {
        let run = |seed| {
            let mut rig = Rig::new(Conditions::poor(), seed, |_| {});
            rig.run_for(SECOND * 120);
            let codes: Vec<_> = (0..40)
                .map(|_| rig.read(TEMPERATURE).map(|answer| answer.code))
                .collect();
            (
                codes,
                rig.events.len(),
                rig.clock.elapsed(),
                rig.network.counters(),
            )
        };
        let first = run(seed);
        assert!(
            first.0.iter().all(|code| *code == Ok(Code::CONTENT)),
            "seed {seed}: {:?}",
            first.0
        );
        assert_eq!(first, run(seed), "seed {seed}");
    }
}

#[test]
fn datagrams_that_are_no_messages_are_told_and_change_nothing() {
    let mut rig = Rig::registered();
    let now = rig.clock.now();
    for datagram in [
        &b""[..],
        b"\xff",
        b"\x41\x02",
        b"GET / HTTP/1.1\r\n",
        &[0x48; 600],
    ] {
        rig.server.handle_datagram(CLIENT, datagram, now);
    }
    rig.run_for(SECOND);
    assert_eq!(count(&rig, |event| matches!(event, Event::Malformed { .. })), 5);
    assert_eq!(rig.server.clients().len(), 1);
}

#[test]
fn over_a_poor_network_both_sides_agree_on_what_is_observed() {
    for seed in 1..=60 {
        let mut rig = Rig::new(Conditions::poor(), seed, |_| {});
        rig.server.manners_mut().observe = vec![TEMPERATURE];
        rig.run_for(SECOND * 60);
        *rig.network.conditions_mut() = Conditions::good();
        rig.run_for(SECOND * 30);
        rig.set(TEMPERATURE, Value::Float(21.0));
        rig.run_for(SECOND * 10);
        let observed: Vec<Path> = rig
            .client
            .observed()
            .iter()
            .map(|observed| observed.path)
            .collect();
        assert_eq!(rig.server.clients()[0].observed, observed, "seed {seed}");
        assert_eq!(rig.notified(), ["21"], "seed {seed}");
    }
}
