//! Folders: made with their rights, made durable, and held by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The file that says who uses the folder; it stays when nobody does.
const LOCK: &str = "lock";

/// Makes a folder for owner and group where there is none, durable with its name.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o750).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return if folder.is_dir() {
                Ok(())
            } else {
                Err(ErrorKind::NotADirectory.into())
            };
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(folder.parent().ok_or(error)?)?;
            DirBuilder::new().mode(0o750).create(folder)?;
        }
        Err(error) => return Err(error),
    }
    folder.parent().map_or(Ok(()), sync)
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Says whether an error means that there is no space left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// A folder that this process alone may change, as long as this lives. A process that is killed lets go of it.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process uses it.
    #[error("{} is in use by another gateway{}: stop it first, or set state_dir", path.display(), process(.by))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Its process id, where it says so.
        by: Option<u32>,
    },
    /// This user may not write there.
    #[error(
        "may not write to {}: give it to the user of the gateway, as with `chown -R ucifi-gateway: {}`, or set state_dir",
        path.display(), path.display()
    )]
    NotAllowed {
        /// The folder.
        path: PathBuf,
    },
    /// The system refuses for another reason.
    #[error("cannot use {}: {source}; set state_dir to a folder that the gateway may write to", path.display())]
    Failed {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn process(id: &Option<u32>) -> String {
    id.map_or_else(String::new, |id| format!(" (process {id})"))
}

impl FolderLock {
    /// Takes a folder for this process, and makes it where it is missing.
    ///
    /// # Errors
    /// When another process has it, or the system refuses.
    pub fn take(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.to_owned();
        match lock(folder) {
            Ok(file) => Ok(Self { _file: file }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let by = holder(folder);
                Err(FolderError::InUse { path, by })
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(FolderError::NotAllowed { path })
            }
            Err(source) => Err(FolderError::Failed { path, source }),
        }
    }
}

fn lock(folder: &Path) -> io::Result<File> {
    make(folder)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(folder.join(LOCK))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // Who holds it is a courtesy: a full disk must not keep the gateway from starting.
    let told = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    told.ok();
    Ok(file)
}

fn holder(folder: &Path) -> Option<u32> {
    let mut text = String::new();
    let file = File::open(folder.join(LOCK)).ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_used_by_one_at_a_time_and_is_free_after_that() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("var/state");
        let first = FolderLock::take(&folder).unwrap();
        let error = FolderLock::take(&folder).unwrap_err().to_string();
        assert!(error.contains(&folder.display().to_string()), "{error}");
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        FolderLock::take(&folder).unwrap();
    }

    #[test]
    fn a_folder_is_made_for_owner_and_group() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("state");
        make(&folder).unwrap();
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o750);
    }

    #[test]
    fn what_is_no_folder_is_told_with_its_name() {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("file");
        fs::write(&file, "").unwrap();
        let error = FolderLock::take(&file).unwrap_err().to_string();
        assert!(error.contains("file") && error.contains("state_dir"), "{error}");
    }
}
