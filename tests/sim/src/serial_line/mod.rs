//! A serial line with several Modbus units on it: when bytes arrive, and what goes wrong with them.
//!
//! The line is full duplex, as the two ends of a pseudo-terminal are: what is sent while a reply is under way is heard,
//! and counted. It knows nothing of what the registers mean.

mod fault;
pub mod pty;

pub use fault::{Fault, Faults, Foreign, foreign_value};

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::limits;
use crate::modbus_unit::{Unit, rtu};

/// What happened on a line so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that a unit on the line answered, or left unanswered on purpose.
    pub requests: u64,
    /// Frames that were for nobody on the line, or no frames at all.
    pub unheard: u64,
    /// Frames that were sent while a reply was still under way.
    pub collisions: u64,
    /// Requests whose answer was spoilt.
    pub faults: u64,
}

/// A line, as a state machine: `handle_bytes` is what the client sends, `poll_bytes` what it receives.
#[derive(Debug)]
pub struct Line {
    char_time: Duration,
    start: Instant,
    randomness: StdRng,
    units: BTreeMap<u8, (Unit, Faults)>,
    /// When each unit has worked off what it was asked: it answers in the order in which it was asked.
    busy_until: BTreeMap<u8, Instant>,
    /// What the client has sent since the last silence, and when that silence begins to count as the frame's end.
    hearing: Vec<u8>,
    frame_end: Instant,
    replies: BTreeMap<(Instant, u64), Vec<u8>>,
    order: u64,
    arriving: VecDeque<(Instant, u8)>,
    counters: Counters,
}

impl Line {
    /// Makes a line without units; `bits_per_char` counts start, parity and stop bits: 10 for 8N1. The values of all
    /// units move from `start` on.
    pub fn new(baud: u32, bits_per_char: u8, seed: u64, start: Instant) -> Self {
        Self {
            char_time: Duration::from_secs(1) * u32::from(bits_per_char) / baud,
            start,
            randomness: StdRng::seed_from_u64(seed),
            units: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            hearing: Vec::new(),
            frame_end: start,
            replies: BTreeMap::new(),
            order: 0,
            arriving: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Connects a unit, in place of one with the same address.
    #[must_use]
    pub fn with_unit(mut self, unit: Unit) -> Self {
        self.units.insert(unit.address(), (unit, Faults::none()));
        self
    }

    /// Returns a unit.
    pub fn unit(&self, address: u8) -> Option<&Unit> {
        self.units.get(&address).map(|(unit, _)| unit)
    }

    /// Returns a unit, to change its registers.
    pub fn unit_mut(&mut self, address: u8) -> Option<&mut Unit> {
        self.units.get_mut(&address).map(|(unit, _)| unit)
    }

    /// Sets what goes wrong with a unit's answers from now on; a unit that is not there has none.
    pub fn set_faults(&mut self, address: u8, faults: Faults) {
        if let Some((_, current)) = self.units.get_mut(&address) {
            *current = faults;
        }
    }

    /// Returns what happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns how long the values of the units have been moving.
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// Takes bytes that the client sends; they go out one after the other from now on.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.hear(now);
        if !self.arriving.is_empty() {
            self.counters.collisions += 1;
        }
        let room = limits::MAX_LINE_BYTES.saturating_sub(self.hearing.len());
        let bytes = &bytes[..bytes.len().min(room)];
        let begins = if self.hearing.is_empty() {
            now
        } else {
            now.max(self.frame_end - self.silence())
        };
        self.frame_end = begins + self.chars(bytes.len()) + self.silence();
        self.hearing.extend_from_slice(bytes);
    }

    /// Puts bytes on the line that nobody has asked for, from now on or as soon as it is free.
    pub fn babble(&mut self, bytes: &[u8], now: Instant) {
        self.hear(now);
        self.put_on_line(now, bytes);
    }

    /// Does what is due: frames that have ended are answered, answers begin to arrive.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.hear(now);
        while let Some(entry) = self.replies.first_entry() {
            let (due, _) = *entry.key();
            if due > now {
                return;
            }
            let bytes = entry.remove();
            self.put_on_line(due, &bytes);
        }
    }

