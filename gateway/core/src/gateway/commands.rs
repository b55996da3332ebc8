//! Commands from servers and from people: checked, encoded by the profile, sent, and answered honestly.

use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::client::{Operation, OperationId, Response};
use lwm2m_client::format::Entry;
use lwm2m_client::object::ResourceDefinition;
use lwm2m_client::{Path, Value};

use crate::Now;
use crate::command::{self, Origin, Progress, Report, Watch, Write};
use crate::device::{News, canonical};
use crate::field::{Delivery, DownlinkId};
use crate::gateway::{Gateway, endpoints};
use crate::limits;
use crate::output::{CommandId, CommandOrigin, CommandOutcome, CommandRecord, Event, Output};
use crate::profile::{EncodeError, Profile, Verify};
use crate::reading::Quality;
use crate::timer::Timer;
use crate::tree::{self, Key};

/// Why a command of a person was not even begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such device.
    #[error("there is no device {0:?}")]
    UnknownDevice(String),
    /// The path names no resource, or none that the registry knows.
    #[error(
        "{0} is no resource of the object registry: expected object, instance and resource, as in /3416/0/1"
    )]
    UnknownResource(Path),
    /// It cannot be sent; the audit log has it.
    #[error("{0}")]
    Refused(CommandOutcome),
}

/// What is wanted of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Write,
    Execute,
}

impl Gateway {
    /// Sets a resource of a device, as a person at the cabinet wants it, in the newest model; what becomes of it is
    /// told by [`Event::CommandFinished`].
    ///
    /// # Errors
    /// When it cannot be sent at all.
    pub fn command(
        &mut self,
        device: &str,
        path: Path,
        value: Value,
        now: Now,
    ) -> Result<CommandId, CommandError> {
        self.order(device, path, value, Wish::Write, now)
    }

    /// Executes a resource of a device; otherwise as [`command`](Self::command).
    ///
    /// # Errors
    /// When it cannot be sent at all.
    pub fn execute(
        &mut self,
        device: &str,
        path: Path,
        arguments: &str,
        now: Now,
    ) -> Result<CommandId, CommandError> {
        self.order(
            device,
            path,
            Value::String(arguments.to_owned()),
            Wish::Execute,
            now,
        )
    }

    /// Does what a server wants of a device.
    pub(super) fn operate(&mut self, index: usize, operation: OperationId, what: Operation, now: Now) {
        let origin = Origin::Server {
            endpoint: endpoints::id(index),
            operation,
        };
        let device = self.endpoints[index].device;
        match what {
            Operation::Write { entries, .. } if entries.is_empty() => {
                self.respond(index, operation, Response::Changed, now);
            }
            Operation::Write { entries, .. } => match self.canonical_entries(index, entries) {
                Ok(writes) => self.begin_operation(origin, device, writes, Wish::Write, now),
                Err(why) => {
                    let id = self.next_command(now);
                    self.refuse(id, origin, device, Vec::new(), CommandOutcome::Unfit(why), now);
                }
            },
            Operation::Execute { path, arguments } => {
                let writes = vec![(path, Value::String(arguments))];
                self.begin_operation(origin, device, writes, Wish::Execute, now);
            }
            Operation::Create { object, .. } => {
                let why = format!("instances of object {object} are those that the device has");
                let (id, outcome) = (self.next_command(now), CommandOutcome::NotAllowed(why));
                self.refuse(id, origin, device, Vec::new(), outcome, now);
            }
            Operation::Delete { path } => {
                let why = format!("{path} is there as long as the device is");
                let (id, outcome) = (self.next_command(now), CommandOutcome::NotAllowed(why));
                self.refuse(id, origin, device, Vec::new(), outcome, now);
            }
        }
    }

    /// Takes what became of a downlink.
    pub(super) fn deliver(&mut self, downlink: DownlinkId, delivery: Delivery, now: Now) {
        let Some((device, write)) = self.commands.of_downlink(downlink) else {
            return;
        };
        let written = (write.key, write.value.clone());
        let Some(mut progress) = self.commands.handle_delivery(downlink, &delivery, now.instant) else {
            return;
        };
        let news = match delivery {
            Delivery::Confirmed(frame @ Some(_)) => {
                progress.shown = None;
                let written = self.is_readable(&written).then_some(written);
                self.devices[device].apply_read_back(frame.as_ref(), written, now)
            }
            Delivery::Sent
            | Delivery::Confirmed(None)
            | Delivery::Queued
            | Delivery::Refused(_)
            | Delivery::Unconfirmed(_)
            | Delivery::Unreachable { .. }
            | Delivery::Denied
            | Delivery::Expired
            | Delivery::Superseded => self.show(device, progress.shown.take(), now),
        };
        // The answer goes first: what follows from it is news like any other.
        self.go_on(progress, now);
        self.spread(device, news, now);
    }

