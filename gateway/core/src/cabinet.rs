//! The cabinet itself as a device: it has an identity and a clock, and nothing to decode. A device that was removed
//! has no more than that either.

use std::sync::Arc;

use lwm2m_client::{Path, Value};

use crate::config::CabinetConfig;
use crate::field::{Frame, ReadLimits, RegisterPoint};
use crate::profile::{DecodeError, Derivation, EncodeError, Encoded, Identity, Meaning, Point, Profile};

/// The profile of the cabinet, and of what has none any more.
pub(crate) struct Cabinet {
    id: &'static str,
    identity: Identity,
}

impl Cabinet {
    /// What people see as the name of the cabinet's profile.
    pub(crate) const ID: &str = "gateway";
    /// What people see instead of the profile of a removed device.
    pub(crate) const REMOVED: &str = "removed";

    /// Returns the profile of a cabinet of this make.
    pub(crate) fn new(config: &CabinetConfig) -> Self {
        let identity = Identity {
            manufacturer: Arc::clone(&config.manufacturer),
            model_number: Arc::clone(&config.model_number),
            device_type: "gateway".into(),
            oui: "".into(),
        };
        Self {
            id: Self::ID,
            identity,
        }
    }

    /// Returns the profile of a device that was removed.
    pub(crate) fn removed() -> Self {
        Self {
            id: Self::REMOVED,
            identity: Identity::default(),
        }
    }
}

impl Profile for Cabinet {
    fn id(&self) -> &str {
        self.id
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn points(&self) -> &[Point] {
        &[]
    }

    fn constants(&self) -> &[(Path, Value)] {
        &[]
    }

    fn derivations(&self) -> &[Derivation] {
        &[]
    }

    fn register_reads(&self) -> Option<(&[RegisterPoint], &ReadLimits)> {
        None
    }

    fn decode(&self, _frame: &Frame) -> Result<Meaning, DecodeError> {
        Err(DecodeError::Foreign {
            profile: self.id.into(),
        })
    }

    fn encode(&self, path: Path, _value: &Value) -> Result<Encoded, EncodeError> {
        Err(EncodeError::NotMapped {
            profile: self.id.into(),
            path,
        })
    }

    fn commands(&self, _path: Path) -> bool {
        false
    }
}
