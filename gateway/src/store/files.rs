//! The buffer's disk as a folder of files.
//!
//! A file is made with all its bytes written once, so that a later write inside it changes no metadata: its sync is then
//! one flush of the disk, without a commit of the file system's journal. It knows nothing of what is in the files.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use ucifi_core::buffer::{Disk, DiskError};

use super::folder;
use crate::limits::OPEN_SEGMENTS;

/// Bytes that are written at once when a file is filled with zeros.
const FILL_BYTES: usize = 64 * 1024;

/// A folder of files.
#[derive(Debug)]
pub struct FileDisk {
    folder: PathBuf,
    is_writable: bool,
    open: RefCell<OpenFiles>,
}

impl FileDisk {
    /// Opens a folder, and makes it where it is missing.
    ///
    /// # Errors
    /// When there is no such folder and none can be made.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        folder::make(folder).map_err(|error| reason(&folder.display().to_string(), error))?;
        Ok(Self::new(folder, true))
    }

    /// Opens a folder to look at: nothing in it can be changed through what is returned.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open_read_only(folder: &Path) -> Result<Self, DiskError> {
        fs::read_dir(folder).map_err(|error| reason(&folder.display().to_string(), error))?;
        Ok(Self::new(folder, false))
    }

    fn new(folder: &Path, is_writable: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            is_writable,
            open: RefCell::default(),
        }
    }

    /// Returns an open file with its length.
    fn file(&self, name: &str) -> Result<Arc<Opened>, DiskError> {
        if let Some(open) = self.open.borrow_mut().find(name) {
            return Ok(open);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(self.is_writable)
            .open(self.path(name)?);
        let file = file.map_err(|error| reason(name, error))?;
        let len = file.metadata().map_err(|error| reason(name, error))?.len();
        Ok(self.open.borrow_mut().keep(name, file, len))
    }

    fn path(&self, name: &str) -> Result<PathBuf, DiskError> {
        let plain = Path::new(name).file_name().is_some_and(|own| own == name);
        plain
            .then(|| self.folder.join(name))
            .ok_or_else(|| DiskError::Failed(format!("{name:?} is no name of a file")))
    }

    fn may_write(&self) -> Result<(), DiskError> {
        let refused = || DiskError::Failed(format!("{} is opened for reading only", self.folder.display()));
        self.is_writable.then_some(()).ok_or_else(refused)
    }
}

impl Disk for FileDisk {
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        let failed = |error| reason(&self.folder.display().to_string(), error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let about = match entry.metadata() {
                Ok(about) => about,
                // Removed since the folder was read: a reader beside a gateway at work sees that.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            if let (true, Ok(name)) = (about.is_file(), entry.file_name().into_string()) {
                files.push((name, about.len()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        self.may_write()?;
        let path = self.path(name)?;
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&path);
        let mut file = made.map_err(|error| reason(name, error))?;
        let filled = fill(&mut file, len)
            .and_then(|()| file.sync_all())
            .and_then(|()| folder::sync(&self.folder));
        if let Err(error) = filled {
            drop(file);
            // What cannot even be removed is found by the next listing.
            fs::remove_file(&path).ok();
            return Err(reason(name, error));
        }
        self.open.borrow_mut().keep(name, file, len);
        Ok(())
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let open = self.file(name)?;
        let left = usize::try_from(open.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(left)];
        let mut have = 0;
        while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match open.file.read_at(rest, offset + have as u64) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(reason(name, error)),
            }
        }
        bytes.truncate(have);
        Ok(bytes)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.may_write()?;
        let open = self.file(name)?;
        if offset
            .checked_add(bytes.len() as u64)
            .is_none_or(|end| end > open.len)
        {
            let len = bytes.len();
            return Err(DiskError::Failed(format!(
                "{len} bytes at {offset} reach beyond the end of {name}"
            )));
        }
        let written = open.file.write_all_at(bytes, offset);
        written.map_err(|error| reason(name, error))
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.may_write()?;
        let synced = self.file(name)?.file.sync_data();
        synced.map_err(|error| {
            // The system tells a failure once; what the same handle says of a later sync is worth nothing.
            self.open.borrow_mut().forget(name);
            reason(name, error)
        })
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.may_write()?;
        let path = self.path(name)?;
        self.open.borrow_mut().forget(name);
        fs::remove_file(path)
            .and_then(|()| folder::sync(&self.folder))
            .map_err(|error| reason(name, error))
    }
}

#[derive(Debug)]
struct Opened {
    file: File,
    len: u64,
}

/// The files used last, the latest at the end.
#[derive(Debug, Default)]
struct OpenFiles(Vec<(String, Arc<Opened>)>);

impl OpenFiles {
    fn find(&mut self, name: &str) -> Option<Arc<Opened>> {
        let place = self.0.iter().position(|(own, _)| own == name)?;
        let found = self.0.remove(place);
        let open = Arc::clone(&found.1);
        self.0.push(found);
        Some(open)
    }

    fn keep(&mut self, name: &str, file: File, len: u64) -> Arc<Opened> {
        if self.0.len() >= OPEN_SEGMENTS {
            self.0.remove(0);
        }
        let open = Arc::new(Opened { file, len });
        self.0.push((name.to_owned(), Arc::clone(&open)));
        open
    }

    fn forget(&mut self, name: &str) {
        self.0.retain(|(own, _)| own != name);
    }
}

