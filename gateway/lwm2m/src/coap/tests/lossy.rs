//! Properties: whatever the wire does, what arrives is right; whatever arrives, nothing breaks.

use std::time::Duration;

use proptest::prelude::*;

use super::pair::{Pair, Wire, body, content, request};
use super::start;
use crate::coap::{Code, RequestFailure};
use crate::coap::{Endpoint, Event, Kind, Message, Method, Notification, Response, TransmissionParameters};

fn wire() -> impl Strategy<Value = Wire> {
    (0.0..0.25, 0.0..0.5, 1u64..400, 0u64..1500).prop_map(|(loss, duplication, delay_ms, jitter_ms)| Wire {
        loss,
        duplication,
        delay_ms,
        jitter_ms,
    })
}

fn block_size() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![64, 128, 512, 1024])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_request_is_delivered_once_and_every_body_whole(
        wire in wire(),
        seed in any::<u64>(),
        (left, right) in (block_size(), block_size()),
        up in prop::collection::vec(0usize..9000, 1..4),
        down in 0usize..9000,
        answer_after_ms in prop::sample::select(vec![0, 900, 1100, 5000]),
        nstart in 1usize..3,
    ) {
        let parameters = |block_size| TransmissionParameters { block_size, nstart, ..TransmissionParameters::default() };
        let mut pair = Pair::with(parameters(left), parameters(right), wire, seed);
        pair.answer = Box::new(move |_| content(&body(down)));
        pair.answer_after = Duration::from_millis(answer_after_ms);
        // A path each, so that a request that came twice is told from one that was made twice.
        for (index, length) in up.iter().enumerate() {
            pair.left.request(request(Method::Post, &index.to_string(), &body(*length)), pair.now);
        }
        pair.run();
        prop_assert_eq!(pair.left_events.len(), up.len());
        for event in &pair.left_events {
            if let Event::Response { response, .. } = event {
                prop_assert_eq!(response, &content(&body(down)));
            } else {
                let timed_out = matches!(event, Event::Failed { reason: RequestFailure::TimedOut, .. });
                prop_assert!(timed_out, "{:?}", event);
            }
        }
        for (index, length) in up.iter().enumerate() {
            let arrived: Vec<_> = pair.requests.iter().filter(|r| r.path[0] == index.to_string()).collect();
            prop_assert!(arrived.len() <= 1, "request {} came {} times", index, arrived.len());
            prop_assert!(arrived.iter().all(|request| request.payload == body(*length)));
        }
    }

    #[test]
    fn without_loss_every_request_is_answered(
        seed in any::<u64>(),
        (up, down) in (0usize..9000, 0usize..9000),
        (left, right) in (block_size(), block_size()),
        duplication in 0.0..0.5,
    ) {
        let parameters = |block_size| TransmissionParameters { block_size, ..TransmissionParameters::default() };
        let wire = Wire { duplication, jitter_ms: 300, ..Wire::GOOD };
        let mut pair = Pair::with(parameters(left), parameters(right), wire, seed);
        pair.answer = Box::new(move |_| content(&body(down)));
        let id = pair.left.request(request(Method::Put, "5/0/0", &body(up)), pair.now);
        pair.run();
        prop_assert_eq!(pair.requests.len(), 1);
        prop_assert_eq!(&pair.requests[0].payload, &body(up));
        prop_assert_eq!(&pair.left_events, &[Event::Response { id, response: content(&body(down)) }]);
    }

    #[test]
    fn the_same_seed_gives_the_same_run(wire in wire(), seed in any::<u64>()) {
        let run = || {
            let mut pair = Pair::new(wire, seed);
            pair.left.request(request(Method::Post, "rd", &body(2000)), pair.now);
            pair.run();
            (pair.sent, pair.left_events, pair.right_events)
        };
        prop_assert_eq!(run(), run());
    }
}

