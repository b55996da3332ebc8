//! Confirmable messages on the wire: repeated with exponential back-off until acknowledged (RFC 7252, section 4.2).

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::exchange::{NotificationId, RequestId};
use super::parameters::TransmissionParameters;

/// What a message of ours belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A request of ours, or one block of it.
    Request(RequestId),
    /// The answer to a request of the peer, sent apart from the acknowledgement.
    Response,
    /// A notification.
    Notification(NotificationId),
}

/// One confirmable message that waits for its acknowledgement.
#[derive(Debug)]
pub(super) struct Transmission {
    pub(super) owner: Owner,
    pub(super) id: u16,
    pub(super) token: Vec<u8>,
    pub(super) datagram: Vec<u8>,
    timeout: Duration,
    repetitions_left: u32,
    due: Instant,
}

/// What happens to a message whose time has come.
#[derive(Debug)]
pub(super) enum Due {
    /// It goes out again.
    Repeat(Vec<u8>),
    /// It was never acknowledged.
    GivenUp(Transmission),
}

/// All messages that wait for their acknowledgement; as many as NSTART.
#[derive(Debug, Default)]
pub(super) struct Transmissions {
    waiting: Vec<Transmission>,
}

impl Transmissions {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Notes a message that goes out now for the first time.
    pub(super) fn start(
        &mut self,
        owner: Owner,
        (id, token, datagram): (u16, Vec<u8>, Vec<u8>),
        parameters: &TransmissionParameters,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let factor = rng.random_range(1.0..=parameters.ack_random_factor);
        let timeout = parameters.ack_timeout.mul_f64(factor);
        let repetitions_left = parameters.max_retransmit;
        self.waiting.push(Transmission {
            owner,
            id,
            token,
            datagram,
            timeout,
            repetitions_left,
            due: now + timeout,
        });
    }

    /// Returns the message with an id.
    pub(super) fn find(&self, id: u16) -> Option<&Transmission> {
        self.waiting.iter().find(|transmission| transmission.id == id)
    }

    /// Takes out the message with an id: it was acknowledged or rejected.
    pub(super) fn finish(&mut self, id: u16) -> Option<Transmission> {
        let index = self
            .waiting
            .iter()
            .position(|transmission| transmission.id == id)?;
        Some(self.waiting.remove(index))
    }

    /// Takes out whatever belongs to owners of a kind.
    pub(super) fn abandon(&mut self, is_meant: impl Fn(Owner) -> bool) -> Vec<Transmission> {
        let abandoned = self
            .waiting
            .extract_if(.., |transmission| is_meant(transmission.owner));
        abandoned.collect()
    }

    /// Returns the next message whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let index = self
            .waiting
            .iter()
            .position(|transmission| transmission.due <= now)?;
        let transmission = self.waiting.get_mut(index)?;
        if transmission.repetitions_left == 0 {
            return Some(Due::GivenUp(self.waiting.remove(index)));
        }
        // The last repetition gets its full timeout too: giving up comes one doubled timeout after it.
        transmission.repetitions_left -= 1;
        transmission.timeout *= 2;
        transmission.due = now + transmission.timeout;
        Some(Due::Repeat(transmission.datagram.clone()))
    }

    /// Returns when [`due`](Self::due) is worth asking.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().map(|transmission| transmission.due).min()
    }
}
