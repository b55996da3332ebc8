//! What the simulated meter shows, and where the server is to see it.

use std::time::Duration;

use lwm2m_client::{Path, Timestamp, Value};
use ucifi_core::field::Table;
use ucifi_sim::cabinet::{Arrival, Cabinet, START, endpoint_of};

/// From the measuring to the last byte of the answer it takes at most so long: the time-out of the profile, and the
/// longest answer at 9600 baud.
const ON_THE_LINE: Duration = Duration::from_millis(750);

/// Resources of the meter: path, register, and how many of the registry's unit one of the register's is.
const REGISTERS: [(Path, u16, f64); 12] = [
    (Path::resource(3421, 0, 1), 0x00, 1.0),
    (Path::resource(3421, 1, 1), 0x02, 1.0),
    (Path::resource(3421, 2, 1), 0x04, 1.0),
    (Path::resource(3421, 0, 6), 0x06, 1.0),
    (Path::resource(3421, 0, 23), 0x0c, 1.0),
    (Path::resource(3421, 2, 23), 0x10, 1.0),
    (Path::resource(3421, 0, 11), 0x46, 1.0),
    (Path::resource(3421, 0, 25), 0x15a, 1000.0),
    (Path::resource(3421, 2, 27), 0x16a, 1000.0),
    (Path::resource(3422, 0, 15), 0x34, 1.0),
    (Path::resource(3422, 0, 17), 0x48, 1000.0),
    (Path::resource(3422, 0, 19), 0x156, 1000.0),
];

/// Checks that every value that arrived is one that the meter showed just before the time that came with it, and
/// returns how many were checked.
pub(crate) fn check_arrivals(cabinet: &Cabinet, device: &str, unit: u8) -> usize {
    let arrivals = cabinet.arrivals(&endpoint_of(device));
    let known = arrivals
        .iter()
        .filter(|arrival| register_of(arrival.received.path).is_some());
    known.inspect(|arrival| check(cabinet, unit, arrival)).count()
}

fn check(cabinet: &Cabinet, unit: u8, arrival: &Arrival) {
    let (register, factor) = register_of(arrival.received.path).expect("only known resources are checked");
    let measured = arrival.received.time.map_or(arrival.at, since_start);
    let Value::Float(value) = arrival.received.value else {
        panic!("no float: {arrival:?}");
    };
    let shown = shown(cabinet, unit, register, measured);
    let (low, high) = (shown.0 * factor, shown.1 * factor);
    let rounding = high.abs() * 1e-6 + 1e-6;
    assert!(
        (low - rounding..=high + rounding).contains(&value),
        "shown {low} to {high}: {arrival:?}"
    );
}

fn register_of(path: Path) -> Option<(u16, f64)> {
    let found = REGISTERS.iter().find(|(of, ..)| *of == path);
    found.map(|(_, register, factor)| (*register, *factor))
}

/// Returns the lowest and the highest value of a register while a reading received at `at` can have been measured.
fn shown(cabinet: &Cabinet, unit: u8, register: u16, at: Duration) -> (f64, f64) {
    let registers = cabinet
        .line()
        .unit(unit)
        .expect("the meter is on the line")
        .registers();
    let times = (0..=50).map(|step| at.saturating_sub(ON_THE_LINE * step / 50));
    let values = times.map(|time| {
        registers
            .f32(Table::InputRegisters, register, time)
            .expect("the register is one of the meter's")
    });
    values
        .map(f64::from)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
}

fn since_start(time: Timestamp) -> Duration {
    let elapsed =
        u64::try_from(time.unix_ms() - START.unix_ms()).expect("nothing is measured before the start");
    // The time was rounded down to a millisecond.
    Duration::from_millis(elapsed + 1)
}
