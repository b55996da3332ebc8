//! Commands on their way to a device: what each has to do, how far it is, and until when its sender waits.
//!
//! ```text
//!  waiting ──► out ──────────────────────────► over
//!               │ │ sent, and to be seen  ▲ ▲
//!               │ └──────► watched ───────┘ │   shown by the device, or not in time
//!               └────► queued ──────────────┘   (sent or watched, from the queue)
//! ```
//! The table knows neither profiles nor servers; `gateway` encodes before and answers after.

mod answers;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lwm2m_client::client::OperationId;
use lwm2m_client::{Path, Value};

use crate::field::{Delivery, Downlink, DownlinkId, Frame, Link};
use crate::limits;
use crate::output::{CommandId, CommandOutcome, EndpointId};
use crate::reading::Quality;
use crate::tree::{self, Key};
pub(crate) use answers::response;
pub(crate) use open::{Command, Report};
use open::{Stage, Step};

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
    /// What the device shows when it has done it; none believes the field side.
    pub(crate) watch: Option<Watch>,
}

/// What a device shows when it has done a write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watch {
    /// The resource that shows it.
    pub(crate) key: Key,
    /// Its value then.
    pub(crate) expect: Value,
    /// How far a number may be off.
    pub(crate) tolerance: f64,
    /// How long that may take.
    pub(crate) within: Duration,
}

/// What follows from something that happened to a command.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The command.
    pub(crate) id: CommandId,
    /// The value that goes out next.
    pub(crate) next: Option<Downlink>,
    /// What is to be told of it.
    pub(crate) report: Option<Report>,
    /// A value that can be read as it was commanded, and how far it can be trusted.
    pub(crate) shown: Option<(Key, Value, Quality)>,
}

