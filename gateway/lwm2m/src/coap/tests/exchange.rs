//! Messages by hand against one endpoint: the message layer and the request layer of RFC 7252.

use std::time::Duration;

use super::pair::{content, request};
use super::{acknowledge, ask, endpoint, events, reported_request, sent, start, tell};
use crate::coap::{
    Code, Event, Kind, Message, MessageError, Method, Notification, RequestFailure, Response, option,
};

/// An option's number and value.
type Opt<'a> = (u16, &'a [u8]);

const GET: u8 = 1;
const PUT: u8 = 3;

#[test]
fn an_unanswered_request_is_repeated_with_doubling_timeouts_and_the_last_gets_its_full_one() {
    let (mut endpoint, begin) = (endpoint(), start());
    let id = endpoint.request(request(Method::Get, "temperature", b""), begin);
    let first = sent(&mut endpoint);
    let mut waits = Vec::new();
    let mut now = begin;
    while let Some(at) = endpoint.poll_timeout() {
        endpoint.handle_timeout(at);
        waits.push(at - now);
        now = at;
        let again = sent(&mut endpoint);
        assert!(again == first || again.is_empty());
    }
    assert_eq!(waits.len(), 5, "four repetitions, and the wait after the last");
    assert!((Duration::from_secs(2)..=Duration::from_secs(3)).contains(&waits[0]));
    assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2));
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id,
            reason: RequestFailure::TimedOut
        }]
    );
    assert_eq!(endpoint.counters().retransmissions, 4);
}

#[test]
fn a_fast_answer_is_piggybacked_and_replayed_for_a_repetition() {
    let (mut endpoint, now) = (endpoint(), start());
    let get = ask(Kind::Confirmable, GET, 0x7d35, "temperature", &[]);
    assert_eq!(tell(&mut endpoint, &get, now), []);
    assert_eq!(tell(&mut endpoint, &get, now), [], "nothing to say yet");
    let asked = reported_request(&mut endpoint);
    assert_eq!(
        (asked.method, asked.path),
        (Method::Get, vec!["temperature".to_owned()])
    );
    endpoint.respond(asked.key, content(b"22.3 C"), now);
    let answer = sent(&mut endpoint);
    let expected = acknowledge(&get, Code::CONTENT, &[(option::CONTENT_FORMAT, &[42])], b"22.3 C");
    assert_eq!(answer, [expected]);
    assert_eq!(tell(&mut endpoint, &get, now + Duration::from_secs(200)), answer);
    assert_eq!(events(&mut endpoint), []);
    endpoint.respond(asked.key, content(b"again"), now);
    assert_eq!(sent(&mut endpoint), [], "a second answer goes nowhere");
}

#[test]
fn a_slow_answer_is_acknowledged_first_and_then_sent_until_acknowledged() {
    // RFC 7252, figure 20.
    let (mut endpoint, begin) = (endpoint(), start());
    let get = ask(Kind::Confirmable, GET, 0x7d38, "temperature", &[]);
    tell(&mut endpoint, &get, begin);
    let asked = reported_request(&mut endpoint);
    let now = endpoint.poll_timeout().unwrap();
    assert_eq!(now - begin, Duration::from_secs(1), "half of ACK_TIMEOUT");
    endpoint.handle_timeout(now);
    let empty = [Message::empty(Kind::Acknowledgement, 0x7d38)];
    assert_eq!(sent(&mut endpoint), empty);
    assert_eq!(
        tell(&mut endpoint, &get, now),
        empty,
        "a repetition is acknowledged again"
    );
    assert_eq!(endpoint.poll_timeout(), None);

    endpoint.respond(asked.key, content(b"22.3 C"), now);
    let answer = sent(&mut endpoint);
    assert_eq!(
        (answer[0].kind, answer[0].id, &answer[0].token),
        (Kind::Confirmable, 0x7d34, &get.token)
    );
    endpoint.handle_timeout(endpoint.poll_timeout().unwrap());
    assert_eq!(sent(&mut endpoint), answer);
    tell(&mut endpoint, &Message::empty(Kind::Acknowledgement, 0x7d34), now);
    assert_eq!(endpoint.poll_timeout(), None);
}

