//! A Modbus unit: the server side of the protocol over a bank of registers.
//!
//! It answers requests (function codes 01 to 06, 15 and 16 of the Modbus Application Protocol 1.1b3) and refuses with
//! exceptions. When a request arrives and what goes wrong with its answer is the line's business.

mod devices;
mod registers;
pub mod rtu;
mod signal;

pub use registers::{Exception, Registers};
pub use signal::Signal;

use std::collections::VecDeque;
use std::time::Duration;

use ucifi_core::field::Table;

use crate::limits;

/// One unit: its address, its registers and the time it needs before it answers.
#[derive(Clone, Debug)]
pub struct Unit {
    address: u8,
    registers: Registers,
    turnaround: Duration,
    requests: u64,
    /// What was asked and answered, where somebody follows it.
    exchanges: Option<VecDeque<Exchange>>,
}

/// A request and its answer, both without address and CRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What was asked.
    pub request: Vec<u8>,
    /// What was answered.
    pub answer: Vec<u8>,
}

impl Unit {
    /// Makes a unit that answers at `address`, 25 ms after each request as a typical meter does.
    pub fn new(address: u8, registers: Registers) -> Self {
        Self {
            address,
            registers,
            turnaround: Duration::from_millis(25),
            requests: 0,
            exchanges: None,
        }
    }

    /// Keeps what it is asked and answers, for [`Self::take_exchanges`].
    #[must_use]
    pub fn followed(mut self) -> Self {
        self.exchanges = Some(VecDeque::new());
        self
    }

    /// Returns what it was asked and has answered since this was called last.
    pub fn take_exchanges(&mut self) -> Vec<Exchange> {
        let kept = self.exchanges.as_mut().map(std::mem::take);
        kept.unwrap_or_default().into()
    }

    /// Sets the time between the end of a request and the start of its answer.
    #[must_use]
    pub fn with_turnaround(mut self, turnaround: Duration) -> Self {
        self.turnaround = turnaround;
        self
    }

    /// Returns the unit address.
    pub const fn address(&self) -> u8 {
        self.address
    }

    /// Returns the time between the end of a request and the start of its answer.
    pub const fn turnaround(&self) -> Duration {
        self.turnaround
    }

    /// Returns how many requests were answered, refusals among them.
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Returns the registers.
    pub const fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Returns the registers to change them, as somebody at the device would.
    pub const fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    /// Answers the request `pdu`, received `elapsed` after the unit was switched on.
    pub fn answer(&mut self, pdu: &[u8], elapsed: Duration) -> Vec<u8> {
        self.requests += 1;
        let function = pdu.first().copied().unwrap_or(0);
        let answer = self
            .serve(function, pdu, elapsed)
            .unwrap_or_else(|exception| refusal(function, exception));
        if let Some(exchanges) = &mut self.exchanges {
            if exchanges.len() >= limits::MAX_EXCHANGES {
                exchanges.pop_front();
            }
            exchanges.push_back(Exchange {
                request: pdu.to_vec(),
                answer: answer.clone(),
            });
        }
        answer
    }

    fn serve(&mut self, function: u8, pdu: &[u8], elapsed: Duration) -> Result<Vec<u8>, Exception> {
        match function {
            0x01 => self.read_bits(Table::Coils, pdu),
            0x02 => self.read_bits(Table::DiscreteInputs, pdu),
            0x03 => self.read_words(Table::HoldingRegisters, pdu, elapsed),
            0x04 => self.read_words(Table::InputRegisters, pdu, elapsed),
            0x05 => self.write_coil(pdu),
            0x06 => self.write_register(pdu),
            0x0f => self.write_coils(pdu),
            0x10 => self.write_registers(pdu),
            _ => Err(Exception::ILLEGAL_FUNCTION),
        }
    }

    fn read_bits(&self, table: Table, pdu: &[u8]) -> Result<Vec<u8>, Exception> {
        let [function, ah, al, ch, cl] = exact(pdu)?;
        let count = u16::from_be_bytes([ch, cl]);
        let bits = self.registers.bits(table, u16::from_be_bytes([ah, al]), count)?;
        let bytes: Vec<u8> = bits.chunks(8).map(pack).collect();
        let length = u8::try_from(bytes.len()).map_err(|_| Exception::ILLEGAL_VALUE)?;
        Ok([vec![function, length], bytes].concat())
    }

