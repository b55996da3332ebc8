//! The state in sled 0.34, with what that needs to survive power cuts, full disks and its own failures.
//!
//! | sled 0.34 | what is done about it here |
//! |---|---|
//! | `flush` does not flush the disk | an `fdatasync` of our own on its file after every `flush` |
//! | pages over 128 KiB go to files that are never synced | values of at most 4 KiB, of which a page holds 16 |
//! | a crash in `open` leaves a file that makes every later `open` fail | that file is removed before every `open` |
//! | damage makes `open` panic, at every start | the panic is caught, and the database is told to be damaged |
//! | an I/O error stays, even for reads | the database is let go, and opened anew later |
//! | its own thread collects garbage, as nothing else does, and flushes the disk each time | it does so once a minute |
//! | its own thread may fail, and closing then waits for it for ever | closing is waited for a bounded time |
//!
//! Snapshots of sled are a cache: without them it reads its whole log. What to do with a damaged database is not
//! decided here.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use tracing::warn;
use ucifi_core::state::MAX_VALUE_BYTES;

use super::Values;
use crate::store::folder;

#[cfg(panic = "abort")]
compile_error!(
    "a damaged database panics when it is opened: that must be caught, so build with panic = \"unwind\""
);

/// How often the thread of sled looks for what it can give back. What is to be durable does not wait for it.
const COLLECTS_EVERY_MS: u64 = 60_000;

/// The version of the values; the database is whole once it has one.
const VERSION: &[u8] = b"\0version";

/// There while the values may be older than what was used once.
const OLD: &[u8] = b"\0old";

/// Bytes that sled keeps in memory: the state is small, and all of it is in memory anyway.
const CACHE_BYTES: u64 = 4 << 20;

/// How long sled may take to close.
const CLOSE: Duration = Duration::from_secs(5);

/// Why the database cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// The disk fails or is full: what is there may be as good as ever.
    Disk(io::Error),
    /// What is there is no database any more.
    Damaged(String),
}

impl Failure {
    /// Says whether space would help.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Disk(error) => folder::is_full(error),
            Self::Damaged(_) => false,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "{error}"),
            Self::Damaged(reason) => write!(f, "it is damaged: {reason}"),
        }
    }
}

/// What a database says of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// The values.
    pub(super) values: Values,
    /// Their version; none in a database that is not whole yet.
    pub(super) version: Option<u64>,
    /// Whether they may be older than what was used once.
    pub(super) may_be_old: bool,
}

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    /// None once it is let go.
    db: Option<sled::Db>,
    file: File,
}

impl Database {
    /// Opens the database in a folder, or makes one, and reads all of it.
    pub(super) fn open(path: &Path) -> Result<(Self, Content), Failure> {
        clean(path).map_err(Failure::Disk)?;
        let db = caught(|| {
            sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(Some(COLLECTS_EVERY_MS))
                .open()
        })?;
        let file = make_durable(path).map_err(Failure::Disk);
        let database = Self {
            db: Some(db),
            file: file?,
        };
        let content = caught(|| read(database.db()))?;
        Ok((database, content))
    }

    /// Makes changes durable with their version; none removes a value.
    pub(super) fn write<'v>(
        &self,
        changes: impl Iterator<Item = (&'v str, Option<&'v [u8]>)>,
        version: u64,
        may_be_old: bool,
    ) -> Result<(), Failure> {
        let db = self.db();
        caught(|| {
            for (name, value) in changes {
                match value {
                    Some(value) => db.insert(name, value)?,
                    None => db.remove(name)?,
                };
            }
            if may_be_old {
                db.insert(OLD, &[])?;
            } else if db.contains_key(OLD)? {
                db.remove(OLD)?;
            }
            db.insert(VERSION, &version.to_be_bytes())?;
            db.flush()
        })?;
        self.file.sync_data().map_err(Failure::Disk)
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("it is let go only when it is dropped")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let db = self.db.take();
        let (closed, is_closed) = mpsc::channel();
        std::thread::spawn(move || {
            // What was to be durable is; a panic on the way out changes nothing.
            catch_unwind(AssertUnwindSafe(|| drop(db))).ok();
            closed.send(()).ok();
        });
        if is_closed.recv_timeout(CLOSE).is_err() {
            warn!("the database of the state does not close");
        }
    }
}

/// Removes what sled left of a snapshot that it did not finish.
fn clean(path: &Path) -> io::Result<()> {
    folder::make(path)?;
    remove_snapshots(path, |name| name.ends_with(".generating"))
}

