//! What the core needs to know of a kind of device: the seam that `profiles` fills.

use std::sync::Arc;

use lwm2m_client::{Path, Timestamp, Value};

use crate::field::{Frame, LoRaWanTraits, PointId, ReadLimits, RegisterPoint, Subscription};
use crate::reading::Quality;

/// A kind of device: how its frames turn into values and commands into frames.
///
/// `decode` and `encode` are pure and total: any frame, any value, no panic.
pub trait Profile: Send + Sync {
    /// Returns the stable name, for example `eastron.sdm630`.
    fn id(&self) -> &str;

    /// Returns what stands in objects 3 and 3410 of a device of this kind.
    fn identity(&self) -> &Identity;

    /// Returns the points, in the order that [`PointId`] counts.
    fn points(&self) -> &[Point];

    /// Returns the resources that are the same for every device of this kind.
    fn constants(&self) -> &[(Path, Value)];

    /// Returns the values that are computed from others.
    fn derivations(&self) -> &[Derivation];

    /// Returns what a Modbus poller reads, and within which limits; none for other protocols.
    fn register_reads(&self) -> Option<(&[RegisterPoint], &ReadLimits)>;

    /// Returns the topics under which a device of this kind publishes, in the order that [`crate::field::TopicId`]
    /// counts; none for other protocols.
    fn topics(&self) -> &[Subscription] {
        &[]
    }

    /// Returns what the network server has to know of a LoRaWAN device; none for other protocols.
    fn lorawan(&self) -> Option<LoRaWanTraits> {
        None
    }

    /// Turns a frame into the values of every point that is wholly in it.
    ///
    /// A value that the device marks as absent (NaN, a sentinel) is not among them; one outside the plausible range
    /// is there as [`Decoded::Fault`].
    ///
    /// # Errors
    /// When the frame is none that this kind of device sends.
    fn decode(&self, frame: &Frame) -> Result<Meaning, DecodeError>;

    /// Turns a value for a resource into the frame that sets it.
    ///
    /// For a resource that is executed the value is the [`Value::String`] of its arguments, often empty.
    ///
    /// # Errors
    /// When the resource is not mapped to a command, or the value does not fit.
    fn encode(&self, path: Path, value: &Value) -> Result<Encoded, EncodeError>;

    /// Says whether a command is mapped to this resource.
    fn commands(&self, path: Path) -> bool;
}

/// What a frame says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meaning {
    /// The values, oldest first where a point has several.
    pub samples: Vec<Sample>,
    /// Whether the device is there, where somebody says so for it (an MQTT will): none says nothing.
    pub is_online: Option<bool>,
}

impl Meaning {
    /// Returns the meaning of a frame that says nothing but values.
    pub const fn of(samples: Vec<Sample>) -> Self {
        Self {
            samples,
            is_online: None,
        }
    }
}

/// A value of one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The point.
    pub point: PointId,
    /// What the frame says of it.
    pub decoded: Decoded,
    /// When it was measured, by the device's own clock; none is when the frame came.
    pub measured: Option<Timestamp>,
}

impl Sample {
    /// Returns a value that was measured when the frame came.
    pub const fn now(point: PointId, decoded: Decoded) -> Self {
        Self {
            point,
            decoded,
            measured: None,
        }
    }
}

/// A command ready to go out.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// What to send.
    pub frame: Frame,
    /// What the device is to say later if it took the command, where the adapter cannot see that by itself; none
    /// believes the adapter.
    pub verify: Option<Verify>,
}

impl Encoded {
    /// Returns a command whose outcome the adapter sees by itself.
    pub const fn of(frame: Frame) -> Self {
        Self { frame, verify: None }
    }
}

/// What a device says when it has done a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// The resource that shows it.
    pub path: Path,
    /// The value that it then has; one that is within `tolerance` of a number will do.
    pub expect: Value,
    /// How far a number may be off, in the unit of the resource.
    pub tolerance: f64,
    /// How long after the command it may be said, in milliseconds.
    pub within_ms: u64,
}

/// What one point of a frame says.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A value of the registry's type and unit.
    Value(Value),
    /// The device says that it has no such value: nothing is stored and nothing is changed.
    Absent,
    /// The device gave a value that cannot be (reason in words): the last good one stays, its quality drops.
    Fault(String),
}

/// What the objects 3 and 3410 say of a kind of device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// /3/0/0
    pub manufacturer: Arc<str>,
    /// /3/0/1
    pub model_number: Arc<str>,
    /// /3/0/17, what kind of thing it is
    pub device_type: Arc<str>,
    /// /3410/0/2: six hex digits of the maker's OUI, empty where the maker has none
    pub oui: Arc<str>,
}

/// One named value of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its name in the profile, unique there.
    pub name: Arc<str>,
    /// The resource it fills.
    pub path: Path,
    /// The registry's unit of that resource, empty where it has none.
    pub unit: Arc<str>,
    /// How its values are kept and hurried.
    pub class: PointClass,
    /// How often it is wanted, in milliseconds; 0 is once.
    pub every_ms: u64,
    /// A change smaller than this is not news, in the registry's unit; 0 makes any change news.
    pub deadband: Deadband,
    /// After so many milliseconds a value is news even if it did not change; none is never.
    pub heartbeat_ms: Option<u64>,
}

/// A deadband: a plain number in the registry's unit, comparable as configuration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadband(u64);

impl Deadband {
    /// Returns a deadband of `width`, which must be finite and not negative.
    pub fn new(width: f64) -> Option<Self> {
        (width.is_finite() && width >= 0.0).then(|| Self(width.abs().to_bits()))
    }

    /// Returns its width.
    pub fn width(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// What kind of news a point brings, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PointClass {
    /// Somebody should act.
    Alarm,
    /// Somebody pays for it.
    Billing,
    /// A measured value.
    Measurement,
    /// Only of interest to a technician.
    Diagnostic,
}

/// A resource that is computed from others of the same device.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivation {
    /// The resource it fills.
    pub target: Path,
    /// How.
    pub rule: Rule,
    /// From which resources, in the order that the rule reads them.
    pub sources: Vec<Path>,
    /// The quality of the result where all sources are good.
    pub quality: Quality,
}

/// How a derived value comes about; every source must have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The source where it is above zero, else zero: import out of a signed power.
    Positive,
    /// Minus the source where it is below zero, else zero: export out of a signed power.
    Negative,
    /// The sum of all sources.
    Sum,
    /// √(S² − P²) of the sources S and P: the size of the reactive power.
    Reactive,
    /// 0 where the source is 0 or false, else 100: a relay seen as a level in percent.
    Percent,
    /// The source as it is.
    Same,
}

/// Why a frame says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is of another protocol, or of a part of it that this kind of device does not speak.
    #[error("{profile} has nothing to decode in this frame")]
    Foreign {
        /// The profile.
        profile: Arc<str>,
    },
}

/// Why a command cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// No command is mapped to the resource.
    #[error("{profile} maps no command to {path}")]
    NotMapped {
        /// The profile.
        profile: Arc<str>,
        /// The resource.
        path: Path,
    },
    /// The value is out of the command's range or of another type.
    #[error("{value} does not fit {path}: {reason}")]
    Unfit {
        /// The resource.
        path: Path,
        /// The value, as text.
        value: String,
        /// What would fit.
        reason: String,
    },
}
