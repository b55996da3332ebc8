//! The state: small values under names, in memory as a whole, durable in sled, with a copy in a plain file.
//!
//! What is in memory is what is wanted. A change is made there first and then in the database; where the database fails
//! it is let go, opened again after a pause, and given what it does not have. Whoever asked for the change is told
//! whether it is durable, and the gateway goes on either way.
//!
//! ```text
//!  state/         the database; state.bad-1, state.bad-2: damaged ones, set aside
//!  snapshot       a copy, at most some minutes old; snapshot.1: the one before
//!  reserve        space that is given up first when the disk is full
//! ```
//! A database that is damaged, or older than the copy, is made anew from the copy; then the values *may be old* until
//! the gateway has saved numbers that lie far ahead of them, or has been stopped in order once.

mod database;
mod reserve;
mod snapshot;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};
use ucifi_core::state::{Change, MAX_VALUE_BYTES, SaveRequest, Saved};

use self::database::{Content, Database, Failure};
use self::snapshot::Snapshot;
use super::folder;
use crate::limits::{DAMAGED_DATABASES, STATE_BYTES, STATE_NAME_BYTES};

/// Values by their names.
pub(super) type Values = BTreeMap<String, Vec<u8>>;

/// The folder of the database.
const DATABASE: &str = "state";

/// The pause before a database that failed is opened again.
const RETRY: Duration = Duration::from_secs(5);

/// How often a copy is made at most.
const COPY: Duration = Duration::from_secs(300);

/// When the first copy is made: the state of a new gateway changes much in its first seconds.
const FIRST_COPY: Duration = Duration::from_secs(10);

/// How often it is looked whether space can be kept again.
const RESERVE: Duration = Duration::from_secs(60);

/// The state of a gateway in a folder.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    values: Values,
    /// Counts the changes.
    version: u64,
    may_be_old: bool,
    database: Option<Database>,
    failure: Option<String>,
    retry_at: Instant,
    copy_at: Instant,
    /// The version of the copy.
    copied: Option<u64>,
    reserve_at: Instant,
}

impl State {
    /// Opens the state in a folder; what cannot be read or written is tried again later.
    pub fn open(folder: &Path, now: Instant) -> Self {
        let had_copy = snapshot::exists(folder);
        let copy = snapshot::load(folder);
        let mut state = Self {
            folder: folder.to_owned(),
            values: Values::new(),
            version: 1,
            may_be_old: false,
            database: None,
            failure: None,
            retry_at: now + RETRY,
            copy_at: now + if copy.is_some() { COPY } else { FIRST_COPY },
            copied: copy.as_ref().map(|copy| copy.version),
            reserve_at: now,
        };
        match open_database(folder) {
            Ok(Opened {
                database,
                content,
                is_anew,
            }) => {
                state.choose(content.clone(), copy, is_anew || had_copy);
                state.bring_up_to_date(database, &content, now);
            }
            Err(failure) => {
                error!(%failure, "the state cannot be read, going on with its copy");
                state.choose(Content::default(), copy, true);
                state.failure = Some(failure.to_string());
            }
        }
        state.handle_timeout(now);
        state
    }

    /// Returns all values.
    pub fn saved(&self) -> Saved {
        Saved {
            values: self.values.clone(),
            may_be_old: self.may_be_old,
        }
    }

    /// Returns a value.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// Makes changes durable.
    ///
    /// # Errors
    /// Why they are not; then they are made durable later, unless a value or the whole is too large.
    pub fn apply(&mut self, changes: &[Change], now: Instant) -> Result<(), String> {
        self.change(changes, false, now)
    }

