//! Whether every part of the gateway gets on with its work, for whoever watches over it.
//!
//! A check goes to the event loop, which asks the thread that writes to disk and every task of the field side, and is
//! answered when all of them have answered. A part that hangs leaves it without an answer.

use std::fmt;

use tokio::sync::{mpsc, oneshot};
use ucifi_core::{EndpointState, Gateway, Now};

use super::field::FieldStatus;
use crate::store::Store;

/// How a gateway is in which every part gets on with its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its devices.
    pub devices: usize,
    /// Those of them that answer.
    pub answering: usize,
    /// What registers, at all servers together.
    pub endpoints: usize,
    /// Those of them that are registered.
    pub registered: usize,
    /// The readings that wait for a server, in memory and on disk.
    pub waiting: u64,
}

impl Progress {
    pub(super) fn of(gateway: &Gateway, now: Now) -> Self {
        let (devices, endpoints) = (gateway.devices(now), gateway.endpoints());
        let is_registered = |state| matches!(state, EndpointState::Registered);
        Self {
            // The cabinet itself hangs on nothing.
            devices: devices.iter().filter(|device| device.link.is_some()).count(),
            answering: devices
                .iter()
                .filter(|device| device.reachable == Some(true))
                .count(),
            endpoints: endpoints.len(),
            registered: endpoints
                .iter()
                .filter(|endpoint| is_registered(endpoint.state))
                .count(),
            waiting: endpoints
                .iter()
                .map(|endpoint| endpoint.waiting as u64 + endpoint.buffered)
                .sum(),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            devices,
            answering,
            endpoints,
            registered,
            waiting,
        } = self;
        write!(
            f,
            "{answering} of {devices} devices answer, {registered} of {endpoints} endpoints registered, {waiting} \
             readings wait"
        )
    }
}

/// Where it can be asked whether every part gets on with its work.
#[derive(Clone, Debug)]
pub struct ProgressWatch {
    checks: mpsc::Sender<Check>,
}

impl ProgressWatch {
    pub(super) fn new(checks: mpsc::Sender<Check>) -> Self {
        Self { checks }
    }

    /// Waits until every part has answered, which is for ever where one hangs; none where that cannot be said now, since
    /// the configuration is exchanged or a part has too much to do.
    pub async fn check(&self) -> Option<Progress> {
        let (reply, answer) = oneshot::channel();
        self.checks.send(Check { reply }).await.ok()?;
        answer.await.ok()
    }
}

/// A question whether every part gets on with its work.
#[derive(Debug)]
pub(super) struct Check {
    reply: oneshot::Sender<Progress>,
}

impl Check {
    /// Answers when all the parts have answered.
    pub(super) fn answer_after(self, progress: Progress, store: oneshot::Receiver<()>, field: FieldStatus) {
        tokio::spawn(async move {
            let mut reply = self.reply;
            let parts = async {
                store.await.ok()?;
                field.answered().await
            };
            tokio::select! {
                answered = parts => if answered.is_some() {
                    // Who asked may have gone away.
                    reply.send(progress).ok();
                },
                () = reply.closed() => {}
            }
        });
    }
}

/// The signs of life that the thread that writes to disk owes; one is asked for at a time.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: Vec<oneshot::Sender<()>>,
    is_asked: bool,
}

impl Checks {
    /// Asks for a sign of life.
    pub(super) fn ask(&mut self, store: &mut Store) -> oneshot::Receiver<()> {
        if !self.is_asked {
            store.ask_alive();
            self.is_asked = true;
        }
        let (sign, seen) = oneshot::channel();
        self.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting.push(sign);
        seen
    }

    /// Takes note of a sign of life.
    pub(super) fn handle_alive(&mut self) {
        self.is_asked = false;
        for waiting in self.waiting.drain(..) {
            // Who asked may have gone away.
            waiting.send(()).ok();
        }
    }
}
