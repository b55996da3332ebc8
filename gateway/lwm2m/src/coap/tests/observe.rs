//! Observations and notifications (RFC 7641), and notifications larger than a block (RFC 7959, section 3.4).

use std::time::Instant;

use super::pair::{body, content};
use super::{acknowledge, ask, endpoint, events, reported_request, sent, shown, start, tell};
use crate::coap::limits::FETCH_PAUSE_MAX;
use crate::coap::{Code, Endpoint, Event, Kind, Message, Notification, NotificationId, Response, option};

const GET: u8 = 1;

fn notification(confirmable: bool, observe: u32, payload: &[u8]) -> Notification {
    Notification {
        token: vec![1, 0x4a],
        confirmable,
        observe,
        code: Code::CONTENT,
        content_format: Some(42),
        max_age_secs: None,
        payload: payload.to_vec(),
    }
}

/// Makes an endpoint whose peer observes /temperature with the token 01 4a.
fn observed(now: Instant) -> Endpoint {
    let mut endpoint = endpoint();
    let register = ask(
        Kind::Confirmable,
        GET,
        1,
        "temperature",
        &[(option::OBSERVE, b"")],
    );
    tell(&mut endpoint, &register, now);
    let asked = reported_request(&mut endpoint);
    assert_eq!((asked.observe, &asked.token[..]), (Some(0), &[1, 0x4a][..]));
    endpoint.respond(
        asked.key,
        Response {
            observe: Some(0x0100_0009),
            ..content(b"18.5 Cel")
        },
        now,
    );
    let answer = sent(&mut endpoint).remove(0);
    assert_eq!(
        (answer.uint(option::OBSERVE), answer.kind),
        (Some(9), Kind::Acknowledgement)
    );
    endpoint
}

#[test]
fn a_cancellation_reaches_the_layer_above() {
    let now = start();
    let mut endpoint = observed(now);
    tell(
        &mut endpoint,
        &ask(
            Kind::Confirmable,
            GET,
            2,
            "temperature",
            &[(option::OBSERVE, &[1])],
        ),
        now,
    );
    assert_eq!(reported_request(&mut endpoint).observe, Some(1));
}

#[test]
fn a_notification_carries_the_token_and_24_bits_of_the_sequence() {
    let now = start();
    let mut endpoint = observed(now);
    endpoint.notify(notification(false, 0x0100_0010, b"19.2 Cel"), now);
    let told = sent(&mut endpoint).remove(0);
    assert_eq!(
        (told.kind, told.code, &told.token[..]),
        (Kind::NonConfirmable, Code::CONTENT, &[1, 0x4a][..])
    );
    assert_eq!(
        (told.uint(option::OBSERVE), &told.payload[..]),
        (Some(0x10), &b"19.2 Cel"[..])
    );
    assert_eq!(endpoint.poll_timeout(), None, "it is not repeated");
    let gone = Notification {
        code: Code::NOT_FOUND,
        payload: vec![],
        ..notification(false, 3, b"")
    };
    endpoint.notify(gone, now);
    assert_eq!(
        sent(&mut endpoint)[0].uint(option::OBSERVE),
        None,
        "RFC 7641, section 4.2: an error has none"
    );
}

#[test]
fn a_confirmable_notification_is_acknowledged_rejected_or_times_out() {
    let now = start();
    let mut endpoint = observed(now);
    let acknowledged = endpoint.notify(notification(true, 1, b"a"), now);
    let rejected = endpoint.notify(notification(true, 2, b"b"), now);
    let waiting = endpoint.notify(notification(true, 3, b"c"), now);
    let first = sent(&mut endpoint).remove(0);
    let second = tell(
        &mut endpoint,
        &Message::empty(Kind::Acknowledgement, first.id),
        now,
    )
    .remove(0);
    assert_eq!(
        events(&mut endpoint),
        [Event::NotificationAcknowledged(acknowledged)]
    );
    tell(&mut endpoint, &Message::empty(Kind::Reset, second.id), now);
    let ended = Event::NotificationReset {
        id: rejected,
        token: vec![1, 0x4a],
    };
    assert_eq!(
        events(&mut endpoint),
        [Event::NotificationDropped { id: waiting }, ended]
    );

    let lost = endpoint.notify(notification(true, 4, b"d"), now);
    while let Some(at) = endpoint.poll_timeout() {
        endpoint.handle_timeout(at);
    }
    assert_eq!(sent(&mut endpoint).len(), 5);
    assert_eq!(events(&mut endpoint), [Event::NotificationTimedOut { id: lost }]);
}

#[test]
fn a_reset_of_a_non_confirmable_notification_ends_the_observation() {
    let now = start();
    let mut endpoint = observed(now);
    let id = endpoint.notify(notification(false, 1, b"a"), now);
    endpoint.notify(notification(false, 2, b"b"), now);
    let first = sent(&mut endpoint).remove(0);
    tell(&mut endpoint, &Message::empty(Kind::Reset, first.id), now);
    assert_eq!(
        events(&mut endpoint),
        [Event::NotificationReset {
            id,
            token: vec![1, 0x4a]
        }]
    );
}

