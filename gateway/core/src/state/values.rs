//! The latest values of an object instance: their bytes, in parts that each fit into one saved value.
//!
//! A part is a CBOR array of values; the fields of each are known by their numbers, which never change their meaning:
//!
//! | field | what |
//! |---|---|
//! | 0, 1 | the resource, the resource instance |
//! | 2 | the value: its type as a number, then what it is |
//! | 3 | when it was measured, in milliseconds since 1970 |
//! | 4 | what servers were told last: the value, and when it was told; only where the run ended in good order |

use lwm2m_client::{InstanceId, ObjectId, ResourceId, ResourceInstanceId, Timestamp, Value};
use minicbor::{Decode, Encode};

use super::{Damage, Encoded, MAX_VALUE_BYTES};
use crate::tree::Key;

/// What a part needs beside its values: the head of an array.
const HEAD_BYTES: usize = 9;

/// The end of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;

/// A value of a device from before a restart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptValue {
    /// The resource or resource instance.
    pub(crate) key: Key,
    /// Its value.
    pub(crate) value: Value,
    /// When it was measured.
    pub(crate) time: Option<Timestamp>,
    /// What servers were told of it last, and when.
    pub(crate) told: Option<(Value, Option<Timestamp>)>,
}

/// The bytes of an instance.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parts {
    /// The parts, each of at most [`MAX_VALUE_BYTES`].
    pub(crate) parts: Vec<Vec<u8>>,
    /// The values that are too long to be saved, with their length.
    pub(crate) too_long: Vec<(Key, usize)>,
}

/// Returns the bytes of the values of one instance, all of which belong to it.
pub(crate) fn encode(values: impl Iterator<Item = KeptValue>) -> Parts {
    let mut encoded = Parts::default();
    let (mut part, mut bytes) = (Vec::new(), HEAD_BYTES);
    for kept in values {
        let value = Saved::from(&kept);
        let length = value.to_bytes().len();
        if HEAD_BYTES + length > MAX_VALUE_BYTES {
            encoded.too_long.push((kept.key, length));
            continue;
        }
        if bytes + length > MAX_VALUE_BYTES {
            encoded.parts.push(std::mem::take(&mut part).to_bytes());
            bytes = HEAD_BYTES;
        }
        bytes += length;
        part.push(value);
    }
    if !part.is_empty() {
        encoded.parts.push(part.to_bytes());
    }
    encoded
}

/// Reads a part of the values of an instance.
pub(crate) fn decode(object: ObjectId, instance: InstanceId, bytes: &[u8]) -> Result<Vec<KeptValue>, Damage> {
    let values = Vec::<Saved>::from_bytes(bytes)?;
    let kept = |saved: Saved| KeptValue {
        key: (
            object,
            instance,
            ResourceId(saved.resource),
            saved.resource_instance.map(ResourceInstanceId),
        ),
        value: saved.value.into(),
        time: saved.time_ms.and_then(timestamp),
        told: saved
            .told
            .map(|told| (told.value.into(), told.time_ms.and_then(timestamp))),
    };
    Ok(values.into_iter().map(kept).collect())
}

/// Returns a time that a clock can have shown, from 1970 to the year 9999.
fn timestamp(ms: i64) -> Option<Timestamp> {
    (0..=LATEST_MS).contains(&ms).then(|| Timestamp::from_unix_ms(ms))
}

#[derive(Debug, Encode, Decode)]
struct Saved {
    #[n(0)]
    resource: u16,
    #[n(1)]
    resource_instance: Option<u16>,
    #[n(2)]
    value: SavedValue,
    #[n(3)]
    time_ms: Option<i64>,
    #[n(4)]
    told: Option<Told>,
}

#[derive(Debug, Encode, Decode)]
struct Told {
    #[n(0)]
    value: SavedValue,
    #[n(1)]
    time_ms: Option<i64>,
}

