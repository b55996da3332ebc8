//! `buffer show`: how much waits for whom.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use lwm2m_client::Timestamp;
use serde_json::{Value as Json, json};
use ucifi_core::buffer::log::{Inspection, inspect, visit};
use ucifi_core::buffer::{Debt, Gap, GapReason, Loaded, Moment, PointClass};

use super::time::rfc3339;
use super::{Place, class_name, unreadable};
use crate::cli::output::answer;
use crate::cli::table::{Align, Table};
use crate::exit::Failure;

const CLASSES: [PointClass; 4] = [
    PointClass::Alarm,
    PointClass::Billing,
    PointClass::Measurement,
    PointClass::Diagnostic,
];

pub(super) fn show(config: &Path, json: bool) -> Result<(), Failure> {
    let place = Place::of(config)?;
    let mut waiting = Waiting::default();
    let mut inspection = match place.look()? {
        None => Inspection::default(),
        Some(disk) => {
            let mut count = |debt: &Debt, loaded: &Loaded| {
                waiting.count(&place.named(debt), loaded);
                ControlFlow::Continue(())
            };
            visit(&disk, &mut count).map_err(unreadable)?;
            inspect(&disk).map_err(unreadable)?
        }
    };
    for gap in &mut inspection.contents.gaps {
        gap.debt = place.named(&gap.debt);
    }
    let value = waiting.to_json(&place.folder, &inspection);
    answer(json, &value, || waiting.to_text(&place.folder, &inspection))
}

/// What waits, by server and device.
#[derive(Debug, Default)]
struct Waiting(BTreeMap<(Arc<str>, Arc<str>), Readings>);

/// Readings that wait together.
#[derive(Clone, Copy, Debug, Default)]
struct Readings {
    by_class: [u64; CLASSES.len()],
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
}

impl Waiting {
    fn count(&mut self, debt: &Debt, loaded: &Loaded) {
        let key = (Arc::clone(&debt.account), Arc::clone(&debt.stream.device));
        let time = match loaded.moment {
            Moment::Wall(time) => Some(time),
            Moment::Boot { .. } => None,
        };
        let mut one = Readings {
            oldest: time,
            newest: time,
            ..Readings::default()
        };
        for (class, count) in CLASSES.iter().zip(&mut one.by_class) {
            *count = u64::from(*class == debt.stream.class);
        }
        let readings = self.0.entry(key).or_default();
        *readings = readings.and(&one);
    }

    fn total(&self) -> Readings {
        self.0
            .values()
            .fold(Readings::default(), |sum, readings| sum.and(readings))
    }

    fn to_json(&self, folder: &Path, inspection: &Inspection) -> Json {
        let rows = self.0.iter().map(|((server, device), readings)| {
            let mut row = readings.to_json();
            row["server"] = json!(&**server);
            row["device"] = json!(&**device);
            row
        });
        let statistics = &inspection.statistics;
        json!({
            "folder": folder,
            "file_bytes": statistics.file_bytes,
            "live_bytes": statistics.live_bytes,
            "total": self.total().to_json(),
            "waiting": rows.collect::<Vec<Json>>(),
            "gaps": inspection.contents.gaps.iter().map(gap_json).collect::<Vec<Json>>(),
        })
    }

    fn to_text(&self, folder: &Path, inspection: &Inspection) -> String {
        if self.0.is_empty() && inspection.contents.gaps.is_empty() {
            return format!("nothing waits in {}\n", folder.display());
        }
        let mut columns = vec![("server", Align::Left), ("device", Align::Left)];
        columns.extend(CLASSES.map(|class| (class_name(class), Align::Right)));
        columns.extend([("oldest", Align::Left), ("newest", Align::Left)]);
        let mut table = Table::new(&columns);
        for ((server, device), readings) in &self.0 {
            table.row(readings.cells(server, device));
        }
        if self.0.len() > 1 {
            table.row(self.total().cells("all", ""));
        }
        format!(
            "{table}\n{}{}",
            size_text(folder, inspection),
            gaps_text(&inspection.contents.gaps)
        )
    }
}

impl Readings {
    fn and(&self, other: &Self) -> Self {
        let mut by_class = self.by_class;
        for (sum, more) in by_class.iter_mut().zip(other.by_class) {
            *sum += more;
        }
        Self {
            by_class,
            oldest: [self.oldest, other.oldest].into_iter().flatten().min(),
            newest: self.newest.max(other.newest),
        }
    }

