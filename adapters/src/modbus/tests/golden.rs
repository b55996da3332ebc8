//! Bytes of others, in both directions: requests as we write them, answers as we read them, and the same frames
//! answered by the simulated bank.

use ucifi_core::field::{BlockContent, RegisterWrite, Table, WriteFunction};

use crate::modbus::pdu::{Answer, Exception, Mismatch, ReadRequest, Request, Unfit, WriteRequest};
use crate::modbus::rtu;

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn read(table: Table, address: u16, count: u16) -> Request {
    Request::Read(ReadRequest {
        table,
        address,
        count,
    })
}

fn write(function: WriteFunction, address: u16, content: BlockContent) -> Request {
    Request::Write(
        WriteRequest::new(&RegisterWrite {
            function,
            address,
            content,
            read_back: None,
        })
        .unwrap(),
    )
}

fn bits(text: &str) -> BlockContent {
    BlockContent::Bits(text.chars().filter(|c| *c != ' ').map(|c| c == '1').collect())
}

fn words(words: &[u16]) -> BlockContent {
    BlockContent::Words(words.to_vec())
}

fn check(request: &Request, sent: &str, received: &str, answer: Answer) {
    assert_eq!(request.encode(), hex(sent));
    assert_eq!(request.answer(&hex(received)), Ok(answer));
    assert_eq!(request.answer_len(), hex(received).len());
}

// Modbus Application Protocol Specification V1.1b3, sections 6.1 to 6.6, 6.11 and 6.12: the examples. Its addresses
// on the wire are one less than the numbers it speaks of. Bits are listed from the lowest address.
#[test]
fn the_examples_of_the_standard_are_written_and_read() {
    let lamps = bits("10110011 11010110 101");
    check(
        &read(Table::Coils, 0x13, 19),
        "01 00 13 00 13",
        "01 03 CD 6B 05",
        Answer::Content(lamps),
    );
    let inputs = bits("00110101 11011011 101011");
    check(
        &read(Table::DiscreteInputs, 0xC4, 22),
        "02 00 C4 00 16",
        "02 03 AC DB 35",
        Answer::Content(inputs),
    );
    let holding = words(&[555, 0, 100]);
    let answer = "03 06 02 2B 00 00 00 64";
    check(
        &read(Table::HoldingRegisters, 0x6B, 3),
        "03 00 6B 00 03",
        answer,
        Answer::Content(holding),
    );
    let input = words(&[10]);
    check(
        &read(Table::InputRegisters, 8, 1),
        "04 00 08 00 01",
        "04 02 00 0A",
        Answer::Content(input),
    );
    let coil = write(WriteFunction::SingleCoil, 0xAC, bits("1"));
    check(&coil, "05 00 AC FF 00", "05 00 AC FF 00", Answer::Written);
    let register = write(WriteFunction::SingleRegister, 1, words(&[3]));
    check(&register, "06 00 01 00 03", "06 00 01 00 03", Answer::Written);
    let coils = write(WriteFunction::MultipleCoils, 0x13, bits("10110011 10"));
    check(
        &coils,
        "0F 00 13 00 0A 02 CD 01",
        "0F 00 13 00 0A",
        Answer::Written,
    );
    let registers = write(WriteFunction::MultipleRegisters, 1, words(&[0x0A, 0x0102]));
    check(
        &registers,
        "10 00 01 00 02 04 00 0A 01 02",
        "10 00 01 00 02",
        Answer::Written,
    );
}

// Section 7: read coil 0x04A1 that is not there.
#[test]
fn the_exception_of_the_standard_is_read() {
    let request = read(Table::Coils, 0x04A1, 1);
    assert_eq!(request.encode(), hex("01 04 A1 00 01"));
    let answer = request.answer(&hex("81 02"));
    assert_eq!(answer, Ok(Answer::Exception(Exception::IllegalDataAddress)));
    assert_eq!(Exception::IllegalDataAddress.to_string(), "illegal data address");
}

// Captured from an Eastron SDM630 by volkszaehler/mbmd users (issue 89), and an Eletechsup relay board's log.
#[test]
fn captured_frames_of_real_units_are_written_and_read() {
    let float = |hi, lo| Answer::Content(words(&[hi, lo]));
    for (address, sent, received, answer) in [
        (
            0x0C,
            "01 04 00 0c 00 02 b1 c8",
            "01 04 04 41 fa 17 7c c1 98",
            float(0x41FA, 0x177C),
        ),
        (
            0x16A,
            "01 04 01 6a 00 02 50 2b",
            "01 04 04 45 a2 26 c7 14 98",
            float(0x45A2, 0x26C7),
        ),
    ] {
        captured(&read(Table::InputRegisters, address, 2), sent, received, answer);
    }
    assert_eq!(
        rtu::encode(1, &read(Table::InputRegisters, 0xEA, 2).encode()),
        hex("01 04 00 ea 00 02 50 3f")
    );
    assert_eq!(
        rtu::encode(1, &read(Table::InputRegisters, 0x38, 2).encode()),
        hex("01 04 00 38 00 02 f0 06")
    );
    let on = write(WriteFunction::SingleRegister, 1, words(&[0x0100]));
    captured(
        &on,
        "01 06 00 01 01 00 d9 9a",
        "01 06 00 01 01 00 d9 9a",
        Answer::Written,
    );
    let state = read(Table::HoldingRegisters, 1, 1);
    captured(
        &state,
        "01 03 00 01 00 01 d5 ca",
        "01 03 02 00 01 79 84",
        Answer::Content(words(&[1])),
    );
}