#[test]
fn waiting_notifications_of_a_cancelled_observation_do_not_go_out() {
    let now = start();
    let mut endpoint = observed(now);
    endpoint.notify(notification(true, 1, b"a"), now);
    let second = endpoint.notify(notification(true, 2, b"b"), now);
    let first = sent(&mut endpoint).remove(0);
    endpoint.cancel_notifications(&[1, 0x4a]);
    assert_eq!(events(&mut endpoint), [Event::NotificationDropped { id: second }]);
    assert_eq!(
        tell(
            &mut endpoint,
            &Message::empty(Kind::Acknowledgement, first.id),
            now
        ),
        []
    );
}

#[test]
fn the_rest_of_a_large_notification_is_fetched_under_another_token() {
    // RFC 7959, figure 13 ("Observe Sequence with Block-Wise Response").
    let now = start();
    let mut endpoint = observed(now);
    let id = endpoint.notify(notification(true, 7, &body(1100)), now);
    assert_eq!(id, NotificationId(0));
    let first = sent(&mut endpoint).remove(0);
    assert_eq!(first.uint(option::OBSERVE), Some(7));
    assert_eq!(shown(&first, option::BLOCK2).as_deref(), Some("0/1/512"));
    tell(
        &mut endpoint,
        &Message::empty(Kind::Acknowledgement, first.id),
        now,
    );
    let mut whole = first.payload.clone();
    for (id, value, expected) in [(0x50, 0x15, "1/1/512"), (0x51, 0x25, "2/0/512")] {
        let next = ask(
            Kind::Confirmable,
            GET,
            id,
            "temperature",
            &[(option::BLOCK2, &[value])],
        );
        let block = tell(&mut endpoint, &next, now).remove(0);
        assert_eq!(shown(&block, option::BLOCK2).as_deref(), Some(expected));
        assert_eq!(block.uint(option::OBSERVE), None);
        assert_eq!(
            block.values(option::ETAG).next(),
            first.values(option::ETAG).next()
        );
        whole.extend(block.payload);
    }
    assert_eq!(whole, body(1100));
    assert_eq!(
        events(&mut endpoint),
        [Event::NotificationAcknowledged(NotificationId(0))]
    );
}

/// Asks for a block of /temperature that is kept, and returns its payload.
fn later_block(endpoint: &mut Endpoint, id: u16, value: u8, now: Instant) -> Vec<u8> {
    let next = ask(
        Kind::Confirmable,
        GET,
        id,
        "temperature",
        &[(option::BLOCK2, &[value])],
    );
    tell(endpoint, &next, now).remove(0).payload
}

#[test]
fn a_large_notification_does_not_tear_the_body_that_the_peer_is_fetching() {
    let now = start();
    let mut endpoint = observed(now);
    tell(
        &mut endpoint,
        &ask(Kind::Confirmable, GET, 2, "temperature", &[]),
        now,
    );
    let key = reported_request(&mut endpoint).key;
    endpoint.respond(key, content(&body(1100)), now);
    let mut whole = sent(&mut endpoint).remove(0).payload;
    for (block, value) in [(3, 0x15), (4, 0x25)] {
        let id = endpoint.notify(notification(false, 7, &[9; 1100]), now);
        assert_eq!(sent(&mut endpoint), []);
        assert_eq!(events(&mut endpoint), [Event::NotificationDropped { id }]);
        endpoint.notify(notification(false, 7, b"small"), now);
        assert_eq!(sent(&mut endpoint).len(), 1, "it needs no body kept");
        whole.extend(later_block(&mut endpoint, block, value, now));
    }
    assert_eq!(whole, body(1100));
    endpoint.notify(notification(false, 8, &[9; 1100]), now);
    assert_eq!(sent(&mut endpoint).len(), 1, "the body is fetched");
}

#[test]
fn a_peer_that_fetches_no_further_holds_back_large_notifications_only_for_a_while() {
    let now = start();
    let mut endpoint = observed(now);
    endpoint.notify(notification(false, 7, &body(1100)), now);
    assert_eq!(sent(&mut endpoint).len(), 1);
    let touched = now + FETCH_PAUSE_MAX / 2;
    assert_eq!(
        later_block(&mut endpoint, 3, 0x15, touched),
        body(1100)[512..1024]
    );
    let rows = [(now + FETCH_PAUSE_MAX, 0), (touched + FETCH_PAUSE_MAX, 1)];
    for (at, expected) in rows {
        endpoint.notify(notification(false, 8, &[9; 1100]), at);
        assert_eq!(sent(&mut endpoint).len(), expected);
    }
}

#[test]
fn the_rest_of_a_notification_under_a_token_from_before_a_restart_is_asked_for() {
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.notify(notification(false, 7, &body(600)), now);
    let first = sent(&mut endpoint).remove(0);
    let next = ask(
        Kind::Confirmable,
        GET,
        0x50,
        "temperature",
        &[(option::OBSERVE, b""), (option::BLOCK2, &[0x15])],
    );
    tell(&mut endpoint, &next, now);
    let asked = reported_request(&mut endpoint);
    assert_eq!(
        asked.observe, None,
        "a later block says nothing about an observation"
    );
    endpoint.respond(asked.key, content(&body(600)), now);
    let options: [(u16, &[u8]); 3] = [
        (option::ETAG, first.values(option::ETAG).next().unwrap()),
        (option::CONTENT_FORMAT, &[42]),
        (option::BLOCK2, &[0x15]),
    ];
    assert_eq!(
        sent(&mut endpoint),
        [acknowledge(&next, Code::CONTENT, &options, &body(600)[512..])]
    );
}
