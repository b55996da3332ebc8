//! Late, foreign, corrupt, cut, doubled and missing answers: whatever comes, a value is what the unit held when it
//! was asked for that very block.
//!
//! Every simulated unit changes all its content with every request, and no two units, tables or addresses ever hold
//! the same, so that a value tells where and when it was read.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::modbus::pdu::{Answer, ReadRequest, Request};
use crate::modbus::rtu;

/// How late an answer may be, and in which order answers come.
#[derive(Clone, Copy, Debug)]
enum Delays {
    /// In any order, up to the end of the pause that follows a time-out.
    AnyOrder,
    /// In the order of the requests, up to the time after which a debt is forgotten.
    InOrder,
}

/// The units and the line between them and the client.
struct Faults {
    random: StdRng,
    delays: Delays,
    calm: bool,
    requests: u64,
    last_answer: BTreeMap<u8, Instant>,
    coil: bool,
    /// What each request would have been answered, had all gone well.
    truth: Vec<(Instant, u8, Vec<u8>, Vec<u8>)>,
}

impl Faults {
    fn new(seed: u64, delays: Delays) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            delays,
            calm: false,
            requests: 0,
            last_answer: BTreeMap::new(),
            coil: false,
            truth: Vec::new(),
        }
    }

    /// Lets a frame reach its unit and something come back.
    fn handle(&mut self, bench: &mut Bench, frame: &[u8]) {
        self.requests += 1;
        let (unit, pdu) = rtu::decode(frame).unwrap();
        // Unit 3 ignores what it does not know, unit 1 and 2 answer with an exception.
        let known = matches!((unit, pdu[0]), (1 | 2, 3 | 4) | (3, 1 | 5));
        let lost_on_the_way = !self.calm && self.random.random_bool(0.05);
        if (unit == 3 && !known) || lost_on_the_way {
            self.truth.push((bench.now, unit, pdu.to_vec(), Vec::new()));
            return;
        }
        let answer = if known {
            self.answer(unit, pdu)
        } else {
            vec![pdu[0] | 0x80, 1]
        };
        self.truth.push((bench.now, unit, pdu.to_vec(), answer.clone()));
        let exception = !self.calm && self.random.random_bool(0.03);
        let answer = if exception {
            vec![pdu[0] | 0x80, [4, 6][self.random.random_range(0..2)]]
        } else {
            answer
        };
        let delay = self.delay(bench, unit);
        for (after, bytes) in self.spoil(pdu, rtu::encode(unit, &answer)) {
            bench.deliver(delay + after, bytes);
        }
    }

    fn answer(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let (code, address, second) = (pdu[0], word(1), word(3));
        match code {
            1 => {
                let held = |n| {
                    if address + n == 0 {
                        self.coil
                    } else {
                        self.held(unit, code, address + n) & 1 == 1
                    }
                };
                let bits: Vec<bool> = (0..second).map(held).collect();
                let byte =
                    |eight: &[bool]| eight.iter().rev().fold(0u8, |byte, on| byte << 1 | u8::from(*on));
                let bytes: Vec<u8> = bits.chunks(8).map(byte).collect();
                [code, bytes.len() as u8].into_iter().chain(bytes).collect()
            }
            5 => {
                self.coil = second == 0xFF00;
                pdu.to_vec()
            }
            _ => {
                let content = (0..second).flat_map(|n| self.held(unit, code, address + n).to_be_bytes());
                [code, (second * 2) as u8].into_iter().chain(content).collect()
            }
        }
    }

    fn held(&self, unit: u8, code: u8, address: u16) -> u16 {
        let place = u64::from(unit) << 40 | u64::from(code) << 32 | u64::from(address) << 16;
        let mixed = (place ^ self.requests).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) as u16
    }

    fn delay(&mut self, bench: &Bench, unit: u8) -> Duration {
        let usual = ms(self.random.random_range(25..120));
        let punctual = if matches!(self.delays, Delays::AnyOrder) {
            0.7
        } else {
            0.9
        };
        if self.calm || self.random.random_bool(punctual) {
            return match self.delays {
                Delays::AnyOrder => usual,
                Delays::InOrder => self.in_order(bench, unit, usual),
            };
        }
        match self.delays {
            Delays::AnyOrder => ms(self.random.random_range(100..1_400)),
            Delays::InOrder => {
                let longest = [700, 3_000, 10_000][self.random.random_range(0..3)];
                let delay = ms(self.random.random_range(100..longest));
                self.in_order(bench, unit, delay)
            }
        }
    }

    fn in_order(&mut self, bench: &Bench, unit: u8, delay: Duration) -> Duration {
        let after_last = self
            .last_answer
            .get(&unit)
            .map_or(bench.now, |last| *last + ms(30));
        // What the unit cannot get rid of in time never leaves it.
        let at = (bench.now + delay)
            .max(after_last)
            .min(bench.now + secs(10))
            .max(after_last);
        self.last_answer.insert(unit, at);
        at - bench.now
    }

    /// Returns what arrives in place of a frame, in pieces with the time of each.
    fn spoil(&mut self, pdu: &[u8], frame: Vec<u8>) -> Vec<(Duration, Vec<u8>)> {
        // A unit that nobody configured. Those that are configured speak up in each other's time by being late.
        let foreign = rtu::encode(9, &self.answer_of(9, pdu));
        let whole = |bytes| vec![(ms(0), bytes)];
        match if self.calm {
            0
        } else {
            self.random.random_range(0..24)
        } {
            1 => Vec::new(),
            2 => {
                let mut frame = frame;
                let place = self.random.random_range(0..frame.len());
                frame[place] ^= 1 << self.random.random_range(0..8);
                whole(frame)
            }
            3 => whole(frame[..self.random.random_range(0..frame.len())].to_vec()),
            4 => whole([frame.clone(), frame].concat()),
            5 => vec![(ms(0), frame.clone()), (ms(2), frame)],
            6 => whole([foreign, frame].concat()),
            7 => whole(foreign),
            8 => whole([frame, foreign].concat()),
            9 => whole([vec![0x00, 0xFF], frame].concat()),
            10 => whole([frame, vec![0xFF, 0x00, 0x55]].concat()),
            11 => frame
                .iter()
                .zip(0..)
                .map(|(byte, n)| (ms(n), vec![*byte]))
                .collect(),
            12 => {
                // A frame of another unit that holds the very answer, but for the time, in its content.
                let content = [vec![0x00, 0x00], frame, vec![0x00, 0x00, 0x00]].concat();
                let pdu = [vec![0x03, content.len() as u8], content].concat();
                rtu::encode(9, &pdu)
                    .chunks(5)
                    .zip(0..)
                    .map(|(piece, n)| (ms(n), piece.to_vec()))
                    .collect()
            }
            _ => whole(frame),
        }
    }

    /// Returns what another unit would say to the same request, without being asked.
    fn answer_of(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let coil = self.coil;
        let answer = self.answer(unit, pdu);
        self.coil = coil;
        answer
    }
}

