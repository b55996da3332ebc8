//! The bus engine on a real pseudo-terminal whose units answer late, wrongly, twice, in part or not at all.
//!
//! In real time, because the port is real; what is checked does not depend on how fast it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use ucifi_adapters::modbus::io::{self, FromBus, Parity, Port};
use ucifi_adapters::modbus::{BusConfig, Client, Event, Framing, UnitConfig, Writes};
use ucifi_core::field::{BlockContent, Frame, PointId, ReadLimits, RegisterPoint, Table};
use ucifi_core::{Link, Uplink};
use ucifi_sim::modbus_unit::{Registers, Unit};
use ucifi_sim::serial_line::{Fault, Faults, Foreign, Line, pty};

/// What must come through before the comparison says anything, and how long that may take on a busy machine.
const ENOUGH: [(u8, usize); 2] = [(FAULTY, 12), (GOOD, 120)];
const PATIENCE: Duration = Duration::from_secs(120);
const BAUD: u32 = 115_200;
const REGISTERS: u16 = 24;
/// Answers faultily, answers rightly, never answers.
const FAULTY: u8 = 1;
const GOOD: u8 = 2;
const SILENT: u8 = 3;

/// Each register of each unit holds a number that stands nowhere else.
fn word(unit: u8, address: u16) -> u16 {
    u16::from(unit) * 1000 + address
}

fn unit(address: u8) -> Unit {
    let mut registers = Registers::new();
    let words: Vec<u16> = (0..REGISTERS).map(|register| word(address, register)).collect();
    registers.set_words(Table::InputRegisters, 0, &words);
    Unit::new(address, registers).with_turnaround(Duration::from_millis(5))
}

fn faults() -> Faults {
    Faults::random(vec![
        (0.08, Fault::Late(Duration::from_millis(70))),
        (0.05, Fault::Late(Duration::from_millis(180))),
        (0.05, Fault::Foreign(Foreign::OtherUnit)),
        (0.05, Fault::Foreign(Foreign::OtherFunction)),
        (0.05, Fault::Foreign(Foreign::OtherLength)),
        (0.08, Fault::Corrupt),
        (0.05, Fault::Truncated),
        (0.05, Fault::Duplicated),
        (0.05, Fault::Babble(40)),
        (0.05, Fault::Silent),
    ])
}

/// Blocks that cannot be merged, so that requests differ in address, and some in length.
fn polled(address: u8) -> UnitConfig {
    let point = |(id, (address, count)): (u16, (u16, u16))| RegisterPoint {
        id: PointId(id),
        table: Table::InputRegisters,
        address,
        count,
        every_ms: 100,
    };
    let points = (0..).zip([(0, 2), (8, 2), (16, 2), (20, 4)]).map(point).collect();
    let limits = ReadLimits {
        max_gap: Some(0),
        timeout_ms: 50,
        ..ReadLimits::default()
    };
    UnitConfig {
        unit: address,
        points,
        limits,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_faulty_serial_port_only_what_a_register_holds_becomes_a_value() {
    let start = Instant::now();
    let mut line = [FAULTY, GOOD, SILENT]
        .into_iter()
        .fold(Line::new(BAUD, 10, 3, start), |l, u| l.with_unit(unit(u)));
    line.set_faults(FAULTY, faults());
    line.set_faults(SILENT, Faults::always(Fault::Silent));
    let port = pty::start(line).expect("a pseudo-terminal");

    let config = BusConfig {
        name: Arc::from("line"),
        framing: Framing::Rtu {
            baud: BAUD,
            bits_per_char: 10,
        },
        writes: Writes::Deny,
    };
    let client =
        Client::new(config, [FAULTY, GOOD, SILENT].map(polled).to_vec(), 3, start).expect("three units");
    let serial = Port::Serial {
        path: port.path.clone(),
        baud: BAUD,
        parity: Parity::None,
        stop_bits: 1,
        data_bits: 8,
    };
    let (orders, inbox) = mpsc::channel(8);
    let (outbox, mut events) = mpsc::channel(64);
    let running = tokio::spawn(io::run(client, serial, inbox, outbox));

    let mut blocks: BTreeMap<u8, usize> = BTreeMap::new();
    let end = tokio::time::Instant::now() + PATIENCE;
    while ENOUGH
        .iter()
        .any(|(unit, least)| blocks.get(unit).is_none_or(|seen| seen < least))
    {
        let event = tokio::time::timeout_at(end, events.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("too little came through to show anything: {blocks:?}"));
        if let FromBus::Event(Event::Uplink(uplink)) =
            event.expect("the bus runs as long as somebody listens")
        {
            *blocks.entry(check(&uplink)).or_default() += 1;
        }
    }
    drop(orders);
    drop(events);
    running.await.expect("the bus ends when nobody listens");
    assert_eq!(blocks.get(&SILENT), None);
}

/// Compares a block with what the unit holds, and returns the unit.
fn check(uplink: &Uplink) -> u8 {
    let Link::Modbus { unit, .. } = uplink.link else {
        panic!("a bus has units only");
    };
    let Frame::ModbusBlock(block) = &uplink.frame else {
        panic!("a poll brought {uplink:?}")
    };
    let BlockContent::Words(words) = &block.content else {
        panic!("input registers brought {block:?}")
    };
    for (offset, seen) in (0..).zip(words) {
        assert_eq!(
            *seen,
            word(unit, block.address + offset),
            "register {} of unit {unit}",
            block.address + offset
        );
    }
    unit
}
