//! Commands on their way to a device: what each has to do, how far it is, and until when its sender waits.
//!
//! The table knows neither profiles nor servers; `gateway` encodes before and answers after.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lwm2m_client::client::{Failure, FailureCode, OperationId, Response};
use lwm2m_client::{Path, Value};

use crate::field::{Delivery, Downlink, DownlinkId, Frame, Link};
use crate::limits;
use crate::output::{CommandId, CommandOutcome, EndpointId};
use crate::tree::{self, Key};

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A server, by this operation of this endpoint's client.
    Server {
        /// The endpoint.
        endpoint: EndpointId,
        /// The operation.
        operation: OperationId,
    },
    /// A person at the cabinet.
    Local,
}

/// One value for one resource, and the frame that sets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    /// The resource.
    pub(crate) key: Key,
    /// The value, in the newest model.
    pub(crate) value: Value,
    /// The frame.
    pub(crate) frame: Frame,
}

/// A command that is not forgotten yet.
#[derive(Debug)]
pub(crate) struct Command {
    /// Who waits.
    pub(crate) origin: Origin,
    /// The number of the device.
    pub(crate) device: usize,
    /// What is to be done, in order.
    pub(crate) writes: Vec<Write>,
    /// How many of them are done.
    pub(crate) done: usize,
    /// Whether its sender has been answered.
    pub(crate) answered: bool,
    link: Link,
    /// Until when its sender waits; after the answer, until when it is remembered.
    due: Instant,
}

/// What follows from a delivery.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The next value goes out.
    Next(Downlink),
    /// The command is over; it is out of the table.
    Over(Command, CommandOutcome),
}

/// The commands that are open.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    open: BTreeMap<CommandId, Command>,
    downlinks: BTreeMap<DownlinkId, CommandId>,
    next_command: u64,
    /// The first number that is not reserved on disk.
    reserved: u64,
    next_downlink: u64,
}

impl Commands {
    /// Returns a table whose first command gets a number above `used`, and which has to reserve it first.
    pub(crate) fn after(used: u64) -> Self {
        Self {
            next_command: used,
            reserved: used,
            ..Self::default()
        }
    }

    /// Reserves more numbers where fewer than half a block are left; says whether it did.
    pub(crate) const fn reserve(&mut self) -> bool {
        let is_short = self.next_command + limits::COMMANDS_RESERVED / 2 >= self.reserved;
        if is_short {
            self.reserved = self.next_command.saturating_add(limits::COMMANDS_RESERVED);
        }
        is_short
    }

    /// Returns the first number that is not reserved.
    pub(crate) const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Returns a name that no command has had.
    pub(crate) fn next_id(&mut self) -> CommandId {
        self.next_command += 1;
        CommandId(self.next_command)
    }

    /// Says whether one more command for this device would be too many.
    pub(crate) fn is_full(&self, device: usize) -> bool {
        let of_device = self
            .open
            .values()
            .filter(|command| command.device == device)
            .count();
        self.open.len() >= limits::MAX_COMMANDS || of_device >= limits::MAX_COMMANDS_PER_DEVICE
    }

    /// Opens a command and returns its first downlink; `writes` is not empty.
    pub(crate) fn open(
        &mut self,
        id: CommandId,
        origin: Origin,
        (device, link): (usize, Link),
        writes: Vec<Write>,
        due: Instant,
    ) -> Option<Downlink> {
        let command = Command {
            origin,
            device,
            writes,
            done: 0,
            answered: false,
            link,
            due,
        };
        self.open.insert(id, command);
        self.downlink(id)
    }

    /// Returns when a command is due to be answered or forgotten.
    pub(crate) fn due(&self, id: CommandId) -> Option<Instant> {
        self.open.get(&id).map(|command| command.due)
    }

    /// Returns the command that a downlink belongs to, with the value that it was to set.
    pub(crate) fn of_downlink(&self, id: DownlinkId) -> Option<(&Command, &Write)> {
        let command = self.open.get(self.downlinks.get(&id)?)?;
        Some((command, command.writes.get(command.done)?))
    }

    /// Takes what became of a downlink.
    pub(crate) fn handle_delivery(
        &mut self,
        downlink: DownlinkId,
        delivery: &Delivery,
    ) -> Option<(CommandId, Progress)> {
        let id = self.downlinks.remove(&downlink)?;
        let command = self.open.get_mut(&id)?;
        let outcome = outcome(delivery);
        if outcome.is_done() {
            command.done += 1;
            if command.done < command.writes.len() && !command.answered {
                return self.downlink(id).map(|downlink| (id, Progress::Next(downlink)));
            }
        }
        let command = self.open.remove(&id)?;
        // Nobody waits for the rest of a command that was answered as failed: it is not sent.
        let is_cut_short = outcome.is_done() && command.done < command.writes.len();
        let outcome = if is_cut_short {
            CommandOutcome::Expired
        } else {
            outcome
        };
        Some((id, Progress::Over(command, outcome)))
    }

