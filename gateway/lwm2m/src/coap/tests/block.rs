//! Block-wise transfer in all four directions (RFC 7959).

use std::time::Duration;

use super::pair::{Pair, Side, Wire, body, content, request};
use super::{acknowledge, ask, endpoint, events, reported_request, sent, shown, start, tell};
use crate::coap::limits::{BODY_MAX_BYTES, TRANSFER_RESTARTS_MAX};
use crate::coap::{
    Code, Event, Kind, Message, Method, RequestFailure, Response, TransmissionParameters, option,
};

const GET: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;

fn blocks(pair: &Pair, side: Side, number: u16) -> Vec<String> {
    pair.sent
        .iter()
        .filter(|(from, _)| *from == side)
        .filter_map(|(_, message)| shown(message, number))
        .collect()
}

fn small_blocks(block_size: usize) -> TransmissionParameters {
    TransmissionParameters {
        block_size,
        ..TransmissionParameters::default()
    }
}

#[test]
fn a_large_body_goes_up_in_blocks_and_its_answer_comes_down_in_blocks() {
    // RFC 7959, figure 12: Block1 and Block2 in one exchange.
    let mut pair = Pair::new(Wire::GOOD, 1);
    pair.answer = Box::new(|_| content(&body(1300)));
    let id = pair
        .left
        .request(request(Method::Post, "rd", &body(1200)), pair.now);
    pair.run();
    assert_eq!(pair.requests.len(), 1);
    assert_eq!(
        (&pair.requests[0].payload, pair.requests[0].content_format),
        (&body(1200), Some(42))
    );
    assert_eq!(
        pair.left_events,
        [Event::Response {
            id,
            response: content(&body(1300))
        }]
    );
    assert_eq!(
        blocks(&pair, Side::Left, option::BLOCK1),
        ["0/1/512", "1/1/512", "2/0/512"]
    );
    assert_eq!(
        blocks(&pair, Side::Right, option::BLOCK1),
        ["0/1/512", "1/1/512", "2/0/512"]
    );
    assert_eq!(
        blocks(&pair, Side::Right, option::BLOCK2),
        ["0/1/512", "1/1/512", "2/0/512"]
    );
    assert_eq!(blocks(&pair, Side::Left, option::BLOCK2), ["1/0/512", "2/0/512"]);
    let codes: Vec<_> = pair
        .sent
        .iter()
        .filter(|(from, _)| *from == Side::Right)
        .map(|(_, m)| m.code)
        .collect();
    assert_eq!(codes[..3], [Code::CONTINUE, Code::CONTINUE, Code::CONTENT]);
}

#[test]
fn a_peer_with_smaller_blocks_gets_smaller_ones_from_the_second_on() {
    // RFC 7959, figure 9 ("Late Negotiation"), and figure 5 for the answer.
    let mut pair = Pair::with(
        TransmissionParameters::default(),
        small_blocks(128),
        Wire::GOOD,
        1,
    );
    pair.answer = Box::new(|_| content(&body(300)));
    pair.left
        .request(request(Method::Put, "options", &body(800)), pair.now);
    pair.run();
    assert_eq!(pair.requests[0].payload, body(800));
    assert_eq!(
        blocks(&pair, Side::Left, option::BLOCK1),
        ["0/1/512", "4/1/128", "5/1/128", "6/0/128"]
    );
    assert_eq!(blocks(&pair, Side::Right, option::BLOCK1)[0], "0/1/128");
    assert_eq!(
        blocks(&pair, Side::Right, option::BLOCK2),
        ["0/1/128", "1/1/128", "2/0/128"]
    );
}

