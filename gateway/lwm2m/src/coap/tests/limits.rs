//! Every bound of the endpoint is reached. Those of one part alone are reached beside that part.

use std::time::Duration;

use super::pair::{body, content, request};
use super::{ask, endpoint, events, reported_request, sent, start, tell};
use crate::coap::limits::{
    BODY_MAX_BYTES, DATAGRAM_MAX_BYTES, DATAGRAM_SENT_MAX_BYTES, EVENTS_MAX, INCOMING_MAX, NOTIFICATIONS_MAX,
    OBSERVED_MAX, REQUESTS_MAX, RETRY_AFTER_SECS, SEPARATE_RESPONSES_MAX, TRANSMITS_MAX,
};
use crate::coap::{
    Code, Event, Kind, Message, Method, Notification, Request, RequestFailure, Response, option,
};

const GET: u8 = 1;

fn notification(token: u16, confirmable: bool, payload: Vec<u8>) -> Notification {
    Notification {
        token: token.to_be_bytes().to_vec(),
        confirmable,
        observe: 2,
        code: Code::CONTENT,
        content_format: None,
        max_age_secs: None,
        payload,
    }
}

#[test]
fn one_request_too_many_fails_at_once() {
    let (mut endpoint, now) = (endpoint(), start());
    for _ in 0..REQUESTS_MAX {
        endpoint.request(request(Method::Get, "a", b""), now);
    }
    assert_eq!(events(&mut endpoint), []);
    let id = endpoint.request(request(Method::Get, "a", b""), now);
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id,
            reason: RequestFailure::QueueFull
        }]
    );
}

#[test]
fn a_request_that_fits_no_message_or_no_transfer_fails_at_once() {
    let (mut endpoint, now) = (endpoint(), start());
    let body_too_large = endpoint.request(request(Method::Post, "a", &body(BODY_MAX_BYTES + 1)), now);
    let query = vec!["q".repeat(200); DATAGRAM_SENT_MAX_BYTES / 200];
    let options_too_large = endpoint.request(
        Request {
            query,
            ..request(Method::Get, "a", b"")
        },
        now,
    );
    let failed = |id| Event::Failed {
        id,
        reason: RequestFailure::RequestTooLarge,
    };
    assert_eq!(
        events(&mut endpoint),
        [failed(body_too_large), failed(options_too_large)]
    );
    assert_eq!((sent(&mut endpoint), endpoint.poll_timeout()), (vec![], None));
}

#[test]
fn one_unanswered_request_of_the_peer_too_many_gets_5_03() {
    let (mut endpoint, now) = (endpoint(), start());
    for id in 0..=INCOMING_MAX as u16 {
        let replies = tell(&mut endpoint, &ask(Kind::Confirmable, GET, id, "a", &[]), now);
        if usize::from(id) < INCOMING_MAX {
            reported_request(&mut endpoint);
        } else {
            assert_eq!(replies[0].code, Code::SERVICE_UNAVAILABLE);
            assert_eq!(replies[0].uint(option::MAX_AGE), Some(RETRY_AFTER_SECS));
        }
    }
    assert_eq!(events(&mut endpoint), []);
}

#[test]
fn while_no_event_is_polled_requests_get_5_03_and_malformed_datagrams_are_only_counted() {
    let (mut endpoint, now) = (endpoint(), start());
    for _ in 0..EVENTS_MAX + 10 {
        endpoint.handle_datagram(b"?", now);
    }
    let refused = tell(&mut endpoint, &ask(Kind::Confirmable, GET, 1, "a", &[]), now);
    assert_eq!(refused[0].code, Code::SERVICE_UNAVAILABLE);
    assert_eq!(events(&mut endpoint).len(), EVENTS_MAX);
    assert_eq!(endpoint.counters().malformed, EVENTS_MAX as u64 + 10);
}

#[test]
fn datagrams_nobody_polls_are_lost_oldest_first() {
    let (mut endpoint, now) = (endpoint(), start());
    for id in 0..TRANSMITS_MAX as u16 + 5 {
        endpoint.handle_datagram(&Message::empty(Kind::Confirmable, id).emit().unwrap(), now);
    }
    let resets = sent(&mut endpoint);
    assert_eq!(
        (resets.len(), resets[0].id, endpoint.counters().dropped),
        (TRANSMITS_MAX, 5, 5)
    );
}

#[test]
fn a_datagram_over_the_bound_is_rejected() {
    let (mut endpoint, now) = (endpoint(), start());
    let mut datagram = ask(Kind::Confirmable, GET, 9, "a", &[]).emit().unwrap();
    datagram.push(0xff);
    datagram.resize(DATAGRAM_MAX_BYTES, 0);
    endpoint.handle_datagram(&datagram, now);
    reported_request(&mut endpoint);
    datagram.push(0);
    endpoint.handle_datagram(&datagram, now);
    assert!(matches!(events(&mut endpoint)[..], [Event::Malformed { .. }]));
    assert_eq!(sent(&mut endpoint), [Message::empty(Kind::Reset, 9)]);
}

