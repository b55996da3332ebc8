//! What CoAP below and management above make of each other: repeated, slow and large requests.

use coap_lite::{CoapOption, MessageType, Packet};

use super::peer::{Ask, Bench, code, payload};
use crate::Value;
use crate::client::{Event, Response};

const TEXT: u16 = 0;

fn operations(bench: &Bench) -> usize {
    bench
        .events
        .iter()
        .filter(|e| matches!(e, Event::Operation { .. }))
        .count()
}

#[test]
fn a_repeated_write_is_done_once_and_answered_twice() {
    let mut bench = Bench::default();
    let write = Ask::put("/3311/0/5850").body(TEXT, "1").to_packet(7);
    bench.receive(&write);
    bench.receive(&write);
    assert_eq!(operations(&bench), 1);
    let (id, _) = bench.operation();
    bench.respond(id, Response::Changed);
    let answer = bench.take_sent();
    bench.receive(&write);
    assert_eq!(bench.take_sent(), answer);
    assert_eq!(operations(&bench), 0);
}

#[test]
fn a_slow_write_is_acknowledged_first_and_answered_later() {
    let mut bench = Bench::default();
    bench.send(&Ask::put("/3311/0/5850").token(&[1, 2, 3]).body(TEXT, "1"));
    let (id, _) = bench.operation();
    bench.pass_secs(3);
    let acknowledgement = bench.take_sent();
    assert_eq!(acknowledgement.header.get_type(), MessageType::Acknowledgement);
    assert_eq!(code(&acknowledgement), "0.00");
    bench.respond(id, Response::Changed);
    let answer = bench.take_sent();
    assert_eq!(answer.header.get_type(), MessageType::Confirmable);
    assert_eq!(
        (code(&answer).as_str(), answer.get_token()),
        ("2.04", &[1, 2, 3][..])
    );
}

#[test]
fn a_read_larger_than_a_block_is_fetched_block_by_block() {
    let mut bench = Bench::default();
    for i in 0..120 {
        bench.device.set(&format!("/3311/{i}/5850"), Value::Boolean(true));
    }
    let mut whole = String::new();
    for number in 0..100u8 {
        let mut packet = Ask::get("/3311").accept(110).to_packet(1000 + u16::from(number));
        // Block2: the number, no more, blocks of 512 bytes (RFC 7959, section 2.2).
        packet.add_option(CoapOption::Block2, vec![number << 4 | 5]);
        bench.receive(&packet);
        let answer: Packet = bench.take_sent();
        assert_eq!(code(&answer), "2.05");
        whole += &payload(&answer);
        let block = answer.get_first_option(CoapOption::Block2).unwrap();
        if block.last().unwrap() & 8 == 0 {
            break;
        }
    }
    let values: serde_json::Value = serde_json::from_str(&whole).unwrap();
    // 120 lamps that are on, two levels, one opaque value.
    assert_eq!(values.as_array().unwrap().len(), 123);
}

#[test]
fn a_register_larger_than_a_block_arrives_whole() {
    let mut bench = Bench::idle(Bench::config());
    for i in 0..120 {
        bench.device.set(&format!("/3311/{i}/5850"), Value::Boolean(true));
    }
    bench.client.start(&bench.device, bench.now);
    bench.collect();
    let mut whole = String::new();
    loop {
        let block = bench.take_sent();
        whole += &payload(&block);
        let option = block.get_first_option(CoapOption::Block1).unwrap().clone();
        let more = option.last().unwrap() & 8 != 0;
        let mut answer = Packet::new();
        answer.header.set_type(MessageType::Acknowledgement);
        answer.header.message_id = block.header.message_id;
        answer.set_token(block.get_token().to_vec());
        answer.header.set_code(if more { "2.31" } else { "2.01" });
        answer.add_option(CoapOption::Block1, option);
        if !more {
            answer.add_option(CoapOption::LocationPath, b"rd".to_vec());
            answer.add_option(CoapOption::LocationPath, b"1".to_vec());
        }
        bench.receive(&answer);
        if !more {
            break;
        }
    }
    assert!(whole.ends_with("</3311/119>,</3340>"), "{whole}");
    assert_eq!(
        bench.events,
        [Event::Registered {
            location: "rd/1".to_owned()
        }]
    );
}
