//! A file that takes the space of a file system.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::mount::run;

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
