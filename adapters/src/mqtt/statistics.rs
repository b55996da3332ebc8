//! Counters of a broker and of each device behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ucifi_core::Now;

/// Everything that was counted since the client began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// What belongs to no device.
    pub broker: BrokerStatistics,
    /// By what stands for the device in its topics.
    pub devices: BTreeMap<Arc<str>, DeviceStatistics>,
}

/// Counters of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerStatistics {
    /// Whether it is connected.
    pub is_connected: bool,
    /// Why it is not, or was not the last time.
    pub last_failure: Option<String>,
    /// Times it was connected.
    pub connections: u64,
    /// Times a session of before was found again.
    pub sessions_resumed: u64,
    /// Messages received.
    pub messages: u64,
    /// Messages of QoS 1 and 2 acknowledged.
    pub acknowledged: u64,
    /// Messages that wait for being paid or durable, now.
    pub unsettled: usize,
    /// Messages that were settled after their connection was gone: the broker sends them again.
    pub settled_late: u64,
    /// Messages marked as sent before. What was durable already is taken once more: the same value, which a server
    /// gets twice at most.
    pub repeated: u64,
    /// Messages that the broker had kept from before.
    pub retained: u64,
    /// Messages under a topic of no device, acknowledged at once.
    pub unmatched: u64,
    /// Messages that are too long, acknowledged at once.
    pub too_big: u64,
    /// Messages of QoS 0 that found no room.
    pub dropped: u64,
    /// Messages that were in a hurry because the receive window was full.
    pub hurried: u64,
    /// Publishes sent.
    pub published: u64,
    /// Publishes that the broker acknowledged.
    pub publishes_acknowledged: u64,
    /// Publishes that the broker refused.
    pub publishes_refused: u64,
    /// Publishes of which nothing was heard.
    pub publishes_unconfirmed: u64,
    /// Commands that found the queue full.
    pub commands_dropped: u64,
    /// Topics that the broker does not let the gateway hear, in this connection.
    pub subscriptions_refused: u64,
}

/// Counters of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// Messages received, retained ones among them.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// When the last one came that was not retained.
    pub heard: Option<Now>,
}

/// A device that is not configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDevice {
    /// What stands for it in the topic.
    pub device: Arc<str>,
    /// A topic it was heard under, the first one.
    pub topic: String,
    /// How many messages came.
    pub messages: u64,
    /// When the last one did.
    pub heard: Now,
}
