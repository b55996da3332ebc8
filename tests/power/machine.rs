//! A machine with one drive: mounts its file system, loses its power, starts again.
//!
//! Needs root, FUSE and a free loop device. What it mounts is gone when it is dropped; run in a mount namespace of its
//! own (`unshare --mount`), it is also gone when the process is killed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fuser::BackgroundSession;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::drive::{Drive, NAME, Survives};
use crate::mount::Mounted;

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
        let path = mounted.folder().to_owned();
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