    /// Ends the commands that a frame of a device shows to be done.
    pub(super) fn see_commands_done(&mut self, device: usize, now: Now) {
        let tree = &self.devices[device].tree;
        let brought = |key| {
            let held = tree.get(key).filter(|held| held.received == Some(now.instant))?;
            Some(&held.value)
        };
        for mut progress in self.commands.handle_values(device, brought) {
            let news = self.show(device, progress.shown.take(), now);
            self.go_on(progress, now);
            self.spread(device, news, now);
        }
    }

    /// Tells whoever waits for a command that time is up, or forgets it.
    pub(super) fn command_is_due(&mut self, id: CommandId, now: Now) {
        if let Some(progress) = self.commands.handle_timeout(id, now.instant) {
            self.go_on(progress, now);
        }
    }

    /// Sends and tells what follows from something that happened to a command.
    fn go_on(&mut self, progress: Progress, now: Now) {
        let due = self.commands.due(progress.id);
        self.timers.set(Timer::Command(progress.id), due);
        self.outputs.extend(progress.next.map(Output::Downlink));
        if let Some(report) = progress.report {
            let Report {
                origin,
                device,
                writes,
                done,
                outcome,
                response,
            } = report;
            self.audit(progress.id, origin, device, writes, done, outcome);
            if let Some(response) = response {
                self.answer(origin, response, now);
            }
        }
    }

    fn order(
        &mut self,
        device: &str,
        path: Path,
        value: Value,
        wish: Wish,
        now: Now,
    ) -> Result<CommandId, CommandError> {
        let place = self.devices.iter().position(|known| &*known.id == device);
        let place = place.ok_or_else(|| CommandError::UnknownDevice(device.to_owned()))?;
        let (key, _) = canonical(&self.table, path).ok_or(CommandError::UnknownResource(path))?;
        let writes = vec![(tree::path(key), value)];
        let id = self.next_command(now);
        match self.send_command(id, Origin::Local, place, &writes, wish, now) {
            Ok(()) => Ok(id),
            Err(outcome) => {
                self.audit(id, Origin::Local, place, writes, 0, outcome.clone());
                Err(CommandError::Refused(outcome))
            }
        }
    }

    fn begin_operation(
        &mut self,
        origin: Origin,
        device: usize,
        writes: Vec<(Path, Value)>,
        wish: Wish,
        now: Now,
    ) {
        let id = self.next_command(now);
        if let Err(outcome) = self.send_command(id, origin, device, &writes, wish, now) {
            self.refuse(id, origin, device, writes, outcome, now);
        }
    }

    /// Encodes every value before the first one is sent.
    pub(super) fn send_command(
        &mut self,
        id: CommandId,
        origin: Origin,
        device: usize,
        writes: &[(Path, Value)],
        wish: Wish,
        now: Now,
    ) -> Result<(), CommandOutcome> {
        if writes.len() > limits::MAX_WRITES_PER_COMMAND {
            let why = format!(
                "{} values at once, at most {}",
                writes.len(),
                limits::MAX_WRITES_PER_COMMAND
            );
            return Err(CommandOutcome::Unfit(why));
        }
        let encode = |(path, value): &(Path, Value)| self.encode(device, *path, value, wish);
        let writes: Vec<Write> = writes.iter().map(encode).collect::<Result<_, _>>()?;
        let Some(link) = self.devices[device].link.clone() else {
            return Err(CommandOutcome::NotAllowed(
                "the cabinet itself takes no commands".to_owned(),
            ));
        };
        if self.commands.is_full(device) {
            return Err(CommandOutcome::Busy);
        }
        let waits = (now.instant, self.answer_within);
        let downlink = self.commands.open(id, origin, (device, link), writes, waits);
        self.timers.set(Timer::Command(id), self.commands.due(id));
        self.outputs.extend(downlink.map(Output::Downlink));
        Ok(())
    }

    fn encode(&self, device: usize, path: Path, value: &Value, wish: Wish) -> Result<Write, CommandOutcome> {
        let not_allowed = |why| Err(CommandOutcome::NotAllowed(why));
        let Some((key, definition)) = canonical(&self.table, path) else {
            return not_allowed(format!("the object registry does not know {path}"));
        };
        if !allows(definition, wish) {
            return not_allowed(format!("{path} {} is not one to {}", definition.name, verb(wish)));
        }
        if wish == Wish::Write {
            definition.check(value).map_err(CommandOutcome::Unfit)?;
        }
        let profile = &self.devices[device].profile;
        match profile.encode(mapped(&**profile, key), value) {
            Ok(order) => Ok(Write {
                key,
                value: value.clone(),
                frame: order.frame,
                watch: order.verify.and_then(|verify| self.watch(verify)),
            }),
            Err(error @ EncodeError::NotMapped { .. }) => not_allowed(error.to_string()),
            Err(error @ EncodeError::Unfit { .. }) => Err(CommandOutcome::Unfit(error.to_string())),
        }
    }