/// Two blocks of one length that no gap joins, so that one could pass for the other.
fn twins(unit: u8) -> UnitConfig {
    let points = vec![
        point(0, Table::HoldingRegisters, 0, 2, 400),
        point(1, Table::HoldingRegisters, 2, 2, 400),
        point(2, Table::HoldingRegisters, 100, 4, 400),
        point(3, Table::InputRegisters, 0, 2, 900),
    ];
    UnitConfig {
        unit,
        points,
        limits: ReadLimits {
            max_gap: Some(4),
            ..ReadLimits::default()
        },
    }
}

fn lonely(unit: u8) -> UnitConfig {
    let points = vec![point(0, Table::HoldingRegisters, 0, 2, 500)];
    UnitConfig {
        unit,
        points,
        limits: ReadLimits::default(),
    }
}

fn check(seed: u64, delays: Delays) -> (usize, usize) {
    let mut bench = bench(vec![twins(1), lonely(2), relays(3)], []);
    let mut faults = Faults::new(seed, delays);
    for n in 0..12 {
        bench.run_with(secs(5), |bench, frame| faults.handle(bench, frame));
        let now = bench.now;
        bench.client.handle_downlink(switch(n, 3, 0, n % 2 == 0), now);
    }
    let mut values = 0;
    let mut confirmed = 0;
    for (at, event) in &bench.events {
        let (unit, frame) = match event {
            Event::Uplink(uplink) => {
                let Link::Modbus { unit, .. } = uplink.link else {
                    panic!("a bus has units only")
                };
                values += 1;
                (unit, &uplink.frame)
            }
            Event::Delivery {
                delivery: Delivery::Confirmed(Some(frame)),
                ..
            } => {
                confirmed += 1;
                (3, frame)
            }
            Event::Delivery { .. } | Event::Reachability { .. } | Event::Reconnect { .. } => continue,
        };
        let Frame::ModbusBlock(block) = frame else {
            panic!("a unit writes nothing")
        };
        let (_, asked, request, truth) = faults.truth.iter().rev().find(|(sent, ..)| sent < at).unwrap();
        let count = u16::try_from(block.content.len()).unwrap();
        let read = Request::Read(ReadRequest {
            table: block.table,
            address: block.address,
            count,
        });
        assert_eq!(
            (unit, &read.encode()),
            (*asked, request),
            "seed {seed}: another block's or unit's values"
        );
        assert_eq!(
            read.answer(truth),
            Ok(Answer::Content(block.content.clone())),
            "seed {seed}: old values"
        );
    }
    calm_down(&mut bench, &mut faults);
    (values, confirmed)
}

