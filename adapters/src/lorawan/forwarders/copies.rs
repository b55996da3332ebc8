//! One frame from the copies that forwarders, and neighboring channels of one forwarder, heard of it.
//!
//! Copies are the same bytes; frequency and time do not count, since a device nearby is heard on channels that it does
//! not send on. The same bytes long after are not a copy: the device repeats itself, and wants an answer again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ucifi_core::Now;

use super::limits;
use crate::lorawan::{AirFrame, Heard};

/// The frames of the last moments.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Those whose copies are waited for, and those that were delivered, by their bytes.
    frames: BTreeMap<Vec<u8>, Frame>,
    /// Their bytes, the oldest first.
    order: VecDeque<Vec<u8>>,
    /// The bytes of those that wait, the oldest first, and until when.
    waiting: VecDeque<(Instant, Vec<u8>)>,
}

#[derive(Debug)]
struct Frame {
    received: Now,
    is_delivered: bool,
    copies: Vec<Heard>,
}

impl Copies {
    /// Takes a copy; says whether it is the first of its frame.
    pub(super) fn add(&mut self, phy: Vec<u8>, heard: Heard, wait: Duration, now: Now) -> bool {
        self.forget(now.instant);
        if let Some(frame) = self.frames.get_mut(&phy) {
            if !frame.is_delivered {
                frame.add(heard);
            }
            return false;
        }
        self.order.push_back(phy.clone());
        self.waiting.push_back((now.instant + wait, phy.clone()));
        let frame = Frame {
            received: now,
            is_delivered: false,
            copies: vec![heard],
        };
        self.frames.insert(phy, frame);
        true
    }

    /// Returns a frame whose copies have been waited for, or that has to make room.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<AirFrame> {
        let is_full = self.frames.len() > limits::FRAMES;
        self.waiting.front().filter(|(due, _)| *due <= now || is_full)?;
        let (_, phy) = self.waiting.pop_front()?;
        let frame = self.frames.get_mut(&phy)?;
        frame.is_delivered = true;
        let mut copies = std::mem::take(&mut frame.copies);
        copies.sort_by(|a, b| worth(b).partial_cmp(&worth(a)).unwrap_or(Ordering::Equal));
        Some(AirFrame {
            phy,
            copies,
            received: frame.received,
        })
    }

    /// Returns when the next frame is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Forgets the frames of which no copy can come any more, and the oldest delivered ones when they are too many.
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let is_old = self.frames.get(oldest).is_none_or(|frame| {
                let age = now.saturating_duration_since(frame.received.instant);
                frame.is_delivered && (age >= limits::LATE_COPY || self.frames.len() >= limits::FRAMES)
            });
            if !is_old {
                return;
            }
            self.frames.remove(oldest);
            self.order.pop_front();
        }
    }
}

impl Frame {
    /// Keeps the best copy of each forwarder, of which there are only so many.
    fn add(&mut self, heard: Heard) {
        match self
            .copies
            .iter_mut()
            .find(|copy| copy.forwarder == heard.forwarder)
        {
            Some(copy) if worth(&heard) > worth(copy) => *copy = heard,
            Some(_) => {}
            None => self.copies.push(heard),
        }
    }
}

/// Tells which of two copies is better: by the ratio to the noise, then by the strength.
fn worth(heard: &Heard) -> (f64, f64) {
    (heard.snr_db, heard.rssi_dbm)
}
