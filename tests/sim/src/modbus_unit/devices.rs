//! The two devices that the runs use: an electricity meter and a relay board.
//!
//! The register addresses are those of the makers' documents, not of the gateway's profiles.

use std::time::Duration;

use ucifi_core::field::Table;

use super::{Registers, Signal, Unit};

impl Unit {
    /// Makes a three-phase meter with the input registers of an Eastron SDM630 (its Modbus protocol, 32-bit floats,
    /// at most 80 registers in one read) and a load that moves.
    pub fn sdm630(address: u8) -> Self {
        let mut registers = Registers::new();
        registers.set_max_words(80);
        registers.set_words(Table::InputRegisters, 0, &[0; 0x0190]);
        for (at, signal) in sdm630_signals() {
            registers.set_f32(Table::InputRegisters, at, signal);
        }
        Self::new(address, registers)
    }

    /// Makes a board with eight relays (coils 0 to 7) and eight inputs, as Waveshare's Modbus RTU Relay has them.
    pub fn relay_board(address: u8) -> Self {
        let mut registers = Registers::new();
        registers.set_bits(Table::Coils, 0, &[false; 8]);
        registers.set_bits(Table::DiscreteInputs, 0, &[false; 8]);
        Self::new(address, registers).with_turnaround(Duration::from_millis(8))
    }
}

fn sdm630_signals() -> Vec<(u16, Signal)> {
    let mut signals = vec![
        (0x34, swing(690.0, 240.0, 90)),
        (0x38, swing(720.0, 240.0, 90)),
        (0x3c, swing(150.0, 20.0, 90)),
        (0x3e, Signal::Constant(0.97)),
        (0x46, swing(50.0, 0.05, 45)),
        (0x48, rising(5188.0, 0.69)),
        (0x4a, rising(12.5, 0.0)),
        (0x156, rising(5200.5, 0.69)),
        (0x158, rising(410.0, 0.15)),
    ];
    for phase in 0..3 {
        signals.extend(phase_signals(phase));
    }
    signals
}

fn phase_signals(phase: u16) -> [(u16, Signal); 9] {
    let at = phase * 2;
    let share = f64::from(phase);
    [
        (at, swing(230.0 + share, 2.5, 60)),
        (0x06 + at, swing(1.0 + share / 10.0, 0.3, 90)),
        (0x0c + at, swing(230.0 + 10.0 * share, 80.0, 90)),
        (0x12 + at, swing(240.0 + 10.0 * share, 80.0, 90)),
        (0x18 + at, swing(50.0, 6.0, 90)),
        (0x1e + at, Signal::Constant(0.97)),
        (0xea + at, swing(1.8, 0.2, 120)),
        (0x15a + at, rising(1729.0 + share, 0.23)),
        (0x166 + at, rising(1733.5 + share, 0.23)),
    ]
}

fn swing(mean: f64, amplitude: f64, period_secs: u64) -> Signal {
    Signal::Swing {
        mean,
        amplitude,
        period: Duration::from_secs(period_secs),
    }
}

fn rising(start: f64, per_hour: f64) -> Signal {
    Signal::Rising { start, per_hour }
}
