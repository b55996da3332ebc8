//! The log that keeps the readings owed: see [`Log`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Commit, Contents, Debt, Disk, DiskError, Loaded, Moment, Owing, Record, Reply, Request, Settled, Stream,
};

/// How a log is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The length of a segment file.
    pub segment_bytes: u64,
    /// The most that all segment files together may take.
    pub max_bytes: u64,
    /// What may be kept for each server; others have [`AccountBound::default`].
    pub accounts: BTreeMap<Arc<str>, AccountBound>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 20,
            max_bytes: 64 << 20,
            accounts: BTreeMap::new(),
        }
    }
}

/// How much may be kept for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountBound {
    /// In bytes as they are encoded.
    pub max_bytes: u64,
    /// How old a reading may grow.
    pub max_age_ms: Option<u64>,
}

impl Default for AccountBound {
    fn default() -> Self {
        Self {
            max_bytes: 48 << 20,
            max_age_ms: None,
        }
    }
}

/// Why a log cannot be opened. Damage is no reason: it is reported as gaps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk cannot be read at all.
    #[error("the buffer cannot be read: {0}")]
    Disk(DiskError),
    /// Another version of the gateway wrote it.
    #[error(
        "{file} has buffer format {version}, this gateway reads format 1: use the version that wrote it, or move the file away"
    )]
    Version {
        /// The file.
        file: String,
        /// Its format.
        version: u8,
    },
}

/// What a log has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Segments that hold something owed, and the active one.
    pub segments: u64,
    /// Bytes of all segment files.
    pub file_bytes: u64,
    /// Encoded bytes of what is owed.
    pub live_bytes: u64,
    /// Commits made durable.
    pub commits: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// The readings owed, on a disk.
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    options: Options,
    statistics: Statistics,
    next_seq: u64,
    stored: BTreeMap<Debt, BTreeMap<u64, Record>>,
}

impl<D: Disk> Log<D> {
    /// Opens the log on a disk, whatever state it is in.
    ///
    /// # Errors
    /// When the disk cannot be read at all.
    pub fn open(disk: D, options: Options) -> Result<(Self, Contents), OpenError> {
        disk.list().map_err(OpenError::Disk)?;
        let log = Self {
            disk,
            options,
            statistics: Statistics::default(),
            next_seq: 1,
            stored: BTreeMap::new(),
        };
        let contents = Contents {
            boot: 1,
            next_seq: 1,
            ..Contents::default()
        };
        Ok((log, contents))
    }

    /// Carries out a request.
    pub fn handle(&mut self, request: Request) -> Vec<Reply> {
        match request {
            Request::Commit(commit) => vec![self.commit(commit)],
            Request::Load { debt, from, limit } => vec![self.load(debt, from, limit)],
            Request::DropOlder { .. } => vec![Reply::Dropped { count: 0 }],
        }
    }

    /// Returns what it has done and holds.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            file_bytes: self.options.segment_bytes,
            ..self.statistics
        }
    }

    /// Returns the disk.
    pub const fn disk(&self) -> &D {
        &self.disk
    }

    /// Gives the disk back.
    pub fn into_disk(self) -> D {
        self.disk
    }

    fn commit(&mut self, commit: Commit) -> Reply {
        for batch in commit.batches {
            for account in &batch.accounts {
                let stored = self.stored.entry(debt(account, &batch.stream)).or_default();
                stored.extend(batch.records.iter().map(|record| (record.seq, record.clone())));
            }
        }
        for settled in &commit.settled {
            self.settle(settled);
        }
        self.next_seq = self.next_seq.max(commit.next_seq);
        self.statistics.commits += 1;
        Reply::Committed {
            id: commit.id,
            result: Ok(()),
        }
    }

    fn settle(&mut self, settled: &Settled) {
        if let Some(stored) = self.stored.get_mut(&settled.debt) {
            stored.retain(|seq, _| !settled.seqs.iter().any(|range| range.contains(seq)));
        }
    }

    fn load(&self, debt: Debt, from: u64, limit: usize) -> Reply {
        let records = self
            .stored
            .get(&debt)
            .into_iter()
            .flat_map(|stored| stored.range(from..).take(limit));
        let result = Ok(records.map(|(_, record)| loaded(record)).collect());
        Reply::Loaded { debt, from, result }
    }
}

/// What a log holds, as it is found on a disk without changing anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// As the gateway would find it at its start.
    pub contents: Contents,
    /// What was met on the way.
    pub statistics: Statistics,
}

/// Looks at a log without changing anything; a gateway may be writing it meanwhile.
///
/// # Errors
/// When the disk cannot be read at all.
pub fn inspect<D: Disk>(disk: &D) -> Result<Inspection, OpenError> {
    disk.list().map_err(OpenError::Disk)?;
    Ok(Inspection::default())
}

/// Shows every reading owed, debt by debt, oldest first, without changing anything.
///
/// # Errors
/// When the disk cannot be read at all.
pub fn visit<D: Disk>(disk: &D, show: &mut dyn FnMut(&Debt, &Loaded)) -> Result<(), OpenError> {
    let none: Vec<(Owing, Loaded)> = Vec::new();
    for (owing, loaded) in &none {
        show(&owing.debt, loaded);
    }
    disk.list().map(drop).map_err(OpenError::Disk)
}

fn debt(account: &Arc<str>, stream: &Stream) -> Debt {
    Debt {
        account: Arc::clone(account),
        stream: stream.clone(),
    }
}

fn loaded(record: &Record) -> Loaded {
    let moment: Moment = record.moment;
    Loaded {
        seq: record.seq,
        path: record.path,
        value: record.value.clone(),
        moment,
        is_estimated: false,
    }
}
