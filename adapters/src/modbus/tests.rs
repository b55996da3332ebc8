//! The client against simulated units, in simulated time.

mod commands;
mod faults;
mod golden;
#[cfg(feature = "io")]
mod io;
mod polls;
mod reach;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ucifi_core::field::{
    BlockContent, Delivery, DownlinkId, Frame, Link, PointId, ReadBack, ReadLimits, RegisterBlock,
    RegisterPoint, RegisterWrite, Table, WriteFunction,
};
use ucifi_core::{Downlink, Uplink};

use super::bank::{Bank, Bench};
use super::{BusConfig, Client, Event, Framing, UnitConfig, Writes};

/// Returns the instant at which simulated time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; tests add to it"
)]
pub(super) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

const RTU: Framing = Framing::Rtu {
    baud: 9_600,
    bits_per_char: 11,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn bus(framing: Framing, writes: Writes) -> BusConfig {
    BusConfig {
        name: "rs485-1".into(),
        framing,
        writes,
    }
}

fn link(unit: u8) -> Link {
    Link::Modbus {
        bus: "rs485-1".into(),
        unit,
    }
}

fn point(id: u16, table: Table, address: u16, count: u16, every_ms: u64) -> RegisterPoint {
    RegisterPoint {
        id: PointId(id),
        table,
        address,
        count,
        every_ms,
    }
}

/// Ten f32 values at the begin of the input registers, every second.
fn meter(unit: u8) -> UnitConfig {
    let points = (0..10)
        .map(|n| point(n, Table::InputRegisters, n * 2, 2, 1_000))
        .collect();
    UnitConfig {
        unit,
        points,
        limits: ReadLimits::default(),
    }
}

fn meter_bank(unit: u8) -> Bank {
    let words = (0..200)
        .map(|address| ((4, address), u16::from(unit) * 1_000 + address))
        .collect();
    Bank {
        words,
        functions: vec![3, 4],
        ignores: false,
    }
}

/// Eight coils, read at once, every second.
fn relays(unit: u8) -> UnitConfig {
    UnitConfig {
        unit,
        points: vec![point(0, Table::Coils, 0, 8, 1_000)],
        limits: ReadLimits::default(),
    }
}

fn relays_bank() -> Bank {
    let coils = (0..8).map(|address| ((1, address), 0));
    let words = (0..8).map(|address| ((3, address), 0));
    Bank {
        words: coils.chain(words).collect(),
        functions: vec![1, 3, 5, 6, 15, 16],
        ignores: false,
    }
}

fn bench(units: Vec<UnitConfig>, banks: impl IntoIterator<Item = (u8, Bank)>) -> Bench {
    let client = Client::new(bus(RTU, Writes::Allow), units, 7, start()).unwrap();
    Bench::new(client, banks.into_iter().collect())
}

fn switch(id: u64, unit: u8, coil: u16, on: bool) -> Downlink {
    let write = RegisterWrite {
        function: WriteFunction::SingleCoil,
        address: coil,
        content: BlockContent::Bits(vec![on]),
        read_back: Some(ReadBack {
            table: Table::Coils,
            address: 0,
            count: 8,
            at: coil,
            expect: BlockContent::Bits(vec![on]),
            after_ms: 50,
            within_ms: 1_000,
        }),
    };
    Downlink {
        id: DownlinkId(id),
        link: link(unit),
        path: lwm2m_client::Path::resource(3413, coil, 3),
        frame: Frame::ModbusWrite(write),
    }
}

fn uplinks(bench: &Bench) -> impl Iterator<Item = (Instant, &Uplink)> {
    bench.events.iter().filter_map(|(at, event)| match event {
        Event::Uplink(uplink) => Some((*at, uplink)),
        Event::Delivery { .. } | Event::Reachability { .. } | Event::Reconnect { .. } => None,
    })
}

fn block(uplink: &Uplink) -> &RegisterBlock {
    match &uplink.frame {
        Frame::ModbusBlock(block) => block,
        Frame::ModbusWrite(_)
        | Frame::LoRaWanData(_)
        | Frame::LoRaWanCommand(_)
        | Frame::MqttMessage(_)
        | Frame::MqttPublish(_) => panic!("a unit writes nothing"),
    }
}

fn deliveries(bench: &Bench) -> BTreeMap<u64, Delivery> {
    let ends = bench.events.iter().filter_map(|(_, event)| match event {
        Event::Delivery { id, delivery } => Some((id.0, delivery.clone())),
        Event::Uplink(_) | Event::Reachability { .. } | Event::Reconnect { .. } => None,
    });
    ends.collect()
}