    /// Returns what has arrived at the client by `now`.
    pub fn poll_bytes(&mut self, now: Instant) -> Option<Vec<u8>> {
        let arrived = self.arriving.iter().take_while(|(at, _)| *at <= now).count();
        let bytes: Vec<u8> = self.arriving.drain(..arrived).map(|(_, byte)| byte).collect();
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Returns when [`Self::handle_timeout`] and [`Self::poll_bytes`] are due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let frame = (!self.hearing.is_empty()).then_some(self.frame_end);
        let reply = self.replies.keys().next().map(|(at, _)| *at);
        let byte = self.arriving.front().map(|(at, _)| *at);
        [frame, reply, byte].into_iter().flatten().min()
    }

    fn hear(&mut self, now: Instant) {
        if !self.hearing.is_empty() && self.frame_end <= now {
            let frame = std::mem::take(&mut self.hearing);
            self.answer(&frame, self.frame_end);
        }
    }

    fn answer(&mut self, frame: &[u8], at: Instant) {
        let elapsed = self.elapsed(at);
        let opened = rtu::open(frame);
        if let Some((0, pdu)) = opened {
            self.units
                .values_mut()
                .for_each(|(unit, _)| drop(unit.answer(pdu, elapsed)));
            return;
        }
        let addressed = opened.and_then(|(address, pdu)| Some((self.units.get_mut(&address)?, pdu)));
        let Some(((unit, faults), pdu)) = addressed else {
            self.counters.unheard += 1;
            return;
        };
        self.counters.requests += 1;
        let fault = faults.next(elapsed, &mut self.randomness);
        self.counters.faults += u64::from(fault.is_some());
        let busy_until = self.busy_until.entry(unit.address()).or_insert(at);
        for (delay, bytes) in fault::replies(fault, unit, pdu, elapsed, &mut self.randomness) {
            *busy_until = (*busy_until).max(at + unit.turnaround() + delay);
            self.order += 1;
            self.replies.insert((*busy_until, self.order), bytes);
        }
    }

    /// Lets bytes arrive from `due` on, or as soon as the line is free.
    fn put_on_line(&mut self, due: Instant, bytes: &[u8]) {
        let begins = self.arriving.back().map_or(due, |(last, _)| due.max(*last));
        let room = limits::MAX_LINE_BYTES.saturating_sub(self.arriving.len());
        for (count, byte) in (1..).zip(bytes.iter().take(room)) {
            self.arriving.push_back((begins + self.chars(count), *byte));
        }
    }

