//! A disk with a volatile write cache: a file that the kernel's loop driver takes for its device.
//!
//! A write is acknowledged at once and is in the cache only; a FLUSH, which the loop driver asks for as an fsync of the
//! file, makes all of it durable. [`Drive::cut`] takes the power away and returns what the flash holds then.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use rand::Rng;
use rand::rngs::StdRng;

/// What a drive writes at once, whatever else it loses.
const SECTOR: usize = 512;
/// What the file system writes at once.
const BLOCK: usize = 4096;

const FILE: INodeNo = INodeNo(2);
/// The name of the file that is the drive.
pub(crate) const NAME: &str = "drive";
/// The size never changes, so what the kernel knows of the file stays true.
const ATTRIBUTES_LAST: Duration = Duration::from_secs(3600);

/// What the flash holds after a power cut, of what was written since the last FLUSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Survives {
    /// All of it.
    Everything,
    /// Nothing.
    Nothing,
    /// Any half of the blocks.
    Half,
    /// The first writes, and of the next one the first sectors.
    Prefix,
}

impl Survives {
    pub(crate) const ALL: [Self; 4] = [Self::Everything, Self::Nothing, Self::Half, Self::Prefix];
}

/// The drive; clones are the same one.
#[derive(Clone)]
pub(crate) struct Drive(Arc<Mutex<Cache>>);

struct Cache {
    /// What reads give.
    seen: Vec<u8>,
    /// What the flash holds.
    durable: Vec<u8>,
    /// What came since the last FLUSH, in order.
    unflushed: Vec<Write>,
    is_on: bool,
    open: u32,
}

struct Write {
    at: usize,
    bytes: Vec<u8>,
}

impl Drive {
    pub(crate) fn new(flash: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Cache {
            seen: flash.clone(),
            durable: flash,
            unflushed: Vec::new(),
            is_on: true,
            open: 0,
        })))
    }

    /// Takes the power away and returns what the flash holds: from here on what is written goes nowhere, so that what
    /// runs can be taken down.
    pub(crate) fn cut(&self, survives: Survives, rng: &mut StdRng) -> Vec<u8> {
        let mut cache = self.lock();
        cache.is_on = false;
        let writes = std::mem::take(&mut cache.unflushed);
        let mut flash = cache.durable.clone();
        match survives {
            Survives::Everything => writes.iter().for_each(|write| write.apply(&mut flash)),
            Survives::Nothing => {}
            Survives::Half => writes.iter().for_each(|write| write.apply_half(&mut flash, rng)),
            Survives::Prefix => apply_prefix(&writes, &mut flash, rng),
        }
        flash
    }

    /// Gives the power back, with this on the flash.
    pub(crate) fn start(&self, flash: Vec<u8>) {
        let mut cache = self.lock();
        assert_eq!(cache.open, 0, "a drive is in use");
        cache.seen.clone_from(&flash);
        cache.durable = flash;
        cache.unflushed.clear();
        cache.is_on = true;
    }

    /// Says whether the loop driver has let go of the drive: it does so some time after the file system is unmounted.
    pub(crate) fn is_free(&self) -> bool {
        self.lock().open == 0
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().expect("no thread panics while it holds the drive")
    }
}

impl Write {
    fn apply(&self, flash: &mut [u8]) {
        self.apply_first(self.bytes.len(), flash);
    }

    fn apply_first(&self, len: usize, flash: &mut [u8]) {
        flash[self.at..self.at + len].copy_from_slice(&self.bytes[..len]);
    }

    fn apply_half(&self, flash: &mut [u8], rng: &mut StdRng) {
        for (index, block) in self.bytes.chunks(BLOCK).enumerate() {
            if rng.random() {
                let at = self.at + index * BLOCK;
                flash[at..at + block.len()].copy_from_slice(block);
            }
        }
    }
}

fn apply_prefix(writes: &[Write], flash: &mut [u8], rng: &mut StdRng) {
    let whole = rng.random_range(0..=writes.len());
    writes[..whole].iter().for_each(|write| write.apply(flash));
    if let Some(torn) = writes.get(whole) {
        let sectors = torn.bytes.len() / SECTOR;
        torn.apply_first(rng.random_range(0..=sectors) * SECTOR, flash);
    }
}

impl Filesystem for Drive {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == NAME {
            reply.entry(&ATTRIBUTES_LAST, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&ATTRIBUTES_LAST, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.lock().open += 1;
        // Past the page cache of the file: the loop device has one above it.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.lock().open -= 1;
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let cache = self.lock();
        let from = (offset as usize).min(cache.seen.len());
        let to = from.saturating_add(size as usize).min(cache.seen.len());
        reply.data(&cache.seen[from..to]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut cache = self.lock();
        let at = offset as usize;
        if at.saturating_add(bytes.len()) > cache.seen.len() {
            return reply.error(Errno::ENOSPC);
        }
        cache.seen[at..at + bytes.len()].copy_from_slice(bytes);
        if cache.is_on {
            let bytes = bytes.to_vec();
            cache.unflushed.push(Write { at, bytes });
        }
        reply.written(bytes.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut cache = self.lock();
        let writes = std::mem::take(&mut cache.unflushed);
        writes.iter().for_each(|write| write.apply(&mut cache.durable));
        reply.ok();
    }
}

impl Drive {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        let size = if is_file { self.lock().seen.len() as u64 } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / SECTOR as u64,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: BLOCK as u32,
        }
    }
}
