//! Read: the values at a node, in the format that the server accepts.

use super::refusal::Refusal;
use super::view::View;
use crate::coap::Code;
use crate::format::{self, ContentFormat, Entry, FormatError, Record, RecordTime};
use crate::object::EnablerVersion;
use crate::{Path, ValueType};

/// The answer to a Read.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) entries: Vec<Entry>,
    pub(super) format: ContentFormat,
    pub(super) payload: Vec<u8>,
}

/// Reads a node. Its object is known to be one that a server may see.
pub(super) fn read(
    view: View<'_>,
    path: Path,
    accept: Option<u16>,
    version: EnablerVersion,
) -> Result<Reading, Refusal> {
    check_readable(view, path)?;
    let entries = view.entries(path);
    let format = match accept {
        Some(code) => accepted(code)?,
        None => preferred(view, path, version),
    };
    let payload = format::encode(format, path, &entries).map_err(|e| of_encoding(&e))?;
    Ok(Reading {
        entries,
        format,
        payload,
    })
}

/// Returns values with the times at which they were measured.
pub(super) fn timed(view: View<'_>, entries: &[Entry]) -> Vec<Record> {
    let records = entries.iter().map(|entry| Record {
        entry: entry.clone(),
        time: view.measured_at(entry.path).map(RecordTime::Absolute),
    });
    records.collect()
}

/// Says whether a format can carry times.
pub(super) const fn is_senml(format: ContentFormat) -> bool {
    matches!(format, ContentFormat::SenmlJson | ContentFormat::SenmlCbor)
}

/// Encodes what a notification carries. SenML about a single resource tells when it was measured; wider ones do
/// not, because servers take each time in them for one of the whole node.
pub(super) fn encode_notification(
    path: Path,
    format: ContentFormat,
    records: &[Record],
) -> Result<Vec<u8>, FormatError> {
    if is_senml(format) && path.resource_id().is_some() && records.iter().all(|r| r.time.is_some()) {
        return format::encode_records(format, records);
    }
    let entries: Vec<_> = records.iter().map(|r| r.entry.clone()).collect();
    format::encode(format, path, &entries)
}

fn check_readable(view: View<'_>, path: Path) -> Result<(), Refusal> {
    if path == Path::Root {
        return Err(Refusal::not_allowed("the root cannot be read"));
    }
    if let (Some(o), Some(i), Some(r)) = (path.object_id(), path.instance_id(), path.resource_id()) {
        let absent = || Refusal::not_found(format!("{path} is not there"));
        if !view.has_instance(o, i) {
            return Err(absent());
        }
        let definition = view.resource(o, r).ok_or_else(absent)?;
        if !definition.operations.read {
            return Err(Refusal::not_allowed(format!("{path} cannot be read")));
        }
        if view.read(o, i, r).is_none() {
            return Err(Refusal::not_found(format!("{path} has no value")));
        }
    }
    if !view.exists(path) {
        return Err(Refusal::not_found(format!("{path} is not there")));
    }
    Ok(())
}

fn accepted(code: u16) -> Result<ContentFormat, Refusal> {
    let format = ContentFormat::from_code(code).filter(|f| *f != ContentFormat::Link);
    format.ok_or_else(|| {
        Refusal::new(
            Code::NOT_ACCEPTABLE,
            format!("content format {code} is not spoken here"),
        )
    })
}

/// Returns the format for a server that names none: one value goes as itself, several go as the enabler version
/// knows them best.
fn preferred(view: View<'_>, path: Path, version: EnablerVersion) -> ContentFormat {
    let resource = path.object_id().zip(path.resource_id());
    let definition = resource.and_then(|(o, r)| view.resource(o, r));
    let single = definition.filter(|d| !d.multiple || matches!(path, Path::ResourceInstance(..)));
    match (single.and_then(|d| d.value_type), version) {
        (Some(ValueType::Opaque), _) => ContentFormat::Opaque,
        (
            Some(
                ValueType::String
                | ValueType::Integer
                | ValueType::Unsigned
                | ValueType::Float
                | ValueType::Boolean
                | ValueType::Time
                | ValueType::Objlnk
                | ValueType::Corelnk,
            ),
            _,
        ) => ContentFormat::Text,
        (None, EnablerVersion::V1_0) => ContentFormat::Tlv,
        (None, EnablerVersion::V1_1) => ContentFormat::SenmlCbor,
    }
}

/// What there is cannot be said in the format: the server should ask for another one.
fn of_encoding(error: &FormatError) -> Refusal {
    Refusal::new(Code::NOT_ACCEPTABLE, error.to_string())
}
