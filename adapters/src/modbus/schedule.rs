//! What goes on the line next.

use std::ops::Bound;
use std::time::{Duration, Instant};

use super::client::{Client, Purpose};
use super::late::Shape;
use super::pdu::{ReadRequest, Request};
use super::unit::{ReadPurpose, Unit};

/// A probe gives way to polls for so long: on a line that is always busy a dead unit must still be found again.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

type Choice = (u8, Request, Purpose);

impl Client {
    /// Returns the most urgent request that can go out.
    pub(super) fn pick(&mut self, now: Instant) -> Option<Choice> {
        let command = self.pick_write(now).or_else(|| self.pick_read_back(now));
        if command.is_some() || self.is_clogged() {
            return command;
        }
        self.pick_probe(now, PROBE_PATIENCE)
            .or_else(|| self.pick_poll(now))
            .or_else(|| self.pick_probe(now, Duration::ZERO))
    }

    /// Returns when a command can go on.
    pub(super) fn commands_wake(&self, now: Instant) -> Option<Instant> {
        let stuck = |address: u8| {
            let unit = self.units.get(&address)?;
            let askable = unit.askable_at(now);
            if askable > now {
                Some(askable)
            } else {
                unit.owed.next_forgotten(now)
            }
        };
        let writes = self.commands.writes().filter_map(|c| stuck(c.unit));
        let read_backs = self.commands.read_backs(now).filter_map(|(c, _)| stuck(c.unit));
        writes
            .chain(read_backs)
            .chain(self.commands.wake())
            .filter(|at| *at > now)
            .min()
    }

    fn pick_write(&self, now: Instant) -> Option<Choice> {
        self.commands.writes().find_map(|command| {
            let unit = self
                .units
                .get(&command.unit)
                .filter(|u| u.askable_at(now) <= now)?;
            let request = Request::Write(command.write.clone());
            // An echo of the first attempt answers the second as well: it is the same write.
            if command.is_repeated() || unit.owed.allows_code(request.function_code(), now) {
                return Some((command.unit, request, Purpose::Write(command.id)));
            }
            settle(command.unit, unit, now)
        })
    }

    fn pick_read_back(&self, now: Instant) -> Option<Choice> {
        self.commands.read_backs(now).find_map(|(command, read)| {
            let unit = self
                .units
                .get(&command.unit)
                .filter(|u| u.askable_at(now) <= now)?;
            let request = Request::Read(read);
            if unit.owed.allows(Shape::of(&request), now) {
                return Some((command.unit, request, Purpose::ReadBack(command.id)));
            }
            settle(command.unit, unit, now)
        })
    }

    fn pick_poll(&mut self, now: Instant) -> Option<Choice> {
        let after = self
            .units
            .range((Bound::Excluded(self.last_served), Bound::Unbounded));
        let up_to = self.units.range(..=self.last_served);
        let (address, (read, purpose)) = after
            .chain(up_to)
            .filter(|(_, unit)| unit.askable_at(now) <= now)
            .find_map(|(address, unit)| {
                let costs = self.line.costs(unit.statistics.turnaround, unit.min_gap());
                Some((*address, unit.next_read(costs, now)?))
            })?;
        self.last_served = address;
        Some((address, Request::Read(read), Purpose::Read(purpose)))
    }

    fn pick_probe(&self, now: Instant, patience: Duration) -> Option<Choice> {
        let due = |unit: &Unit| {
            unit.probe_at()
                .filter(|at| *at + patience <= now && unit.askable_at(now) <= now)
        };
        let waiting = self
            .units
            .iter()
            .filter_map(|(address, unit)| Some((due(unit)?, *address, unit)));
        let (_, address, unit) = waiting.min_by_key(|(at, address, _)| (*at, *address))?;
        Some((
            address,
            Request::Read(unit.probe()),
            Purpose::Read(ReadPurpose::Probe),
        ))
    }
}

fn settle(address: u8, unit: &Unit, now: Instant) -> Option<Choice> {
    let read: ReadRequest = unit.settling(now)?;
    Some((address, Request::Read(read), Purpose::Read(ReadPurpose::Settle)))
}
