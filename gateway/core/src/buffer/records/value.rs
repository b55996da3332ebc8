//! Values, in the shortest form that gives them back.

use lwm2m_client::{InstanceId, ObjectId, Value};

use super::RecordsError;
use super::bytes::{Reader, put_varint, varint_len, zigzag};
use super::float;

const SAME: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const UNSIGNED: u8 = 4;
const TIME: u8 = 5;
const OBJLNK: u8 = 6;
const STRING: u8 = 7;
const CORELNK: u8 = 8;
const OPAQUE: u8 = 9;

/// What follows a tag.
pub(super) enum Payload<'a> {
    Nothing,
    /// New minus old.
    Difference(i64),
    Link(ObjectId, InstanceId),
    Bytes(&'a [u8]),
    /// The bits of a 32-bit float.
    Single(u32),
    /// The bits of a 64-bit float XOR those of its base.
    Double(u64),
}

impl Payload<'_> {
    /// Returns how many bytes it takes, which is how forms of a float are compared.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Difference(difference) => varint_len(zigzag(*difference)),
            Self::Link(object, instance) => varint_len(object.0.into()) + varint_len(instance.0.into()),
            Self::Bytes(bytes) => varint_len(bytes.len() as u64) + bytes.len(),
            Self::Single(_) => size_of::<u32>(),
            Self::Double(bits) => 1 + float::middle(*bits).1,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => {}
            Self::Difference(difference) => put_varint(out, zigzag(*difference)),
            Self::Link(object, instance) => {
                put_varint(out, object.0.into());
                put_varint(out, instance.0.into());
            }
            Self::Bytes(bytes) => {
                put_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Single(bits) => out.extend(bits.to_le_bytes()),
            Self::Double(bits) => float::put_double(out, *bits),
        }
    }
}

/// Returns the form of a value and what follows it.
pub(super) fn forms<'a>(value: &'a Value, base: Option<&Value>) -> (u8, Payload<'a>) {
    match (value, base) {
        (Value::Float(new), Some(Value::Float(old))) if new.to_bits() == old.to_bits() => {
            (SAME, Payload::Nothing)
        }
        (Value::Float(new), base) => float::forms(*new, base),
        (new, Some(old)) if new == old => (SAME, Payload::Nothing),
        (Value::Boolean(false), _) => (FALSE, Payload::Nothing),
        (Value::Boolean(true), _) => (TRUE, Payload::Nothing),
        (Value::Integer(new), base) => (INTEGER, Payload::Difference(new.wrapping_sub(integer(base)))),
        (Value::Unsigned(new), base) => {
            let difference = new.wrapping_sub(unsigned(base)).cast_signed();
            (UNSIGNED, Payload::Difference(difference))
        }
        (Value::Time(new), base) => (TIME, Payload::Difference(new.wrapping_sub(time(base)))),
        (Value::Objlnk(object, instance), _) => (OBJLNK, Payload::Link(*object, *instance)),
        (Value::String(text), _) => (STRING, Payload::Bytes(text.as_bytes())),
        (Value::Corelnk(text), _) => (CORELNK, Payload::Bytes(text.as_bytes())),
        (Value::Opaque(bytes), _) => (OPAQUE, Payload::Bytes(bytes)),
    }
}

pub(super) fn take(reader: &mut Reader<'_>, form: u8, base: Option<&Value>) -> Result<Value, RecordsError> {
    Ok(match form {
        SAME => base.cloned().ok_or(RecordsError::Form(SAME))?,
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        INTEGER => Value::Integer(integer(base).wrapping_add(reader.difference()?)),
        UNSIGNED => Value::Unsigned(unsigned(base).wrapping_add_signed(reader.difference()?)),
        TIME => Value::Time(time(base).wrapping_add(reader.difference()?)),
        OBJLNK => Value::Objlnk(ObjectId(half(reader)?), InstanceId(half(reader)?)),
        STRING => Value::String(text(reader)?),
        CORELNK => Value::Corelnk(text(reader)?),
        OPAQUE => Value::Opaque(bytes(reader)?.to_vec()),
        _ => Value::Float(float::take(reader, form, base)?),
    })
}

const fn integer(base: Option<&Value>) -> i64 {
    if let Some(Value::Integer(old)) = base {
        *old
    } else {
        0
    }
}

const fn unsigned(base: Option<&Value>) -> u64 {
    if let Some(Value::Unsigned(old)) = base {
        *old
    } else {
        0
    }
}

const fn time(base: Option<&Value>) -> i64 {
    if let Some(Value::Time(old)) = base {
        *old
    } else {
        0
    }
}

fn half(reader: &mut Reader<'_>) -> Result<u16, RecordsError> {
    u16::try_from(reader.varint()?).map_err(|_| RecordsError::Range)
}

fn bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], RecordsError> {
    let len = usize::try_from(reader.varint()?).map_err(|_| RecordsError::Truncated)?;
    reader.take(len)
}

fn text(reader: &mut Reader<'_>) -> Result<String, RecordsError> {
    let text = std::str::from_utf8(bytes(reader)?).map_err(|_| RecordsError::Text)?;
    Ok(text.to_owned())
}
