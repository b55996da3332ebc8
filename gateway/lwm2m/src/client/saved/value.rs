//! A typed value as it is saved.

use minicbor::{Decode, Encode};

use crate::{InstanceId, ObjectId, Value};

/// A [`Value`], with numbers for its types that stay.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(in crate::client) enum SavedValue {
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
            Value::Objlnk(o, i) => Self::Objlnk(o.0, i.0),
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
            SavedValue::Objlnk(o, i) => Self::Objlnk(ObjectId(o), InstanceId(i)),
            SavedValue::Corelnk(v) => Self::Corelnk(v),
        }
    }
}