/// Allots the blocks, which tells a full disk before anything is written, then writes them.
fn fill(file: &mut File, len: u64) -> io::Result<()> {
    // Asked first: an attempt that must fail takes all the space for a moment, also from others.
    let disk = fstatvfs(&*file)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < len {
        return Err(ErrorKind::StorageFull.into());
    }
    match fallocate(&*file, FallocateFlags::empty(), 0, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = [0; FILL_BYTES];
    let mut left = len;
    while left > 0 {
        let piece = zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&zeros[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

fn reason(name: &str, error: io::Error) -> DiskError {
    if folder::is_full(&error) {
        return DiskError::Full;
    }
    if error.kind() == ErrorKind::NotFound {
        return DiskError::Missing(name.to_owned());
    }
    DiskError::Failed(format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, FileDisk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(&folder.path().join("buffer")).unwrap();
        (folder, disk)
    }

    #[test]
    fn what_is_written_is_read_back_by_another_who_opens_the_folder() {
        let (folder, mut disk) = disk();
        disk.create("a", 200_000).unwrap();
        disk.write("a", 199_990, b"0123456789").unwrap();
        disk.sync("a").unwrap();
        let other = FileDisk::open_read_only(&folder.path().join("buffer")).unwrap();
        assert_eq!(other.list().unwrap(), [("a".to_owned(), 200_000)]);
        assert_eq!(other.read("a", 199_988, 4).unwrap(), b"\0\x0001");
        assert_eq!(other.read("a", 199_995, 100).unwrap(), b"56789");
        assert_eq!(other.read("a", 300_000, 100).unwrap(), b"");
    }

    #[test]
    fn a_file_has_all_its_blocks_from_the_start() {
        use std::os::unix::fs::MetadataExt;
        let (folder, mut disk) = disk();
        disk.create("a", 1 << 20).unwrap();
        let about = fs::metadata(folder.path().join("buffer/a")).unwrap();
        assert_eq!(about.len(), 1 << 20);
        assert!(about.blocks() * 512 >= 1 << 20, "{} blocks", about.blocks());
    }

    #[test]
    fn a_write_beyond_the_end_is_refused_and_writes_nothing() {
        let (_folder, mut disk) = disk();
        disk.create("a", 10).unwrap();
        assert!(matches!(disk.write("a", 8, b"abc"), Err(DiskError::Failed(_))));
        assert!(matches!(
            disk.write("a", u64::MAX, b"a"),
            Err(DiskError::Failed(_))
        ));
        assert_eq!(disk.read("a", 0, 100).unwrap(), [0; 10]);
    }

    #[test]
    fn what_is_removed_is_missing_also_to_who_had_it_open() {
        let (_folder, mut disk) = disk();
        disk.create("a", 10).unwrap();
        disk.remove("a").unwrap();
        assert_eq!(disk.list().unwrap(), []);
        let missing = DiskError::Missing("a".to_owned());
        assert_eq!(disk.read("a", 0, 1), Err(missing.clone()));
        assert_eq!(disk.write("a", 0, b"x"), Err(missing.clone()));
        assert_eq!(disk.sync("a"), Err(missing.clone()));
        assert_eq!(disk.remove("a"), Err(missing));
    }

    #[test]
    fn a_file_that_does_not_fit_is_told_as_a_full_disk_and_leaves_nothing() {
        let (folder, mut disk) = disk();
        let free = rustix::fs::statvfs(folder.path()).unwrap();
        let beyond = (free.f_blocks + 1) * free.f_frsize;
        assert_eq!(disk.create("a", beyond), Err(DiskError::Full));
        assert_eq!(disk.list().unwrap(), []);
    }

    #[test]
    fn a_file_is_not_made_twice_and_names_do_not_leave_the_folder() {
        let (folder, mut disk) = disk();
        disk.create("a", 10).unwrap();
        disk.write("a", 0, b"kept").unwrap();
        assert!(matches!(disk.create("a", 10), Err(DiskError::Failed(_))));
        assert_eq!(disk.read("a", 0, 4).unwrap(), b"kept");
        for name in ["../b", "/b", "", ".", "..", "x/b"] {
            assert!(
                matches!(disk.create(name, 1), Err(DiskError::Failed(_))),
                "{name}"
            );
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn more_files_than_are_kept_open_are_served_all_the_same() {
        let (_folder, mut disk) = disk();
        let names: Vec<String> = (0..OPEN_SEGMENTS + 3).map(|n| format!("{n:03}")).collect();
        for name in &names {
            disk.create(name, 10).unwrap();
            disk.write(name, 0, name.as_bytes()).unwrap();
            disk.sync(name).unwrap();
        }
        for name in &names {
            assert_eq!(disk.read(name, 0, 3).unwrap(), name.as_bytes());
        }
        assert_eq!(disk.open.borrow().0.len(), OPEN_SEGMENTS);
    }

    #[test]
    fn who_only_reads_changes_nothing() {
        let (folder, mut disk) = disk();
        disk.create("a", 10).unwrap();
        let mut reader = FileDisk::open_read_only(&folder.path().join("buffer")).unwrap();
        for refused in [
            reader.create("b", 1),
            reader.write("a", 0, b"x"),
            reader.sync("a"),
            reader.remove("a"),
        ] {
            assert!(matches!(refused, Err(DiskError::Failed(reason)) if reason.contains("reading only")));
        }
        assert!(FileDisk::open_read_only(&folder.path().join("none")).is_err());
        assert!(!folder.path().join("none").exists());
    }
}
