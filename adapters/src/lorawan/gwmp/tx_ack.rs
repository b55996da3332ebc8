//! TX_ACK: whether a forwarder takes a frame that it was told to send (sections 5.5 and 6).

use serde_json::Value;

use super::{DecodeError, lenient};
use crate::lorawan::TxError;
use crate::lorawan::forwarders::limits;

/// The content of a TX_ACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxAck {
    /// The frame will be sent.
    Accepted {
        /// Whether with another power than asked for, because the forwarder does not have it.
        other_power: bool,
    },
    /// It will not.
    Refused {
        /// Why.
        error: TxError,
        /// The forwarder's own word for it.
        text: String,
    },
}

pub(super) fn decode(body: &[u8]) -> Result<TxAck, DecodeError> {
    // Some forwarders send a NUL where they have nothing to say.
    if lenient::trim(body).is_empty() {
        return Ok(TxAck::Accepted { other_power: false });
    }
    let object = lenient::object(body)?;
    let Some(ack) = object.get("txpk_ack").and_then(Value::as_object) else {
        return Ok(TxAck::Accepted { other_power: false });
    };
    match lenient::text(ack, "error").unwrap_or_default().trim() {
        "" | "NONE" => Ok(TxAck::Accepted {
            other_power: lenient::text(ack, "warn") == Some("TX_POWER"),
        }),
        text => Ok(TxAck::Refused {
            error: error(text),
            text: text
                .chars()
                .filter(|c| !c.is_control())
                .take(limits::TX_ERROR_CHARS)
                .collect(),
        }),
    }
}

fn error(text: &str) -> TxError {
    match text {
        "TOO_LATE" => TxError::TooLate,
        "TOO_EARLY" => TxError::TooEarly,
        "COLLISION_PACKET" => TxError::CollisionPacket,
        "COLLISION_BEACON" => TxError::CollisionBeacon,
        "TX_FREQ" => TxError::TxFreq,
        "TX_POWER" => TxError::TxPower,
        "GPS_UNLOCKED" => TxError::GpsUnlocked,
        _ => TxError::Unknown,
    }
}
