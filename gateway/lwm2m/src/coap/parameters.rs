//! The transmission parameters of RFC 7252, section 4.8, and the times derived from them.

use std::time::Duration;

/// How long is waited and how often something is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct TransmissionParameters {
    /// ACK_TIMEOUT: the first wait for an acknowledgement, before the random factor.
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR: the first wait is a random one between ACK_TIMEOUT and this times ACK_TIMEOUT.
    pub ack_random_factor: f64,
    /// MAX_RETRANSMIT: how often a confirmable message is repeated.
    pub max_retransmit: u32,
    /// NSTART: how many confirmable messages may wait for an acknowledgement at once.
    pub nstart: usize,
    /// MAX_LATENCY: the longest a datagram is expected to travel.
    pub max_latency: Duration,
    /// The block size that is sent and asked for: a power of two, 16 to 1024.
    pub block_size: usize,
}

impl Default for TransmissionParameters {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_factor: 1.5,
            max_retransmit: 4,
            nstart: 1,
            max_latency: Duration::from_secs(100),
            block_size: 512,
        }
    }
}

/// The longest any of the parameters may be; keeps every derived time far from overflow.
const LONGEST: Duration = Duration::from_secs(3600);
/// The most repetitions: 2^10 ACK_TIMEOUTs are over half an hour already.
const MAX_RETRANSMIT: u32 = 10;

impl TransmissionParameters {
    /// Returns the parameters with each forced into the range it can work in.
    pub(super) fn clamped(self) -> Self {
        let exponent = self.block_size.clamp(16, 1024).ilog2();
        let factor = if self.ack_random_factor.is_finite() {
            self.ack_random_factor
        } else {
            1.5
        };
        Self {
            ack_timeout: self.ack_timeout.clamp(Duration::from_millis(1), LONGEST),
            ack_random_factor: factor.clamp(1.0, 10.0),
            max_retransmit: self.max_retransmit.min(MAX_RETRANSMIT),
            nstart: self.nstart.max(1),
            max_latency: self.max_latency.clamp(Duration::from_millis(1), LONGEST),
            block_size: 1 << exponent,
        }
    }

    /// MAX_TRANSMIT_SPAN: from the first transmission to the last repetition; 45 s by default.
    pub fn max_transmit_span(&self) -> Duration {
        self.repeated(2u32.saturating_pow(self.max_retransmit).saturating_sub(1))
    }

    /// MAX_TRANSMIT_WAIT: from the first transmission until the sender gives up; 93 s by default.
    pub fn max_transmit_wait(&self) -> Duration {
        self.repeated(
            2u32.saturating_pow(self.max_retransmit.saturating_add(1))
                .saturating_sub(1),
        )
    }

    /// EXCHANGE_LIFETIME: how long a message id stays taken; 247 s by default.
    pub fn exchange_lifetime(&self) -> Duration {
        // PROCESSING_DELAY is set to ACK_TIMEOUT, as section 4.8.2 does.
        self.max_transmit_span() + self.max_latency * 2 + self.ack_timeout
    }

    fn repeated(&self, times: u32) -> Duration {
        self.ack_timeout
            .saturating_mul(times)
            .mul_f64(self.ack_random_factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derived_times_are_those_of_rfc_7252() {
        let defaults = TransmissionParameters::default();
        assert_eq!(defaults.max_transmit_span(), Duration::from_secs(45));
        assert_eq!(defaults.max_transmit_wait(), Duration::from_secs(93));
        assert_eq!(defaults.exchange_lifetime(), Duration::from_secs(247));
    }

    #[test]
    fn nonsense_is_forced_into_a_working_range() {
        let wild = TransmissionParameters {
            ack_timeout: Duration::MAX,
            ack_random_factor: f64::NAN,
            max_retransmit: u32::MAX,
            nstart: 0,
            max_latency: Duration::MAX,
            block_size: 700,
        };
        let tame = wild.clamped();
        assert_eq!((tame.nstart, tame.block_size), (1, 512));
        assert!(tame.exchange_lifetime() < Duration::from_secs(100_000_000));
    }
}
