//! People who wait for what becomes of what they want.

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;
use tokio::sync::oneshot;
use ucifi_core::buffer;
use ucifi_core::{CommandId, CommandOutcome, CommandRecord, Event};

use crate::control::{Problem, ProblemKind, Reply};

/// The replies that are owed, by command. The control socket's own bound on clients bounds it.
#[derive(Debug, Default)]
pub(super) struct WaitingCommands {
    waiting: BTreeMap<CommandId, oneshot::Sender<Reply>>,
}

impl WaitingCommands {
    /// Keeps a reply until its command is finished.
    pub(super) fn wait(&mut self, id: CommandId, reply: oneshot::Sender<Reply>) {
        self.waiting.insert(id, reply);
    }

    /// Replies to whoever waits for a finished command.
    pub(super) fn handle_event(&mut self, event: &Event) {
        if let Event::CommandFinished(record) = event
            && let Some(reply) = self.waiting.remove(&record.id)
        {
            // Who asked may have gone away.
            reply.send(reply_for(record)).ok();
        }
    }
}

/// The replies that are owed to who dropped readings, with how many were in memory, in their order. The control
/// socket's own bound on clients bounds it.
#[derive(Debug, Default)]
pub(super) struct WaitingDrops {
    waiting: VecDeque<(u64, oneshot::Sender<Reply>)>,
}

impl WaitingDrops {
    /// Keeps a reply until the disk has dropped its readings too.
    pub(super) fn wait(&mut self, count: u64, reply: oneshot::Sender<Reply>) {
        self.waiting.push_back((count, reply));
    }

    /// Replies to whoever waits longest, if this is the answer to that.
    pub(super) fn handle_reply(&mut self, reply: &buffer::Reply) {
        if let buffer::Reply::Dropped { count } = reply
            && let Some((in_memory, waiting)) = self.waiting.pop_front()
        {
            let told = json!({ "dropped": in_memory + count });
            // Who asked may have gone away.
            waiting.send(Reply::Ok(told)).ok();
        }
    }
}

fn reply_for(record: &CommandRecord) -> Reply {
    let path = record
        .writes
        .first()
        .map(|(path, _)| path.to_string())
        .unwrap_or_default();
    let text = record.outcome.to_string();
    match kind_of(&record.outcome) {
        Some(kind) => Reply::Error(Problem::new(kind, format!("{} {path}: {text}", record.device))),
        None => Reply::Ok(json!({
            "device": &*record.device,
            "path": path,
            "confirmed": record.outcome == CommandOutcome::Confirmed,
            "outcome": text,
        })),
    }
}

/// Returns what kind of problem an outcome is; none where the command was done.
pub(super) fn kind_of(outcome: &CommandOutcome) -> Option<ProblemKind> {
    match outcome {
        CommandOutcome::Confirmed | CommandOutcome::Sent | CommandOutcome::Queued => None,
        CommandOutcome::NotAllowed(_)
        | CommandOutcome::Unfit(_)
        | CommandOutcome::Refused(_)
        | CommandOutcome::Superseded => Some(ProblemKind::Refused),
        CommandOutcome::Unconfirmed(_) => Some(ProblemKind::Unconfirmed),
        CommandOutcome::Unreachable { .. } | CommandOutcome::Expired => Some(ProblemKind::Unreachable),
        CommandOutcome::Busy => Some(ProblemKind::Busy),
    }
}
