//! `[modbus]`: what holds for every register of the device.

use ucifi_core::field::{ReadLimits, Table as RegisterTable};

use crate::document::{Item, Table};
use crate::profile::SerialDefaults;
use crate::register::{Encoding, Order};

/// The words for the four tables.
pub(super) const TABLES: [(&str, RegisterTable); 4] = [
    ("coils", RegisterTable::Coils),
    ("discrete", RegisterTable::DiscreteInputs),
    ("holding", RegisterTable::HoldingRegisters),
    ("input", RegisterTable::InputRegisters),
];

/// Defaults of the points, and what holds for the whole unit.
#[derive(Default)]
pub(super) struct Modbus<'d> {
    /// What the first register is called: 0 on the wire, 1 in many manuals.
    pub(super) base: u16,
    pub(super) table: Option<RegisterTable>,
    pub(super) order: Option<Order>,
    pub(super) encoding: Option<Encoding>,
    pub(super) limits: ReadLimits,
    pub(super) serial: Option<SerialDefaults>,
    pub(super) probe: Option<Item<'d>>,
}

pub(super) fn read<'d>(table: &Table<'d>) -> Modbus<'d> {
    let mut modbus = Modbus::default();
    refuse_ambiguous(table);
    modbus.base = table
        .require("base")
        .and_then(|item| item.integer(0..=1))
        .unwrap_or_default();
    modbus.table = table.get("table").map(|item| registers(&item));
    modbus.order = table.get("order").map(|item| order(&item).unwrap_or(Order::Abcd));
    modbus.encoding = table.get("type").and_then(|item| encoding(&item));
    if let Some(limits) = table.get("limits").and_then(|item| item.table()) {
        modbus.limits = read_limits(&limits);
    }
    modbus.serial = table
        .get("serial")
        .and_then(|item| item.table())
        .and_then(|t| serial(&t));
    modbus.probe = table.get("probe");
    table.finish();
    modbus
}

/// Refuses the words by which half of the world means the opposite of the other half.
pub(super) fn refuse_ambiguous(table: &Table<'_>) {
    for key in [
        "swap",
        "word_order",
        "byte_order",
        "endian",
        "endianness",
        "little_endian",
        "big_endian",
    ] {
        table.refuse(
            key,
            &format!("{key} means different things to different makers"),
            ORDER_HELP,
        );
    }
}

const ORDER_HELP: &str = "write order = \"ABCD\" (big-endian), \"CDAB\" (lower register first), \"BADC\" (bytes of each \
                          register swapped) or \"DCBA\" (both)";

/// Reads the word for a table. One that is none is reported and stands for input registers, so that whatever else is
/// wrong with a point is said as well.
pub(super) fn registers(item: &Item<'_>) -> RegisterTable {
    item.one_of(&TABLES).unwrap_or(RegisterTable::InputRegisters)
}

pub(super) fn order(item: &Item<'_>) -> Option<Order> {
    let word = item.string()?;
    match Order::WORDS.iter().find(|(known, _)| *known == word) {
        Some((_, order)) => Some(*order),
        None => item.error_with_help(format!("order cannot be {word:?}"), ORDER_HELP),
    }
}

pub(super) fn encoding(item: &Item<'_>) -> Option<Encoding> {
    item.one_of(&Encoding::WORDS)
}

fn read_limits(table: &Table<'_>) -> ReadLimits {
    let default = ReadLimits::default();
    let number = |key: &str, low: u16, high: u16| table.get(key).and_then(|item| item.integer(low..=high));
    let time = |key: &str| table.get(key).and_then(|item| item.integer(0..=60_000_u64));
    let limits = ReadLimits {
        max_registers: number("max_registers", 1, 125).unwrap_or(default.max_registers),
        max_bits: number("max_bits", 1, 2000).unwrap_or(default.max_bits),
        max_gap: number("max_gap", 0, 125),
        no_cross: table
            .get("no_cross")
            .and_then(|item| item.items())
            .unwrap_or_default()
            .iter()
            .filter_map(|item| item.integer(0..=u16::MAX))
            .collect(),
        min_gap_ms: time("min_gap_ms").unwrap_or(default.min_gap_ms),
        timeout_ms: time("timeout_ms").unwrap_or(default.timeout_ms),
    };
    table.finish();
    limits
}

fn serial(table: &Table<'_>) -> Option<SerialDefaults> {
    let baud = table
        .require("baud")
        .and_then(|item| item.integer(300..=921_600_u32));
    let format = table.require("format").and_then(|item| {
        let formats = ["8N1", "8N2", "8E1", "8O1", "7E1", "7O1"];
        item.one_of(&formats.map(|format| (format, format)))
    });
    table.finish();
    Some(SerialDefaults {
        baud: baud?,
        format: format?.to_owned(),
    })
}