/// The commands that are open.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    open: BTreeMap<CommandId, Command>,
    /// Those that were answered before their end, and are waited for however long that takes.
    lasting: BTreeSet<CommandId>,
    /// Those whose devices are to show what was done, by the device.
    watched: BTreeMap<usize, BTreeSet<CommandId>>,
    /// To which command a downlink belongs, and to which of its writes.
    downlinks: BTreeMap<DownlinkId, (CommandId, usize)>,
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

    /// Says whether one more command for this device would be too many. Those that were answered do not count.
    pub(crate) fn is_full(&self, device: usize) -> bool {
        let waiting = self.open.iter().filter(|(id, _)| !self.lasting.contains(id));
        let of_device = waiting.filter(|(_, command)| command.device == device).count();
        let all = self.open.len() - self.lasting.len();
        all >= limits::MAX_COMMANDS || of_device >= limits::MAX_COMMANDS_PER_DEVICE
    }

    /// Opens a command and returns its first downlink; `writes` is not empty.
    pub(crate) fn open(
        &mut self,
        id: CommandId,
        origin: Origin,
        (device, link): (usize, Link),
        writes: Vec<Write>,
        (now, patience): (Instant, Duration),
    ) -> Option<Downlink> {
        if writes.iter().any(|write| write.watch.is_some()) {
            self.watched.entry(device).or_default().insert(id);
        }
        let stage = Stage::Waiting;
        let steps = writes.into_iter().map(|write| Step {
            write,
            stage: stage.clone(),
        });
        let command = Command {
            origin,
            device,
            steps: steps.collect(),
            link,
            answer_by: Some(now + patience),
            patience,
            forget_at: None,
        };
        self.open.insert(id, command);
        self.downlink(id)
    }

    /// Returns when something is due for a command.
    pub(crate) fn due(&self, id: CommandId) -> Option<Instant> {
        self.open.get(&id).and_then(Command::due)
    }

    /// Returns the device that a downlink was for, and the value that it was to set.
    pub(crate) fn of_downlink(&self, id: DownlinkId) -> Option<(usize, &Write)> {
        let (command, place) = self.downlinks.get(&id)?;
        let command = self.open.get(command)?;
        Some((command.device, &command.steps.get(*place)?.write))
    }

    /// Takes what became of a downlink.
    pub(crate) fn handle_delivery(
        &mut self,
        downlink: DownlinkId,
        delivery: &Delivery,
        now: Instant,
    ) -> Option<Progress> {
        let (id, place) = *self.downlinks.get(&downlink)?;
        if *delivery != Delivery::Queued {
            self.downlinks.remove(&downlink);
        }
        let command = self.open.get_mut(&id)?;
        command.handle_delivery(place, delivery, now);
        let shown = command.shown(place);
        Some(self.proceed(id, shown))
    }

    /// Takes the values that a frame of a device has brought: some may show that a write was done.
    pub(crate) fn handle_values<'a>(
        &mut self,
        device: usize,
        value: impl Fn(Key) -> Option<&'a Value>,
    ) -> Vec<Progress> {
        let watched = self.watched.get(&device).cloned().unwrap_or_default();
        let mut progress = Vec::new();
        for id in watched {
            let Some(command) = self.open.get_mut(&id) else {
                continue;
            };
            for place in 0..command.steps.len() {
                let watch = command.steps[place].write.watch.as_ref();
                let is_shown =
                    watch.is_some_and(|watch| value(watch.key).is_some_and(|v| watch.is_met_by(v)));
                if is_shown && command.handle_seen(place) {
                    let shown = command.shown(place);
                    progress.push((id, shown));
                }
            }
        }
        progress
            .into_iter()
            .map(|(id, shown)| self.proceed(id, shown))
            .collect()
    }

    /// Takes that something is due for a command.
    pub(crate) fn handle_timeout(&mut self, id: CommandId, now: Instant) -> Option<Progress> {
        let command = self.open.get_mut(&id)?;
        command.stop_watching(now);
        if command.end().is_none() && command.answer_by.is_some_and(|by| by <= now) {
            let report = Some(command.time_out(now));
            return Some(Progress {
                id,
                next: None,
                report,
                shown: None,
            });
        }
        if command.forget_at.take_if(|at| *at <= now).is_some() && command.is_unheard() {
            self.forget(id);
            return None;
        }
        Some(self.proceed(id, None))
    }

    /// Does what follows from where a command is now.
    fn proceed(&mut self, id: CommandId, shown: Option<(Key, Value, Quality)>) -> Progress {
        let (mut next, mut report) = (None, None);
        if let Some(command) = self.open.get_mut(&id) {
            let is_out = command
                .steps
                .iter()
                .any(|step| matches!(step.stage, Stage::Out { .. }));
            if let Some(outcome) = command.end() {
                report = Some(command.report(outcome));
                self.forget(id);
            } else if command.next().is_some() && command.is_answered() && !is_out {
                // Nobody waits for the rest of a command that was answered as failed: it is not sent.
                report = Some(command.report(CommandOutcome::Expired));
                self.forget(id);
            } else if command.next().is_some() && !is_out {
                next = self.downlink(id);
            } else if !command.is_unheard() {
                if command.is_answered_early() {
                    report = command.standing().map(|outcome| command.report(outcome));
                    command.answer_by = None;
                }
                if command.is_answered() {
                    command.forget_at = None;
                    self.keep(id);
                }
            }
        }
        Progress {
            id,
            next,
            report,
            shown,
        }
    }

    /// Goes on waiting for a command whose sender has its answer; no more of them than there is room for.
    fn keep(&mut self, id: CommandId) {
        self.lasting.insert(id);
        if self.lasting.len() > limits::MAX_LASTING_COMMANDS
            && let Some(oldest) = self.lasting.first().copied()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: CommandId) {
        self.lasting.remove(&id);
        let Some(command) = self.open.remove(&id) else {
            return;
        };
        if let Some(watched) = self.watched.get_mut(&command.device) {
            watched.remove(&id);
            if watched.is_empty() {
                self.watched.remove(&command.device);
            }
        }
        self.downlinks.retain(|_, (command, _)| *command != id);
    }

    fn downlink(&mut self, id: CommandId) -> Option<Downlink> {
        let command = self.open.get_mut(&id)?;
        let place = command.next()?;
        let step = command.steps.get_mut(place)?;
        step.stage = Stage::Out { is_seen: false };
        self.next_downlink += 1;
        let downlink = Downlink {
            id: DownlinkId(self.next_downlink),
            link: command.link.clone(),
            path: tree::path(step.write.key),
            frame: step.write.frame.clone(),
        };
        self.downlinks.insert(downlink.id, (id, place));
        Some(downlink)
    }
}

impl Write {
    /// Returns what it is to set.
    fn requested(&self) -> (Path, Value) {
        (tree::path(self.key), self.value.clone())
    }
}

impl Watch {
    fn is_met_by(&self, value: &Value) -> bool {
        match (self.expect.as_f64(), value.as_f64()) {
            (Some(expect), Some(value)) => (value - expect).abs() <= self.tolerance,
            _ => self.expect == *value,
        }
    }
}
