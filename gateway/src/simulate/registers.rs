//! The registers of a simulated unit, and what is asked of them in words.

use std::collections::BTreeMap;

use ucifi_core::Profile;
use ucifi_core::field::{BlockContent, Frame, RegisterPoint, Table};
use ucifi_profiles::{CompiledProfile, RegisterRange};
use ucifi_sim::modbus_unit::{Exchange, Registers, Unit};

/// Makes a unit of this kind: the meter and the relay boards that `ucifi-sim` has move by themselves; any other shows
/// what its golden frames show, and 0 where there is none.
pub(super) fn unit_of(profile: &CompiledProfile, address: u8) -> Unit {
    match profile.id() {
        "eastron.sdm630" => Unit::sdm630(address),
        "waveshare.relay-8ch" => Unit::relay_board(address),
        _ => Unit::new(address, registers_of(profile)),
    }
}

fn registers_of(profile: &CompiledProfile) -> Registers {
    let mut registers = Registers::new();
    let (points, limits) = profile.register_reads().expect("only Modbus profiles have units");
    registers.set_max_words(limits.max_registers);
    let of_points = points.iter().map(|point| RegisterRange {
        table: point.table,
        address: point.address,
        count: point.count,
    });
    let ranges: Vec<RegisterRange> = of_points.chain(profile.commanded_registers()).collect();
    for (table, (first, last)) in extents(&ranges) {
        let count = usize::from(last - first) + 1;
        if table.is_bits() {
            registers.set_bits(table, first, &vec![false; count]);
        } else {
            registers.set_words(table, first, &vec![0; count]);
        }
    }
    // The first golden frame of a register is that of the manual: it is put last.
    for frame in profile.golden_frames().into_iter().rev() {
        if let Frame::ModbusBlock(block) = frame {
            match &block.content {
                BlockContent::Bits(bits) => registers.set_bits(block.table, block.address, bits),
                BlockContent::Words(words) => registers.set_words(block.table, block.address, words),
            }
        }
    }
    registers
}

/// Returns the first and the last address of each table.
fn extents(ranges: &[RegisterRange]) -> BTreeMap<Table, (u16, u16)> {
    let mut extents = BTreeMap::new();
    for range in ranges {
        let last = range.address.saturating_add(range.count.saturating_sub(1));
        let extent = extents.entry(range.table).or_insert((range.address, last));
        *extent = (extent.0.min(range.address), extent.1.max(last));
    }
    extents
}

/// Something that was asked of a unit: which kind of thing, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) step: &'static str,
    pub(super) text: String,
}

/// Says in words what was asked and answered.
pub(super) fn told(exchange: &Exchange, profile: &CompiledProfile) -> Told {
    let request = &exchange.request;
    let number = |at: usize| {
        let bytes = request.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_be_bytes)
    };
    let (address, count) = (number(1), number(3));
    let read = |table| read_text(table, address, count, profile);
    let (step, text) = match request.first() {
        Some(1) => ("asked", read(Table::Coils)),
        Some(2) => ("asked", read(Table::DiscreteInputs)),
        Some(3) => ("asked", read(Table::HoldingRegisters)),
        Some(4) => ("asked", read(Table::InputRegisters)),
        Some(5) => {
            let state = if count == 0 { "off" } else { "on" };
            ("switched", format!("coil {address} {state}"))
        }
        Some(6) => ("set", format!("holding register {address} to {count}")),
        Some(15) => (
            "switched",
            format!("{count} coils from {address} on: {}", hex(request.get(6..))),
        ),
        Some(16) => {
            let words = hex(request.get(6..));
            (
                "set",
                format!("{count} holding registers from {address} on: {words}"),
            )
        }
        Some(_) | None => ("asked", format!("something else: {}", hex(Some(request)))),
    };
    match exchange.answer.as_slice() {
        [function, code] if function & 0x80 != 0 => Told {
            step: "refused",
            text: format!("{step} {text}: exception {code}, {}", exception(*code)),
        },
        _ => Told { step, text },
    }
}

fn read_text(table: Table, address: u16, count: u16, profile: &CompiledProfile) -> String {
    let (points, _) = profile
        .register_reads()
        .unwrap_or_else(|| unreachable!("it is a Modbus profile"));
    let end = u32::from(address) + u32::from(count);
    let within = |point: &&RegisterPoint| {
        point.table == table
            && point.address >= address
            && u32::from(point.address) + u32::from(point.count) <= end
    };
    let names: Vec<&str> = points
        .iter()
        .filter(within)
        .filter_map(|point| profile.points().get(usize::from(point.id.0)))
        .map(|point| &*point.name)
        .collect();
    let last = end.saturating_sub(1);
    let what = match names.as_slice() {
        [] => "no point".to_owned(),
        [one] => (*one).to_owned(),
        [one, others @ ..] => format!("{one} and {} more", others.len()),
    };
    format!("{} {address} to {last}: {what}", table_name(table))
}

