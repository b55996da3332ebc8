//! The log alone, in a folder: filling, draining, recovering.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::{Path as ResourcePath, Timestamp, Value};
use peak_alloc::PeakAlloc;
use ucifi_core::buffer::log::{Log, Options};
use ucifi_core::buffer::{
    Batch, Commit, Debt, Disk, Moment, PointClass, Record, Reply, Request, Settled, Stream,
};
use ucifi_gateway::store::FileDisk;

use crate::counted::{Counted, Counts};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const DEVICES: u64 = 20;
const POINTS: u64 = 49;
/// One second of a large cabinet: 20 meters of 49 points.
const READINGS_A_COMMIT: u64 = DEVICES * POINTS;
const LOAD: usize = 1_000;

pub(crate) fn run() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::var_os("UCIFI_BUFFER_DIR").map_or(temporary.path().to_owned(), PathBuf::from);
    for (name, readings) in [
        ("a million readings", 1_000_000),
        ("as many as are 64 MiB", 12_000_000),
    ] {
        measure(name, &folder.join("buffer"), readings)?;
    }
    Ok(())
}

fn measure(name: &str, folder: &Path, readings: u64) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    eprintln!("{name}, {READINGS_A_COMMIT} a commit");
    let (disk, counts) = Counted::new(FileDisk::open(folder)?);
    let (mut log, _) = Log::open(disk, options())?;
    let began = Instant::now();
    let written = fill(&mut log, readings, 60 << 20)?;
    say_rate("  filled", written, began.elapsed());
    say_counts(&counts.get(), written);
    drop(log);
    let (mut log, live) = recover(folder)?;
    let began = Instant::now();
    let drained = drain(&mut log)?;
    say_rate("  drained", drained, began.elapsed());
    anyhow::ensure!(
        live == drained && drained == written,
        "{live} found, {drained} drained"
    );
    Ok(())
}

fn options() -> Options {
    let bounds = Options::default();
    Options {
        max_bytes: 256 << 20,
        accounts: [(Arc::from("city"), unbounded())].into(),
        ..bounds
    }
}

fn unbounded() -> ucifi_core::buffer::log::AccountBound {
    ucifi_core::buffer::log::AccountBound {
        max_bytes: 240 << 20,
        max_age_ms: None,
    }
}

/// Stores readings until there are so many, or so many bytes.
fn fill<D: Disk>(log: &mut Log<D>, readings: u64, bytes: u64) -> anyhow::Result<u64> {
    let mut next_seq = 1;
    let mut id = 0;
    while next_seq <= readings && log.statistics().live_bytes < bytes {
        id += 1;
        let batches = (0..DEVICES)
            .map(|device| batch(device, next_seq + device * POINTS, id))
            .collect();
        next_seq += READINGS_A_COMMIT;
        let commit = Commit {
            id,
            next_seq,
            batches,
            ..Commit::default()
        };
        commit_all(log, commit)?;
    }
    Ok(next_seq - 1)
}

fn commit_all<D: Disk>(log: &mut Log<D>, commit: Commit) -> anyhow::Result<()> {
    for reply in log.handle(Request::Commit(commit)) {
        match reply {
            Reply::Committed { result, .. } => result?,
            Reply::Gap(gap) => anyhow::bail!("readings had to go: {gap:?}"),
            Reply::Loaded { .. } | Reply::Dropped { .. } => {}
        }
    }
    Ok(())
}

fn recover(folder: &Path) -> anyhow::Result<(Log<FileDisk>, u64)> {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let began = Instant::now();
    let (log, contents) = Log::open(FileDisk::open(folder)?, options())?;
    let took = began.elapsed();
    let live = contents.debts.iter().map(|owing| owing.count).sum();
    eprintln!(
        "  opened in {:.0} ms: {live} readings in {} segments, {:.1} MiB of {:.1} MiB live; at most {:.1} MiB of memory, {:.1} MiB after",
        took.as_secs_f64() * 1e3,
        log.statistics().segments,
        mib(log.statistics().live_bytes),
        mib(log.statistics().file_bytes),
        mib(ALLOCATOR.peak_usage().saturating_sub(before) as u64),
        mib(ALLOCATOR.current_usage().saturating_sub(before) as u64),
    );
    Ok((log, live))
}

/// Takes everything out as servers would: a load for each device, then one commit that settles it.
fn drain(log: &mut Log<FileDisk>) -> anyhow::Result<u64> {
    let mut drained = 0;
    for id in 1.. {
        let mut settled = Vec::new();
        for device in 0..DEVICES {
            let debt = Debt {
                account: Arc::from("city"),
                stream: stream(device),
            };
            let seqs = load(log, &debt)?;
            drained += seqs.len() as u64;
            if let (Some(first), Some(last)) = (seqs.first(), seqs.last()) {
                let seqs = vec![*first..=*last];
                settled.push(Settled { debt, seqs });
            }
        }
        if settled.is_empty() {
            break;
        }
        let commit = Commit {
            id,
            settled,
            ..Commit::default()
        };
        commit_all(log, commit)?;
    }
    Ok(drained)
}

fn load(log: &mut Log<FileDisk>, debt: &Debt) -> anyhow::Result<Vec<u64>> {
    let load = Request::Load {
        debt: debt.clone(),
        from: 0,
        limit: LOAD,
    };
    for reply in log.handle(load) {
        if let Reply::Loaded { result, .. } = reply {
            return Ok(result?.iter().map(|loaded| loaded.seq).collect());
        }
    }
    anyhow::bail!("a load is not answered")
}

fn stream(device: u64) -> Stream {
    Stream {
        device: format!("meter-{device}").into(),
        class: PointClass::Measurement,
    }
}

/// One poll of a meter: single-precision values that change a little from poll to poll.
fn batch(device: u64, first_seq: u64, poll: u64) -> Batch {
    let record = |point: u64| {
        let drift = ((poll * 7 + device * 13 + point * 31) % 400) as f32 / 100.0;
        Record {
            seq: first_seq + point,
            path: ResourcePath::resource(3421, (point / 16) as u16, (point % 16) as u16),
            value: Value::Float(f64::from(230.0 + point as f32 + drift)),
            moment: Moment::Wall(Timestamp::from_unix_ms(1_782_864_000_000 + poll as i64 * 1_000)),
        }
    };
    Batch {
        stream: stream(device),
        accounts: vec![Arc::from("city")],
        records: (0..POINTS).map(record).collect(),
    }
}

fn say_rate(what: &str, readings: u64, took: Duration) {
    eprintln!(
        "{what} {readings} readings in {:.2} s, {:.0}/s",
        took.as_secs_f64(),
        readings as f64 / took.as_secs_f64()
    );
}

fn say_counts(counts: &Counts, readings: u64) {
    eprintln!(
        "    {:.2} encoded bytes a reading, {} syncs, pages {:.2} x max(4 KiB, bytes), {:.1} MiB of new files",
        counts.bytes as f64 / readings as f64,
        counts.syncs,
        counts.page_bytes as f64 / counts.least_bytes as f64,
        mib(counts.created_bytes),
    );
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
