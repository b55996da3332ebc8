//! The four tables of a unit, and what stands in them at a given time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ucifi_core::field::Table;

use super::Signal;

/// The code with which a unit refuses (Modbus Application Protocol 1.1b3, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception(pub u8);

impl Exception {
    /// The function code is none that the unit knows.
    pub const ILLEGAL_FUNCTION: Self = Self(1);
    /// An address is outside the unit's tables.
    pub const ILLEGAL_ADDRESS: Self = Self(2);
    /// A count or a value cannot be.
    pub const ILLEGAL_VALUE: Self = Self(3);
    /// The device failed.
    pub const DEVICE_FAILURE: Self = Self(4);
}

/// What the tables of a unit hold; an address that was never set does not exist.
#[derive(Clone, Debug)]
pub struct Registers {
    cells: BTreeMap<(Table, u16), Cell>,
    stuck: BTreeSet<(Table, u16)>,
    max_words: u16,
}

#[derive(Clone, Debug)]
enum Cell {
    Bit(bool),
    Word(u16),
    HighHalf(Signal),
    LowHalf(Signal),
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers {
    /// Makes an empty bank that allows 125 words in one read.
    pub const fn new() -> Self {
        Self {
            cells: BTreeMap::new(),
            stuck: BTreeSet::new(),
            max_words: 125,
        }
    }

    /// Sets how many words one read may ask for.
    pub const fn set_max_words(&mut self, max_words: u16) {
        self.max_words = max_words;
    }

    /// Puts words into the table, from `address` on.
    pub fn set_words(&mut self, table: Table, address: u16, words: &[u16]) {
        for (at, word) in (address..=u16::MAX).zip(words) {
            self.cells.insert((table, at), Cell::Word(*word));
        }
    }

    /// Puts bits into the table, from `address` on.
    pub fn set_bits(&mut self, table: Table, address: u16, bits: &[bool]) {
        for (at, bit) in (address..=u16::MAX).zip(bits) {
            self.cells.insert((table, at), Cell::Bit(*bit));
        }
    }

    /// Puts a 32-bit float, most significant word first, at `address` and the one after it.
    ///
    /// # Panics
    /// When `address` is 65535, after which there is none.
    pub fn set_f32(&mut self, table: Table, address: u16, signal: Signal) {
        let low = address.checked_add(1).expect("a float needs two registers");
        self.cells
            .insert((table, address), Cell::HighHalf(signal.clone()));
        self.cells.insert((table, low), Cell::LowHalf(signal));
    }

    /// Makes an address deaf: a write to it is answered as if it had been done, and changes nothing.
    pub fn stick(&mut self, table: Table, address: u16) {
        self.stuck.insert((table, address));
    }

    /// Undoes [`Self::stick`].
    pub fn unstick(&mut self, table: Table, address: u16) {
        self.stuck.remove(&(table, address));
    }

    /// Returns one bit, for a look from outside the protocol.
    pub fn bit(&self, table: Table, address: u16) -> Option<bool> {
        match self.cells.get(&(table, address))? {
            Cell::Bit(bit) => Some(*bit),
            Cell::Word(_) | Cell::HighHalf(_) | Cell::LowHalf(_) => None,
        }
    }

    /// Returns the float at `address`, `elapsed` after the unit was switched on: what a display would show.
    pub fn f32(&self, table: Table, address: u16, elapsed: Duration) -> Option<f32> {
        match self.cells.get(&(table, address))? {
            Cell::HighHalf(signal) => Some(signal.at(elapsed)),
            Cell::Bit(_) | Cell::Word(_) | Cell::LowHalf(_) => None,
        }
    }

    pub(super) fn words(
        &self,
        table: Table,
        address: u16,
        count: u16,
        elapsed: Duration,
    ) -> Result<Vec<u16>, Exception> {
        if count == 0 || count > self.max_words {
            return Err(Exception::ILLEGAL_VALUE);
        }
        addresses(address, count)?
            .map(|at| self.word(table, at, elapsed))
            .collect()
    }

    pub(super) fn bits(&self, table: Table, address: u16, count: u16) -> Result<Vec<bool>, Exception> {
        if count == 0 || count > 2000 {
            return Err(Exception::ILLEGAL_VALUE);
        }
        addresses(address, count)?
            .map(|at| self.bit(table, at).ok_or(Exception::ILLEGAL_ADDRESS))
            .collect()
    }

    pub(super) fn write_words(&mut self, address: u16, words: &[u16]) -> Result<(), Exception> {
        let cells: Vec<Cell> = words.iter().map(|word| Cell::Word(*word)).collect();
        self.write(Table::HoldingRegisters, address, cells)
    }

    pub(super) fn write_bits(&mut self, address: u16, bits: &[bool]) -> Result<(), Exception> {
        let cells: Vec<Cell> = bits.iter().map(|bit| Cell::Bit(*bit)).collect();
        self.write(Table::Coils, address, cells)
    }

    fn write(&mut self, table: Table, address: u16, cells: Vec<Cell>) -> Result<(), Exception> {
        let count = u16::try_from(cells.len()).map_err(|_| Exception::ILLEGAL_VALUE)?;
        let targets: Vec<(Table, u16)> = addresses(address, count)?.map(|at| (table, at)).collect();
        if targets.iter().any(|target| !self.cells.contains_key(target)) {
            return Err(Exception::ILLEGAL_ADDRESS);
        }
        for (target, cell) in targets.into_iter().zip(cells) {
            if !self.stuck.contains(&target) {
                self.cells.insert(target, cell);
            }
        }
        Ok(())
    }

    fn word(&self, table: Table, address: u16, elapsed: Duration) -> Result<u16, Exception> {
        match self
            .cells
            .get(&(table, address))
            .ok_or(Exception::ILLEGAL_ADDRESS)?
        {
            Cell::Word(word) => Ok(*word),
            Cell::HighHalf(signal) => Ok((signal.at(elapsed).to_bits() >> 16) as u16),
            Cell::LowHalf(signal) => Ok(signal.at(elapsed).to_bits() as u16),
            Cell::Bit(_) => Err(Exception::ILLEGAL_ADDRESS),
        }
    }
}

fn addresses(address: u16, count: u16) -> Result<impl Iterator<Item = u16>, Exception> {
    let last = address
        .checked_add(count.saturating_sub(1))
        .ok_or(Exception::ILLEGAL_ADDRESS)?;
    Ok(address..=last)
}