#[test]
fn bodies_for_one_resource_do_not_mix_even_where_two_messages_may_be_out() {
    let two_out = TransmissionParameters {
        nstart: 2,
        ..TransmissionParameters::default()
    };
    let mut pair = Pair::with(two_out.clone(), two_out, Wire::GOOD, 3);
    pair.answer_after = Duration::from_secs(3);
    let bodies = [vec![1; 2000], vec![2; 3000], vec![3; 10], vec![]];
    for payload in &bodies {
        pair.left.request(request(Method::Post, "dp", payload), pair.now);
    }
    pair.run();
    let mut arrived: Vec<_> = pair
        .requests
        .iter()
        .map(|request| request.payload.clone())
        .collect();
    arrived.sort_by_key(|payload| payload.first().map_or(9, |first| *first));
    assert_eq!(arrived, bodies);
    assert_eq!(pair.left_events.len(), 4);
    let refused = pair
        .sent
        .iter()
        .filter(|(_, message)| message.code == Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(refused.count(), 0);
}

#[test]
fn a_4_13_with_a_smaller_block_begins_anew_with_that() {
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.request(request(Method::Post, "rd", &body(400)), now);
    let whole = sent(&mut endpoint).remove(0);
    assert_eq!(whole.payload.len(), 400);
    let smaller = acknowledge(
        &whole,
        Code::REQUEST_ENTITY_TOO_LARGE,
        &[(option::BLOCK1, &[2])],
        b"",
    );
    let first = tell(&mut endpoint, &smaller, now).remove(0);
    assert_eq!(shown(&first, option::BLOCK1).as_deref(), Some("0/1/64"));
    assert_eq!(first.uint(option::SIZE1), Some(400));
    assert_eq!(first.payload, body(400)[..64]);
    let flat = acknowledge(
        &first,
        Code::REQUEST_ENTITY_TOO_LARGE,
        &[(option::SIZE1, &[99])],
        b"",
    );
    assert_eq!(tell(&mut endpoint, &flat, now), []);
    assert!(
        matches!(&events(&mut endpoint)[..], [Event::Response { response, .. }]
        if response.code == Code::REQUEST_ENTITY_TOO_LARGE)
    );
}

#[test]
fn a_server_without_atomic_transfers_answers_each_block_with_the_final_code() {
    // RFC 7959, figure 8 ("Simple Stateless Block-Wise PUT").
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.request(request(Method::Put, "options", &body(1100)), now);
    for (index, last) in [(0, false), (1, false), (2, true)] {
        let block = sent(&mut endpoint).remove(0);
        let value = u8::try_from(block.uint(option::BLOCK1).unwrap()).unwrap();
        assert_eq!((value >> 4, value & 8 == 0), (index, last));
        let answer = acknowledge(&block, Code::CHANGED, &[(option::BLOCK1, &[value & !8])], b"");
        endpoint.handle_datagram(&answer.emit().unwrap(), now);
    }
    assert!(
        matches!(&events(&mut endpoint)[..], [Event::Response { response, .. }] if response.code == Code::CHANGED)
    );
}

#[test]
fn a_4_08_begins_the_upload_anew_and_at_last_is_the_answer() {
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.request(request(Method::Put, "options", &body(1100)), now);
    for _ in 0..=TRANSFER_RESTARTS_MAX {
        let block = sent(&mut endpoint).remove(0);
        assert_eq!(shown(&block, option::BLOCK1).as_deref(), Some("0/1/512"));
        let gap = acknowledge(&block, Code::REQUEST_ENTITY_INCOMPLETE, &[], b"");
        endpoint.handle_datagram(&gap.emit().unwrap(), now);
    }
    assert!(
        matches!(&events(&mut endpoint)[..], [Event::Response { response, .. }]
        if response.code == Code::REQUEST_ENTITY_INCOMPLETE)
    );
}

#[test]
fn a_gap_in_the_peers_body_gets_4_08_and_a_body_over_the_bound_4_13_with_size1() {
    let (mut endpoint, now) = (endpoint(), start());
    let mut block = ask(Kind::Confirmable, PUT, 1, "a", &[(option::BLOCK1, &[0x18 | 5])]);
    block.payload = vec![0; 512];
    assert_eq!(
        tell(&mut endpoint, &block, now)[0].code,
        Code::REQUEST_ENTITY_INCOMPLETE
    );
    let announced = ask(
        Kind::Confirmable,
        PUT,
        2,
        "a",
        &[(option::BLOCK1, &[8]), (option::SIZE1, &[2, 0, 0])],
    );
    let refused = tell(&mut endpoint, &announced, now).remove(0);
    assert_eq!(refused.code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(
        refused.uint(option::SIZE1).map(|size| size as usize),
        Some(BODY_MAX_BYTES)
    );
    assert_eq!(events(&mut endpoint), [], "nothing of it reaches the layer above");
}

#[test]
fn an_unannounced_body_over_the_bound_gets_4_13_where_it_crosses_it() {
    let (mut endpoint, now) = (endpoint(), start());
    let mut codes = Vec::new();
    for number in 0..=64u32 {
        let value = option::encode_uint(number << 4 | 8 | 6);
        let mut block = ask(
            Kind::Confirmable,
            PUT,
            number as u16,
            "a",
            &[(option::BLOCK1, &value)],
        );
        block.payload = vec![0; 1024];
        codes.push(tell(&mut endpoint, &block, now)[0].code);
    }
    assert!(codes[..64].iter().all(|code| *code == Code::CONTINUE));
    assert_eq!(codes[64], Code::REQUEST_ENTITY_TOO_LARGE);
}

#[test]
fn later_blocks_are_those_of_the_first_whatever_the_value_became_and_whatever_the_token() {
    // RFC 7959, figure 3 ("Early Negotiation"): the peer asks for 64 byte blocks.
    let (mut endpoint, now) = (endpoint(), start());
    let first = ask(Kind::Confirmable, GET, 1, "status", &[(option::BLOCK2, &[2])]);
    tell(&mut endpoint, &first, now);
    let key = reported_request(&mut endpoint).key;
    endpoint.respond(key, content(&body(150)), now);
    let answer = sent(&mut endpoint).remove(0);
    assert_eq!(shown(&answer, option::BLOCK2).as_deref(), Some("0/1/64"));
    let mut whole = answer.payload.clone();
    for (id, value, expected) in [(2, 0x12, "1/1/64"), (3, 0x22, "2/0/64")] {
        let next = ask(
            Kind::Confirmable,
            GET,
            id,
            "status",
            &[(option::BLOCK2, &[value])],
        );
        let block = tell(&mut endpoint, &next, now).remove(0);
        assert_eq!(shown(&block, option::BLOCK2).as_deref(), Some(expected));
        assert_eq!(
            block.values(option::ETAG).next(),
            answer.values(option::ETAG).next()
        );
        whole.extend(block.payload);
    }
    assert_eq!(whole, body(150));
    assert_eq!(events(&mut endpoint), [], "the layer above is asked once");
    let beyond = ask(Kind::Confirmable, GET, 4, "status", &[(option::BLOCK2, &[0x32])]);
    assert_eq!(tell(&mut endpoint, &beyond, now)[0].code, Code::BAD_REQUEST);
}

#[test]
fn a_later_block_of_a_body_no_longer_kept_is_asked_for_anew_under_the_same_etag() {
    let etag = |endpoint: &mut crate::coap::Endpoint, id, value: u8, payload: &[u8]| {
        let now = start();
        tell(
            endpoint,
            &ask(
                Kind::Confirmable,
                GET,
                id,
                "status",
                &[(option::BLOCK2, &[value])],
            ),
            now,
        );
        let key = reported_request(endpoint).key;
        endpoint.respond(key, content(payload), now);
        let answer = sent(endpoint).remove(0);
        (
            answer.values(option::ETAG).next().unwrap().to_vec(),
            shown(&answer, option::BLOCK2).unwrap(),
        )
    };
    let (tag, _) = etag(&mut endpoint(), 1, 2, &body(150));
    let mut restarted = endpoint();
    assert_eq!(
        etag(&mut restarted, 2, 0x12, &body(150)),
        (tag.clone(), "1/1/64".to_owned())
    );
    let mut changed = endpoint();
    assert_ne!(etag(&mut changed, 2, 0x12, &body(149)).0, tag);
    let post = ask(Kind::Confirmable, POST, 9, "status", &[(option::BLOCK2, &[0x12])]);
    assert_eq!(
        tell(&mut changed, &post, start())[0].code,
        Code::REQUEST_ENTITY_INCOMPLETE
    );
}

/// Answers the endpoint's GET block by block; the entity tag of each block is given.
fn download(etags: &[u8], method: Method) -> (Vec<Event>, usize) {
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.request(request(method, "status", b""), now);
    let mut asked = 0;
    for etag in etags {
        let Some(question) = sent(&mut endpoint).pop() else {
            break;
        };
        asked += 1;
        let number = question.uint(option::BLOCK2).unwrap_or(0) >> 4;
        let more = number < 2;
        let value = [u8::try_from(number).unwrap() << 4 | u8::from(more) << 3];
        let options: [(u16, &[u8]); 2] = [(option::ETAG, &[*etag]), (option::BLOCK2, &value)];
        let block = acknowledge(&question, Code::CONTENT, &options, &[*etag; 16]);
        endpoint.handle_datagram(&block.emit().unwrap(), now);
    }
    (events(&mut endpoint), asked)
}

#[test]
fn a_value_that_changes_between_two_blocks_is_fetched_again_and_never_torn() {
    let (events, asked) = download(&[1, 2, 2, 2, 2], Method::Get);
    assert!(
        matches!(&events[..], [Event::Response { response, .. }] if response.payload == [2; 48]),
        "{events:?}"
    );
    assert_eq!(asked, 5);
    let (events, _) = download(&[1, 2, 1, 2, 1, 2, 1, 2, 1, 2], Method::Get);
    assert!(
        matches!(
            events[..],
            [Event::Failed {
                reason: RequestFailure::BadResponse,
                ..
            }]
        ),
        "bounded"
    );
    let (events, _) = download(&[1, 2], Method::Post);
    assert!(
        matches!(
            events[..],
            [Event::Failed {
                reason: RequestFailure::BadResponse,
                ..
            }]
        ),
        "not repeatable"
    );
}

#[test]
fn blocks_that_do_not_fit_together_fail_the_request() {
    let rows: [(u8, usize); 4] = [(0x10, 16), (0x08, 15), (0x00, 17), (0x07, 1)];
    for (value, length) in rows {
        let (mut endpoint, now) = (endpoint(), start());
        let id = endpoint.request(request(Method::Get, "status", b""), now);
        let asked = sent(&mut endpoint).remove(0);
        let block = acknowledge(
            &asked,
            Code::CONTENT,
            &[(option::BLOCK2, &[value])],
            &vec![0; length],
        );
        tell(&mut endpoint, &block, now);
        assert_eq!(
            events(&mut endpoint),
            [Event::Failed {
                id,
                reason: RequestFailure::BadResponse
            }]
        );
    }
    let (mut endpoint, now) = (endpoint(), start());
    let id = endpoint.request(request(Method::Get, "status", b""), now);
    let asked = sent(&mut endpoint).remove(0);
    tell(&mut endpoint, &acknowledge(&asked, Code::CONTINUE, &[], b""), now);
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id,
            reason: RequestFailure::BadResponse
        }]
    );
}