    fn read_words(&self, table: Table, pdu: &[u8], elapsed: Duration) -> Result<Vec<u8>, Exception> {
        let [function, ah, al, ch, cl] = exact(pdu)?;
        let count = u16::from_be_bytes([ch, cl]);
        let words = self
            .registers
            .words(table, u16::from_be_bytes([ah, al]), count, elapsed)?;
        let bytes: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
        let length = u8::try_from(bytes.len()).map_err(|_| Exception::ILLEGAL_VALUE)?;
        Ok([vec![function, length], bytes].concat())
    }

    fn write_coil(&mut self, pdu: &[u8]) -> Result<Vec<u8>, Exception> {
        let [_, ah, al, vh, vl] = exact(pdu)?;
        let on = match u16::from_be_bytes([vh, vl]) {
            0xff00 => true,
            0x0000 => false,
            _ => return Err(Exception::ILLEGAL_VALUE),
        };
        self.registers.write_bits(u16::from_be_bytes([ah, al]), &[on])?;
        Ok(pdu.to_vec())
    }

    fn write_register(&mut self, pdu: &[u8]) -> Result<Vec<u8>, Exception> {
        let [_, ah, al, vh, vl] = exact(pdu)?;
        self.registers
            .write_words(u16::from_be_bytes([ah, al]), &[u16::from_be_bytes([vh, vl])])?;
        Ok(pdu.to_vec())
    }

    fn write_coils(&mut self, pdu: &[u8]) -> Result<Vec<u8>, Exception> {
        let (address, count, data) = multiple(pdu)?;
        if data.len() != usize::from(count).div_ceil(8) || !(1..=1968).contains(&count) {
            return Err(Exception::ILLEGAL_VALUE);
        }
        let bits: Vec<bool> = (0..usize::from(count))
            .map(|i| data[i / 8] >> (i % 8) & 1 == 1)
            .collect();
        self.registers.write_bits(address, &bits)?;
        Ok(pdu[..5].to_vec())
    }

    fn write_registers(&mut self, pdu: &[u8]) -> Result<Vec<u8>, Exception> {
        let (address, count, data) = multiple(pdu)?;
        if data.len() != usize::from(count) * 2 || !(1..=123).contains(&count) {
            return Err(Exception::ILLEGAL_VALUE);
        }
        let words: Vec<u16> = data
            .chunks_exact(2)
            .map(|c| u16::from_be_bytes([c[0], c[1]]))
            .collect();
        self.registers.write_words(address, &words)?;
        Ok(pdu[..5].to_vec())
    }
}

/// Returns the refusal of a request with function code `function`.
pub fn refusal(function: u8, exception: Exception) -> Vec<u8> {
    vec![function | 0x80, exception.0]
}

fn exact(pdu: &[u8]) -> Result<[u8; 5], Exception> {
    pdu.try_into().map_err(|_| Exception::ILLEGAL_VALUE)
}

fn pack(bits: &[bool]) -> u8 {
    bits.iter()
        .enumerate()
        .fold(0, |byte, (i, bit)| byte | u8::from(*bit) << i)
}