/// Removes sled's snapshots, whole or not: it reads its log then.
pub(super) fn forget_snapshots(path: &Path) -> io::Result<()> {
    remove_snapshots(path, |_| true)
}

fn remove_snapshots(path: &Path, which: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("snap.") && which(name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the names of what sled has made durable; returns its log.
fn make_durable(path: &Path) -> io::Result<File> {
    let log = File::open(path.join("db"))?;
    File::open(path.join("conf"))?.sync_all()?;
    log.sync_all()?;
    folder::sync(&path.join("blobs"))?;
    folder::sync(path)?;
    path.parent().map_or(Ok(()), folder::sync)?;
    Ok(log)
}

fn read(db: &sled::Db) -> sled::Result<Content> {
    let mut values = BTreeMap::new();
    for entry in db.iter() {
        let (name, value) = entry?;
        let own = name.first() == Some(&0);
        match std::str::from_utf8(&name) {
            Ok(name) if !own && value.len() <= MAX_VALUE_BYTES => {
                values.insert(name.to_owned(), value.to_vec());
            }
            Ok(_) | Err(_) if own => {}
            Ok(_) | Err(_) => warn!(bytes = value.len(), "a value of the state is none of ours"),
        }
    }
    let version = db.get(VERSION)?;
    Ok(Content {
        values,
        version: version.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?))),
        may_be_old: db.contains_key(OLD)?,
    })
}

/// Calls sled, which panics where it finds what it does not expect.
fn caught<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failure(error)),
        Err(panic) => Err(Failure::Damaged(message(&*panic))),
    }
}

fn failure(error: sled::Error) -> Failure {
    match error {
        // A file that ends early or makes no sense is no failure of the disk.
        sled::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
            ) =>
        {
            Failure::Damaged(error.to_string())
        }
        sled::Error::Io(error) => Failure::Disk(error),
        sled::Error::Corruption { .. }
        | sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_) => Failure::Damaged(error.to_string()),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("sled panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(database: &Database, changes: &[(&str, Option<&[u8]>)], version: u64) {
        database.write(changes.iter().copied(), version, false).unwrap();
    }

    #[test]
    fn what_was_written_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (database, content) = Database::open(&path).unwrap();
        assert_eq!(content, Content::default());
        write(&database, &[("a", Some(b"1")), ("b", Some(b"2"))], 1);
        write(&database, &[("a", None)], 2);
        drop(database);
        let (_, content) = Database::open(&path).unwrap();
        let values = Values::from([("b".to_owned(), b"2".to_vec())]);
        let version = Some(2);
        let may_be_old = false;
        assert_eq!(
            content,
            Content {
                values,
                version,
                may_be_old
            }
        );
    }

    #[test]
    fn values_of_the_largest_size_never_become_files_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (database, _) = Database::open(&path).unwrap();
        let names: Vec<String> = (0..200).map(|n| format!("endpoint/{n:05}")).collect();
        for round in 0..4_u8 {
            let value = [round; MAX_VALUE_BYTES];
            for ten in names.chunks(10) {
                let changes = ten.iter().map(|name| (name.as_str(), Some(&value[..])));
                database.write(changes, 1, false).unwrap();
            }
        }
        assert_eq!(fs::read_dir(path.join("blobs")).unwrap().count(), 0);
        drop(database);
        let (_, content) = Database::open(&path).unwrap();
        assert_eq!(content.values.len(), 200);
        assert_eq!(fs::read_dir(path.join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn a_snapshot_that_was_not_finished_does_not_keep_it_from_opening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (database, _) = Database::open(&path).unwrap();
        write(&database, &[("a", Some(b"1"))], 1);
        drop(database);
        fs::write(path.join("snap.00000000000000FF.generating"), "").unwrap();
        let (_, content) = Database::open(&path).unwrap();
        assert_eq!(content.version, Some(1));
        let left = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left
            .filter(|name| name.to_string_lossy().ends_with("generating"))
            .collect();
        assert_eq!(left, Vec::<std::ffi::OsString>::new());
    }

    #[test]
    fn garbage_is_told_as_damage_and_what_is_no_folder_as_a_failure_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        drop(Database::open(&path).unwrap());
        for file in ["conf", "db"] {
            fs::write(path.join(file), vec![0xA5; 1 << 16]).unwrap();
        }
        assert!(matches!(Database::open(&path), Err(Failure::Damaged(_))));
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(Database::open(&path), Err(Failure::Disk(_))));
    }
}
