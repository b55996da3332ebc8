//! Simulated units for the tests of this module: a register bank each, and a line with faults between it and the
//! client. Written from the standard, not from the client's codec.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lwm2m_client::Timestamp;
use ucifi_core::Now;

use super::client::Client;
use super::{Event, rtu, tests::start};

/// What a unit holds, by function code that reads it and address.
#[derive(Clone, Debug, Default)]
pub(super) struct Bank {
    pub(super) words: BTreeMap<(u8, u16), u16>,
    /// Answers only these function codes; the others get exception 01.
    pub(super) functions: Vec<u8>,
    /// Ignores what it does not know, as cheap boards do.
    pub(super) ignores: bool,
}

impl Bank {
    /// Answers a request as section 6 of the standard says.
    pub(super) fn answer(&mut self, pdu: &[u8]) -> Option<Vec<u8>> {
        let code = pdu[0];
        if !self.functions.contains(&code) {
            return (!self.ignores).then(|| vec![code | 0x80, 1]);
        }
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let (address, second) = (word(1), word(3));
        Some(match code {
            1 | 2 => self.bits(code, address, second),
            3 | 4 => self.read(code, address, second),
            5 => self.write(&[(1, address, u16::from(second == 0xFF00))], pdu),
            6 => self.write(&[(3, address, second)], pdu),
            15 => {
                let bit = |n: u16| u16::from(pdu[6 + usize::from(n / 8)] >> (n % 8) & 1);
                let all: Vec<_> = (0..second).map(|n| (1, address + n, bit(n))).collect();
                self.write(&all, pdu)
            }
            _ => {
                let all: Vec<_> = (0..second)
                    .map(|n| (3, address + n, word(6 + 2 * usize::from(n))))
                    .collect();
                self.write(&all, pdu)
            }
        })
    }

    fn read(&self, code: u8, address: u16, count: u16) -> Vec<u8> {
        let all = (0..count).map(|n| self.words.get(&(code, address.wrapping_add(n))).copied());
        match all.collect::<Option<Vec<u16>>>() {
            None => vec![code | 0x80, 2],
            Some(words) => {
                let content = words.iter().flat_map(|w| w.to_be_bytes());
                [code, (2 * count) as u8].into_iter().chain(content).collect()
            }
        }
    }

    fn bits(&self, code: u8, address: u16, count: u16) -> Vec<u8> {
        let mut bytes = vec![0u8; usize::from(count.div_ceil(8))];
        for n in 0..count {
            match self.words.get(&(code, address.wrapping_add(n))) {
                None => return vec![code | 0x80, 2],
                Some(bit) => bytes[usize::from(n / 8)] |= ((*bit & 1) as u8) << (n % 8),
            }
        }
        [code, bytes.len() as u8].into_iter().chain(bytes).collect()
    }

    fn write(&mut self, all: &[(u8, u16, u16)], pdu: &[u8]) -> Vec<u8> {
        if all
            .iter()
            .any(|(code, address, _)| !self.words.contains_key(&(*code, *address)))
        {
            return vec![pdu[0] | 0x80, 2];
        }
        for (code, address, value) in all {
            self.words.insert((*code, *address), *value);
        }
        pdu[..5].to_vec()
    }
}

/// A line in simulated time: what is on its way to the client, and how units misbehave.
pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) banks: BTreeMap<u8, Bank>,
    pub(super) now: Instant,
    pub(super) turnaround: Duration,
    pub(super) sent: Vec<(Instant, Vec<u8>)>,
    pub(super) events: Vec<(Instant, Event)>,
    pub(super) dead: Vec<u8>,
    pub(super) on_the_way: Vec<(Instant, Vec<u8>)>,
}

impl Bench {
    pub(super) fn new(client: Client, banks: BTreeMap<u8, Bank>) -> Self {
        let mut bench = Self {
            client,
            banks,
            now: start(),
            turnaround: Duration::from_millis(20),
            sent: Vec::new(),
            events: Vec::new(),
            dead: Vec::new(),
            on_the_way: Vec::new(),
        };
        bench.client.handle_connected(start());
        bench
    }

    /// Runs for a while with units that answer as they should.
    pub(super) fn run(&mut self, how_long: Duration) {
        self.run_with(how_long, |bench, frame| {
            let unit = frame[0];
            let pdu = frame[1..frame.len() - 2].to_vec();
            if !bench.dead.contains(&unit)
                && let Some(answer) = bench.banks.get_mut(&unit).and_then(|bank| bank.answer(&pdu))
            {
                // 11 bits a character at 9600 baud, and the request is on the line first.
                let wire = Duration::from_micros(1_146) * frame.len() as u32;
                bench.deliver(wire + bench.turnaround, rtu::encode(unit, &answer));
            }
        });
    }

    /// Runs for a while; `unit` decides what comes of each frame that goes out.
    pub(super) fn run_with(&mut self, how_long: Duration, mut unit: impl FnMut(&mut Self, &[u8])) {
        let end = self.now + how_long;
        loop {
            while let Some(frame) = self.client.poll_transmit() {
                self.sent.push((self.now, frame.clone()));
                unit(self, &frame);
            }
            while let Some(event) = self.client.poll_event() {
                self.events.push((self.now, event));
            }
            let bytes = self.on_the_way.iter().map(|(at, _)| *at).min();
            let wake = self.client.poll_timeout();
            let Some(next) = [bytes, wake].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            assert!(wake.is_none_or(|at| at >= self.now), "a wake-up in the past");
            self.now = self.now.max(next);
            if bytes == Some(next) {
                let place = self.on_the_way.iter().position(|(at, _)| *at == next).unwrap();
                let (_, bytes) = self.on_the_way.remove(place);
                self.client.handle_bytes(&bytes, at(self.now));
            } else {
                self.client.handle_timeout(self.now);
            }
        }
        self.now = end;
        self.client.handle_timeout(end);
    }

    pub(super) fn deliver(&mut self, after: Duration, bytes: Vec<u8>) {
        self.on_the_way.push((self.now + after, bytes));
    }
}

pub(super) fn at(instant: Instant) -> Now {
    let ms = i64::try_from(instant.duration_since(start()).as_millis()).unwrap();
    Now {
        instant,
        wall: Some(Timestamp::from_unix_ms(1_800_000_000_000 + ms)),
    }
}
