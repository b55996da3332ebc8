//! The switch: the gateway goes down at any moment, and comes up again with what it kept.

use std::collections::BTreeSet;
use std::time::Duration;

use ucifi_core::Gateway;
use ucifi_core::buffer::Contents;
use ucifi_core::state::{Kept, Saved};

use super::{Cabinet, Process, plan, radio};
use crate::disk::{Faults, PowerCut};

/// From the reading to the commit the gateway may wait this much longer than it says: its timers go by milliseconds.
const SLACK: Duration = Duration::from_millis(50);

/// How the gateway goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// The power goes.
    PowerCut(PowerCut),
    /// The process is killed: what it wrote stays, synced or not.
    Kill,
}

/// When the gateway goes down without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After so many outputs of it were carried out, often between two that belong together.
    AfterOutputs(u32),
    /// In the middle of a change on the disk, after so many.
    AfterChanges(u64),
}

impl Cabinet {
    /// Says whether the gateway is on.
    pub const fn is_on(&self) -> bool {
        self.process.is_some()
    }

    /// Returns how often the gateway was started.
    pub const fn starts(&self) -> u32 {
        self.starts
    }

    /// Lets the gateway go down at once; everything else goes on.
    pub fn go_down(&mut self, down: Down) {
        let Some(process) = self.process.take() else {
            return;
        };
        let network = process.network.iter();
        self.past_radio
            .extend(network.map(|network| network.server.statistics().clone()));
        self.lose_messages();
        self.orders.go_down();
        self.planned = None;
        let at = self.clock.elapsed();
        if let Some(store) = &mut self.store {
            let cut = match down {
                Down::PowerCut(cut) => Some(cut),
                Down::Kill => None,
            };
            store.go_down(cut, &mut self.ledger);
            let young = self.plan.longest_in_memory() + store.latency() * 4 + SLACK;
            self.ledger.go_down(at, young);
        }
        self.downs.push((at, down));
        self.trace.note(at, "power", format!("{down:?}").as_bytes());
    }

    /// Lets the gateway go down by itself at a moment to come.
    pub fn plan_down(&mut self, moment: Moment, down: Down) {
        if let (Moment::AfterChanges(changes), Some(store)) = (moment, &self.store) {
            store.disk.fail_power_in(changes);
        }
        self.planned = Some((moment, down));
    }

    /// Lets the disk of the buffer fail from now on, and gives it so much space.
    ///
    /// # Panics
    /// When the cabinet has no disk.
    pub fn set_disk(&mut self, faults: Faults, capacity: u64) {
        let store = self.store.as_mut().expect("the plan has a store");
        store.disk.set_faults(faults);
        store.disk.set_capacity(capacity);
        let is_well = faults == Faults::default() && capacity >= store.capacity();
        self.ledger.disk_is_well(is_well, self.clock.elapsed());
    }

    /// Starts the gateway again with what it kept; without a store it begins anew.
    ///
    /// # Errors
    /// When it does not start: then it stays off.
    pub fn power_on(&mut self) -> Result<(), String> {
        let kept = match &mut self.store {
            None => None,
            Some(store) => Some(store.open()?),
        };
        if let Some((_, contents)) = &kept {
            self.ledger.open(contents);
        }
        self.start(kept)
    }

    /// Stops the gateway as SIGTERM does: it says what is to be kept, and ends when that is done. Says whether it ended
    /// in time.
    pub fn stop(&mut self, within: Duration) -> bool {
        let now = self.clock.now();
        if let Some(process) = &mut self.process {
            process.is_stopping = true;
            process.gateway.begin_stop(now);
        }
        self.settle();
        let mut ended = self.run_until(within, |cabinet| {
            cabinet.has(|process| process.gateway.is_stopped())
        });
        let now = self.clock.now();
        if let Some(network) = self.process.as_mut().and_then(|process| process.network.as_mut()) {
            network.server.handle_stop(now.instant);
            self.settle();
            ended &= self.run_until(within, |cabinet| cabinet.has(Process::has_stopped));
        }
        ended &= self.is_on();
        self.go_down(Down::Kill);
        ended
    }

    /// Says whether something holds of the gateway, or it is off.
    fn has(&self, holds: impl Fn(&Process) -> bool) -> bool {
        self.process.as_ref().is_none_or(holds)
    }

    /// Counts an output that was carried out; says whether the gateway went down after it.
    pub(super) fn goes_down_after_output(&mut self) -> bool {
        let Some((Moment::AfterOutputs(left), down)) = &mut self.planned else {
            return false;
        };
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return false;
        }
        let down = *down;
        self.go_down(down);
        true
    }

    /// The power went in the middle of a change on the disk.
    pub(super) fn power_is_gone(&mut self) {
        let down = self.planned.map_or(Down::Kill, |(_, down)| down);
        self.go_down(down);
    }

    /// Starts the gateway with what it kept.
    pub(super) fn start(&mut self, kept: Option<(Saved, Contents)>) -> Result<(), String> {
        self.starts += 1;
        let now = self.clock.now();
        let (config, table, seed) = self.plan.gateway(self.starts);
        let (network, gateway) = match kept {
            None => {
                let network = self
                    .plan
                    .radio_network(&Saved::default(), self.starts, now.instant);
                (network, Gateway::new(config, table, seed, now))
            }
            Some((mut saved, contents)) => {
                let of_radio = of_radio(&mut saved);
                let network = self.plan.radio_network(&of_radio, self.starts, now.instant);
                let kept = Kept { saved, contents };
                (network, Gateway::restore(config, table, kept, seed, now))
            }
        };
        let gateway = gateway.map_err(|error| error.to_string())?;
        let mut bus = self.plan.bus_client(self.starts, now.instant);
        bus.handle_connected(now.instant);
        let endpoints = gateway.endpoints();
        let routes = endpoints
            .iter()
            .map(|endpoint| plan::address_in(&endpoint.server_uri));
        self.process = Some(Process {
            routes: routes.collect(),
            messages: self.plan.message_client(self.starts, now.instant),
            network,
            current: BTreeSet::new(),
            is_stopping: false,
            gateway,
            bus,
        });
        self.settle();
        Ok(())
    }
}

impl Process {
    /// Says whether everything is saved after a stop.
    fn has_stopped(&self) -> bool {
        let network = self.network.as_ref();
        self.gateway.is_stopped() && network.is_none_or(|network| network.server.is_stopped())
    }
}

/// Takes what the radio network has saved out of what was saved.
fn of_radio(saved: &mut Saved) -> Saved {
    let all = std::mem::take(&mut saved.values);
    let (own, others) = all
        .into_iter()
        .partition(|(name, _)| name.starts_with(radio::PREFIX));
    saved.values = others;
    Saved {
        values: own,
        may_be_old: saved.may_be_old,
    }
}
