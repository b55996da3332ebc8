//! The framing of a bus: frames out, frames in, and how long each takes.

use std::time::{Duration, Instant};

use super::bus::Framing;
use super::pdu::Request;
use super::plan::Costs;
use super::rtu::LineTiming;
use super::{rtu, tcp};

/// A frame from the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) unit: u8,
    pub(super) pdu: Vec<u8>,
    pub(super) transaction: Option<u16>,
}

/// What cuts and times frames.
#[derive(Debug)]
pub(super) enum Line {
    Rtu {
        timing: LineTiming,
        receiver: rtu::Receiver,
    },
    Tcp {
        receiver: tcp::Receiver,
        transaction: u16,
    },
}

impl Line {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Rtu { baud, bits_per_char } => Self::Rtu {
                timing: LineTiming::new(baud, bits_per_char),
                receiver: rtu::Receiver::default(),
            },
            Framing::Tcp => Self::Tcp {
                receiver: tcp::Receiver::default(),
                transaction: 0,
            },
        }
    }

    /// Says whether an answer cannot be told from an older one.
    pub(super) fn is_rtu(&self) -> bool {
        matches!(self, Self::Rtu { .. })
    }

    /// Returns the frame of a request, and its transaction identifier where there is one.
    pub(super) fn encode(&mut self, unit: u8, request: &Request) -> (Vec<u8>, Option<u16>) {
        match self {
            Self::Rtu { .. } => (rtu::encode(unit, &request.encode()), None),
            Self::Tcp { transaction, .. } => {
                *transaction = transaction.wrapping_add(1);
                (
                    tcp::encode(*transaction, unit, &request.encode()),
                    Some(*transaction),
                )
            }
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Rtu { receiver, .. } => receiver.push(bytes),
            Self::Tcp { receiver, .. } => receiver.push(bytes),
        }
    }

    /// Returns the next whole frame.
    ///
    /// # Errors
    /// When a stream is out of step.
    pub(super) fn next_frame(&mut self) -> Result<Option<Received>, tcp::OutOfStep> {
        Ok(match self {
            Self::Rtu { receiver, .. } => receiver.next_frame().map(Received::from),
            Self::Tcp { receiver, .. } => receiver.next_frame()?.map(Received::from),
        })
    }

    /// Returns the frame behind garbage that the line fell silent after.
    pub(super) fn settled(&mut self) -> Option<Received> {
        match self {
            Self::Rtu { receiver, .. } => receiver.settled().map(Received::from),
            Self::Tcp { .. } => None,
        }
    }

    /// Returns when to look behind garbage, if some came.
    pub(super) fn settle_at(&self, last_byte: Instant) -> Option<Instant> {
        match self {
            Self::Rtu { receiver, timing } => receiver.is_astray().then(|| last_byte + timing.gap),
            Self::Tcp { .. } => None,
        }
    }

    /// Forgets what was received, and returns how many bytes were no frame.
    pub(super) fn clear(&mut self) -> u64 {
        match self {
            Self::Rtu { receiver, .. } => receiver.clear(),
            Self::Tcp { .. } => 0,
        }
    }

    /// Forgets everything of a connection that is gone.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Rtu { receiver, .. } => {
                receiver.clear();
            }
            Self::Tcp { receiver, .. } => receiver.clear(),
        }
    }

    /// Returns the silence that belongs between two frames.
    pub(super) fn gap(&self) -> Duration {
        match self {
            Self::Rtu { timing, .. } => timing.gap,
            Self::Tcp { .. } => Duration::ZERO,
        }
    }

    /// Returns how long so many bytes are on the way.
    pub(super) fn bytes(&self, count: usize) -> Duration {
        match self {
            Self::Rtu { timing, .. } => timing.bytes(count),
            Self::Tcp { .. } => Duration::ZERO,
        }
    }

    pub(super) fn costs(&self, turnaround: Duration, min_gap: Duration) -> Costs {
        match self {
            Self::Rtu { timing, .. } => Costs::rtu(*timing, turnaround, min_gap),
            Self::Tcp { .. } => Costs::tcp(turnaround, min_gap),
        }
    }
}

impl From<rtu::Found> for Received {
    fn from(found: rtu::Found) -> Self {
        Self {
            unit: found.unit,
            pdu: found.pdu,
            transaction: None,
        }
    }
}

impl From<tcp::Adu> for Received {
    fn from(adu: tcp::Adu) -> Self {
        Self {
            unit: adu.unit,
            pdu: adu.pdu,
            transaction: Some(adu.transaction),
        }
    }
}
