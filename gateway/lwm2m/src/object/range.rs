//! Whether a value fits the range that the registry gives for its resource.
//!
//! The registry words ranges in several ways, and some of them are slips; the table keeps them as they are, and what
//! is to be ignored or read differently is decided here.

use std::fmt;

use super::ResourceDefinition;
use crate::value::{Value, ValueType};

impl ResourceDefinition {
    /// Says whether a value has the type of this resource and lies in its range, and if not, why.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let Some(expected) = self.value_type else {
            return Err(format!("{} holds no value", self.name));
        };
        if value.value_type() != expected {
            return Err(format!("{} is {expected}, not {}", self.name, value.value_type()));
        }
        if matches!(value, Value::Float(number) if !number.is_finite()) {
            return Err(format!("{} must be a finite number", self.name));
        }
        match self.bounds(expected) {
            Some(bounds) if !bounds.hold(value) => Err(format!("{} must be {bounds}", self.name)),
            Some(_) | None => Ok(()),
        }
    }

    fn bounds(&self, value_type: ValueType) -> Option<Bounds> {
        // Copied from the power factor beside it (3422/12, 600/6): an apparent power is not bounded so.
        if self.unit == "VA" && self.range == "-1..1" {
            return None;
        }
        // A percentage without a range is one of 0 to 100; a speed in percent per day (3435/8) has a sign.
        if self.unit == "/100" && self.range.is_empty() && !self.name.ends_with("speed") {
            return Some(Bounds::Between(0.0, 100.0));
        }
        match value_type {
            ValueType::Integer | ValueType::Unsigned | ValueType::Float | ValueType::Time => {
                number_bounds(&self.range)
            }
            ValueType::String | ValueType::Opaque | ValueType::Corelnk => length_bounds(&self.range),
            ValueType::Boolean | ValueType::Objlnk => None,
        }
    }
}

/// What a range text says.
#[derive(Clone, Debug, PartialEq)]
enum Bounds {
    Between(f64, f64),
    LengthBetween(usize, usize),
    LengthOneOf(Vec<usize>),
}

impl Bounds {
    fn hold(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Between(low, high), value) => value.as_f64().is_none_or(|v| (*low..=*high).contains(&v)),
            (Self::LengthBetween(low, high), value) => {
                length(value).is_none_or(|n| (*low..=*high).contains(&n))
            }
            (Self::LengthOneOf(lengths), value) => length(value).is_none_or(|n| lengths.contains(&n)),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(low, high) => write!(f, "{low} to {high}"),
            Self::LengthBetween(low, high) => write!(f, "{low} to {high} bytes long"),
            Self::LengthOneOf(lengths) => {
                let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
                write!(f, "{} bytes long", lengths.join(" or "))
            }
        }
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(v) | Value::Corelnk(v) => Some(v.len()),
        Value::Opaque(v) => Some(v.len()),
        Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Time(_)
        | Value::Objlnk(..) => None,
    }
}

/// Reads `0..100`, `0-100`, `8-Bits`, `2 bytes` and `255` (the greatest value); `ON;OFF` and prose bound nothing.
fn number_bounds(text: &str) -> Option<Bounds> {
    let bits = |n: u32| Some(Bounds::Between(0.0, 2f64.powi(n.min(64) as i32) - 1.0));
    if let Some(n) = text.strip_suffix("-Bits").or_else(|| text.strip_suffix("-bit")) {
        return bits(n.parse().ok()?);
    }
    if let Some(n) = text.strip_suffix(" bytes") {
        return bits(n.parse::<u32>().ok()?.saturating_mul(8));
    }
    if let Some((low, high)) = text.split_once("..").or_else(|| text.split_once('-')) {
        return Some(Bounds::Between(
            low.trim().parse().ok()?,
            high.trim().parse().ok()?,
        ));
    }
    Some(Bounds::Between(0.0, text.parse().ok()?))
}