/// Takes apart a request that writes several: address, count and data.
fn multiple(pdu: &[u8]) -> Result<(u16, u16, &[u8]), Exception> {
    let (head, data) = pdu.split_at_checked(6).ok_or(Exception::ILLEGAL_VALUE)?;
    if usize::from(head[5]) != data.len() {
        return Err(Exception::ILLEGAL_VALUE);
    }
    Ok((
        u16::from_be_bytes([head[1], head[2]]),
        u16::from_be_bytes([head[3], head[4]]),
        data,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(content: &[u16]) -> Unit {
        let mut registers = Registers::new();
        registers.set_words(Table::HoldingRegisters, 0, content);
        Unit::new(1, registers)
    }

    fn answer(unit: &mut Unit, pdu: &[u8]) -> Vec<u8> {
        unit.answer(pdu, Duration::ZERO)
    }

    // The examples of the Modbus Application Protocol 1.1b3, section 6.
    #[test]
    fn the_examples_of_the_specification_are_answered_as_it_says() {
        let mut registers = Registers::new();
        registers.set_words(Table::HoldingRegisters, 0x6b, &[0x022b, 0x0000, 0x0064]);
        registers.set_words(Table::InputRegisters, 8, &[10]);
        let mut unit = Unit::new(1, registers);
        let read = answer(&mut unit, &[0x03, 0x00, 0x6b, 0x00, 0x03]);
        assert_eq!(read, [0x03, 0x06, 0x02, 0x2b, 0x00, 0x00, 0x00, 0x64]);
        assert_eq!(
            answer(&mut unit, &[0x04, 0x00, 0x08, 0x00, 0x01]),
            [0x04, 0x02, 0x00, 0x0a]
        );
    }

    #[test]
    fn coils_that_are_written_are_read_back() {
        let mut unit = Unit::relay_board(4);
        let write = [0x0f, 0x00, 0x00, 0x00, 0x08, 0x01, 0b1010_0001];
        assert_eq!(answer(&mut unit, &write), [0x0f, 0x00, 0x00, 0x00, 0x08]);
        let single = [0x05, 0x00, 0x01, 0xff, 0x00];
        assert_eq!(answer(&mut unit, &single), single);
        assert_eq!(
            answer(&mut unit, &[0x01, 0x00, 0x00, 0x00, 0x08]),
            [0x01, 0x01, 0b1010_0011]
        );
    }

    #[test]
    fn registers_that_are_written_are_read_back() {
        let mut unit = words(&[0; 4]);
        let write = [0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0a, 0x01, 0x02];
        assert_eq!(answer(&mut unit, &write), [0x10, 0x00, 0x01, 0x00, 0x02]);
        answer(&mut unit, &[0x06, 0x00, 0x00, 0x12, 0x34]);
        let read = answer(&mut unit, &[0x03, 0x00, 0x00, 0x00, 0x03]);
        assert_eq!(read, [0x03, 0x06, 0x12, 0x34, 0x00, 0x0a, 0x01, 0x02]);
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_exception_of_the_standard() {
        let mut unit = words(&[0; 4]);
        let cases: [(&[u8], [u8; 2]); 6] = [
            (&[0x2b, 0x0e, 0x01, 0x00], [0xab, 0x01]),
            (&[0x03, 0x00, 0x03, 0x00, 0x02], [0x83, 0x02]),
            (&[0x03, 0x00, 0x00, 0x00, 0x7e], [0x83, 0x03]),
            (&[0x03, 0x00, 0x00, 0x00, 0x00], [0x83, 0x03]),
            (&[0x05, 0x00, 0x00, 0x12, 0x34], [0x85, 0x03]),
            (&[0x10, 0x00, 0x00, 0x00, 0x02, 0x04, 0x00], [0x90, 0x03]),
        ];
        for (request, expected) in cases {
            assert_eq!(answer(&mut unit, request), expected, "{request:02x?}");
        }
    }

    #[test]
    fn whoever_follows_a_unit_gets_what_was_asked_last() {
        let mut unit = words(&[7; 4]).followed();
        let read = |address| [0x03, 0x00, address, 0x00, 0x01];
        answer(&mut unit, &read(0));
        answer(&mut unit, &read(9));
        let answers: Vec<Vec<u8>> = unit.take_exchanges().into_iter().map(|e| e.answer).collect();
        assert_eq!(answers, [vec![0x03, 0x02, 0x00, 0x07], vec![0x83, 0x02]]);
        for _ in 0..limits::MAX_EXCHANGES + 5 {
            answer(&mut unit, &read(0));
        }
        assert_eq!(unit.take_exchanges().len(), limits::MAX_EXCHANGES);
        assert!(unit.take_exchanges().is_empty());
    }

    #[test]
    fn a_stuck_relay_echoes_the_write_and_stays_as_it_was() {
        let mut unit = Unit::relay_board(4);
        unit.registers_mut().stick(Table::Coils, 2);
        let write = [0x05, 0x00, 0x02, 0xff, 0x00];
        assert_eq!(answer(&mut unit, &write), write);
        assert_eq!(
            answer(&mut unit, &[0x01, 0x00, 0x02, 0x00, 0x01]),
            [0x01, 0x01, 0x00]
        );
    }
}
