//! Records to values at paths: names, times and types (RFC 8428, section 4.6).

use std::collections::BTreeSet;

use super::{Number, RawRecord, Scalar, Syntax};
use crate::format::collect::expected_type;
use crate::format::scalar::objlnk;
use crate::format::{Entry, FormatError, Record, RecordTime, Types};
use crate::limits::{MAX_ENTRIES, MAX_SENML_NAME_BYTES};
use crate::path::{Path, segment};
use crate::time::Timestamp;
use crate::value::{Value, ValueType};

/// RFC 8428, section 4.5.3: times below 2^28 seconds count from now, the others from 1970.
pub(super) const FIRST_ABSOLUTE_MS: i64 = (1 << 28) * 1000;

/// Beyond 2^53 a float no longer tells neighboring integers apart.
const LAST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Takes the records of one pack, in order.
pub(super) struct Resolver<'a> {
    pub(super) syntax: Syntax,
    base: Path,
    types: &'a dyn Types,
    timed: bool,
    base_name: String,
    base_time_ms: Option<i64>,
    seen: BTreeSet<(Path, Option<i64>)>,
    records: Vec<Record>,
}

impl<'a> Resolver<'a> {
    pub(super) fn untimed(syntax: Syntax, base: Path, types: &'a dyn Types) -> Self {
        Self {
            syntax,
            base,
            types,
            timed: false,
            base_name: String::new(),
            base_time_ms: None,
            seen: BTreeSet::new(),
            records: Vec::new(),
        }
    }

    pub(super) fn timed(syntax: Syntax, base: Path, types: &'a dyn Types) -> Self {
        Self {
            timed: true,
            ..Self::untimed(syntax, base, types)
        }
    }

    pub(super) fn push(&mut self, record: RawRecord) -> Result<(), FormatError> {
        if self.records.len() == MAX_ENTRIES {
            return Err(FormatError::TooManyEntries(MAX_ENTRIES));
        }
        if let Some(name) = record.base_name {
            self.base_name = name;
        }
        if let Some(time) = record.base_time {
            self.base_time_ms = Some(self.milliseconds(time)?);
        }
        let path = self.path(record.name.as_deref().unwrap_or_default())?;
        let time_ms = self.time_ms(record.time)?;
        if !self.seen.insert((path, time_ms.filter(|_| self.timed))) {
            return Err(FormatError::Duplicate(path));
        }
        let expected = expected_type(self.base, path, self.types)?;
        let scalar = record
            .value
            .ok_or_else(|| self.syntax.malformed(format!("{path} has no value")))?;
        let value = value(scalar, expected).ok_or(FormatError::WrongType { path, expected })?;
        self.records.push(Record {
            entry: Entry { path, value },
            time: time_ms.map(record_time),
        });
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<Record> {
        self.records
    }

    fn path(&self, name: &str) -> Result<Path, FormatError> {
        let name_bytes = self.base_name.len().saturating_add(name.len());
        if name_bytes > MAX_SENML_NAME_BYTES {
            return Err(self.syntax.malformed(format!("a name of {name_bytes} bytes")));
        }
        let full = format!("{}{name}", self.base_name);
        path(&full).ok_or_else(|| {
            self.syntax
                .malformed(format!("{full:?} is no path of a resource"))
        })
    }

    fn time_ms(&self, time: Option<Number>) -> Result<Option<i64>, FormatError> {
        let own = time.map(|t| self.milliseconds(t)).transpose()?;
        match (self.base_time_ms, own) {
            (Some(base), Some(own)) => {
                let sum = base.checked_add(own);
                sum.map(Some)
                    .ok_or_else(|| self.syntax.malformed("a time out of range"))
            }
            (base, own) => Ok(base.or(own)),
        }
    }

    fn milliseconds(&self, seconds: Number) -> Result<i64, FormatError> {
        let ms = match seconds {
            Number::Integer(n) => n.checked_mul(1000).and_then(|n| i64::try_from(n).ok()),
            Number::Float(f) => {
                let ms = (f * 1000.0).round();
                (ms.abs() <= LAST_EXACT).then_some(ms as i64)
            }
        };
        ms.ok_or_else(|| self.syntax.malformed("a time out of range"))
    }
}

const fn record_time(ms: i64) -> RecordTime {
    if ms < FIRST_ABSOLUTE_MS {
        RecordTime::RelativeMs(ms)
    } else {
        RecordTime::Absolute(Timestamp::from_unix_ms(ms))
    }
}

/// Reads the path of a resource or resource instance. Instance 65535 stands for one without a number yet.
fn path(name: &str) -> Option<Path> {
    let mut segments = Vec::new();
    for (position, text) in name.strip_prefix('/')?.split('/').enumerate() {
        let undecided = position == 1 && text == "65535";
        segments.push(if undecided { u16::MAX } else { segment(text)? });
    }
    Path::from_segments(&segments).filter(|p| p.resource_id().is_some())
}

fn value(scalar: Scalar, expected: ValueType) -> Option<Value> {
    Some(match (expected, scalar) {
        (ValueType::String, Scalar::Text(text)) => Value::String(text),
        (ValueType::Corelnk, Scalar::Text(text)) => Value::Corelnk(text),
        (ValueType::Integer, Scalar::Number(n)) => Value::Integer(integer(n)?.try_into().ok()?),
        (ValueType::Time, Scalar::Number(n)) => Value::Time(integer(n)?.try_into().ok()?),
        (ValueType::Unsigned, Scalar::Number(n)) => Value::Unsigned(integer(n)?.try_into().ok()?),
        (ValueType::Float, Scalar::Number(Number::Float(f))) => Value::Float(f),
        (ValueType::Float, Scalar::Number(Number::Integer(n))) => Value::Float(n as f64),
        (ValueType::Boolean, Scalar::Boolean(flag)) => Value::Boolean(flag),
        (ValueType::Opaque, Scalar::Bytes(bytes)) => Value::Opaque(bytes),
        (ValueType::Objlnk, Scalar::Link(text)) => objlnk(&text)?,
        (
            ValueType::String
            | ValueType::Corelnk
            | ValueType::Integer
            | ValueType::Time
            | ValueType::Unsigned
            | ValueType::Float
            | ValueType::Boolean
            | ValueType::Opaque
            | ValueType::Objlnk,
            _,
        ) => return None,
    })
}

/// Returns an integer also where one was written as a float, as long as nothing is lost.
fn integer(number: Number) -> Option<i128> {
    match number {
        Number::Integer(n) => Some(n),
        Number::Float(f) => (f.fract() == 0.0 && f.abs() <= LAST_EXACT).then_some(f as i128),
    }
}