/// Reads `0..255`, `0-255 bytes`, `6`, `32 bytes`, `16,32,48` and `16-32-48 bytes`; prose bounds nothing.
fn length_bounds(text: &str) -> Option<Bounds> {
    let text = text.strip_suffix("bytes").unwrap_or(text).trim();
    if let Some((low, high)) = text.split_once("..") {
        return Some(Bounds::LengthBetween(low.parse().ok()?, high.parse().ok()?));
    }
    let numbers: Vec<usize> = text
        .split([',', '-'])
        .map(|n| n.trim().parse().ok())
        .collect::<Option<_>>()?;
    match *numbers.as_slice() {
        [low, high] if text.contains('-') => Some(Bounds::LengthBetween(low, high)),
        _ => Some(Bounds::LengthOneOf(numbers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ObjectTable, Version};
    use crate::{ObjectId, ResourceId};

    fn check(object: u16, version: (u8, u8), resource: u16, value: Value) -> Result<(), String> {
        let table = ObjectTable::builtin();
        let version = Version::new(version.0, version.1);
        let definition = table.definition(ObjectId(object), version).unwrap();
        definition.resources[&ResourceId(resource)].check(&value)
    }

    #[test]
    fn a_value_within_its_range_passes() {
        let rows = [
            (3416, (3, 0), 1, Value::Integer(100)),
            (3416, (3, 0), 6050, Value::Float(0.999)),
            (2, (1, 0), 2, Value::Integer(65_535)),
            (20, (3, 0), 4010, Value::Integer(255)),
            (19, (1, 0), 5, Value::Integer(65_535)),
            (4, (1, 0), 10, Value::Integer(999)),
            (0, (1, 2), 0, Value::String("x".repeat(255))),
            (0, (1, 1), 14, Value::String("any name".into())),
        ];
        for (object, version, resource, value) in rows {
            assert_eq!(
                check(object, version, resource, value),
                Ok(()),
                "/{object}/{resource}"
            );
        }
    }

    #[test]
    fn a_value_outside_its_range_is_refused() {
        let rows = [
            (3416, (3, 0), 1, Value::Integer(101)),
            (3416, (3, 0), 1, Value::Integer(-1)),
            (3416, (3, 0), 6050, Value::Float(1.5)),
            (3418, (2, 1), 1, Value::Float(f64::NAN)),
            (3418, (2, 1), 1, Value::Float(f64::INFINITY)),
            (2, (1, 0), 2, Value::Integer(65_536)),
            (20, (3, 0), 4010, Value::Integer(256)),
            (4, (1, 0), 10, Value::Integer(1000)),
            (0, (1, 2), 0, Value::String("x".repeat(256))),
        ];
        for (object, version, resource, value) in rows {
            assert!(
                check(object, version, resource, value).is_err(),
                "/{object}/{resource}"
            );
        }
        let reason = check(3416, (3, 0), 1, Value::Integer(101)).unwrap_err();
        assert_eq!(reason, "Command must be 0 to 100");
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let reason = check(3416, (3, 0), 1, Value::Float(50.0)).unwrap_err();
        assert_eq!(reason, "Command is Integer, not Float");
        assert!(
            check(3, (1, 1), 4, Value::Boolean(true)).is_err(),
            "executed, never written"
        );
    }

    #[test]
    fn the_slips_of_the_registry_refuse_nothing() {
        assert_eq!(check(3418, (2, 1), 22, Value::Float(230.0)), Ok(()));
        assert_eq!(check(3422, (1, 0), 12, Value::Float(12_000.0)), Ok(()));
        assert_eq!(check(600, (1, 0), 6, Value::Float(12_000.0)), Ok(()));
        assert_eq!(check(3435, (2, 0), 8, Value::Float(-3.5)), Ok(()));
    }

    #[test]
    fn a_percentage_without_a_range_has_one() {
        assert!(check(3411, (1, 1), 1, Value::Integer(101)).is_err());
        assert!(check(3418, (2, 1), 33, Value::Integer(101)).is_err());
        assert!(check(3435, (2, 0), 2, Value::Float(100.5)).is_err());
        assert!(check(3416, (3, 0), 37, Value::Integer(-1)).is_err());
    }

    #[test]
    fn lengths_are_read_in_every_wording() {
        let rows = [
            ("0..255", Bounds::LengthBetween(0, 255)),
            ("0-255 bytes", Bounds::LengthBetween(0, 255)),
            ("6 bytes", Bounds::LengthOneOf(vec![6])),
            ("16,32,48", Bounds::LengthOneOf(vec![16, 32, 48])),
            ("16-32-48 bytes", Bounds::LengthOneOf(vec![16, 32, 48])),
        ];
        for (text, expected) in rows {
            assert_eq!(length_bounds(text), Some(expected), "{text}");
        }
        assert_eq!(length_bounds("The possible values are listed elsewhere"), None);
    }
}