#[test]
fn a_non_confirmable_request_gets_a_non_confirmable_response() {
    // RFC 7252, figure 22.
    let (mut endpoint, now) = (endpoint(), start());
    let get = ask(Kind::NonConfirmable, GET, 0x7d40, "temperature", &[]);
    tell(&mut endpoint, &get, now);
    let asked = reported_request(&mut endpoint);
    assert!(!asked.confirmable);
    endpoint.respond(asked.key, content(b"22.3 C"), now);
    let answer = sent(&mut endpoint);
    assert_eq!(
        (answer[0].kind, answer[0].id, &answer[0].token),
        (Kind::NonConfirmable, 0x7d34, &get.token)
    );
    assert_eq!(tell(&mut endpoint, &get, now), [], "a repetition is ignored");
}

#[test]
fn a_response_that_overtakes_the_acknowledgement_ends_the_repetitions() {
    // RFC 7252, figure 21.
    let (mut endpoint, now) = (endpoint(), start());
    let id = endpoint.request(request(Method::Get, "temperature", b""), now);
    let asked = sent(&mut endpoint);
    let mut response = Message::new(Kind::Confirmable, Code::CONTENT, 0xad7c, asked[0].token.clone());
    response.payload = b"22.3 C".to_vec();
    let acknowledgement = [Message::empty(Kind::Acknowledgement, 0xad7c)];
    assert_eq!(tell(&mut endpoint, &response, now), acknowledgement);
    assert_eq!(
        tell(&mut endpoint, &response, now),
        acknowledgement,
        "the peer missed the first one"
    );
    let answer = Response {
        content_format: None,
        ..content(b"22.3 C")
    };
    assert_eq!(events(&mut endpoint), [Event::Response { id, response: answer }]);
    assert_eq!(endpoint.poll_timeout(), None);
}

#[test]
fn a_request_that_is_acknowledged_and_never_answered_times_out() {
    let (mut endpoint, now) = (endpoint(), start());
    let id = endpoint.request(request(Method::Get, "a", b""), now);
    let asked = sent(&mut endpoint);
    tell(
        &mut endpoint,
        &Message::empty(Kind::Acknowledgement, asked[0].id),
        now,
    );
    let at = endpoint.poll_timeout().unwrap();
    assert_eq!(at - now, Duration::from_secs(93), "MAX_TRANSMIT_WAIT");
    endpoint.handle_timeout(at);
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id,
            reason: RequestFailure::TimedOut
        }]
    );
}

#[test]
fn a_reset_fails_the_request_and_a_foreign_one_does_nothing() {
    let (mut endpoint, now) = (endpoint(), start());
    let id = endpoint.request(request(Method::Get, "a", b""), now);
    let asked = sent(&mut endpoint);
    tell(
        &mut endpoint,
        &Message::empty(Kind::Reset, asked[0].id.wrapping_add(1)),
        now,
    );
    assert_eq!(events(&mut endpoint), []);
    tell(&mut endpoint, &Message::empty(Kind::Reset, asked[0].id), now);
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id,
            reason: RequestFailure::Reset
        }]
    );
    assert_eq!(endpoint.poll_timeout(), None);
}

#[test]
fn a_ping_is_answered_with_a_reset() {
    let (mut endpoint, now) = (endpoint(), start());
    let ping = Message::empty(Kind::Confirmable, 0x0102);
    assert_eq!(
        tell(&mut endpoint, &ping, now),
        [Message::empty(Kind::Reset, 0x0102)]
    );
    assert_eq!(
        tell(&mut endpoint, &Message::empty(Kind::NonConfirmable, 3), now),
        []
    );
    assert_eq!(events(&mut endpoint), []);
}

#[test]
fn a_response_nobody_asked_for_is_rejected() {
    let (mut endpoint, now) = (endpoint(), start());
    for (id, kind) in [(1, Kind::Confirmable), (2, Kind::NonConfirmable)] {
        let stray = Message::new(kind, Code::CONTENT, id, vec![9, 9]);
        assert_eq!(
            tell(&mut endpoint, &stray, now),
            [Message::empty(Kind::Reset, id)]
        );
        assert_eq!(
            tell(&mut endpoint, &stray, now),
            [Message::empty(Kind::Reset, id)]
        );
    }
    let stray = Message::new(Kind::Acknowledgement, Code::CONTENT, 3, vec![9, 9]);
    assert_eq!(tell(&mut endpoint, &stray, now), []);
    assert_eq!(events(&mut endpoint), []);
}

