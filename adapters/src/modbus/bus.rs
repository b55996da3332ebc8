//! What a bus is configured with and what its client tells.

use std::sync::Arc;

use ucifi_core::Uplink;
use ucifi_core::field::{
    Delivery, DownlinkId, Link, PointId, Reachability, ReadLimits, RegisterPoint, Table,
};

use super::limits;

/// One line or one connection, and the rules that hold for all units on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusConfig {
    /// The name of the bus in the configuration.
    pub name: Arc<str>,
    /// How its frames are told apart.
    pub framing: Framing,
    /// Whether anything may be written.
    pub writes: Writes,
}

/// How frames are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// On a serial line, by length, CRC and silence.
    Rtu {
        /// The speed in bits per second.
        baud: u32,
        /// The bits that one byte takes on the line with start, parity and stop bits: 10 for 8N1, 11 for 8E1 and 8N2.
        bits_per_char: u8,
    },
    /// Over TCP, by the header with the transaction identifier.
    Tcp,
}

/// Whether commands reach the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// They do.
    Allow,
    /// None does, whatever the profile maps.
    Deny,
}

/// A unit, what is read from it and what it can bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitConfig {
    /// Its address: 1 to 247 on a serial line, 1 to 255 over TCP.
    pub unit: u8,
    /// What is read.
    pub points: Vec<RegisterPoint>,
    /// Within which limits.
    pub limits: ReadLimits,
}

/// What the client has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A block was read.
    Uplink(Uplink),
    /// A downlink came to its end.
    Delivery {
        /// Which one.
        id: DownlinkId,
        /// What became of it.
        delivery: Delivery,
    },
    /// A unit began or ceased to answer.
    Reachability {
        /// Which one.
        link: Link,
        /// Which of the two.
        reachability: Reachability,
    },
    /// The stream is out of step and says nothing more: it must be closed and opened again.
    Reconnect {
        /// What was wrong with it.
        reason: String,
    },
}

/// Why a bus cannot be run as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The address is reserved.
    #[error("bus {bus}: unit address {unit} is reserved, choose 1 to {max}")]
    ReservedUnit {
        /// The bus.
        bus: Arc<str>,
        /// The address.
        unit: u8,
        /// The highest address of this framing.
        max: u8,
    },
    /// Two devices with one address.
    #[error("bus {bus}: unit address {unit} is given twice, give each device its own")]
    DuplicateUnit {
        /// The bus.
        bus: Arc<str>,
        /// The address.
        unit: u8,
    },
    /// More points than a unit may have.
    #[error("bus {bus} unit {unit}: {count} points, at most {max} can be polled")]
    TooManyPoints {
        /// The bus.
        bus: Arc<str>,
        /// The unit.
        unit: u8,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A point that no read can hold.
    #[error("bus {bus} unit {unit}: point {} does not fit a read of 1 to {max}", point.0)]
    UnfitPoint {
        /// The bus.
        bus: Arc<str>,
        /// The unit.
        unit: u8,
        /// The point.
        point: PointId,
        /// How many words or bits one read can hold.
        max: u16,
    },
    /// A speed or a character length that no line has.
    #[error(
        "bus {bus}: {baud} baud with {bits_per_char} bits a character is no line, set 300 baud or more and 9 to 12 bits"
    )]
    NoLine {
        /// The bus.
        bus: Arc<str>,
        /// The speed.
        baud: u32,
        /// The bits of a character.
        bits_per_char: u8,
    },
}

/// Checks what the types leave open.
pub(super) fn check(config: &BusConfig, units: &[UnitConfig]) -> Result<(), ConfigError> {
    let max = match config.framing {
        Framing::Rtu { baud, bits_per_char } => {
            if baud < 300 || !(9..=12).contains(&bits_per_char) {
                return Err(ConfigError::NoLine {
                    bus: config.name.clone(),
                    baud,
                    bits_per_char,
                });
            }
            247
        }
        Framing::Tcp => 255,
    };
    for (place, one) in units.iter().enumerate() {
        let (bus, unit) = (config.name.clone(), one.unit);
        if unit == 0 || unit > max {
            return Err(ConfigError::ReservedUnit { bus, unit, max });
        }
        if units.iter().take(place).any(|other| other.unit == unit) {
            return Err(ConfigError::DuplicateUnit { bus, unit });
        }
        if one.points.len() > limits::POINTS_PER_UNIT {
            return Err(ConfigError::TooManyPoints {
                bus,
                unit,
                count: one.points.len(),
                max: limits::POINTS_PER_UNIT,
            });
        }
        if let Some(point) = one.points.iter().find(|p| !fits(p, &one.limits)) {
            return Err(ConfigError::UnfitPoint {
                bus,
                unit,
                point: point.id,
                max: most(point.table, &one.limits),
            });
        }
    }
    Ok(())
}

/// Returns how many words or bits of a table one read of this unit can hold.
pub(super) fn most(table: Table, limits: &ReadLimits) -> u16 {
    if table.is_bits() {
        limits.max_bits.min(limits::READ_BITS)
    } else {
        limits.max_registers.min(limits::READ_REGISTERS)
    }
}

fn fits(point: &RegisterPoint, limits: &ReadLimits) -> bool {
    let end = u32::from(point.address) + u32::from(point.count);
    (1..=most(point.table, limits)).contains(&point.count) && end <= 0x1_0000
}
