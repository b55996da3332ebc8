//! The server's absence in the middle of the demo.

use std::time::{Duration, Instant};

use ucifi_sim::server::io::Handle;

use super::view::News;

/// A run that is shorter has none: the gateway would hardly be registered before.
const SHORTEST_RUN: Duration = Duration::from_secs(15);

/// The shortest and the longest outage.
const LENGTH: std::ops::RangeInclusive<u64> = 4..=10;

/// When the server is away.
pub(super) struct Outage {
    server: Handle,
    begin: Instant,
    length: Duration,
    is_away: bool,
    is_over: bool,
}

impl Outage {
    /// Plans an outage for a run of this length; it begins after two fifths of it and takes about a quarter.
    pub(super) fn plan(server: Handle, start: Instant, run: Duration) -> Self {
        let length = (run.as_secs() / 4).clamp(*LENGTH.start(), *LENGTH.end());
        Self {
            server,
            begin: start + run * 2 / 5,
            length: Duration::from_secs(length),
            is_away: false,
            is_over: run < SHORTEST_RUN,
        }
    }

    /// Says whether the server is away.
    pub(super) const fn is_away(&self) -> bool {
        self.is_away
    }

    /// Makes the server go or come where that is due; it hears nothing meanwhile, and forgets nothing.
    pub(super) async fn step(&mut self) -> Option<News> {
        let wants_away = !self.is_over && Instant::now() >= self.begin;
        if wants_away == self.is_away && !self.is_away {
            return None;
        }
        if self.is_away && Instant::now() < self.begin + self.length {
            return None;
        }
        self.is_away = !self.is_away;
        self.is_over = !self.is_away;
        let silent = self.is_away;
        if let Err(reason) = self.server.change(move |manners| manners.silent = silent).await {
            return Some(News::Trouble(format!("the server does not listen: {reason}")));
        }
        Some(if silent {
            News::Away(self.length)
        } else {
            News::Back
        })
    }
}