#[derive(Debug, Encode, Decode)]
enum SavedValue {
    #[n(0)]
    String(#[n(0)] String),
    #[n(1)]
    Integer(#[n(0)] i64),
    #[n(2)]
    Unsigned(#[n(0)] u64),
    #[n(3)]
    Float(#[n(0)] f64),
    #[n(4)]
    Boolean(#[n(0)] bool),
    #[n(5)]
    Opaque(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    #[n(6)]
    Time(#[n(0)] i64),
    #[n(7)]
    Objlnk(#[n(0)] u16, #[n(1)] u16),
    #[n(8)]
    Corelnk(#[n(0)] String),
}

impl From<&KeptValue> for Saved {
    fn from(kept: &KeptValue) -> Self {
        let (_, _, resource, resource_instance) = kept.key;
        let told = |(value, time): &(Value, Option<Timestamp>)| Told {
            value: value.into(),
            time_ms: time.map(Timestamp::unix_ms),
        };
        Self {
            resource: resource.0,
            resource_instance: resource_instance.map(|ri| ri.0),
            value: (&kept.value).into(),
            time_ms: kept.time.map(Timestamp::unix_ms),
            told: kept.told.as_ref().map(told),
        }
    }
}

impl From<&Value> for SavedValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(v) => Self::String(v.clone()),
            Value::Integer(v) => Self::Integer(*v),
            Value::Unsigned(v) => Self::Unsigned(*v),
            Value::Float(v) => Self::Float(*v),
            Value::Boolean(v) => Self::Boolean(*v),
            Value::Opaque(v) => Self::Opaque(v.clone()),
            Value::Time(v) => Self::Time(*v),
            Value::Objlnk(object, instance) => Self::Objlnk(object.0, instance.0),
            Value::Corelnk(v) => Self::Corelnk(v.clone()),
        }
    }
}

impl From<SavedValue> for Value {
    fn from(value: SavedValue) -> Self {
        match value {
            SavedValue::String(v) => Self::String(v),
            SavedValue::Integer(v) => Self::Integer(v),
            SavedValue::Unsigned(v) => Self::Unsigned(v),
            SavedValue::Float(v) => Self::Float(v),
            SavedValue::Boolean(v) => Self::Boolean(v),
            SavedValue::Opaque(v) => Self::Opaque(v),
            SavedValue::Time(v) => Self::Time(v),
            SavedValue::Objlnk(object, instance) => Self::Objlnk(ObjectId(object), InstanceId(instance)),
            SavedValue::Corelnk(v) => Self::Corelnk(v),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const OBJECT: ObjectId = ObjectId(3421);
    const INSTANCE: InstanceId = InstanceId(2);

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            ".{0,600}".prop_map(Value::String),
            any::<i64>().prop_map(Value::Integer),
            any::<u64>().prop_map(Value::Unsigned),
            proptest::num::f64::NORMAL.prop_map(Value::Float),
            any::<bool>().prop_map(Value::Boolean),
            vec(any::<u8>(), 0..600).prop_map(Value::Opaque),
            any::<i64>().prop_map(Value::Time),
            any::<(u16, u16)>().prop_map(|(o, i)| Value::Objlnk(ObjectId(o), InstanceId(i))),
            ".{0,20}".prop_map(Value::Corelnk),
        ]
    }

    fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of((0..=LATEST_MS).prop_map(Timestamp::from_unix_ms))
    }

    fn any_kept() -> impl Strategy<Value = KeptValue> {
        let told = proptest::option::of((any_value(), any_time()));
        let place = (any::<u16>(), proptest::option::of(any::<u16>()));
        (place, any_value(), any_time(), told).prop_map(|((r, ri), value, time, told)| KeptValue {
            key: (OBJECT, INSTANCE, ResourceId(r), ri.map(ResourceInstanceId)),
            value,
            time,
            told,
        })
    }

    fn kept(resource: u16, value: Value) -> KeptValue {
        KeptValue {
            key: (OBJECT, INSTANCE, ResourceId(resource), None),
            value,
            time: Some(Timestamp::from_unix_ms(1_000)),
            told: None,
        }
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written_in_parts_that_fit(values in vec(any_kept(), 0..40)) {
            let encoded = encode(values.iter().cloned());
            prop_assert!(encoded.parts.iter().all(|part| part.len() <= MAX_VALUE_BYTES));
            prop_assert_eq!(encoded.too_long, vec![]);
            let read: Result<Vec<Vec<KeptValue>>, Damage> =
                encoded.parts.iter().map(|part| decode(OBJECT, INSTANCE, part)).collect();
            prop_assert_eq!(read.unwrap().concat(), values);
        }

        #[test]
        fn any_bytes_are_values_or_damage(bytes in vec(any::<u8>(), 0..256)) {
            drop(decode(OBJECT, INSTANCE, &bytes));
        }

        #[test]
        fn values_with_a_flipped_bit_are_values_or_damage(
            values in vec(any_kept(), 1..4), place in any::<prop::sample::Index>(), bit in 0..8_u8
        ) {
            for mut part in encode(values.into_iter()).parts {
                let place = place.index(part.len());
                part[place] ^= 1 << bit;
                drop(decode(OBJECT, INSTANCE, &part));
            }
        }
    }

    #[test]
    fn the_bytes_are_what_the_documentation_says() {
        let encoded = encode([kept(6, Value::Float(1.5))].into_iter());
        let value = [0x82, 0x03, 0x81, 0xFB, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0];
        let expected = [&[0x81, 0x84, 0x06, 0xF6][..], &value, &[0x19, 0x03, 0xE8]].concat();
        assert_eq!(encoded.parts, [expected]);
    }

    #[test]
    fn a_value_that_no_part_can_hold_is_left_out_and_named() {
        let long = Value::String("x".repeat(MAX_VALUE_BYTES));
        let encoded = encode([kept(1, long), kept(2, Value::Boolean(true))].into_iter());
        assert_eq!(encoded.parts.len(), 1);
        assert_eq!(encoded.too_long.len(), 1);
        assert_eq!(encoded.too_long[0].0.2, ResourceId(1));
    }

    #[test]
    fn a_list_that_claims_to_be_endless_is_damage() {
        assert!(
            decode(
                OBJECT,
                INSTANCE,
                &[0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]
            )
            .is_err()
        );
    }
}