const fn table_name(table: Table) -> &'static str {
    match table {
        Table::Coils => "coils",
        Table::DiscreteInputs => "discrete inputs",
        Table::HoldingRegisters => "holding registers",
        Table::InputRegisters => "input registers",
    }
}

/// Modbus Application Protocol 1.1b3, section 7.
const fn exception(code: u8) -> &'static str {
    match code {
        1 => "no such function",
        2 => "no such address",
        3 => "no such value or count",
        _ => "failure",
    }
}

fn hex(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default().iter();
    bytes.map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lwm2m_client::object::ObjectTable;
    use ucifi_core::profile::Decoded;
    use ucifi_profiles::{Catalogue, compile, open_exchange};
    use ucifi_sim::modbus_unit::rtu;

    use super::*;

    fn modbus_profiles() -> Vec<CompiledProfile> {
        let catalogue = Catalogue::stock(&ObjectTable::builtin());
        let all = catalogue.profiles().map(|profile| profile.as_ref().clone());
        all.filter(|profile| profile.register_reads().is_some()).collect()
    }

    fn ask(unit: &mut Unit, pdu: &[u8]) -> Vec<u8> {
        unit.answer(pdu, Duration::ZERO)
    }

    #[test]
    fn a_unit_of_each_stock_profile_answers_for_every_point() {
        for profile in modbus_profiles() {
            let mut unit = unit_of(&profile, 1);
            let (points, _) = profile.register_reads().unwrap();
            for point in points {
                let function = match point.table {
                    Table::Coils => 1,
                    Table::DiscreteInputs => 2,
                    Table::HoldingRegisters => 3,
                    Table::InputRegisters => 4,
                };
                let [ah, al] = point.address.to_be_bytes();
                let [ch, cl] = point.count.to_be_bytes();
                let answer = ask(&mut unit, &[function, ah, al, ch, cl]);
                assert_eq!(answer[0], function, "{} {point:?}", profile.id());
            }
        }
    }

    #[test]
    fn a_unit_shows_what_the_golden_frames_show() {
        let profiles = modbus_profiles();
        let meter = profiles.iter().find(|p| p.id() == "eastron.sdm120").unwrap();
        let mut unit = unit_of(meter, 7);
        let mut shown = 0;
        for frame in meter.golden_frames().iter().take(1) {
            let Frame::ModbusBlock(block) = frame else {
                panic!("{frame:?}")
            };
            let function = if block.table == Table::InputRegisters {
                4
            } else {
                3
            };
            let count = u16::try_from(block.content.len()).unwrap().to_be_bytes();
            let request = [&[function], &block.address.to_be_bytes()[..], &count].concat();
            let answer = rtu::frame(7, &ask(&mut unit, &request));
            let opened = open_exchange(&rtu::frame(7, &request), &answer).unwrap();
            assert_eq!(&opened, block);
            let meaning = meter.decode(&Frame::ModbusBlock(opened)).unwrap();
            assert!(
                meaning
                    .samples
                    .iter()
                    .all(|s| matches!(s.decoded, Decoded::Value(_)))
            );
            shown += 1;
        }
        assert_eq!(shown, 1);
    }

    #[test]
    fn what_a_profile_writes_can_be_written_and_is_told_in_words() {
        let text = include_str!("../../../profiles/vendors/example/actuator.toml");
        let profile = compile("actuator.toml", text, &ObjectTable::builtin()).unwrap();
        let ranges = profile.commanded_registers();
        let mut unit = unit_of(&profile, 1).followed();
        for range in &ranges {
            let [ah, al] = range.address.to_be_bytes();
            match range.table {
                Table::Coils => assert_eq!(ask(&mut unit, &[5, ah, al, 0xff, 0])[0], 5),
                Table::HoldingRegisters => assert_eq!(ask(&mut unit, &[6, ah, al, 0, 1])[0], 6),
                Table::DiscreteInputs | Table::InputRegisters => {}
            }
        }
        ask(&mut unit, &[6, 0xff, 0xff, 0, 1]);
        let all: Vec<Told> = unit
            .take_exchanges()
            .iter()
            .map(|one| told(one, &profile))
            .collect();
        let (last, done) = all.split_last().unwrap();
        assert_eq!(
            (last.step, last.text.as_str()),
            (
                "refused",
                "set holding register 65535 to 1: exception 2, no such address"
            )
        );
        assert!(
            !done.is_empty() && done.iter().all(|one| one.step != "refused"),
            "{done:?}"
        );
    }

    #[test]
    fn a_read_is_told_with_the_points_in_it() {
        let profiles = modbus_profiles();
        let meter = profiles.iter().find(|p| p.id() == "eastron.sdm630").unwrap();
        let exchange = Exchange {
            request: vec![4, 0, 0, 0, 6],
            answer: vec![4, 12],
        };
        assert_eq!(
            told(&exchange, meter).text,
            "input registers 0 to 5: u_l1 and 2 more"
        );
    }
}
