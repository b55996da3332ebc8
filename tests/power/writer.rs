//! A process that writes, and what it says of it.
//!
//! The process is this test binary again, told by its environment what to write; so it can be killed at any moment. It
//! says on its standard error what it is going to write and what it may rely on, a line each.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::kept::Kept;
use crate::plain;
use crate::said::Said;

const WRITER: &str = "UCIFI_POWER_WRITER";
const FOLDER: &str = "UCIFI_POWER_FOLDER";
const LIFE: &str = "UCIFI_POWER_LIFE";

/// What writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Appends to a file and syncs it before it relies on it.
    Synced,
    /// Appends to a file and relies on what the system took.
    Unsynced,
    /// Writes to the real buffer and state.
    Kept,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Synced, Self::Unsynced, Self::Kept];
}

/// Not a test by itself: what the other tests start as a process of its own.
#[test]
fn the_writer_writes_where_its_environment_says() {
    let Ok(writer) = std::env::var(WRITER) else {
        return;
    };
    let kind = Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == writer);
    let folder = std::env::var(FOLDER).expect("a writer has a folder");
    let life = std::env::var(LIFE)
        .expect("a writer has a life")
        .parse()
        .expect("a number");
    write(kind.expect("a known writer"), Path::new(&folder), life);
}

fn write(kind: Kind, folder: &Path, life: u32) {
    match kind {
        Kind::Synced => plain::write(folder, true),
        Kind::Unsynced => plain::write(folder, false),
        Kind::Kept => {
            say("opens");
            let mut say = |said: Said| say(&said.to_line());
            let mut kept = Kept::open(folder, life, &mut say).expect("what is kept opens");
            loop {
                kept.round().expect("the buffer answers");
            }
        }
    }
}

/// Says a line to whoever started this process; it is in the pipe when this returns.
pub(crate) fn say(line: &str) {
    let said = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    said.expect("whoever started the writer listens");
}

/// A writer that runs; killed when dropped.
pub(crate) struct Writer {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(kind: Kind, folder: &Path, life: u32) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "--exact",
                "writer::the_writer_writes_where_its_environment_says",
                "--nocapture",
            ])
            .env(WRITER, format!("{kind:?}"))
            .env(FOLDER, folder)
            .env(LIFE, life.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stderr.take().context("a pipe was asked for")?).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let into = said.clone();
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().expect("nobody panics while holding it").push(line);
            }
        });
        Ok(Self {
            child,
            said,
            listener: Some(listener),
        })
    }

    /// Returns what it has said.
    pub(crate) fn said(&self) -> MutexGuard<'_, Vec<String>> {
        self.said.lock().expect("nobody panics while holding it")
    }

    /// Waits until it has said so many lines that begin like this.
    pub(crate) fn wait_for(&mut self, beginning: &str, count: usize, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if self
                .said()
                .iter()
                .filter(|line| line.starts_with(beginning))
                .count()
                >= count
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the writer ended with {status}: {:?}", self.said().last());
            }
            ensure!(
                Instant::now() < deadline,
                "the writer has not said {beginning:?} {count} times, at last {:?}",
                self.said().last()
            );
            std::thread::yield_now();
        }
    }

    /// Lets it work on for so long; it must not end by itself.
    pub(crate) fn stay(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                bail!("the writer ended with {status}: {:?}", self.said());
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Kills it and returns all that it has said.
    pub(crate) fn kill(mut self) -> anyhow::Result<Vec<String>> {
        self.end();
        Ok(std::mem::take(&mut *self.said()))
    }

    fn end(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(listener) = self.listener.take() {
            listener.join().expect("the listener does not panic");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}
