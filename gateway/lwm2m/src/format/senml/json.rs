//! SenML JSON, content format 110 (RFC 8428, section 5).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::plan::Row;
use super::resolve::Resolver;
use super::{Number, RawRecord, Scalar, Syntax};
use crate::format::scalar::base64_bytes;
use crate::format::{FormatError, Record};
use crate::value::Value;

pub(super) fn read(payload: &[u8], resolver: Resolver<'_>) -> Result<Vec<Record>, FormatError> {
    let mut pack = Pack {
        resolver,
        refused: None,
    };
    let mut json = serde_json::Deserializer::from_slice(payload);
    let outcome = pack.deserialize(&mut json).and_then(|()| json.end());
    match (pack.refused, outcome) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(Syntax::Json.malformed(error)),
        (None, Ok(())) => Ok(pack.resolver.finish()),
    }
}

/// Takes records as they are read, so that no list of raw ones is built.
struct Pack<'a> {
    resolver: Resolver<'a>,
    /// Why a record was refused: serde carries only a text.
    refused: Option<FormatError>,
}

impl<'de> DeserializeSeed<'de> for &mut Pack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Pack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of SenML records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element()? {
            if let Err(error) = self.resolver.push(record) {
                let text = error.to_string();
                self.refused = Some(error);
                return Err(A::Error::custom(text));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for RawRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = RawRecord;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SenML record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<RawRecord, A::Error> {
        let mut record = RawRecord::default();
        while let Some(key) = fields.next_key::<String>()? {
            field(&mut record, &key, &mut fields)?;
        }
        Ok(record)
    }
}

fn field<'de, A: MapAccess<'de>>(record: &mut RawRecord, key: &str, fields: &mut A) -> Result<(), A::Error> {
    let scalar = match key {
        "bn" => return set(&mut record.base_name, key, fields.next_value()?),
        "n" => return set(&mut record.name, key, fields.next_value()?),
        "bt" => return set(&mut record.base_time, key, number(fields)?),
        "t" => return set(&mut record.time, key, number(fields)?),
        "v" => Scalar::Number(number(fields)?),
        "vs" => Scalar::Text(fields.next_value()?),
        "vb" => Scalar::Boolean(fields.next_value()?),
        "vlo" => Scalar::Link(fields.next_value()?),
        "vd" => {
            let text: String = fields.next_value()?;
            Scalar::Bytes(base64_bytes(&text).ok_or_else(|| A::Error::custom("vd is no Base64"))?)
        }
        "bver" if fields.next_value::<u64>()? <= super::cbor::VERSION => return Ok(()),
        // RFC 8428, section 4.4: what ends with an underscore must be understood or refused. A base value or sum
        // would change the values.
        _ if key.ends_with('_') || matches!(key, "bver" | "bv" | "bs") => {
            return Err(A::Error::custom(format!("field {key:?} is not supported")));
        }
        _ => return fields.next_value::<IgnoredAny>().map(|_| ()),
    };
    set(&mut record.value, key, scalar)
}

fn number<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<Number, A::Error> {
    let number: serde_json::Number = fields.next_value()?;
    let integer = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    let float = || number.as_f64().map(Number::Float);
    integer
        .map(Number::Integer)
        .or_else(float)
        .ok_or_else(|| A::Error::custom("number out of range"))
}

fn set<T, E: Error>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format!("a second value in field {key:?}"))),
    }
}

pub(super) fn write(rows: &[Row<'_>]) -> Result<Vec<u8>, FormatError> {
    let mut out = vec![b'['];
    for (position, row) in rows.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_row(&mut out, row)?;
    }
    out.push(b']');
    Ok(out)
}

fn write_row(out: &mut Vec<u8>, row: &Row<'_>) -> Result<(), FormatError> {
    let mut separator = b'{';
    let mut put = |key: &str, json: String| {
        out.push(separator);
        separator = b',';
        out.extend_from_slice(format!("\"{key}\":{json}").as_bytes());
    };
    if let Some(base_name) = &row.base_name {
        put("bn", json(base_name));
    }
    if let Some(seconds) = row.base_time_secs {
        put("bt", json(&seconds));
    }
    if !row.name.is_empty() {
        put("n", json(&row.name));
    }
    if let Some(ms) = row.time_ms {
        put("t", seconds_text(ms));
    }
    let (key, value) = value(row)?;
    put(key, value);
    out.push(b'}');
    Ok(())
}

fn value(row: &Row<'_>) -> Result<(&'static str, String), FormatError> {
    Ok(match row.value {
        Value::String(text) | Value::Corelnk(text) => ("vs", json(text)),
        Value::Integer(number) | Value::Time(number) => ("v", json(number)),
        Value::Unsigned(number) => ("v", json(number)),
        Value::Float(number) if number.is_finite() => ("v", json(number)),
        Value::Float(number) => {
            return Err(FormatError::NotEncodable {
                format: Syntax::Json.format(),
                path: row.path,
                reason: format!("JSON has no {number}"),
            });
        }
        Value::Boolean(flag) => ("vb", json(flag)),
        Value::Opaque(bytes) => ("vd", json(&URL_SAFE_NO_PAD.encode(bytes))),
        Value::Objlnk(..) => ("vlo", json(&row.value.to_string())),
    })
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts, finite numbers and flags are always JSON")
}

/// Writes milliseconds as decimal seconds.
fn seconds_text(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    let text = format!("{sign}{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
