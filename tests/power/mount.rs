//! ext4 file systems on loop devices. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

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

    /// Returns where it is mounted.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
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

/// Makes an ext4 file system of this size.
pub(crate) fn format(size: u64) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("image");
    std::fs::File::create(&image)?.set_len(size)?;
    run(Command::new("mkfs.ext4")
        .args(["-q", "-b", "4096", "-m", "0"])
        .args(["-E", "lazy_itable_init=0,nodiscard"])
        .arg(&image))?;
    Ok(std::fs::read(&image)?)
}

pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