#[test]
fn a_piggybacked_response_with_a_foreign_token_is_no_answer() {
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.request(request(Method::Get, "a", b""), now);
    let mut forged = acknowledge(&sent(&mut endpoint)[0], Code::CONTENT, &[], b"lie");
    forged.token = vec![1];
    tell(&mut endpoint, &forged, now);
    assert_eq!(
        events(&mut endpoint),
        [Event::Malformed {
            reason: MessageError::ForeignToken
        }]
    );
    endpoint.handle_timeout(endpoint.poll_timeout().unwrap());
    assert_eq!(sent(&mut endpoint).len(), 1, "the request is repeated");
}

#[test]
fn what_the_options_decide_is_answered_at_once() {
    let rows: [(u8, Opt<'_>, Code); 9] = [
        (GET, (option::IF_MATCH, b""), Code::BAD_OPTION),
        (GET, (9, b"oscore"), Code::BAD_OPTION),
        (GET, (option::ACCEPT, &[0, 0, 1]), Code::BAD_OPTION),
        (GET, (option::URI_PATH, &[0xff, 0xfe]), Code::BAD_OPTION),
        (GET, (option::URI_QUERY, &[0xff, 0xfe]), Code::BAD_OPTION),
        (
            GET,
            (option::PROXY_URI, b"coap://elsewhere"),
            Code::PROXYING_NOT_SUPPORTED,
        ),
        (GET, (option::BLOCK2, &[7]), Code::BAD_REQUEST),
        (PUT, (option::BLOCK1, &[0x0f]), Code::BAD_REQUEST),
        (9, (option::URI_HOST, b"host"), Code::METHOD_NOT_ALLOWED),
    ];
    for (method, option, code) in rows {
        let (mut endpoint, now) = (endpoint(), start());
        let asked = ask(Kind::Confirmable, method, 5, "a", &[option]);
        assert_eq!(
            tell(&mut endpoint, &asked, now),
            [acknowledge(&asked, code, &[], b"")],
            "{option:?}"
        );
        assert_eq!(events(&mut endpoint), []);
    }
}

#[test]
fn an_unknown_critical_option_in_a_non_confirmable_request_rejects_it() {
    let (mut endpoint, now) = (endpoint(), start());
    let asked = ask(Kind::NonConfirmable, GET, 5, "a", &[(option::IF_MATCH, b"")]);
    assert_eq!(tell(&mut endpoint, &asked, now), [Message::empty(Kind::Reset, 5)]);
    let unknown = ask(Kind::NonConfirmable, 9, 6, "a", &[]);
    assert_eq!(
        tell(&mut endpoint, &unknown, now)[0].code,
        Code::METHOD_NOT_ALLOWED
    );
}

#[test]
fn an_unknown_critical_option_in_a_response_fails_the_request() {
    let (mut endpoint, now) = (endpoint(), start());
    let first = endpoint.request(request(Method::Get, "a", b""), now);
    let asked = sent(&mut endpoint);
    tell(
        &mut endpoint,
        &acknowledge(&asked[0], Code::CONTENT, &[(9, b"?")], b""),
        now,
    );
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id: first,
            reason: RequestFailure::BadResponse
        }]
    );
    let second = endpoint.request(request(Method::Get, "a", b""), now);
    let mut separate = acknowledge(&sent(&mut endpoint)[0], Code::CONTENT, &[(9, b"?")], b"");
    (separate.kind, separate.id) = (Kind::Confirmable, 77);
    assert_eq!(
        tell(&mut endpoint, &separate, now),
        [Message::empty(Kind::Reset, 77)]
    );
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id: second,
            reason: RequestFailure::BadResponse
        }]
    );
}

#[test]
fn unknown_elective_options_and_empty_path_segments_are_ignored() {
    let (mut endpoint, now) = (endpoint(), start());
    let asked = ask(
        Kind::Confirmable,
        GET,
        5,
        "/3//0/",
        &[(2000, b"?"), (option::URI_QUERY, b"")],
    );
    tell(&mut endpoint, &asked, now);
    let asked = reported_request(&mut endpoint);
    assert_eq!(
        (asked.path, asked.query),
        (vec!["3".to_owned(), "0".to_owned()], vec![])
    );
}