    /// Makes what a gateway asks for durable. Where it has counted on from far ahead, what is here is not old any
    /// more: nobody has to do so again after a crash.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    pub fn save(&mut self, request: &SaveRequest, now: Instant) -> Result<(), String> {
        self.change(&request.changes, request.is_current, now)
    }

    fn change(&mut self, changes: &[Change], is_current: bool, now: Instant) -> Result<(), String> {
        self.check(changes)?;
        self.may_be_old &= !is_current;
        for change in changes {
            match &change.value {
                Some(value) => self.values.insert(change.name.clone(), value.clone()),
                None => self.values.remove(&change.name),
            };
        }
        self.version += 1;
        let Some(database) = &self.database else {
            let reason = self.failure.as_deref().unwrap_or("it is not open");
            return Err(format!("the state cannot be written: {reason}"));
        };
        let written = changes
            .iter()
            .map(|change| (change.name.as_str(), change.value.as_deref()));
        match database.write(written, self.version, self.may_be_old) {
            Ok(()) => Ok(()),
            Err(failure) => {
                let reason = format!("the state cannot be written: {failure}");
                self.let_go(&failure, now);
                // Giving up the reserve may have been enough.
                self.reopen(now);
                self.database.as_ref().map(drop).ok_or(reason)
            }
        }
    }

    /// Does what is due: tries again what failed, and makes a copy.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.database.is_none() && now >= self.retry_at {
            self.reopen(now);
        }
        if now >= self.copy_at {
            self.copy(now);
        }
        if now >= self.reserve_at && self.database.is_some() {
            self.reserve_at = now + RESERVE;
            if let Err(error) = reserve::take(&self.folder) {
                debug!(%error, "no space is kept for the state");
            }
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Instant {
        let retry = match self.database {
            None => self.retry_at,
            Some(_) => self.reserve_at,
        };
        retry.min(self.copy_at)
    }

    /// Returns why the state is not durable, where it is not.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Closes the state. In an orderly end the gateway has saved all that it had, and goes on with that as it is.
    pub fn close(mut self, is_orderly: bool, now: Instant) {
        if is_orderly
            && self.may_be_old
            && let Some(database) = &self.database
            && let Err(failure) = database.write(std::iter::empty(), self.version, false)
        {
            warn!(%failure, "the state cannot be written");
        }
        self.copy(now);
    }

    /// Takes the newest values that there are.
    fn choose(&mut self, content: Content, copy: Option<Snapshot>, is_something_lost: bool) {
        let version = content.version;
        match copy {
            Some(copy) if version.is_none_or(|version| version < copy.version) => {
                warn!(
                    values = copy.values.len(),
                    "the state is taken from its copy, which may be some minutes old"
                );
                self.values = copy.values;
                self.version = copy.version + 1;
                self.may_be_old = true;
            }
            Some(_) | None => {
                if version.is_none() && is_something_lost {
                    error!(
                        "the state is lost, starting without: registrations and local ports are made anew"
                    );
                }
                self.may_be_old = content.may_be_old || version.is_none() && is_something_lost;
                self.values = content.values;
                self.version = version.unwrap_or(1);
            }
        }
    }

    fn check(&self, changes: &[Change]) -> Result<(), String> {
        for change in changes {
            let (name, len) = (&change.name, change.value.as_ref().map_or(0, Vec::len));
            if len > MAX_VALUE_BYTES {
                return Err(format!(
                    "{name} has {len} bytes, at most {MAX_VALUE_BYTES} can be kept"
                ));
            }
            if name.len() > STATE_NAME_BYTES || name.starts_with('\0') || name.is_empty() {
                return Err(format!("{name:?} is no name of a value"));
            }
        }
        let (before, after) = self.sizes(changes);
        if after > STATE_BYTES.max(before) {
            return Err(format!(
                "the state would have {after} bytes, at most {STATE_BYTES} can be kept"
            ));
        }
        Ok(())
    }

    /// Returns the bytes of all names and values before and after changes.
    fn sizes(&self, changes: &[Change]) -> (usize, usize) {
        let size = |name: &String, value: &Vec<u8>| name.len() + value.len();
        let before = self.values.iter().map(|(name, value)| size(name, value)).sum();
        // The last one under a name is what stands there in the end.
        let last: BTreeMap<_, _> = changes
            .iter()
            .map(|change| (&change.name, &change.value))
            .collect();
        let mut after = before;
        for (name, value) in last {
            let old = self.values.get(name);
            after -= old.map_or(0, |old| size(name, old));
            after += value.as_ref().map_or(0, |value| size(name, value));
        }
        (before, after)
    }

    fn let_go(&mut self, failure: &Failure, now: Instant) {
        if self.failure.is_none() {
            error!(%failure, "the state cannot be written, trying again");
        }
        self.failure = Some(failure.to_string());
        self.database = None;
        self.retry_at = now + RETRY;
    }

    fn reopen(&mut self, now: Instant) {
        match open_database(&self.folder) {
            Ok(opened) => self.bring_up_to_date(opened.database, &opened.content, now),
            Err(failure) => self.let_go(&failure, now),
        }
    }

    /// Gives a database what it does not have.
    fn bring_up_to_date(&mut self, database: Database, content: &Content, now: Instant) {
        let wanted = self.values.iter();
        let new = wanted
            .filter(|(name, value)| content.values.get(*name) != Some(value))
            .map(|(name, value)| (name.as_str(), Some(value.as_slice())));
        let gone = content
            .values
            .keys()
            .filter(|name| !self.values.contains_key(*name));
        let changes: Vec<_> = new.chain(gone.map(|name| (name.as_str(), None))).collect();
        let is_same = content.version == Some(self.version) && content.may_be_old == self.may_be_old;
        if !is_same || !changes.is_empty() {
            let written = database.write(changes.into_iter(), self.version, self.may_be_old);
            if let Err(failure) = written {
                drop(database);
                reserve::give_up(&self.folder);
                return self.let_go(&failure, now);
            }
        }
        self.database = Some(database);
        if self.failure.take().is_some() {
            info!("the state is written again");
        }
    }

    fn copy(&mut self, now: Instant) {
        self.copy_at = now + COPY;
        if self.copied == Some(self.version) {
            return;
        }
        match snapshot::store(&self.folder, self.version, &self.values) {
            Ok(()) => self.copied = Some(self.version),
            Err(error) => warn!(%error, "no copy of the state can be made"),
        }
    }
}

