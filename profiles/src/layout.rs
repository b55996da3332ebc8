//! What the registers of one point mean.

use std::collections::BTreeMap;

use lwm2m_client::{Value, ValueType};
use ucifi_core::profile::Decoded;

use crate::ratio::Linear;
use crate::register::{self, Encoding, Order, Raw};

/// How the registers of a point become a value of its resource.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) encoding: Encoding,
    pub(crate) order: Order,
    pub(crate) absent: Absent,
    pub(crate) meaning: Meaning,
}

/// Numbers that stand for no value; NaN always does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Absent(pub(crate) Vec<Raw>);

impl Absent {
    pub(crate) fn holds(&self, raw: Raw) -> bool {
        raw.as_f64().is_nan() || self.0.contains(&raw)
    }
}

/// What a number out of registers says.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    /// False for 0, else true.
    Flag,
    /// One of the values listed.
    Choices(BTreeMap<i128, Value>),
    /// A measured number.
    Number(Number),
    /// Whether a measured number has reached a limit.
    Limit(Limit),
}

/// A limit that makes an alarm of a measured number.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    /// From the register to the unit of the point.
    pub(crate) scale: Linear,
    pub(crate) at: f64,
    /// Whether the alarm is at the limit and above, or at the limit and below.
    pub(crate) above: bool,
}

impl Limit {
    pub(crate) fn is_reached(&self, raw: Raw) -> bool {
        let measured = raw.scaled(self.scale);
        if self.above {
            measured >= self.at
        } else {
            measured <= self.at
        }
    }
}

/// How a measured number is scaled and checked.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    /// From the register to the unit of the point.
    pub(crate) scale: Linear,
    /// From the register to the unit of the registry.
    pub(crate) to_registry: Linear,
    /// The lowest number that can be, in the unit of the point.
    pub(crate) min: Option<f64>,
    /// The highest.
    pub(crate) max: Option<f64>,
    /// Which part of it counts.
    pub(crate) take: Take,
    pub(crate) value_type: ValueType,
}

/// Which part of a signed number counts: meters give one signed power, the registry has a resource for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    All,
    Positive,
    Negative,
    Magnitude,
}

impl Take {
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("all", Self::All),
        ("positive", Self::Positive),
        ("negative", Self::Negative),
        ("magnitude", Self::Magnitude),
    ];

    fn apply(self, value: f64) -> f64 {
        match self {
            Self::All => value,
            // Adding zero turns -0 into 0.
            Self::Positive => value.max(0.0) + 0.0,
            Self::Negative => (-value).max(0.0) + 0.0,
            Self::Magnitude => value.abs(),
        }
    }
}

impl Layout {
    pub(crate) fn decode_bits(&self, bits: &[bool]) -> Option<Decoded> {
        let bit = bits.first()?;
        Some(self.meaning.of(Raw::Integer((*bit).into())))
    }

    pub(crate) fn decode_words(&self, words: &[u16]) -> Option<Decoded> {
        let raw = register::decode(self.encoding, self.order, words)?;
        if self.absent.holds(raw) {
            return Some(Decoded::Absent);
        }
        Some(self.meaning.of(raw))
    }
}

impl Meaning {
    pub(crate) fn of(&self, raw: Raw) -> Decoded {
        match (self, raw) {
            (Self::Flag, _) => Decoded::Value(Value::Boolean(raw.as_f64() != 0.0)),
            (Self::Choices(choices), Raw::Integer(number)) => match choices.get(&number) {
                Some(value) => Decoded::Value(value.clone()),
                None => Decoded::Fault(format!("{number} is not in the map of the profile")),
            },
            (Self::Choices(_), Raw::Float(number) | Raw::Decimal(number)) => {
                Decoded::Fault(format!("{number} is no whole number"))
            }
            (Self::Limit(limit), _) => Decoded::Value(Value::Boolean(limit.is_reached(raw))),
            (Self::Number(number), _) => match number.value(raw) {
                Ok(value) => Decoded::Value(value),
                Err(reason) => Decoded::Fault(reason),
            },
        }
    }
}

impl Number {
    pub(crate) fn value(&self, raw: Raw) -> Result<Value, String> {
        let measured = raw.scaled(self.scale);
        if !measured.is_finite() {
            return Err(format!("{measured} is no finite number"));
        }
        if let Some(min) = self.min.filter(|min| measured < *min) {
            return Err(format!("{measured} is below {min}"));
        }
        if let Some(max) = self.max.filter(|max| measured > *max) {
            return Err(format!("{measured} is above {max}"));
        }
        let value = self.take.apply(raw.scaled(self.to_registry));
        typed(value, self.value_type).ok_or_else(|| format!("{value} does not fit the resource"))
    }
}

/// Returns a number as a value of a type, rounded where the type has whole numbers only.
pub(crate) fn typed(value: f64, value_type: ValueType) -> Option<Value> {
    // At 2^63 a cast would saturate.
    let whole = value.round();
    let fits = |low: f64, high: f64| whole.is_finite() && (low..high).contains(&whole);
    match value_type {
        ValueType::Float => value.is_finite().then_some(Value::Float(value)),
        ValueType::Integer => fits(-(2_f64.powi(63)), 2_f64.powi(63)).then_some(Value::Integer(whole as i64)),
        ValueType::Time => fits(-(2_f64.powi(63)), 2_f64.powi(63)).then_some(Value::Time(whole as i64)),
        ValueType::Unsigned => fits(0.0, 2_f64.powi(64)).then_some(Value::Unsigned(whole as u64)),
        ValueType::String
        | ValueType::Boolean
        | ValueType::Opaque
        | ValueType::Objlnk
        | ValueType::Corelnk => None,
    }
}