#[test]
fn an_answer_over_the_bound_fails_the_request() {
    let (mut endpoint, now) = (endpoint(), start());
    let id = endpoint.request(request(Method::Get, "status", b""), now);
    for number in 0u32.. {
        let Some(asked) = sent(&mut endpoint).pop() else {
            break;
        };
        let value = option::encode_uint(number << 4 | 8 | 5);
        let block = acknowledge(&asked, Code::CONTENT, &[(option::BLOCK2, &value)], &[0; 512]);
        endpoint.handle_datagram(&block.emit().unwrap(), now);
    }
    assert_eq!(
        events(&mut endpoint),
        [Event::Failed {
            id,
            reason: RequestFailure::ResponseTooLarge
        }]
    );
}

#[test]
fn a_lost_block_is_repeated_alone() {
    // RFC 7959, figure 4: one acknowledgement is lost; no block is sent but that one again.
    let (mut endpoint, now) = (endpoint(), start());
    endpoint.request(request(Method::Put, "options", &body(1000)), now);
    let first = sent(&mut endpoint).remove(0);
    let continues = acknowledge(&first, Code::CONTINUE, &[(option::BLOCK1, &[8 | 5])], b"");
    let second = tell(&mut endpoint, &continues, now);
    assert_eq!(
        tell(&mut endpoint, &continues, now),
        [],
        "a repeated acknowledgement changes nothing"
    );
    endpoint.handle_timeout(endpoint.poll_timeout().unwrap());
    assert_eq!(sent(&mut endpoint), second);
}