    /// Turns what a server wrote in its model into the newest one.
    fn canonical_entries(&self, index: usize, entries: Vec<Entry>) -> Result<Vec<(Path, Value)>, String> {
        let shown = &self.accounts[self.endpoints[index].account].shown;
        let canonical_entry = |entry: Entry| {
            let unknown = || format!("{} is no resource", entry.path);
            let ((o, i, r, ri), _) = canonical(&self.table, entry.path).ok_or_else(unknown)?;
            let value = shown.unshow(o, r, entry.value)?;
            Ok((tree::path((o, i, r, ri)), value))
        };
        entries.into_iter().map(canonical_entry).collect()
    }

    /// Returns what is to be seen of a device that has done a command.
    fn watch(&self, verify: Verify) -> Option<Watch> {
        let (key, _) = canonical(&self.table, verify.path)?;
        Some(Watch {
            key,
            expect: verify.expect,
            tolerance: verify.tolerance,
            within: Duration::from_millis(verify.within_ms).min(limits::MAX_WATCH),
        })
    }

    fn is_readable(&self, (key, value): &(Key, Value)) -> bool {
        canonical(&self.table, tree::path(*key)).is_some_and(|(_, definition)| {
            definition.operations.read && definition.value_type == Some(value.value_type())
        })
    }

    /// Makes what a command did readable. Where it is believed and not seen, the next value of the device knows better.
    fn show(&mut self, device: usize, shown: Option<(Key, Value, Quality)>, now: Now) -> News {
        let Some((key, value, quality)) = shown else {
            return News::default();
        };
        let written = (key, value);
        if !self.is_readable(&written) {
            return News::default();
        }
        let device = &mut self.devices[device];
        if quality == Quality::Good {
            device.apply_read_back(None, Some(written), now)
        } else {
            device.apply_written(written.0, written.1, quality, now)
        }
    }

    fn refuse(
        &mut self,
        id: CommandId,
        origin: Origin,
        device: usize,
        writes: Vec<(Path, Value)>,
        outcome: CommandOutcome,
        now: Now,
    ) {
        let response = command::response(&outcome, "");
        self.audit(id, origin, device, writes, 0, outcome);
        self.answer(origin, response, now);
    }

    fn audit(
        &mut self,
        id: CommandId,
        origin: Origin,
        device: usize,
        writes: Vec<(Path, Value)>,
        done: usize,
        outcome: CommandOutcome,
    ) {
        let origin = match origin {
            Origin::Local => CommandOrigin::Local,
            Origin::Server { endpoint, .. } => {
                let index = self
                    .index(endpoint)
                    .expect("an operation comes from an endpoint that there is");
                let account = Arc::clone(&self.accounts[self.endpoints[index].account].config.name);
                CommandOrigin::Server { account }
            }
        };
        let device = Arc::clone(&self.devices[device].id);
        self.event(Event::CommandFinished(CommandRecord {
            id,
            origin,
            device,
            writes,
            done,
            outcome,
        }));
    }

    fn answer(&mut self, origin: Origin, response: Response, now: Now) {
        match origin {
            Origin::Local => {}
            Origin::Server { endpoint, operation } => {
                let index = self
                    .index(endpoint)
                    .expect("an operation comes from an endpoint that there is");
                self.respond(index, operation, response, now);
            }
        }
    }

    fn respond(&mut self, index: usize, operation: OperationId, response: Response, now: Now) {
        self.with_client(index, now, |client, view| {
            client.respond(operation, response, view, now.instant)
        });
        self.pump(index, now);
    }
}

fn allows(definition: &ResourceDefinition, wish: Wish) -> bool {
    match wish {
        Wish::Write => definition.operations.write,
        Wish::Execute => definition.operations.execute,
    }
}

fn verb(wish: Wish) -> &'static str {
    match wish {
        Wish::Write => "write",
        Wish::Execute => "execute",
    }
}

/// Returns the path by which a profile knows a resource: one for all its instances, or one for each.
fn mapped(profile: &dyn Profile, key: Key) -> Path {
    let (o, i, r, _) = key;
    let whole = Path::Resource(o, i, r);
    if profile.commands(whole) {
        whole
    } else {
        tree::path(key)
    }
}
