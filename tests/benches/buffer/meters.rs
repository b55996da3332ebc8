//! Three-phase meters, their registers read by no line.

use std::time::Duration;

use ucifi_core::field::{BlockContent, RegisterBlock, Table};
use ucifi_core::{Frame, Link, Now, Profile, Uplink};
use ucifi_profiles::CompiledProfile;
use ucifi_sim::modbus_unit::Unit;

const UNITS_OF_A_BUS: usize = 32;

pub(crate) struct Meters {
    meters: Vec<(Link, Unit)>,
    /// The table, the first register and how many.
    reads: Vec<(Table, u16, u16)>,
}

impl Meters {
    pub(crate) fn new(count: usize, profile: &CompiledProfile) -> Self {
        let meter = |number: usize| {
            let unit = (number % UNITS_OF_A_BUS) as u8 + 1;
            let bus = format!("line-{}", number / UNITS_OF_A_BUS).into();
            (Link::Modbus { bus, unit }, Unit::sdm630(unit))
        };
        let (points, limits) = profile.register_reads().expect("a Modbus profile");
        let mut points: Vec<_> = points
            .iter()
            .map(|point| (point.table, point.address, point.count))
            .collect();
        points.sort_unstable();
        let mut reads: Vec<(Table, u16, u16)> = Vec::new();
        for (table, address, count) in points {
            match reads.last_mut() {
                Some((same, first, len))
                    if *same == table
                        && address <= *first + *len
                        && address + count - *first <= limits.max_registers =>
                {
                    *len = address + count - *first;
                }
                _ => reads.push((table, address, count)),
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

    /// Reads all registers of all meters.
    pub(crate) fn poll(&mut self, elapsed: Duration, received: Now) -> Vec<Uplink> {
        let mut uplinks = Vec::new();
        for (link, unit) in &mut self.meters {
            for (table, address, count) in &self.reads {
                let block = RegisterBlock {
                    table: *table,
                    address: *address,
                    content: BlockContent::Words(read(unit, *table, *address, *count, elapsed)),
                };
                uplinks.push(Uplink {
                    link: link.clone(),
                    frame: Frame::ModbusBlock(block),
                    received,
                });
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
