//! What may happen in a run, how it happens, and how it is over.

use std::ops::Range;
use std::time::Duration;

use rand::Rng;
use ucifi_sim::cabinet::{Down, Moment};
use ucifi_sim::disk::{Faults, PowerCut};
use ucifi_sim::radio;
use ucifi_sim::server::{Code, Manners};

use super::devices::NODES;
use super::{Run, SECOND, log_uniform};

/// What is to happen next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    PowerCut,
    CutBetweenOutputs,
    CutInChange,
    Kill,
    Stop,
    LoseState,
    Store(StoreTrouble),
    Server(ServerTrouble),
    Field(FieldTrouble),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StoreTrouble {
    DiskFails,
    DiskFull,
    SavesFail,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ServerTrouble {
    RefusesSends,
    CallsSendBad,
    RefusesRegisters,
    Forgets,
    IsSilent,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FieldTrouble {
    BrokerIsAway,
    ForwardersAreAway,
    AirIsBad,
    JoinsAreReplayed,
    DeviceIsTold,
}

const TROUBLES: [(Trouble, u32); 19] = [
    (Trouble::PowerCut, 6),
    (Trouble::CutBetweenOutputs, 6),
    (Trouble::CutInChange, 8),
    (Trouble::Kill, 3),
    (Trouble::Stop, 3),
    (Trouble::LoseState, 2),
    (Trouble::Store(StoreTrouble::DiskFails), 3),
    (Trouble::Store(StoreTrouble::DiskFull), 2),
    (Trouble::Store(StoreTrouble::SavesFail), 2),
    (Trouble::Server(ServerTrouble::RefusesSends), 3),
    (Trouble::Server(ServerTrouble::CallsSendBad), 2),
    (Trouble::Server(ServerTrouble::RefusesRegisters), 1),
    (Trouble::Server(ServerTrouble::Forgets), 2),
    (Trouble::Server(ServerTrouble::IsSilent), 2),
    (Trouble::Field(FieldTrouble::BrokerIsAway), 4),
    (Trouble::Field(FieldTrouble::ForwardersAreAway), 2),
    (Trouble::Field(FieldTrouble::AirIsBad), 2),
    (Trouble::Field(FieldTrouble::JoinsAreReplayed), 2),
    (Trouble::Field(FieldTrouble::DeviceIsTold), 5),
];

/// What is to be over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Heal {
    Power,
    Clock,
    Disk,
    State,
    Sends,
    Registers,
    Silence,
    Broker,
    Radio,
}

impl Run {
    pub(super) fn next_heal(&self, before: Duration) -> Option<usize> {
        let due = self.heals.iter().enumerate().filter(|(_, (at, _))| *at <= before);
        due.min_by_key(|(_, (at, _))| *at).map(|(place, _)| place)
    }

    fn heal_later(&mut self, heal: Heal, secs: Range<u64>) {
        let ms = log_uniform(&mut self.randomness, secs.start * 1000 + 1, secs.end * 1000);
        self.heals
            .push((self.cabinet.elapsed() + Duration::from_millis(ms), heal));
    }

    pub(super) fn trouble(&mut self) {
        if self.randomness.random_bool(0.3) {
            self.copy_state();
        }
        let possible: Vec<_> = TROUBLES
            .iter()
            .filter(|(trouble, _)| self.can_happen(*trouble))
            .collect();
        let total: u32 = possible.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.randomness.random_range(0..total);
        let chosen = possible.iter().find(|(_, weight)| {
            let is_chosen = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_chosen
        });
        let (trouble, _) = chosen.expect("the draw is below the total");
        self.troubles.push((self.cabinet.elapsed(), *trouble));
        self.happen(*trouble);
    }

    /// What nobody has cannot break; what a device has used of its nonces may be forgotten with the state.
    fn can_happen(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Field(FieldTrouble::BrokerIsAway) => self.cabinet.broker().is_some(),
            Trouble::Field(FieldTrouble::ForwardersAreAway | FieldTrouble::AirIsBad) => {
                self.cabinet.field().is_some()
            }
            Trouble::Field(FieldTrouble::JoinsAreReplayed) => {
                self.cabinet.field().is_some() && !self.has_lost_state
            }
            Trouble::Field(FieldTrouble::DeviceIsTold) => {
                self.cabinet.field().is_some() && self.cabinet.is_on()
            }
            Trouble::PowerCut
            | Trouble::CutBetweenOutputs
            | Trouble::CutInChange
            | Trouble::Kill
            | Trouble::Stop
            | Trouble::LoseState
            | Trouble::Store(_)
            | Trouble::Server(_) => true,
        }
    }

    fn happen(&mut self, trouble: Trouble) {
        let cut = PowerCut::ALL[self.randomness.random_range(0..PowerCut::ALL.len())];
        let cut = Down::PowerCut(cut);
        match trouble {
            Trouble::PowerCut => self.goes_down(cut),
            Trouble::Kill => self.goes_down(Down::Kill),
            Trouble::CutBetweenOutputs => {
                let outputs = self.randomness.random_range(0..40);
                self.cabinet.plan_down(Moment::AfterOutputs(outputs), cut);
            }
            Trouble::CutInChange => {
                let changes = self.randomness.random_range(0..8);
                self.cabinet.plan_down(Moment::AfterChanges(changes), cut);
            }
            Trouble::Stop => {
                if self.cabinet.is_on() {
                    self.cabinet.stop(SECOND * 30);
                    self.comes_up();
                }
            }
            Trouble::LoseState => self.loses_state(cut),
            Trouble::Store(trouble) => self.stores_badly(trouble),
            Trouble::Server(trouble) => self.is_served_badly(trouble),
            Trouble::Field(trouble) => self.hears_badly(trouble),
        }
    }

    fn hears_badly(&mut self, trouble: FieldTrouble) {
        let conditions = match trouble {
            FieldTrouble::BrokerIsAway => {
                self.cabinet.set_broker_reachable(false);
                return self.heal_later(Heal::Broker, 1..100);
            }
            FieldTrouble::JoinsAreReplayed => {
                self.replayed_joins += self.cabinet.replay_joins();
                return;
            }
            FieldTrouble::DeviceIsTold => {
                let device = NODES[self.randomness.random_range(0..NODES.len())];
                // It may be refused: nothing is owed then.
                drop(self.cabinet.order(device));
                return;
            }
            FieldTrouble::ForwardersAreAway => radio::Conditions {
                datagram_loss: 1.0,
                ..radio::Conditions::default()
            },
            FieldTrouble::AirIsBad => radio::Conditions {
                uplink_loss: 0.3,
                downlink_loss: 0.3,
                datagram_loss: 0.05,
            },
        };
        self.change_air(conditions);
        self.heal_later(Heal::Radio, 10..100);
    }

    fn change_air(&mut self, conditions: radio::Conditions) {
        if let Some(field) = self.cabinet.field_mut() {
            field.conditions = conditions;
        }
    }

    /// The store of the state cannot be opened again; its copy is some time old.
    fn loses_state(&mut self, down: Down) {
        // Message ids jump half their circle ahead: a second loss within minutes would bring them back.
        if self.has_copy && !std::mem::replace(&mut self.has_lost_state, true) {
            self.goes_down(down);
            if let Some(state) = self.cabinet.state_mut() {
                state.rebuild_from_copy();
            }
            self.cabinet.rejoin_forgotten();
        }
    }

    /// A copy is made now and then, of a store that works.
    fn copy_state(&mut self) {
        let is_well = self.cabinet.is_on() && self.heals.iter().all(|(_, heal)| *heal != Heal::State);
        if let Some(state) = self.cabinet.state_mut().filter(|_| is_well) {
            state.take_copy();
            self.has_copy = true;
        }
    }

    fn stores_badly(&mut self, trouble: StoreTrouble) {
        match trouble {
            StoreTrouble::DiskFull => {
                let used = self.cabinet.disk().map_or(0, |disk| disk.used());
                self.cabinet.set_disk(Faults::default(), used);
                self.heal_later(Heal::Disk, 10..200);
            }
            StoreTrouble::SavesFail => {
                if let Some(state) = self.cabinet.state_mut() {
                    state.set_failing(0.9);
                }
                self.saves_failed.push(self.cabinet.elapsed()..Duration::MAX);
                self.heal_later(Heal::State, 1..100);
            }
            StoreTrouble::DiskFails => {
                let mut share = || [0.0, 0.0, 0.3, 1.0][self.randomness.random_range(0..4)];
                let faults = Faults {
                    writes: share(),
                    syncs: share(),
                    reads: share(),
                    names: share(),
                };
                self.cabinet.set_disk(faults, self.capacity);
                self.heal_later(Heal::Disk, 1..60);
            }
        }
    }

    fn is_served_badly(&mut self, trouble: ServerTrouble) {
        let count = self.cabinet.servers_mut().count();
        let chosen = self.randomness.random_range(0..count);
        let mut servers = self.cabinet.servers_mut();
        let server = servers.nth(chosen).expect("one of the servers");
        match trouble {
            ServerTrouble::RefusesSends => {
                server.manners_mut().refuse_send = Some(Code::SERVICE_UNAVAILABLE);
                drop(servers);
                self.heal_later(Heal::Sends, 1..60);
            }
            ServerTrouble::CallsSendBad => {
                // Called bad twice in a row it would be bad: once a run is once in a row.
                if !std::mem::replace(&mut self.has_called_bad, true) {
                    let next = &mut server.manners_mut().refuse_next_sends;
                    next.push_back(Code::BAD_REQUEST);
                }
            }
            ServerTrouble::RefusesRegisters => {
                server.manners_mut().refuse_register = Some(Code::FORBIDDEN);
                drop(servers);
                self.heal_later(Heal::Registers, 10..100);
            }
            ServerTrouble::Forgets => {
                let clients = server.clients();
                if let Some(client) = clients.get(self.randomness.random_range(0..=clients.len())) {
                    server.forget(&client.endpoint);
                }
            }
            ServerTrouble::IsSilent => {
                server.manners_mut().silent = true;
                drop(servers);
                self.heal_later(Heal::Silence, 1..100);
            }
        }
    }

    fn goes_down(&mut self, down: Down) {
        self.cabinet.go_down(down);
        self.heal_later(Heal::Power, 0..60);
    }

    /// Starts the gateway; its clock may have to be set again.
    pub(super) fn comes_up(&mut self) {
        if self.cabinet.is_on() {
            return;
        }
        if self.randomness.random_bool(0.3) {
            self.cabinet.clock_mut().unset_wall();
            self.heal_later(Heal::Clock, 1..120);
        }
        // What a disk that cannot be read holds is known at the start after the next.
        let faults = self.cabinet.disk().map(|disk| disk.faults()).unwrap_or_default();
        if faults.reads > 0.0 {
            let faults = Faults { reads: 0.0, ..faults };
            self.cabinet.set_disk(faults, self.capacity);
        }
        if let Err(reason) = self.cabinet.power_on() {
            let faults = self.cabinet.disk().map(|disk| disk.faults());
            if faults == Some(Faults::default()) {
                let at = self.cabinet.elapsed();
                self.failed_starts
                    .push(format!("at {at:?} the gateway did not start: {reason}"));
            }
            self.heal_later(Heal::Power, 1..5);
        }
    }

    /// Changes how every server behaves.
    fn change_manners(&mut self, change: impl Fn(&mut Manners)) {
        let servers = self.cabinet.servers_mut();
        servers.for_each(|server| change(server.manners_mut()));
    }

    pub(super) fn heal(&mut self, heal: Heal) {
        match heal {
            Heal::Power => self.comes_up(),
            Heal::Clock => {
                let wall = self.cabinet.true_wall();
                self.cabinet.clock_mut().set_wall(wall);
            }
            Heal::Disk => self.cabinet.set_disk(Faults::default(), self.capacity),
            Heal::State => {
                let now = self.cabinet.elapsed();
                if let Some(times) = self.saves_failed.last_mut() {
                    times.end = now;
                }
                if let Some(state) = self.cabinet.state_mut() {
                    state.set_failing(0.0);
                }
            }
            Heal::Sends => self.change_manners(|manners| manners.refuse_send = None),
            Heal::Registers => self.change_manners(|manners| manners.refuse_register = None),
            Heal::Silence => self.change_manners(|manners| manners.silent = false),
            Heal::Broker => self.cabinet.set_broker_reachable(true),
            Heal::Radio => self.change_air(radio::Conditions::default()),
        }
    }
}