    /// Takes the deadline of a command: the command where its sender is to be told that time is up, none where it is
    /// only forgotten.
    pub(crate) fn handle_timeout(&mut self, id: CommandId, now: Instant) -> Option<&Command> {
        if self.open.get(&id)?.answered {
            self.open.remove(&id);
            self.downlinks.retain(|_, command| *command != id);
            return None;
        }
        let command = self.open.get_mut(&id)?;
        command.answered = true;
        command.due = now + limits::LATE_DELIVERY;
        Some(command)
    }

    fn downlink(&mut self, id: CommandId) -> Option<Downlink> {
        let command = self.open.get(&id)?;
        let write = command.writes.get(command.done)?;
        self.next_downlink += 1;
        let downlink = Downlink {
            id: DownlinkId(self.next_downlink),
            link: command.link.clone(),
            path: tree::path(write.key),
            frame: write.frame.clone(),
        };
        self.downlinks.insert(downlink.id, id);
        Some(downlink)
    }
}

impl Command {
    /// Returns what was to be set.
    pub(crate) fn requested(&self) -> Vec<(Path, Value)> {
        self.writes
            .iter()
            .map(|write| (tree::path(write.key), write.value.clone()))
            .collect()
    }

    /// Says in words how far a command of several values got, nothing for one of one value.
    pub(crate) fn reached(&self) -> String {
        if self.writes.len() < 2 {
            return String::new();
        }
        let paths = |writes: &[Write]| {
            let paths: Vec<String> = writes
                .iter()
                .map(|write| tree::path(write.key).to_string())
                .collect();
            paths.join(", ")
        };
        let (done, rest) = self.writes.split_at(self.done.min(self.writes.len()));
        match (done, rest) {
            (_, []) => String::new(),
            ([], rest) => format!("nothing done, not {}: ", paths(rest)),
            (done, rest) => format!("done {}, not {}: ", paths(done), paths(rest)),
        }
    }
}

/// Returns what became of a command whose last downlink ended so.
fn outcome(delivery: &Delivery) -> CommandOutcome {
    match delivery {
        Delivery::Sent => CommandOutcome::Sent,
        Delivery::Queued => CommandOutcome::Queued,
        Delivery::Confirmed(_) => CommandOutcome::Confirmed,
        Delivery::Refused(refusal) => {
            CommandOutcome::Refused(format!("{} (code {})", refusal.text, refusal.code))
        }
        Delivery::Unconfirmed(why) => CommandOutcome::Unconfirmed(why.clone()),
        Delivery::Unreachable { retry_after_secs } => CommandOutcome::Unreachable {
            retry_after_secs: *retry_after_secs,
        },
        Delivery::Denied => {
            CommandOutcome::NotAllowed("writes are denied on this link by the configuration".to_owned())
        }
        Delivery::Expired => CommandOutcome::Expired,
        Delivery::Superseded => CommandOutcome::Superseded,
    }
}

/// Returns the outcome of a command whose sender waited for `waited` in vain.
pub(crate) fn timed_out(waited: Duration) -> CommandOutcome {
    CommandOutcome::Unconfirmed(format!("no result within {} ms", waited.as_millis()))
}

/// Returns the answer to a server: `reached` says how far a command of several values got.
pub(crate) fn response(outcome: &CommandOutcome, reached: &str) -> Response {
    let failed = |code, retry_after_secs| {
        Response::Failed(Failure {
            code,
            retry_after_secs,
            diagnostic: format!("{reached}{outcome}"),
        })
    };
    match outcome {
        CommandOutcome::Confirmed | CommandOutcome::Sent | CommandOutcome::Queued => Response::Changed,
        CommandOutcome::NotAllowed(_) => failed(FailureCode::MethodNotAllowed, None),
        CommandOutcome::Unfit(_) => failed(FailureCode::BadRequest, None),
        // Not 5.03, though it was not sent: that asks for the same once more, if only after the 60 s that a missing
        // Max-Age means (RFC 7252, 5.10.5), and would undo the later write. Nor 5.04: no answer is outstanding.
        CommandOutcome::Refused(_) | CommandOutcome::Superseded => {
            failed(FailureCode::InternalServerError, None)
        }
        CommandOutcome::Unconfirmed(_) => failed(FailureCode::GatewayTimeout, None),
        CommandOutcome::Unreachable { retry_after_secs } => {
            failed(FailureCode::ServiceUnavailable, Some(*retry_after_secs))
        }
        CommandOutcome::Expired | CommandOutcome::Busy => {
            failed(FailureCode::ServiceUnavailable, Some(limits::BUSY_RETRY_SECS))
        }
    }
}
