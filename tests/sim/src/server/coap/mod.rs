//! The server's CoAP side: messages, retransmission, deduplication, blocks (RFC 7252, RFC 7959).
//!
//! It knows nothing of LwM2M. It is written apart from the client's, so that each judges the other.

mod assembly;
mod message;
mod sending;

pub(super) use assembly::{Assembled, Assemblies};
pub(super) use message::{Block, Kind, Message, option};
pub(super) use sending::{Seen, Sending, SendingEnd};

use std::time::Duration;

/// How often and how long an unacknowledged message is repeated (RFC 7252, section 4.8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transmission {
    /// ACK_TIMEOUT
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR
    pub ack_random_factor: f64,
    /// MAX_RETRANSMIT
    pub max_retransmit: u32,
    /// How long the answer to an acknowledged request is waited for.
    pub separate_within: Duration,
    /// Bytes in one block: 16, 32, …, 1024.
    pub block_size: usize,
}

impl Default for Transmission {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_factor: 1.5,
            max_retransmit: 4,
            separate_within: Duration::from_secs(60),
            block_size: 512,
        }
    }
}

/// For so long a message id is remembered (RFC 7252, section 4.8.2, with the default parameters).
pub(super) const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
