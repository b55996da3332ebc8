//! Space that is kept for the state: opening sled's database needs some, also on a full disk.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::store::folder;

const NAME: &str = "reserve";

/// The bytes that are kept.
const BYTES: usize = 4 << 20;

/// The free bytes that must be left beside it, so that what is given up is not taken back at once.
const LEFT: u64 = 12 << 20;

/// Gives the space up; says whether there was any.
pub(super) fn give_up(folder: &Path) -> bool {
    fs::remove_file(folder.join(NAME))
        .and_then(|()| folder::sync(folder))
        .is_ok()
}

/// Takes the space, where there is plenty.
///
/// # Errors
/// When it is not to be had.
pub(super) fn take(folder: &Path) -> io::Result<()> {
    let path = folder.join(NAME);
    if fs::metadata(&path).is_ok_and(|about| about.len() == BYTES as u64) {
        return Ok(());
    }
    let free = rustix::fs::statvfs(folder)?;
    if free.f_bavail.saturating_mul(free.f_frsize) < BYTES as u64 + LEFT {
        return Err(ErrorKind::StorageFull.into());
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&path)?;
    let filled = file.write_all(&vec![0; BYTES]).and_then(|()| file.sync_all());
    if filled.is_err() {
        give_up(folder);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_is_taken_given_up_once_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(!give_up(folder));
        for _ in 0..2 {
            take(folder).unwrap();
            take(folder).unwrap();
            assert_eq!(fs::metadata(folder.join(NAME)).unwrap().len(), BYTES as u64);
            assert!(give_up(folder));
            assert!(!give_up(folder));
        }
    }
}