/// After all faults every unit gives its values again.
fn calm_down(bench: &mut Bench, faults: &mut Faults) {
    faults.calm = true;
    bench.run_with(secs(200), |bench, frame| faults.handle(bench, frame));
    let late = bench.now - secs(20);
    for unit in [1, 2, 3] {
        let count = uplinks(bench)
            .filter(|(at, u)| *at > late && u.link == link(unit))
            .count();
        assert!(count >= 15, "unit {unit} gave {count} blocks in the last 20 s");
    }
}

#[test]
fn faults_leave_enough_values_to_prove_anything() {
    for delays in [Delays::AnyOrder, Delays::InOrder] {
        let runs: Vec<_> = (0..8).map(|seed| check(seed, delays)).collect();
        let values: usize = runs.iter().map(|run| run.0).sum();
        let confirmed: usize = runs.iter().map(|run| run.1).sum();
        assert!(
            values > 200 && confirmed > 8,
            "{delays:?}: {values} values, {confirmed} confirmed commands"
        );
    }
}

#[test]
fn an_answer_delayed_by_any_time_never_answers_the_next_request() {
    for delay in (0..9_000).step_by(293) {
        let mut bench = bench(vec![twins(1), lonely(2)], []);
        let mut faults = Faults::new(1, Delays::AnyOrder);
        faults.calm = true;
        let mut first = true;
        let mut line: BTreeMap<u8, Instant> = BTreeMap::new();
        bench.run_with(secs(40), |bench, frame| {
            let before = bench.on_the_way.len();
            faults.handle(bench, frame);
            let unit = frame[0];
            for (at, _) in bench.on_the_way.iter_mut().skip(before) {
                if unit == 2 && first {
                    *at += ms(delay);
                    first = false;
                }
                *at = line.get(&unit).map_or(*at, |last| (*at).max(*last + ms(30)));
                line.insert(unit, *at);
            }
        });
        for (at, uplink) in uplinks(&bench) {
            let block = block(uplink);
            let (.., truth) = faults.truth.iter().rev().find(|(sent, ..)| *sent < at).unwrap();
            let read = ReadRequest {
                table: block.table,
                address: block.address,
                count: block.content.len() as u16,
            };
            let held = Request::Read(read).answer(truth);
            assert_eq!(
                held,
                Ok(Answer::Content(block.content.clone())),
                "delayed by {delay} ms"
            );
        }
        let others = uplinks(&bench).filter(|(_, u)| u.link == link(1)).count();
        assert!(others > 30, "the other unit is read meanwhile");
        assert!(uplinks(&bench).any(|(at, u)| u.link == link(2) && at > bench.now - secs(5)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn values_are_those_of_the_request_whatever_the_order_of_answers(seed in any::<u64>()) {
        check(seed, Delays::AnyOrder);
    }

    #[test]
    fn values_are_those_of_the_request_however_late_answers_are(seed in any::<u64>()) {
        check(seed, Delays::InOrder);
    }

    #[test]
    fn any_bytes_at_any_time_are_borne(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..60), tcp in any::<bool>()) {
        let framing = if tcp { Framing::Tcp } else { RTU };
        let client = Client::new(bus(framing, Writes::Allow), vec![twins(1), lonely(2)], 7, start()).unwrap();
        let mut bench = Bench::new(client, BTreeMap::new());
        for (piece, n) in pieces.into_iter().zip(0..) {
            bench.deliver(ms(n * 37), piece);
        }
        bench.run_with(secs(10), |_, _| {});
        prop_assert_eq!(uplinks(&bench).count(), 0);
    }
}
