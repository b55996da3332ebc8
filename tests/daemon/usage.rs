//! What the real binary uses of the machine.

use anyhow::Context;

use crate::daemon::Daemon;

/// Linux counts processor time in hundredths of a second, whatever the machine (`USER_HZ`).
const TICKS_PER_SEC: f64 = 100.0;

impl Daemon {
    /// Returns its memory now and at the most, as the kernel says it.
    pub(crate) fn memory(&mut self) -> anyhow::Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let of_memory = |line: &&str| line.starts_with("VmRSS") || line.starts_with("VmHWM");
        let lines = status.lines().filter(of_memory);
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        Ok(words.join(" "))
    }

    /// Returns the processor time that it has used, in seconds.
    pub(crate) fn processor_secs(&mut self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()?))?;
        let (_, after_name) = stat.rsplit_once(") ").context("a process has a name")?;
        // proc(5): utime and stime are fields 14 and 15, the first after the name is 3.
        let times = after_name.split(' ').skip(11).take(2);
        let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / TICKS_PER_SEC)
    }
}
