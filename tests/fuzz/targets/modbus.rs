//! A bus whose line says anything at all while a request is open.

use std::sync::Arc;
use std::time::Instant;

use ucifi_adapters::modbus::{BusConfig, Client, Event, Framing, UnitConfig, Writes, rtu, tcp};
use ucifi_core::Now;
use ucifi_core::field::{PointId, ReadLimits, RegisterPoint, Table};

const POINTS: u16 = 4;

fn client(framing: Framing, now: Instant) -> Client {
    let points = (0..POINTS).map(|n| RegisterPoint {
        id: PointId(n),
        table: Table::InputRegisters,
        address: 2 * n,
        count: 2,
        every_ms: 1000,
    });
    let unit = UnitConfig {
        unit: 1,
        points: points.collect(),
        limits: ReadLimits::default(),
    };
    let config = BusConfig {
        name: Arc::from("line"),
        framing,
        writes: Writes::Deny,
    };
    Client::new(config, vec![unit], 1, now).expect("a bus with one unit")
}

fn listen(framing: Framing, bytes: &[u8]) {
    let mut now = Instant::now();
    let mut client = client(framing, now);
    client.handle_connected(now);
    for _ in 0..8 {
        if client.poll_transmit().is_some() {
            break;
        }
        let Some(due) = client.poll_timeout() else { break };
        now = now.max(due);
        client.handle_timeout(now);
    }
    // In two parts, as a serial port gives them.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for part in [first, second] {
        client.handle_bytes(
            part,
            Now {
                instant: now,
                wall: None,
            },
        );
    }
    if let Some(due) = client.poll_timeout() {
        client.handle_timeout(due);
    }
    while let Some(event) = client.poll_event() {
        if let Event::Uplink(uplink) = event {
            assert_eq!(uplink.link.to_string(), "bus line unit 1");
        }
    }
}

pub(super) fn rtu(bytes: &[u8]) {
    if let Some((unit, pdu)) = rtu::decode(bytes) {
        assert_eq!(rtu::encode(unit, pdu), bytes);
    }
    listen(
        Framing::Rtu {
            baud: 9600,
            bits_per_char: 10,
        },
        bytes,
    );
}

pub(super) fn tcp(bytes: &[u8]) {
    listen(Framing::Tcp, bytes);
}

/// The answers a unit may give to a read of eight input registers.
fn answers() -> Vec<Vec<u8>> {
    let registers: Vec<u8> = (0..16).collect();
    vec![
        [&[0x04, 0x10], registers.as_slice()].concat(),
        vec![0x84, 0x02],
        vec![0x04, 0x04, 0x41, 0xfa, 0x17, 0x7c],
        vec![0x05, 0x00, 0x03, 0xff, 0x00],
        vec![0x10, 0x00, 0x00, 0x00, 0x02],
    ]
}

pub(super) fn rtu_seeds() -> Vec<Vec<u8>> {
    answers().iter().map(|pdu| rtu::encode(1, pdu)).collect()
}

pub(super) fn tcp_seeds() -> Vec<Vec<u8>> {
    (0..3)
        .flat_map(|transaction| {
            answers()
                .into_iter()
                .map(move |pdu| tcp::encode(transaction, 1, &pdu))
        })
        .collect()
}