struct Opened {
    database: Database,
    content: Content,
    /// Whether the one that was there was set aside.
    is_anew: bool,
}

/// Opens the database: without sled's snapshots where they may be the reason for its damage, with the space that was
/// kept where the disk is full, and a new one in place of one that is damaged for good.
fn open_database(folder: &Path) -> Result<Opened, Failure> {
    let path = folder.join(DATABASE);
    let opened = |(database, content), is_anew| Opened {
        database,
        content,
        is_anew,
    };
    let first = match Database::open(&path) {
        Err(failure) if failure.is_full() && reserve::give_up(folder) => Database::open(&path),
        other => other,
    };
    let reason = match first {
        Ok(found) => return Ok(opened(found, false)),
        Err(failure @ Failure::Disk(_)) => return Err(failure),
        Err(Failure::Damaged(reason)) => reason,
    };
    warn!(reason, "the state is damaged, reading it in another way");
    database::forget_snapshots(&path).map_err(Failure::Disk)?;
    let reason = match Database::open(&path) {
        Ok(found) => return Ok(opened(found, false)),
        Err(failure @ Failure::Disk(_)) => return Err(failure),
        Err(Failure::Damaged(reason)) => reason,
    };
    let aside = set_aside(folder).map_err(Failure::Disk)?;
    error!(reason, aside = %aside.display(), "the state is damaged and set aside");
    Ok(opened(Database::open(&path)?, true))
}

/// Moves a damaged database out of the way, as the newest of a few.
fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let name = |number| folder.join(format!("{DATABASE}.bad-{number}"));
    let last = name(DAMAGED_DATABASES);
    if last.exists() {
        fs::remove_dir_all(last)?;
    }
    for number in (1..DAMAGED_DATABASES).rev() {
        if name(number).exists() {
            fs::rename(name(number), name(number + 1))?;
        }
    }
    fs::rename(folder.join(DATABASE), name(1))?;
    folder::sync(folder)?;
    Ok(name(1))
}

#[cfg(test)]
mod tests;