#[test]
fn a_malformed_confirmable_message_is_rejected_and_any_other_ignored() {
    let (mut endpoint, now) = (endpoint(), start());
    let rows: [(&[u8], &[Message]); 4] = [
        (&[0x40, 0x21, 1, 2], &[Message::empty(Kind::Reset, 0x0102)]),
        (&[0x40, 1, 1, 3, 0xf0], &[Message::empty(Kind::Reset, 0x0103)]),
        (&[0x50, 0x21, 1, 4], &[]),
        (&[0x80, 1, 1, 5], &[]),
    ];
    for (count, (datagram, replies)) in (1..).zip(rows) {
        endpoint.handle_datagram(datagram, now);
        assert_eq!(sent(&mut endpoint), replies);
        assert!(matches!(events(&mut endpoint)[..], [Event::Malformed { .. }]));
        assert_eq!(endpoint.counters().malformed, count);
    }
}

#[test]
fn only_nstart_confirmable_messages_are_out_at_once() {
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.request(request(Method::Get, "first", b""), now);
    endpoint.request(request(Method::Get, "second", b""), now);
    endpoint.notify(notification(true), now);
    endpoint.notify(notification(false), now);
    let out = sent(&mut endpoint);
    let kinds: Vec<_> = out.iter().map(|message| message.kind).collect();
    assert_eq!(
        kinds,
        [Kind::Confirmable, Kind::NonConfirmable],
        "a NON one does not wait"
    );
    let next = tell(
        &mut endpoint,
        &Message::empty(Kind::Acknowledgement, out[0].id),
        now,
    );
    assert_eq!(next[0].values(option::URI_PATH).next(), Some(&b"second"[..]));
    let next = tell(
        &mut endpoint,
        &acknowledge(&next[0], Code::CONTENT, &[], b""),
        now,
    );
    assert_eq!(
        (next[0].kind, next[0].code),
        (Kind::Confirmable, Code::CONTENT),
        "the notification"
    );
}

#[test]
fn a_cancelled_request_makes_room_for_the_next() {
    let (mut endpoint, now) = (endpoint(), start());
    let first = endpoint.request(request(Method::Get, "first", b""), now);
    let second = endpoint.request(request(Method::Get, "second", b""), now);
    let third = endpoint.request(request(Method::Get, "third", b""), now);
    let out = sent(&mut endpoint);
    endpoint.cancel(first);
    endpoint.cancel(second);
    endpoint.cancel(second);
    let cancelled = |id| Event::Failed {
        id,
        reason: RequestFailure::Cancelled,
    };
    assert_eq!(events(&mut endpoint), [cancelled(first), cancelled(second)]);
    assert!(
        endpoint.poll_timeout().is_some_and(|at| at <= now),
        "there is something to do at once"
    );
    endpoint.handle_timeout(now);
    assert_eq!(
        sent(&mut endpoint)[0].values(option::URI_PATH).next(),
        Some(&b"third"[..])
    );
    tell(
        &mut endpoint,
        &acknowledge(&out[0], Code::CONTENT, &[], b"late"),
        now,
    );
    assert_eq!(events(&mut endpoint), []);
    endpoint.cancel(third);
    assert_eq!(endpoint.poll_timeout(), None);
}

#[test]
fn a_request_that_is_cancelled_before_it_is_polled_does_not_go_out() {
    let (mut endpoint, now) = (endpoint(), start());
    let id = endpoint.request(request(Method::Get, "first", b""), now);
    endpoint.cancel(id);
    endpoint.request(request(Method::Get, "second", b""), now);
    let out = sent(&mut endpoint);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].values(option::URI_PATH).next(), Some(&b"second"[..]));
}

#[test]
fn the_first_request_of_a_peer_that_restarted_is_not_taken_for_a_repetition() {
    let (mut endpoint, now) = (endpoint(), start());
    tell(&mut endpoint, &ask(Kind::Confirmable, GET, 1, "a", &[]), now);
    assert_eq!(reported_request(&mut endpoint).path, ["a"]);
    tell(&mut endpoint, &ask(Kind::Confirmable, GET, 1, "b", &[]), now);
    assert_eq!(reported_request(&mut endpoint).path, ["b"]);
}

fn notification(confirmable: bool) -> Notification {
    Notification {
        token: vec![1, 2, 3],
        confirmable,
        observe: 2,
        code: Code::CONTENT,
        content_format: None,
        max_age_secs: None,
        payload: b"1".to_vec(),
    }
}
