//! Values at paths to the rows of a pack: which base name, which base time.

use super::Syntax;
use super::resolve::FIRST_ABSOLUTE_MS;
use crate::format::{Entry, FormatError, Record, RecordTime};
use crate::path::Path;
use crate::value::Value;

/// One record to write.
pub(super) struct Row<'a> {
    pub(super) path: Path,
    pub(super) base_name: Option<String>,
    pub(super) base_time_secs: Option<i64>,
    pub(super) name: String,
    pub(super) time_ms: Option<i64>,
    pub(super) value: &'a Value,
}

/// Plans values below `base`, all measured now.
pub(super) fn entries(base: Path, entries: &[Entry]) -> Result<Vec<Row<'_>>, FormatError> {
    let paths = || entries.iter().map(|e| e.path);
    if let Some(path) = paths().find(|p| p.resource_id().is_none() || !base.contains(p)) {
        return Err(FormatError::OutsideBase { path, base });
    }
    let base_name = base_name(base, paths());
    Ok(entries
        .iter()
        .enumerate()
        .map(|(position, entry)| row(position, &base_name, entry))
        .collect())
}

/// Plans records with their times. Where every record has wall time, the first one carries a base time of whole
/// seconds; base times are never changed within a pack, because readers differ in what that does.
pub(super) fn records(syntax: Syntax, records: &[Record]) -> Result<Vec<Row<'_>>, FormatError> {
    let base = common(records);
    let paths = || records.iter().map(|r| r.entry.path);
    if let Some(path) = paths().find(|p| p.resource_id().is_none()) {
        return Err(FormatError::OutsideBase { path, base });
    }
    let base_name = base_name(base, paths());
    let base_secs = base_time_secs(records);
    let mut rows = Vec::with_capacity(records.len());
    for (position, record) in records.iter().enumerate() {
        let mut row = row(position, &base_name, &record.entry);
        let own_ms = record
            .time
            .map(|t| time_ms(syntax, record.entry.path, t))
            .transpose()?;
        row.base_time_secs = base_secs.filter(|_| position == 0);
        row.time_ms = match base_secs {
            Some(secs) => own_ms.map(|ms| ms - secs * 1000).filter(|ms| *ms != 0),
            None => own_ms,
        };
        rows.push(row);
    }
    Ok(rows)
}

fn row<'a>(position: usize, base_name: &str, entry: &'a Entry) -> Row<'a> {
    let full = entry.path.to_string();
    Row {
        path: entry.path,
        base_name: (position == 0).then(|| base_name.to_owned()),
        base_time_secs: None,
        name: full.strip_prefix(base_name).unwrap_or(&full).to_owned(),
        time_ms: None,
        value: &entry.value,
    }
}

/// Returns the path itself where it is the only one, else the path with a slash to put names behind.
fn base_name(base: Path, mut paths: impl Iterator<Item = Path>) -> String {
    if base == Path::Root || paths.all(|p| p == base) {
        return base.to_string();
    }
    format!("{base}/")
}

/// Returns the deepest path that all records are in.
fn common(records: &[Record]) -> Path {
    let mut paths = records.iter().map(|r| r.entry.path.segments());
    let Some(mut shared) = paths.next() else {
        return Path::Root;
    };
    for path in paths {
        let equal = shared.iter().zip(&path).take_while(|(a, b)| a == b).count();
        shared.truncate(equal);
    }
    Path::from_segments(&shared).unwrap_or(Path::Root)
}

fn base_time_secs(records: &[Record]) -> Option<i64> {
    let absolute = |record: &Record| match record.time {
        Some(RecordTime::Absolute(time)) => Some(time.unix_secs()),
        Some(RecordTime::RelativeMs(_)) | None => None,
    };
    let seconds: Vec<i64> = records.iter().map(absolute).collect::<Option<_>>()?;
    seconds.first().copied()
}

fn time_ms(syntax: Syntax, path: Path, time: RecordTime) -> Result<i64, FormatError> {
    let (ms, fits) = match time {
        RecordTime::Absolute(time) => (time.unix_ms(), time.unix_ms() >= FIRST_ABSOLUTE_MS),
        RecordTime::RelativeMs(ms) => (ms, ms < FIRST_ABSOLUTE_MS),
    };
    if fits {
        return Ok(ms);
    }
    Err(FormatError::NotEncodable {
        format: syntax.format(),
        path,
        reason: format!(
            "the time of {ms} ms would be read as {}",
            match time {
                RecordTime::Absolute(_) => "one that counts from now",
                RecordTime::RelativeMs(_) => "wall time",
            }
        ),
    })
}
