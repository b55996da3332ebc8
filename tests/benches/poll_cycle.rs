//! The poll cycle of an SDM630 at 9600 baud against what the line allows by arithmetic, in simulated time.
//!
//! The limit of one exchange is 8 characters of request, the unit's own turnaround, 5 + 2N characters of answer and two
//! silences of 3.5 characters (Modbus over serial line 1.02, section 2.5.1.1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::object::ObjectTable;
use ucifi_adapters::modbus::{BusConfig, Client, Framing, UnitConfig, Writes};
use ucifi_core::field::{ReadLimits, RegisterPoint};
use ucifi_core::{Now, Profile};
use ucifi_profiles::Catalogue;
use ucifi_sim::modbus_unit::Unit;
use ucifi_sim::serial_line::Line;

const BAUD: u32 = 9600;
const BITS_PER_CHAR: u8 = 10;
const RUN: Duration = Duration::from_secs(600);

fn main() {
    for turnaround_ms in [5, 25, 60] {
        measure(Duration::from_millis(turnaround_ms));
    }
}

/// Lets every point of the meter be due at once, over and over, so that the line is the only limit.
fn measure(turnaround: Duration) {
    let (points, limits) = meter();
    let start = Instant::now();
    let mut line =
        Line::new(BAUD, BITS_PER_CHAR, 1, start).with_unit(Unit::sdm630(1).with_turnaround(turnaround));
    let config = BusConfig {
        name: Arc::from("line"),
        framing: Framing::Rtu {
            baud: BAUD,
            bits_per_char: BITS_PER_CHAR,
        },
        writes: Writes::Deny,
    };
    let unit = UnitConfig {
        unit: 1,
        points,
        limits,
    };
    let mut client = Client::new(config, vec![unit], 1, start).expect("a bus with one meter");
    client.handle_connected(start);
    let mut tally = Tally::default();
    let mut now = start;
    while now < start + RUN {
        line.handle_timeout(now);
        while let Some(bytes) = line.poll_bytes(now) {
            client.handle_bytes(
                &bytes,
                Now {
                    instant: now,
                    wall: None,
                },
            );
        }
        client.handle_timeout(now);
        while client.poll_event().is_some() {}
        while let Some(request) = client.poll_transmit() {
            tally.add(&request);
            line.handle_bytes(&request, now);
        }
        let due = [line.poll_timeout(), client.poll_timeout()]
            .into_iter()
            .flatten()
            .min();
        now = due.unwrap_or(start + RUN).max(now + Duration::from_micros(1));
    }
    tally.report(turnaround);
}

/// The registers of the stock profile, each wanted more often than the line can give.
fn meter() -> (Vec<RegisterPoint>, ReadLimits) {
    let table = ObjectTable::builtin();
    let catalogue = Catalogue::stock(&table);
    let profile = catalogue.find("eastron.sdm630").expect("a stock profile");
    let (points, limits) = profile.register_reads().expect("a Modbus profile");
    let hurried = points.iter().map(|point| RegisterPoint {
        every_ms: 100,
        ..point.clone()
    });
    (hurried.collect(), limits.clone())
}

#[derive(Default)]
struct Tally {
    requests: u32,
    registers: u32,
}

impl Tally {
    fn add(&mut self, request: &[u8]) {
        let count = request
            .get(4..6)
            .map_or(0, |bytes| u32::from(bytes[0]) << 8 | u32::from(bytes[1]));
        self.requests += 1;
        self.registers += count;
    }

    fn report(&self, turnaround: Duration) {
        let chars = Duration::from_secs_f64(f64::from(BITS_PER_CHAR) / f64::from(BAUD));
        let shortest = (chars * (8 + 5 + 7) + turnaround) * self.requests + chars * 2 * self.registers;
        let share = shortest.as_secs_f64() / RUN.as_secs_f64() * 100.0;
        eprintln!(
            "turnaround {} ms: {} exchanges of {:.1} registers in {} s, {share:.1} % of the line's limit",
            turnaround.as_millis(),
            self.requests,
            f64::from(self.registers) / f64::from(self.requests),
            RUN.as_secs()
        );
    }
}
