//! A child process that is driven by JSON lines on its standard input and answers on its standard output.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

pub(crate) struct JsonProcess {
    name: String,
    child: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
    /// Lines that came while another was waited for.
    passed_over: VecDeque<Value>,
    /// How many requests were asked.
    asked: u64,
}

impl JsonProcess {
    pub(crate) fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line)
                    && sender.send(value).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            input,
            lines,
            passed_over: VecDeque::new(),
            asked: 0,
        })
    }

    pub(crate) fn say(&mut self, request: &Value) -> anyhow::Result<()> {
        writeln!(self.input, "{request}")?;
        Ok(self.input.flush()?)
    }

    /// Sends a request for an endpoint with a number of its own, and returns the answer, which has that number.
    pub(crate) fn ask(
        &mut self,
        endpoint: &str,
        mut request: Value,
        within: Duration,
    ) -> anyhow::Result<Value> {
        self.asked += 1;
        let id = self.asked;
        request["id"] = json!(id);
        request["endpoint"] = json!(endpoint);
        self.say(&request)?;
        self.wait_for(&format!("answer to {request}"), within, |line| line["id"] == id)
    }

    /// Returns the next line that fits, also one that was passed over before; others are kept.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        within: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        if let Some(at) = self.passed_over.iter().position(&fits) {
            return self.passed_over.remove(at).context("the line just found");
        }
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if fits(&line) => return Ok(line),
                Ok(line) => self.passed_over.push_back(line),
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "{}: no {what} within {within:?}; it said {:#?}",
                        self.name,
                        self.passed_over
                    )
                }
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended while waiting for {what}", self.name),
            }
        }
    }

    /// Returns the next line of all, one that was passed over before them; none when none comes in time.
    pub(crate) fn next_line(&mut self, within: Duration) -> Option<Value> {
        self.passed_over
            .pop_front()
            .or_else(|| self.lines.recv_timeout(within).ok())
    }

    /// Drops what was said so far, so that only news is found from here on.
    pub(crate) fn forget(&mut self) {
        while self.lines.try_recv().is_ok() {}
        self.passed_over.clear();
    }
}

impl Drop for JsonProcess {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
