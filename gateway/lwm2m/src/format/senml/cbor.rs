//! SenML CBOR, content format 112 (RFC 8428, section 6; the text key `vlo` is LwM2M's).

use minicbor::data::{Tag, Type};
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use super::plan::Row;
use super::resolve::Resolver;
use super::{Number, RawRecord, Scalar, Syntax};
use crate::format::{FormatError, Record};
use crate::value::Value;

/// The newest SenML version, 10, is the one of RFC 8428.
pub(super) const VERSION: u64 = 10;

/// RFC 8428, table 4.
mod label {
    pub(super) const BASE_VERSION: i64 = -1;
    pub(super) const BASE_NAME: i64 = -2;
    pub(super) const BASE_TIME: i64 = -3;
    pub(super) const BASE_VALUE: i64 = -5;
    pub(super) const BASE_SUM: i64 = -6;
    pub(super) const NAME: i64 = 0;
    pub(super) const VALUE: i64 = 2;
    pub(super) const STRING_VALUE: i64 = 3;
    pub(super) const BOOLEAN_VALUE: i64 = 4;
    pub(super) const TIME: i64 = 6;
    pub(super) const DATA_VALUE: i64 = 8;
}

pub(super) fn read(payload: &[u8], mut resolver: Resolver<'_>) -> Result<Vec<Record>, FormatError> {
    let malformed = |e: Error| Syntax::Cbor.malformed(e);
    let mut cbor = Decoder::new(payload);
    let mut left = cbor.array().map_err(malformed)?;
    while more(&mut cbor, &mut left).map_err(malformed)? {
        let record = record(&mut cbor).map_err(malformed)?;
        resolver.push(record)?;
    }
    if cbor.position() != payload.len() {
        return Err(Syntax::Cbor.malformed("bytes after the pack"));
    }
    Ok(resolver.finish())
}

/// Says whether an array or map goes on; `left` is none for one of indefinite length.
fn more(cbor: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Error> {
    if let Some(left) = left {
        let more = *left > 0;
        *left = left.saturating_sub(1);
        return Ok(more);
    }
    let ended = cbor.datatype()? == Type::Break;
    if ended {
        cbor.skip()?;
    }
    Ok(!ended)
}

fn record(cbor: &mut Decoder<'_>) -> Result<RawRecord, Error> {
    let mut record = RawRecord::default();
    let mut left = cbor.map()?;
    while more(cbor, &mut left)? {
        if cbor.datatype()? == Type::String {
            text_field(&mut record, cbor)?;
        } else {
            field(&mut record, cbor)?;
        }
    }
    Ok(record)
}

fn text_field(record: &mut RawRecord, cbor: &mut Decoder<'_>) -> Result<(), Error> {
    match cbor.str()? {
        "vlo" => set(&mut record.value, Scalar::Link(cbor.str()?.to_owned())),
        // RFC 8428, section 4.4: what ends with an underscore must be understood or refused.
        key if key.ends_with('_') => Err(Error::message(format!("field {key:?} is not supported"))),
        _ => cbor.skip(),
    }
}

fn field(record: &mut RawRecord, cbor: &mut Decoder<'_>) -> Result<(), Error> {
    let scalar = match cbor.i64()? {
        label::BASE_NAME => return set(&mut record.base_name, cbor.str()?.to_owned()),
        label::NAME => return set(&mut record.name, cbor.str()?.to_owned()),
        label::BASE_TIME => return set(&mut record.base_time, number(cbor)?),
        label::TIME => return set(&mut record.time, number(cbor)?),
        label::VALUE => Scalar::Number(number(cbor)?),
        label::STRING_VALUE => Scalar::Text(cbor.str()?.to_owned()),
        label::BOOLEAN_VALUE => Scalar::Boolean(cbor.bool()?),
        label::DATA_VALUE => Scalar::Bytes(cbor.bytes()?.to_vec()),
        label::BASE_VERSION if cbor.u64()? <= VERSION => return Ok(()),
        // A base value or sum would change the values.
        unsupported @ (label::BASE_VERSION | label::BASE_VALUE | label::BASE_SUM) => {
            return Err(Error::message(format!("field {unsupported} is not supported")));
        }
        _ => return cbor.skip(),
    };
    set(&mut record.value, scalar)
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::message("a second value in one field")),
    }
}

