//! What can go wrong with an answer.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use crate::modbus_unit::{Exception, Unit, refusal, rtu};

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The unit is not there: it does nothing and says nothing.
    Silent,
    /// The unit does what is asked, and its answer is lost.
    Mute,
    /// The answer comes so much later than it should.
    Late(Duration),
    /// A valid answer of another exchange comes instead, with [`foreign_value`] in its registers.
    Foreign(Foreign),
    /// One bit of the answer is flipped.
    Corrupt,
    /// The answer breaks off.
    Truncated,
    /// The answer comes twice.
    Duplicated,
    /// The unit refuses with this code and does nothing.
    Exception(u8),
    /// So many random bytes come instead.
    Babble(usize),
}

/// How an answer is foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It is of the unit with the next address.
    OtherUnit,
    /// It answers another function code.
    OtherFunction,
    /// It answers a read of two more registers.
    OtherLength,
}

/// Returns the value that stands in every pair of registers of a foreign answer: no meter here shows it.
pub const fn foreign_value() -> f32 {
    666_666.0
}

/// When which fault happens.
#[derive(Clone, Debug)]
pub struct Faults {
    plan: Plan,
}

#[derive(Clone, Debug)]
enum Plan {
    Always(Option<Fault>),
    Script(VecDeque<Option<Fault>>),
    Random(Vec<(f64, Fault)>),
    During(Vec<(Range<Duration>, Fault)>),
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self {
            plan: Plan::Always(None),
        }
    }

    /// Every answer goes wrong in the same way.
    pub const fn always(fault: Fault) -> Self {
        Self {
            plan: Plan::Always(Some(fault)),
        }
    }

    /// Each request takes the next of these; after the last one nothing goes wrong.
    pub fn script(faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        Self {
            plan: Plan::Script(faults.into_iter().collect()),
        }
    }

    /// Each fault has its share of the requests, from 0 to 1.
    pub const fn random(shares: Vec<(f64, Fault)>) -> Self {
        Self {
            plan: Plan::Random(shares),
        }
    }

    /// Each fault has its times, counted from the start of the line.
    pub const fn during(times: Vec<(Range<Duration>, Fault)>) -> Self {
        Self {
            plan: Plan::During(times),
        }
    }

    pub(super) fn next(&mut self, elapsed: Duration, randomness: &mut StdRng) -> Option<Fault> {
        match &mut self.plan {
            Plan::Always(fault) => fault.clone(),
            Plan::Script(faults) => faults.pop_front().flatten(),
            Plan::Random(shares) => draw(shares, randomness.random_range(0.0..1.0)),
            Plan::During(times) => {
                let current = times.iter().find(|(during, _)| during.contains(&elapsed));
                current.map(|(_, fault)| fault.clone())
            }
        }
    }
}

fn draw(shares: &[(f64, Fault)], mut lot: f64) -> Option<Fault> {
    for (share, fault) in shares {
        if lot < *share {
            return Some(fault.clone());
        }
        lot -= share;
    }
    None
}

/// Returns what goes over the line in answer to a request, and how long after the unit's turnaround.
pub(super) fn replies(
    fault: Option<Fault>,
    unit: &mut Unit,
    pdu: &[u8],
    elapsed: Duration,
    randomness: &mut StdRng,
) -> Vec<(Duration, Vec<u8>)> {
    let address = unit.address();
    let function = pdu.first().copied().unwrap_or(0);
    match fault {
        Some(Fault::Silent) => return Vec::new(),
        Some(Fault::Exception(code)) => {
            return vec![(
                Duration::ZERO,
                rtu::frame(address, &refusal(function, Exception(code))),
            )];
        }
        None
        | Some(
            Fault::Mute
            | Fault::Late(_)
            | Fault::Foreign(_)
            | Fault::Corrupt
            | Fault::Truncated
            | Fault::Duplicated
            | Fault::Babble(_),
        ) => {}
    }
    let reply = unit.answer(pdu, elapsed);
    spoil(fault, address, &reply, randomness)
}

fn spoil(fault: Option<Fault>, address: u8, pdu: &[u8], randomness: &mut StdRng) -> Vec<(Duration, Vec<u8>)> {
    let now = Duration::ZERO;
    let mut frame = rtu::frame(address, pdu);
    match fault {
        None => vec![(now, frame)],
        Some(Fault::Silent | Fault::Mute | Fault::Exception(_)) => Vec::new(),
        Some(Fault::Late(by)) => vec![(by, frame)],
        Some(Fault::Foreign(kind)) => vec![(now, foreign(kind, address, pdu))],
        Some(Fault::Duplicated) => vec![(now, frame.clone()), (now, frame)],
        Some(Fault::Babble(count)) => vec![(now, (0..count).map(|_| randomness.random()).collect())],
        Some(Fault::Truncated) => {
            frame.truncate(randomness.random_range(1..frame.len()));
            vec![(now, frame)]
        }
        Some(Fault::Corrupt) => {
            let bit = randomness.random_range(0..frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            vec![(now, frame)]
        }
    }
}

fn foreign(kind: Foreign, address: u8, pdu: &[u8]) -> Vec<u8> {
    let mut pdu = pdu.to_vec();
    if kind == Foreign::OtherLength && pdu.len() >= 2 {
        pdu[1] = pdu[1].wrapping_add(4);
        pdu.extend([0; 4]);
    }
    let value = foreign_value().to_be_bytes();
    let data = pdu.iter_mut().skip(2).zip(value.iter().cycle());
    data.for_each(|(byte, foreign)| *byte = *foreign);
    match kind {
        Foreign::OtherUnit => rtu::frame(address.wrapping_add(1), &pdu),
        Foreign::OtherLength => rtu::frame(address, &pdu),
        Foreign::OtherFunction => {
            pdu[0] = if pdu[0] == 0x04 { 0x03 } else { 0x04 };
            rtu::frame(address, &pdu)
        }
    }
}