#[test]
fn the_answer_to_a_body_in_blocks_may_come_late() {
    let (mut endpoint, now) = (endpoint(), start());
    let mut block = ask(Kind::Confirmable, PUT, 1, "a", &[(option::BLOCK1, &[8 | 1])]);
    block.payload = vec![1; 32];
    let continues = tell(&mut endpoint, &block, now).remove(0);
    assert_eq!(
        (continues.code, shown(&continues, option::BLOCK1).as_deref()),
        (Code::CONTINUE, Some("0/1/32"))
    );
    let mut last = ask(Kind::Confirmable, PUT, 2, "a", &[(option::BLOCK1, &[0x10 | 1])]);
    last.payload = vec![2; 3];
    tell(&mut endpoint, &last, now);
    let asked = reported_request(&mut endpoint);
    assert_eq!(asked.payload.len(), 35);
    endpoint.handle_timeout(now + Duration::from_secs(1));
    assert_eq!(sent(&mut endpoint), [Message::empty(Kind::Acknowledgement, 2)]);
    endpoint.respond(asked.key, Response::new(Code::CHANGED), now);
    let answer = sent(&mut endpoint).remove(0);
    assert_eq!(
        (answer.kind, shown(&answer, option::BLOCK1).as_deref()),
        (Kind::Confirmable, Some("1/0/32"))
    );
}