#[test]
fn one_separate_response_too_many_is_dropped() {
    let (mut endpoint, mut now) = (endpoint(), start());
    endpoint.request(request(Method::Get, "occupies-nstart", b""), now);
    let all = SEPARATE_RESPONSES_MAX as u16 + 1;
    for ids in [0..all / 2, all / 2..all] {
        let keys: Vec<_> = ids
            .map(|id| {
                tell(&mut endpoint, &ask(Kind::Confirmable, GET, id, "a", &[]), now);
                reported_request(&mut endpoint).key
            })
            .collect();
        now += Duration::from_secs(1);
        endpoint.handle_timeout(now);
        assert_eq!(endpoint.counters().dropped, 0);
        for key in keys {
            endpoint.respond(key, content(b"1"), now);
        }
    }
    assert_eq!(endpoint.counters().dropped, 1);
}

#[test]
fn one_waiting_notification_too_many_is_dropped_and_reported() {
    let (mut endpoint, now) = (endpoint(), start());
    for _ in 0..=NOTIFICATIONS_MAX {
        endpoint.notify(notification(1, true, vec![]), now);
    }
    assert_eq!(events(&mut endpoint), [], "one is on the wire, the others wait");
    let id = endpoint.notify(notification(1, true, vec![]), now);
    assert_eq!(events(&mut endpoint), [Event::NotificationDropped { id }]);
}

#[test]
fn messages_wait_when_the_ids_of_the_exchange_lifetime_are_used_up() {
    let (mut endpoint, begin) = (endpoint(), start());
    let (mut out, burst) = (0, 4_300);
    for _ in 0..burst + 100 {
        endpoint.notify(notification(1, false, vec![]), begin);
        out += sent(&mut endpoint).len();
    }
    assert!(out < burst + 10, "the burst is over");
    assert_eq!(events(&mut endpoint), []);
    let mut now = begin;
    while let Some(at) = endpoint.poll_timeout() {
        assert!(at > now, "time goes on");
        now = at;
        endpoint.handle_timeout(now);
        out += sent(&mut endpoint).len();
    }
    assert_eq!(out, burst + 100);
    let rate = (out as f64 - 4_301.0) / (now - begin).as_secs_f64();
    assert!((200.0..=265.5).contains(&rate), "{rate} a second");
}

#[test]
fn a_response_that_fits_no_transfer_or_no_message_becomes_5_00() {
    let (mut endpoint, now) = (endpoint(), start());
    let location = vec!["l".repeat(200); DATAGRAM_SENT_MAX_BYTES / 200];
    let unfit = [
        content(&body(BODY_MAX_BYTES + 1)),
        Response {
            location,
            ..Response::new(Code::CREATED)
        },
    ];
    for (id, response) in (1..).zip(unfit) {
        tell(&mut endpoint, &ask(Kind::Confirmable, GET, id, "a", &[]), now);
        let key = reported_request(&mut endpoint).key;
        endpoint.respond(key, response, now);
        let answer = sent(&mut endpoint).remove(0);
        assert_eq!((answer.code, answer.id), (Code::INTERNAL_SERVER_ERROR, id));
    }
}

#[test]
fn the_path_of_the_oldest_of_too_many_observations_is_forgotten() {
    let (mut endpoint, now) = (endpoint(), start());
    for id in 0..=OBSERVED_MAX as u16 {
        let mut register = ask(
            Kind::Confirmable,
            GET,
            id,
            &id.to_string(),
            &[(option::OBSERVE, b"")],
        );
        register.token = id.to_be_bytes().to_vec();
        tell(&mut endpoint, &register, now);
        let key = reported_request(&mut endpoint).key;
        endpoint.respond(
            key,
            Response {
                observe: Some(1),
                ..content(b"1")
            },
            now,
        );
        sent(&mut endpoint);
    }
    for (token, known) in [(0, false), (1, true)] {
        endpoint.notify(notification(token, false, body(600)), now);
        sent(&mut endpoint);
        let path = token.to_string();
        let rest = ask(
            Kind::Confirmable,
            GET,
            5000 + token,
            &path,
            &[(option::BLOCK2, &[0x15])],
        );
        assert_eq!(tell(&mut endpoint, &rest, now).len(), usize::from(known));
        assert_eq!(
            events(&mut endpoint).len(),
            usize::from(!known),
            "the layer above is asked instead"
        );
    }
}
