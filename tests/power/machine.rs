//! A machine with one drive: mounts its file system, loses its power, starts again.
//!
//! Needs root, FUSE and a free loop device. What it mounts is gone when it is dropped; run in a mount namespace of its
//! own (`unshare --mount`), it is also gone when the process is killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fuser::BackgroundSession;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::drive::{Drive, NAME, Survives};

/// The loop driver lets go of a file in a thread of its own.
const FREE_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Machine {
    drive: Drive,
    mounted: Option<Mounted>,
    // Dropped after what is mounted on it, in this order.
    _fuse: BackgroundSession,
    folder: TempDir,
}

impl Machine {
    /// Makes a machine with this on its drive, not started.
    pub(crate) fn new(flash: Vec<u8>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ucifi-power-").tempdir()?;
        let backing = folder.path().join("fuse");
        std::fs::create_dir(&backing)?;
        std::fs::create_dir(folder.path().join("state"))?;
        let drive = Drive::new(flash);
        let fuse = fuser::spawn_mount(drive.clone(), &backing, &fuser::Config::default())
            .context("cannot mount by FUSE: root and /dev/fuse are needed")?;
        Ok(Self {
            drive,
            mounted: None,
            _fuse: fuse,
            folder,
        })
    }

    /// Mounts the file system, which plays its journal back, and returns where.
    pub(crate) fn start(&mut self) -> anyhow::Result<PathBuf> {
        self.start_with("noatime")
    }

    /// Does the same with options for the mount.
    pub(crate) fn start_with(&mut self, options: &str) -> anyhow::Result<PathBuf> {
        let backing = self.folder.path().join("fuse").join(NAME);
        let mounted = Mounted::new(&backing, &self.folder.path().join("state"), options)?;
        let path = mounted.0.clone();
        self.mounted = Some(mounted);
        Ok(path)
    }

    /// Takes the power away; what runs on the file system goes on without noticing until it is killed.
    pub(crate) fn cut(&self, survives: Survives, rng: &mut StdRng) -> Vec<u8> {
        self.drive.cut(survives, rng)
    }

    /// Ends what is left of the time before a cut and puts this on the drive.
    pub(crate) fn replace(&mut self, flash: Vec<u8>) -> anyhow::Result<()> {
        self.stop()?;
        self.drive.start(flash);
        Ok(())
    }

    /// Unmounts.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount()?;
        }
        let deadline = Instant::now() + FREE_WITHIN;
        while !self.drive.is_free() {
            ensure!(Instant::now() < deadline, "the loop device keeps the drive");
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A machine that cannot be stopped was already complained of, or is dropped by a failed test.
        drop(self.stop());
    }
}

/// A file system on a loop device; unmounted when dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn new(image: &Path, on: &Path, options: &str) -> anyhow::Result<Self> {
        run(Command::new("mount")
            .args(["-o", &format!("loop,{options}")])
            .arg(image)
            .arg(on))?;
        Ok(Self(on.to_owned()))
    }

    pub(crate) fn unmount(self) -> anyhow::Result<()> {
        run(Command::new("umount").arg(&self.0))?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process that a failed test left behind may still be there.
        drop(run(Command::new("umount").arg("--lazy").arg(&self.0)));
    }
}

/// Makes an ext4 file system of this size, with a ballast that leaves only `free` bytes where it is wanted.
pub(crate) fn format(size: u64, free: Option<u64>) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("image");
    std::fs::File::create(&image)?.set_len(size)?;
    run(Command::new("mkfs.ext4")
        .args([
            "-q",
            "-b",
            "4096",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=0,nodiscard",
        ])
        .arg(&image))?;
    if let Some(free) = free {
        let on = folder.path().join("mounted");
        std::fs::create_dir(&on)?;
        let mounted = Mounted::new(&image, &on, "noatime")?;
        fill(&on, free)?;
        mounted.unmount()?;
    }
    Ok(std::fs::read(&image)?)
}

/// Puts a ballast on a file system so that so much is left.
pub(crate) fn fill(on: &Path, free: u64) -> anyhow::Result<()> {
    let ballast = available(on)?.saturating_sub(free);
    run(Command::new("fallocate")
        .args(["--length", &ballast.to_string()])
        .arg(on.join("ballast")))
}

/// Returns how many bytes are left.
pub(crate) fn available(on: &Path) -> anyhow::Result<u64> {
    let output = Command::new("df")
        .args(["--block-size=1", "--output=avail"])
        .arg(on)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().context("df says nothing")?;
    Ok(last.trim().parse()?)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