    fn chars(&self, count: usize) -> Duration {
        self.char_time * u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The silence that ends a frame: 3.5 characters, above 19,200 baud 1.75 ms (Modbus over Serial Line 1.02,
    /// section 2.5.1.1).
    fn silence(&self) -> Duration {
        (self.char_time * 7 / 2).max(Duration::from_micros(1750))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_VOLTAGE: [u8; 5] = [0x04, 0x00, 0x00, 0x00, 0x02];

    fn line(start: Instant) -> Line {
        Line::new(9600, 10, 1, start)
            .with_unit(Unit::sdm630(1))
            .with_unit(Unit::relay_board(2))
    }

    /// Sends a request at the start and returns what arrives, in pieces, with the time of each.
    fn ask(line: &mut Line, frame: &[u8], start: Instant) -> Vec<(Duration, Vec<u8>)> {
        line.handle_bytes(frame, start);
        let mut arrived = Vec::new();
        while let Some(due) = line.poll_timeout() {
            line.handle_timeout(due);
            arrived.extend(line.poll_bytes(due).map(|bytes| (due - start, bytes)));
        }
        arrived
    }

    fn reply(faults: Faults) -> Vec<u8> {
        let start = Instant::now();
        let mut line = line(start);
        line.set_faults(1, faults);
        let arrived = ask(&mut line, &rtu::frame(1, &READ_VOLTAGE), start);
        arrived.into_iter().flat_map(|(_, bytes)| bytes).collect()
    }

    #[test]
    fn a_reply_takes_the_time_that_the_line_and_the_unit_need() {
        let start = Instant::now();
        let arrived = ask(&mut line(start), &rtu::frame(1, &READ_VOLTAGE), start);
        let bytes: Vec<u8> = arrived.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(rtu::open(&bytes).unwrap().1[..2], [0x04, 0x04]);
        // 8 characters of request, 3.5 of silence, 25 ms, then 9 characters, each 10 bits at 9600 baud.
        let expected = 25.0 + (8.0 + 3.5 + 9.0) * 10.0 / 9.6;
        let last = arrived.last().unwrap().0.as_secs_f64() * 1000.0;
        assert!(
            (last - expected).abs() < 0.01,
            "{last} ms, expected {expected} ms"
        );
        assert_eq!(arrived.len(), 9);
    }

    #[test]
    fn a_frame_for_nobody_or_with_a_wrong_crc_is_not_answered() {
        let start = Instant::now();
        let mut line = line(start);
        assert!(ask(&mut line, &rtu::frame(9, &READ_VOLTAGE), start).is_empty());
        assert!(ask(&mut line, &[1, 4, 0, 0, 0, 2, 0, 0], start).is_empty());
        assert_eq!(line.counters().unheard, 2);
    }

    #[test]
    fn each_fault_spoils_the_reply_in_its_way() {
        let good = reply(Faults::none());
        assert!(reply(Faults::always(Fault::Silent)).is_empty());
        assert_eq!(
            reply(Faults::always(Fault::Duplicated)),
            [good.clone(), good.clone()].concat()
        );
        assert_eq!(
            reply(Faults::always(Fault::Exception(6))),
            rtu::frame(1, &[0x84, 6])
        );
        assert!(good.starts_with(&reply(Faults::always(Fault::Truncated))));
        assert_eq!(reply(Faults::always(Fault::Babble(40))).len(), 40);
        let corrupt = reply(Faults::always(Fault::Corrupt));
        let flipped: u32 = good.iter().zip(&corrupt).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((corrupt.len(), flipped), (good.len(), 1));
    }

    #[test]
    fn foreign_replies_are_whole_frames_of_another_exchange() {
        let foreign = |kind| reply(Faults::always(Fault::Foreign(kind)));
        assert_eq!(rtu::open(&foreign(Foreign::OtherUnit)).unwrap().0, 2);
        assert_eq!(rtu::open(&foreign(Foreign::OtherFunction)).unwrap().1[0], 0x03);
        assert_eq!(rtu::open(&foreign(Foreign::OtherLength)).unwrap().1.len(), 10);
    }

    #[test]
    fn a_late_reply_comes_after_the_next_request_was_sent() {
        let start = Instant::now();
        let mut line = line(start);
        line.set_faults(
            1,
            Faults::script([Some(Fault::Late(Duration::from_secs(1))), None]),
        );
        line.handle_bytes(&rtu::frame(1, &READ_VOLTAGE), start);
        line.handle_timeout(start + Duration::from_millis(500));
        assert_eq!(line.poll_bytes(start + Duration::from_millis(500)), None);
        let second = rtu::frame(1, &[0x04, 0x00, 0x06, 0x00, 0x02]);
        let arrived = ask(&mut line, &second, start + Duration::from_millis(990));
        let bytes: Vec<u8> = arrived.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(bytes.len(), 18);
        assert!(rtu::open(&bytes[..9]).is_some() && rtu::open(&bytes[9..]).is_some());
    }

    #[test]
    fn a_unit_answers_in_the_order_in_which_it_was_asked() {
        let start = Instant::now();
        let mut line = line(start);
        line.set_faults(
            1,
            Faults::script([Some(Fault::Late(Duration::from_secs(3))), None]),
        );
        line.handle_bytes(&rtu::frame(1, &READ_VOLTAGE), start);
        let second = rtu::frame(1, &[0x04, 0x00, 0x06, 0x00, 0x04]);
        let arrived = ask(&mut line, &second, start + Duration::from_secs(1));
        let bytes: Vec<u8> = arrived.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(rtu::open(&bytes[..9]).unwrap().1[1], 4);
        assert_eq!(rtu::open(&bytes[9..]).unwrap().1[1], 8);
    }

    #[test]
    fn a_broadcast_is_done_by_all_and_answered_by_none() {
        let start = Instant::now();
        let mut line = line(start);
        assert!(ask(&mut line, &rtu::frame(0, &[0x05, 0, 3, 0xff, 0]), start).is_empty());
        assert_eq!(
            line.unit(2)
                .unwrap()
                .registers()
                .bit(ucifi_core::field::Table::Coils, 3),
            Some(true)
        );
    }

    #[test]
    fn no_more_bytes_are_under_way_than_the_bound_allows() {
        let start = Instant::now();
        let mut line = line(start);
        line.handle_bytes(&vec![0; limits::MAX_LINE_BYTES + 100], start);
        assert_eq!(line.hearing.len(), limits::MAX_LINE_BYTES);
        line.put_on_line(start, &vec![0; limits::MAX_LINE_BYTES + 100]);
        assert_eq!(line.arriving.len(), limits::MAX_LINE_BYTES);
    }
}
