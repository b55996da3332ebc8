//! SenML packs (RFC 8428; LwM2M Core 1.2, sections 7.5.6 and 7.5.7): what JSON and CBOR have in common.
//!
//! `resolve` turns records as they were written into values at paths, `plan` the reverse.

mod cbor;
mod json;
mod plan;
mod resolve;

use super::{ContentFormat, Entry, FormatError, Record, Types};
use crate::path::Path;
use plan::Row;
use resolve::Resolver;

/// The two ways to write a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    Cbor,
}

impl Syntax {
    const fn format(self) -> ContentFormat {
        match self {
            Self::Json => ContentFormat::SenmlJson,
            Self::Cbor => ContentFormat::SenmlCbor,
        }
    }

    fn malformed(self, reason: impl ToString) -> FormatError {
        FormatError::Malformed {
            format: self.format(),
            reason: reason.to_string(),
        }
    }
}

/// A number of a record, exact where it was written as an integer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Integer(i128),
    Float(f64),
}

/// The value of a record.
#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Number(Number),
    Text(String),
    Boolean(bool),
    Bytes(Vec<u8>),
    Link(String),
}

/// A record as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
struct RawRecord {
    base_name: Option<String>,
    base_time: Option<Number>,
    name: Option<String>,
    time: Option<Number>,
    value: Option<Scalar>,
}

/// Reads values and passes over their times.
pub(super) fn decode(
    syntax: Syntax,
    base: Path,
    payload: &[u8],
    types: &dyn Types,
) -> Result<Vec<Entry>, FormatError> {
    let records = read(syntax, payload, Resolver::untimed(syntax, base, types))?;
    Ok(records.into_iter().map(|r| r.entry).collect())
}

/// Reads values with their times; one path may occur at several times.
pub(super) fn decode_records(
    syntax: Syntax,
    base: Path,
    payload: &[u8],
    types: &dyn Types,
) -> Result<Vec<Record>, FormatError> {
    read(syntax, payload, Resolver::timed(syntax, base, types))
}

fn read(syntax: Syntax, payload: &[u8], resolver: Resolver<'_>) -> Result<Vec<Record>, FormatError> {
    match syntax {
        Syntax::Json => json::read(payload, resolver),
        Syntax::Cbor => cbor::read(payload, resolver),
    }
}

/// Writes values without times.
pub(super) fn encode(syntax: Syntax, base: Path, entries: &[Entry]) -> Result<Vec<u8>, FormatError> {
    write(syntax, &plan::entries(base, entries)?)
}

/// Writes values with their times.
pub(super) fn encode_records(syntax: Syntax, records: &[Record]) -> Result<Vec<u8>, FormatError> {
    write(syntax, &plan::records(syntax, records)?)
}

fn write(syntax: Syntax, rows: &[Row<'_>]) -> Result<Vec<u8>, FormatError> {
    match syntax {
        Syntax::Json => json::write(rows),
        Syntax::Cbor => Ok(cbor::write(rows)),
    }
}

#[cfg(test)]
mod tests;
