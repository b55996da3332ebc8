//! Payloads into values, with the format decoders of the client's crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::format::{self, ContentFormat, Entry, RecordTime};
use lwm2m_client::object::ObjectDefinition;
use lwm2m_client::{ObjectId, Path, Timestamp};
use ucifi_core::Now;

use super::event::ReceivedValue;

/// The objects of one client, by which its payloads are read.
pub(super) type Definitions = BTreeMap<ObjectId, Arc<ObjectDefinition>>;

/// Decodes the body of an answer or a notification; `base` is the path that was asked for.
pub(super) fn values(
    base: Path,
    format: Option<u16>,
    payload: &[u8],
    types: &Definitions,
    now: Now,
) -> Result<Vec<ReceivedValue>, String> {
    let format = known(format.unwrap_or(ContentFormat::Text.code()))?;
    if matches!(format, ContentFormat::SenmlJson | ContentFormat::SenmlCbor) {
        return records(base, format, payload, types, now);
    }
    let entries = format::decode(format, base, payload, types).map_err(|error| error.to_string())?;
    Ok(entries
        .into_iter()
        .map(|Entry { path, value }| ReceivedValue {
            path,
            value,
            time: None,
        })
        .collect())
}

/// Decodes the body of a Send, which must be SenML.
pub(super) fn timed_values(
    format: Option<u16>,
    payload: &[u8],
    types: &Definitions,
    now: Now,
) -> Result<Vec<ReceivedValue>, String> {
    let format = known(format.ok_or("a Send without a content format")?)?;
    records(Path::Root, format, payload, types, now)
}

/// Encodes the body of a Write or a Create.
pub(super) fn encode(format: u16, base: Path, entries: &[Entry]) -> Result<Vec<u8>, String> {
    format::encode(known(format)?, base, entries).map_err(|error| error.to_string())
}

fn records(
    base: Path,
    format: ContentFormat,
    payload: &[u8],
    types: &Definitions,
    now: Now,
) -> Result<Vec<ReceivedValue>, String> {
    let records = format::decode_records(format, base, payload, types).map_err(|error| error.to_string())?;
    let received = records.into_iter().map(|record| ReceivedValue {
        path: record.entry.path,
        value: record.entry.value,
        time: record.time.and_then(|time| wall_time(time, now)),
    });
    Ok(received.collect())
}

fn wall_time(time: RecordTime, now: Now) -> Option<Timestamp> {
    match time {
        RecordTime::Absolute(at) => Some(at),
        RecordTime::RelativeMs(ms) => now.wall.map(|wall| Timestamp::from_unix_ms(wall.unix_ms() + ms)),
    }
}

fn known(format: u16) -> Result<ContentFormat, String> {
    ContentFormat::from_code(format).ok_or_else(|| format!("content format {format} is not known"))
}