fn captured(request: &Request, sent: &str, received: &str, answer: Answer) {
    assert_eq!(rtu::encode(1, &request.encode()), hex(sent));
    let frame = hex(received);
    let (unit, pdu) = rtu::decode(&frame).unwrap();
    assert_eq!((unit, request.answer(pdu)), (1, Ok(answer)));
}

#[test]
fn what_is_not_exactly_the_answer_is_none() {
    let request = read(Table::HoldingRegisters, 0x6B, 3);
    for (bytes, mismatch) in [
        ("", Mismatch::Length { got: 0, wanted: 8 }),
        (
            "04 06 02 2B 00 00 00 64",
            Mismatch::Function { got: 4, wanted: 3 },
        ),
        ("03 04 02 2B 00 00", Mismatch::Length { got: 6, wanted: 8 }),
        ("03 05 02 2B 00 00 00 64", Mismatch::Length { got: 5, wanted: 6 }),
        ("83 02 00", Mismatch::Length { got: 3, wanted: 2 }),
        ("84 02", Mismatch::Function { got: 0x84, wanted: 3 }),
    ] {
        assert_eq!(request.answer(&hex(bytes)), Err(mismatch), "{bytes}");
    }
    let coil = write(WriteFunction::SingleCoil, 0xAC, bits("1"));
    for other in ["05 00 AC 00 00", "05 00 AD FF 00"] {
        assert_eq!(coil.answer(&hex(other)), Err(Mismatch::Echo), "{other}");
    }
}

#[test]
fn a_write_that_no_frame_can_carry_is_refused() {
    let new = |function, address, content| {
        WriteRequest::new(&RegisterWrite {
            function,
            address,
            content,
            read_back: None,
        })
        .unwrap_err()
    };
    let kind = new(WriteFunction::SingleCoil, 0, words(&[1]));
    assert_eq!(kind, Unfit::Kind);
    let two = new(WriteFunction::SingleRegister, 0, words(&[1, 2]));
    assert_eq!(two, Unfit::Count { count: 2, max: 1 });
    let many = new(WriteFunction::MultipleRegisters, 0, words(&[0; 124]));
    assert_eq!(many, Unfit::Count { count: 124, max: 123 });
    let bits = new(
        WriteFunction::MultipleCoils,
        0,
        BlockContent::Bits(vec![true; 1_969]),
    );
    assert_eq!(
        bits,
        Unfit::Count {
            count: 1_969,
            max: 1_968
        }
    );
    assert_eq!(
        new(WriteFunction::MultipleRegisters, 65_535, words(&[1, 2])),
        Unfit::Address
    );
}

mod any {
    use proptest::prelude::*;

    use super::*;
    use crate::modbus::bank::Bank;

    fn any_request() -> impl Strategy<Value = Request> {
        let table = prop_oneof![
            Just(Table::Coils),
            Just(Table::DiscreteInputs),
            Just(Table::HoldingRegisters),
            Just(Table::InputRegisters)
        ];
        let reads = (table, 0u16..60_000, 1u16..=125).prop_map(|(t, a, c)| read(t, a, c));
        let coils = (0u16..60_000, prop::collection::vec(any::<bool>(), 1..=1_968))
            .prop_map(|(a, c)| write(WriteFunction::MultipleCoils, a, BlockContent::Bits(c)));
        let registers = (0u16..60_000, prop::collection::vec(any::<u16>(), 1..=123))
            .prop_map(|(a, c)| write(WriteFunction::MultipleRegisters, a, BlockContent::Words(c)));
        let coil = (any::<u16>(), any::<bool>())
            .prop_map(|(a, c)| write(WriteFunction::SingleCoil, a, BlockContent::Bits(vec![c])));
        let register = (any::<u16>(), any::<u16>())
            .prop_map(|(a, c)| write(WriteFunction::SingleRegister, a, BlockContent::Words(vec![c])));
        prop_oneof![reads, coils, registers, coil, register]
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(request in any_request(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if request.answer(&bytes).is_ok() {
                prop_assert!(bytes.len() == 2 || bytes.len() == request.answer_len());
            }
        }

        #[test]
        fn a_bank_holds_what_was_written_and_gives_what_it_holds(request in any_request()) {
            let all = vec![1, 2, 3, 4, 5, 6, 15, 16];
            let mut bank = Bank { functions: all, ..Bank::default() };
            let (code, address, count) = match &request {
                Request::Read(read) => (request.function_code(), read.address, read.count),
                Request::Write(write) => {
                    let code = if write.table() == Table::Coils { 1 } else { 3 };
                    (code, write.address(), write.content().len() as u16)
                }
            };
            for n in 0..count {
                bank.words.insert((code, address + n), if code <= 2 { n % 3 % 2 } else { n * 7 });
            }
            let answer = request.answer(&bank.answer(&request.encode()).unwrap());
            let held = |read: &[u16]| if code <= 2 {
                BlockContent::Bits(read.iter().map(|bit| *bit == 1).collect())
            } else {
                BlockContent::Words(read.to_vec())
            };
            let content: Vec<u16> = (0..count).map(|n| bank.words[&(code, address + n)]).collect();
            match &request {
                Request::Read(_) => prop_assert_eq!(answer, Ok(Answer::Content(held(&content)))),
                Request::Write(write) => {
                    prop_assert_eq!(answer, Ok(Answer::Written));
                    prop_assert_eq!(write.content(), &held(&content));
                }
            }
        }
    }
}
