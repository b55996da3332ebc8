//! Three-phase meters, their registers read by no line.

use std::time::Duration;

use ucifi_core::field::{BlockContent, RegisterBlock, Table};
use ucifi_core::{Frame, Link, Now, Profile, Uplink};
use ucifi_profiles::CompiledProfile;
use ucifi_sim::modbus_unit::Unit;

const UNITS_OF_A_BUS: usize = 32;

pub(crate) struct Meters {
    meters: Vec<(Link, Unit)>,
    reads: Vec<Read>,
}

/// Registers that are read together.
struct Read {
    every_ms: u128,
    table: Table,
    first: u16,
    count: u16,
}

impl Meters {
    pub(crate) fn new(count: usize, profile: &CompiledProfile) -> Self {
        let meter = |number: usize| {
            let unit = (number % UNITS_OF_A_BUS) as u8 + 1;
            let bus = format!("line-{}", number / UNITS_OF_A_BUS).into();
            (Link::Modbus { bus, unit }, Unit::sdm630(unit))
        };
        let (points, limits) = profile.register_reads().expect("a Modbus profile");
        let mut points: Vec<_> = points.iter().collect();
        points.sort_unstable_by_key(|point| (point.every_ms, point.table, point.address));
        let mut reads: Vec<Read> = Vec::new();
        for point in points {
            let every_ms = u128::from(point.every_ms);
            match reads.last_mut() {
                Some(read)
                    if (read.every_ms, read.table) == (every_ms, point.table)
                        && point.address <= read.first + read.count
                        && point.address + point.count - read.first <= limits.max_registers =>
                {
                    read.count = point.address + point.count - read.first;
                }
                _ => reads.push(Read {
                    every_ms,
                    table: point.table,
                    first: point.address,
                    count: point.count,
                }),
            }
        }
        Self {
            meters: (0..count).map(meter).collect(),
            reads,
        }
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = Link> {
        self.meters.iter().map(|(link, _)| link.clone())
    }

    /// Reads the registers of all meters whose turn it is.
    pub(crate) fn poll(&mut self, elapsed: Duration, received: Now) -> Vec<Uplink> {
        let mut uplinks = Vec::new();
        for (link, unit) in &mut self.meters {
            let is_due = |read: &&Read| elapsed.as_millis().is_multiple_of(read.every_ms.max(1));
            for due in self.reads.iter().filter(is_due) {
                let block = RegisterBlock {
                    table: due.table,
                    address: due.first,
                    content: BlockContent::Words(read(unit, due.table, due.first, due.count, elapsed)),
                };
                uplinks.push(Uplink::new(link.clone(), Frame::ModbusBlock(block), received));
            }
        }
        uplinks
    }
}

fn read(unit: &mut Unit, table: Table, address: u16, count: u16, elapsed: Duration) -> Vec<u16> {
    let function = if table == Table::HoldingRegisters {
        0x03
    } else {
        0x04
    };
    let request = [&[function], &address.to_be_bytes()[..], &count.to_be_bytes()].concat();
    let answer = unit.answer(&request, elapsed);
    let words = answer[2..].chunks_exact(2);
    words.map(|word| u16::from_be_bytes([word[0], word[1]])).collect()
}
