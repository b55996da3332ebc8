//! People who wait for what becomes of their command.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::sync::oneshot;
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
        CommandOutcome::Confirmed | CommandOutcome::Sent => None,
        CommandOutcome::NotAllowed(_)
        | CommandOutcome::Unfit(_)
        | CommandOutcome::Refused(_)
        | CommandOutcome::Superseded => Some(ProblemKind::Refused),
        CommandOutcome::Unconfirmed(_) => Some(ProblemKind::Unconfirmed),
        CommandOutcome::Unreachable { .. } | CommandOutcome::Expired => Some(ProblemKind::Unreachable),
        CommandOutcome::Busy => Some(ProblemKind::Busy),
    }
}