/// A message that is valid as far as the codec goes, with options that matter here.
fn message() -> impl Strategy<Value = Message> {
    let kind = prop::sample::select(vec![
        Kind::Confirmable,
        Kind::NonConfirmable,
        Kind::Acknowledgement,
        Kind::Reset,
    ]);
    let code = prop::sample::select(vec![
        0u8, 1, 2, 3, 5, 9, 0x41, 0x44, 0x45, 0x5f, 0x80, 0x88, 0x8d, 0xa0,
    ]);
    let number = prop::sample::select(vec![
        1u16, 3, 4, 6, 8, 11, 12, 14, 15, 17, 23, 27, 28, 35, 60, 292, 2000,
    ]);
    let option = (number, prop::collection::vec(any::<u8>(), 0..5));
    let options = prop::collection::vec(option, 0..6).prop_map(|mut options| {
        options.sort_by_key(|(number, _)| *number);
        options
    });
    let id = 0x7d30u16..0x7d40;
    let token = prop::collection::vec(0u8..4, 0..=8);
    let payload = prop::collection::vec(any::<u8>(), 0..600);
    (kind, code, id, token, options, payload).prop_map(|(kind, code, id, token, options, payload)| {
        let code = Code(code);
        if code == Code::EMPTY {
            // It has nothing but its header.
            return Message::empty(kind, id);
        }
        Message {
            kind,
            code,
            id,
            token,
            options,
            payload,
        }
    })
}

/// One thing that can happen to an endpoint.
#[derive(Clone, Debug)]
enum Happening {
    Datagram(Vec<u8>),
    Message(Message),
    /// A message under the token and id of the datagram that the endpoint sent last.
    Reply(Message),
    Time(u64),
    Request(usize),
    Notify(bool, usize),
    Respond(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Happening::Datagram),
        message().prop_map(Happening::Message),
        message().prop_map(Happening::Reply),
        (0u64..100_000).prop_map(Happening::Time),
        (0usize..3000).prop_map(Happening::Request),
        (any::<bool>(), 0usize..3000)
            .prop_map(|(confirmable, length)| Happening::Notify(confirmable, length)),
        (0usize..3000).prop_map(Happening::Respond),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(message.emit().map_or(bytes.clone(), |again| again), bytes);
        }
    }

    #[test]
    fn a_message_written_is_the_message_read(message in message()) {
        if let Some(Ok(read)) = message.emit().map(|bytes| Message::parse(&bytes)) {
            prop_assert_eq!(read, message);
        }
    }

    #[test]
    fn an_endpoint_survives_whatever_happens(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut endpoint = Endpoint::new(TransmissionParameters::default(), 1, 0x7d30);
        let mut now = start();
        let mut open = Vec::new();
        let mut last = Message::empty(Kind::Reset, 0);
        for happening in happenings {
            apply(&mut endpoint, happening, &mut now, &last, &mut open);
            while let Some(datagram) = endpoint.poll_transmit() {
                last = Message::parse(&datagram).unwrap();
            }
            while let Some(event) = endpoint.poll_event() {
                if let Event::Request(request) = event {
                    open.push(request.key);
                }
            }
        }
        prop_assert!(comes_to_rest(&mut endpoint));
    }
}

fn apply(
    endpoint: &mut Endpoint,
    happening: Happening,
    now: &mut std::time::Instant,
    last: &Message,
    open: &mut Vec<crate::coap::RequestKey>,
) {
    match happening {
        Happening::Datagram(bytes) => endpoint.handle_datagram(&bytes, *now),
        Happening::Message(message) => endpoint.handle_datagram(&message.emit().unwrap(), *now),
        Happening::Reply(message) => {
            let reply = Message {
                id: last.id,
                token: last.token.clone(),
                ..message
            };
            endpoint.handle_datagram(&reply.emit().unwrap(), *now);
        }
        Happening::Time(ms) => {
            *now += Duration::from_millis(ms);
            endpoint.handle_timeout(*now);
        }
        Happening::Request(length) => {
            endpoint.request(request(Method::Post, "rd", &body(length)), *now);
        }
        Happening::Notify(confirmable, length) => {
            let payload = body(length);
            let token = vec![u8::from(confirmable)];
            let (code, content_format, max_age_secs) = (Code::CONTENT, Some(112), None);
            let notification = Notification {
                token,
                confirmable,
                observe: 5,
                code,
                content_format,
                max_age_secs,
                payload,
            };
            endpoint.notify(notification, *now);
        }
        Happening::Respond(length) => {
            if let Some(key) = open.pop() {
                endpoint.respond(
                    key,
                    Response {
                        observe: Some(1),
                        ..content(&body(length))
                    },
                    *now,
                );
            }
        }
    }
}

/// Says whether an endpoint that hears nothing any more stops to want to be called.
fn comes_to_rest(endpoint: &mut Endpoint) -> bool {
    (0..10_000).any(|_| {
        let next = endpoint.poll_timeout();
        if let Some(at) = next {
            endpoint.handle_timeout(at);
        }
        while endpoint.poll_transmit().is_some() {}
        next.is_none()
    })
}
