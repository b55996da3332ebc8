//! What the network server has to tell.

use ucifi_core::Uplink;
use ucifi_core::field::{Delivery, DevEui, DownlinkId, Link, Reachability};
use ucifi_core::state::SaveRequest;

use super::phy_payload::{DevAddr, JoinEui};

/// What the network server has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A device sent something.
    Uplink(Uplink),
    /// A command came to its end, or is durably queued.
    Delivery {
        /// Which one.
        id: DownlinkId,
        /// What became of it.
        delivery: Delivery,
    },
    /// Something is to be made durable; the answer is awaited.
    Save(SaveRequest),
    /// A device began to be heard or has not been heard for long.
    Reachability {
        /// Which one.
        link: Link,
        /// Which of the two.
        reachability: Reachability,
    },
    /// A device uses a new session.
    Joined {
        /// Which one.
        dev_eui: DevEui,
        /// Its address.
        dev_addr: DevAddr,
    },
    /// A frame was taken, at quality 2, although it may have been taken before: the last run ended before it could be
    /// remembered.
    Uncertain {
        /// Who sent it.
        dev_eui: DevEui,
        /// Its counter.
        f_cnt: u32,
    },
    /// A frame was refused; told once a minute for each sender.
    Refused {
        /// Who sent it, or says so.
        sender: Sender,
        /// Why.
        why: WhyRefused,
    },
    /// A frame of a device that is not configured; told once a minute for each.
    Unknown(Sender),
    /// What was saved cannot be read; what it stood for is gone.
    Damaged {
        /// The name of the value.
        name: String,
        /// What to do next.
        advice: &'static str,
    },
}

/// Who sent a frame, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// A device that is configured.
    Device(DevEui),
    /// Somebody who wants to join.
    Joining {
        /// Its name for itself.
        dev_eui: DevEui,
        /// Whom it wants to join.
        join_eui: JoinEui,
    },
    /// Somebody with an address.
    Address(DevAddr),
}

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyRefused {
    /// Its bytes are no frame.
    Malformed,
    /// Its MIC was made with another key or counter.
    BadMic,
    /// It was taken before, or was sent before one that was.
    Replayed,
    /// Its counter jumped by more than [`super::limits::F_CNT_GAP`].
    Gap,
    /// Its DevNonce was used before.
    DevNonceUsed,
    /// The JoinNonces of the device are used up.
    JoinNoncesSpent,
    /// A device with a session from the factory wants to join.
    NotJoining,
    /// Nothing can be taken yet: the mark of the last clean stop is still on disk.
    Starting,
    /// Nobody fetches the events.
    Busy,
}