    fn to_json(self) -> Json {
        let by_class: serde_json::Map<String, Json> = CLASSES
            .iter()
            .zip(self.by_class)
            .map(|(class, count)| (class_name(*class).to_owned(), json!(count)))
            .collect();
        json!({
            "readings": self.by_class.iter().sum::<u64>(),
            "by_class": by_class,
            "oldest": self.oldest.map(rfc3339),
            "newest": self.newest.map(rfc3339),
        })
    }

    fn cells(&self, server: &str, device: &str) -> Vec<String> {
        let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), rfc3339);
        let mut cells = vec![server.to_owned(), device.to_owned()];
        cells.extend(self.by_class.iter().map(u64::to_string));
        cells.extend([time(self.oldest), time(self.newest)]);
        cells
    }
}

fn size_text(folder: &Path, inspection: &Inspection) -> String {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let statistics = &inspection.statistics;
    format!(
        "{}: {} KiB of readings in files of {} KiB\n",
        folder.display(),
        kib(statistics.live_bytes),
        kib(statistics.file_bytes)
    )
}

fn gaps_text(gaps: &[Gap]) -> String {
    let line = |gap: &Gap| {
        format!(
            "{} readings of {} for {} are missing: {}\n",
            gap.count,
            gap.debt.stream.device,
            gap.debt.account,
            reason_name(gap.reason)
        )
    };
    gaps.iter().map(line).collect()
}

fn gap_json(gap: &Gap) -> Json {
    json!({
        "server": &*gap.debt.account,
        "device": &*gap.debt.stream.device,
        "class": class_name(gap.debt.stream.class),
        "readings": gap.count,
        "reason": reason_name(gap.reason),
    })
}

const fn reason_name(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Bound => "the buffer was full",
        GapReason::Age => "too old",
        GapReason::DiskFull => "the disk was full",
        GapReason::Corrupt => "damaged on disk",
        GapReason::Dropped => "dropped by command",
    }
}

#[cfg(test)]
mod tests {
    use lwm2m_client::{Path as ResourcePath, Value};
    use ucifi_core::buffer::Stream;

    use super::*;

    fn debt(account: &str, device: &str, class: PointClass) -> Debt {
        Debt {
            account: account.into(),
            stream: Stream {
                device: device.into(),
                class,
            },
        }
    }

    fn loaded(moment: Moment) -> Loaded {
        Loaded {
            seq: 1,
            path: ResourcePath::resource(3421, 0, 1),
            value: Value::Float(230.1),
            moment,
            is_estimated: false,
        }
    }

    fn wall(unix_ms: i64) -> Moment {
        Moment::Wall(Timestamp::from_unix_ms(unix_ms))
    }

    #[test]
    fn readings_are_counted_by_server_device_and_class() {
        let mut waiting = Waiting::default();
        let meter = debt("city", "meter-1", PointClass::Measurement);
        waiting.count(&meter, &loaded(wall(2_000)));
        waiting.count(&meter, &loaded(wall(1_000)));
        waiting.count(&meter, &loaded(Moment::Boot { boot: 2, ms: 0 }));
        waiting.count(
            &debt("city", "door", PointClass::Alarm),
            &loaded(Moment::Boot { boot: 2, ms: 9 }),
        );
        let text = waiting.to_text(Path::new("/state/buffer"), &Inspection::default());
        let expected = "\
            SERVER  DEVICE   ALARM  BILLING  MEASUREMENT  DIAGNOSTIC  OLDEST                    NEWEST\n\
            city    door         1        0            0           0  -                         -\n\
            city    meter-1      0        0            3           0  1970-01-01T00:00:01.000Z  1970-01-01T00:00:02.000Z\n\
            all                  1        0            3           0  1970-01-01T00:00:01.000Z  1970-01-01T00:00:02.000Z\n\
            \n\
            /state/buffer: 0 KiB of readings in files of 0 KiB\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let mut inspection = Inspection::default();
        inspection.contents.gaps.push(Gap {
            debt: debt("city", "meter-1", PointClass::Billing),
            count: 7,
            seqs: 3..=9,
            times: None,
            reason: GapReason::Corrupt,
        });
        let text = Waiting::default().to_text(Path::new("/b"), &inspection);
        assert!(
            text.ends_with("7 readings of meter-1 for city are missing: damaged on disk\n"),
            "{text}"
        );
        let value = Waiting::default().to_json(Path::new("/b"), &inspection);
        assert_eq!(value["gaps"][0]["readings"], 7);
        assert_eq!(value["total"]["readings"], 0);
    }
}