/// Reads integers, floats of any width and decimal fractions (tag 4).
fn number(cbor: &mut Decoder<'_>) -> Result<Number, Error> {
    let kind = cbor.datatype()?;
    if kind == Type::Tag {
        return decimal_fraction(cbor);
    }
    if matches!(kind, Type::F16 | Type::F32 | Type::F64) {
        return cbor.f64().map(Number::Float);
    }
    Ok(Number::Integer(cbor.int()?.into()))
}

fn decimal_fraction(cbor: &mut Decoder<'_>) -> Result<Number, Error> {
    const DECIMAL_FRACTION: Tag = Tag::new(4);
    if cbor.tag()? != DECIMAL_FRACTION || cbor.array()? != Some(2) {
        return Err(Error::message("a number of an unsupported kind"));
    }
    let exponent = cbor.i64()?;
    let mantissa = i128::from(cbor.int()?);
    let power = u32::try_from(exponent).ok().and_then(|e| 10i128.checked_pow(e));
    if let Some(integer) = power.and_then(|p| mantissa.checked_mul(p)) {
        return Ok(Number::Integer(integer));
    }
    // The decimal text is what rounds correctly.
    let float = format!("{mantissa}e{exponent}").parse();
    float.map(Number::Float).map_err(Error::message)
}

pub(super) fn write(rows: &[Row<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut cbor = Encoder::new(&mut out);
    write_pack(&mut cbor, rows).expect("writing to a Vec does not fail");
    out
}

type Writing = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write_pack(cbor: &mut Encoder<&mut Vec<u8>>, rows: &[Row<'_>]) -> Writing {
    cbor.array(rows.len() as u64)?;
    rows.iter().try_for_each(|row| write_row(cbor, row))
}

fn write_row(cbor: &mut Encoder<&mut Vec<u8>>, row: &Row<'_>) -> Writing {
    let optional = [
        row.base_name.is_some(),
        row.base_time_secs.is_some(),
        !row.name.is_empty(),
        row.time_ms.is_some(),
    ];
    let fields = 1 + optional.iter().filter(|present| **present).count();
    cbor.map(fields as u64)?;
    if let Some(base_name) = &row.base_name {
        cbor.i64(label::BASE_NAME)?.str(base_name)?;
    }
    if let Some(seconds) = row.base_time_secs {
        cbor.i64(label::BASE_TIME)?.i64(seconds)?;
    }
    if !row.name.is_empty() {
        cbor.i64(label::NAME)?.str(&row.name)?;
    }
    if let Some(ms) = row.time_ms {
        cbor.i64(label::TIME)?;
        // A double: of a narrower float, readers would see digits beyond the nanosecond, which Leshan refuses.
        if ms % 1000 == 0 {
            cbor.i64(ms / 1000)?
        } else {
            cbor.f64(ms as f64 / 1000.0)?
        };
    }
    write_value(cbor, row.value)
}

fn write_value(cbor: &mut Encoder<&mut Vec<u8>>, value: &Value) -> Writing {
    match value {
        Value::String(text) | Value::Corelnk(text) => cbor.i64(label::STRING_VALUE)?.str(text)?,
        Value::Integer(number) | Value::Time(number) => cbor.i64(label::VALUE)?.i64(*number)?,
        Value::Unsigned(number) => cbor.i64(label::VALUE)?.u64(*number)?,
        Value::Float(number) => write_float(cbor.i64(label::VALUE)?, *number)?,
        Value::Boolean(flag) => cbor.i64(label::BOOLEAN_VALUE)?.bool(*flag)?,
        Value::Opaque(bytes) => cbor.i64(label::DATA_VALUE)?.bytes(bytes)?,
        Value::Objlnk(..) => cbor.str("vlo")?.str(&value.to_string())?,
    };
    Ok(())
}

/// Writes four bytes where they hold the number exactly; two-byte floats are left to senders that know their reader.
fn write_float<'a, 'b>(
    cbor: &'a mut Encoder<&'b mut Vec<u8>>,
    number: f64,
) -> Result<&'a mut Encoder<&'b mut Vec<u8>>, minicbor::encode::Error<std::convert::Infallible>> {
    let short = number as f32;
    if f64::from(short) == number {
        cbor.f32(short)
    } else {
        cbor.f64(number)
    }
}
