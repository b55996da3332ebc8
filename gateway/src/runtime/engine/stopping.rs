//! How an engine ends: what is under way is finished, what is to be kept is made durable, and every task ends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::error::TryRecvError;
use ucifi_core::field::Delivery;
use ucifi_core::{EndpointId, EndpointState, EndpointStatus};

use super::super::clock::now;
use super::super::events;
use super::{Engine, SAY_AGAIN};
use crate::config::{Configuration, OnStop};
use crate::limits::{DEREGISTER, SETTLE};
use crate::store::Store;

impl Engine {
    /// Stops: the registrations end if the configuration wants that.
    pub(in super::super) async fn stop(self, store: &mut Store) {
        match self.loaded.configuration.gateway.on_stop {
            OnStop::Keep => self.close(store, |_| false).await,
            OnStop::Deregister => self.close(store, |_| true).await,
        }
    }

    /// Makes room for another configuration: the registrations that it cannot end any more end. What becomes of removed
    /// devices, which may owe readings, is the next core's business.
    pub(in super::super) async fn make_room_for(self, next: &Configuration, store: &mut Store) {
        let servers: BTreeSet<(&str, &str)> = next
            .servers
            .iter()
            .map(|s| (&*s.name, s.uri.text.as_str()))
            .collect();
        let leaves = |endpoint: &EndpointStatus| {
            let is_renamed = next.devices.iter().any(|device| {
                let name = device.endpoint.as_deref();
                device.id == endpoint.device && name.is_some_and(|name| *name != *endpoint.name)
            });
            is_renamed || !servers.contains(&(&*endpoint.account, &*endpoint.server_uri))
        };
        self.close(store, leaves).await;
    }

    /// Ends what is under way, then some registrations, has everything made durable that is not, and ends every task
    /// with its port or socket.
    async fn close(mut self, store: &mut Store, leaves: impl Fn(&EndpointStatus) -> bool) {
        self.takes_commands = false;
        self.finish_commands(store).await;
        self.close_field(store).await;
        self.leave(store, leaves).await;
        self.settle(store).await;
        self.stop_radio(store).await;
        events::log_left_behind(&self.gateway.endpoints());
        self.field.close().await;
        self.servers.tasks.shutdown().await;
    }

    /// Lets nothing more come in, since every reading that still came would have to be made durable too, and takes what
    /// has been told already. Who repeats what is not acknowledged stays until it knows what is.
    async fn close_field(&mut self, store: &mut Store) {
        self.field.tasks.close();
        while !self.field.tasks.have_measured() {
            tokio::select! {
                Some(_) = self.field.tasks.set.join_next() => {}
                Some(input) = self.inputs.recv() => self.handle_input(input),
            }
            self.carry_out(store);
        }
        while let Ok(input) = self.inputs.try_recv() {
            self.handle_input(input);
            self.carry_out(store);
        }
    }

    /// Ends the radio network, whose counters are exact only when it has saved them; what it told until then is kept too.
    async fn stop_radio(&mut self, store: &mut Store) {
        if !self.field.radio.is_configured() {
            return;
        }
        let mut stopped = self.field.radio.stop();
        let end = Instant::now() + SETTLE;
        while matches!(stopped.try_recv(), Err(TryRecvError::Empty)) && Instant::now() < end {
            self.carry_out(store);
            // It tells by itself when it is done: what it had saved before that is one of the things that happen.
            self.wait(store, end.min(Instant::now() + SAY_AGAIN)).await;
        }
        self.settle(store).await;
    }

    /// Waits until the core has nothing left that is to be durable and is not.
    async fn settle(&mut self, store: &mut Store) {
        self.gateway.begin_stop(now());
        let end = Instant::now() + SETTLE;
        loop {
            self.carry_out(store);
            if self.gateway.is_stopped() || Instant::now() >= end {
                return;
            }
            self.wait(store, end).await;
        }
    }

    /// Waits for the commands that are with their devices as long as their senders do, and ends the rest.
    async fn finish_commands(&mut self, store: &mut Store) {
        let patience = Duration::from_millis(self.loaded.configuration.gateway.answer_within_ms);
        let end = Instant::now() + patience;
        while !self.open.is_empty() && Instant::now() < end {
            // What follows from a device's answer belongs to a command that is open, all else to a new one.
            self.takes_commands = self.wait(store, end).await;
            self.carry_out(store);
            self.takes_commands = false;
        }
        for id in std::mem::take(&mut self.open) {
            let why = "the gateway stopped before the device answered".to_owned();
            self.gateway
                .handle_delivery(id, Delivery::Unconfirmed(why), now());
        }
        self.carry_out(store);
    }

    async fn leave(&mut self, store: &mut Store, which: impl Fn(&EndpointStatus) -> bool) {
        let endpoints = self.gateway.endpoints();
        let leaving: Vec<&EndpointStatus> = endpoints.iter().filter(|endpoint| which(endpoint)).collect();
        for endpoint in &leaving {
            self.gateway
                .deregister(Some(&endpoint.account), Some(&endpoint.device), now());
        }
        let leaving: BTreeSet<EndpointId> = leaving.iter().map(|endpoint| endpoint.id).collect();
        let end = Instant::now() + DEREGISTER;
        loop {
            self.carry_out(store);
            let left = self.gateway.endpoints();
            let open = left.iter().filter(|e| leaving.contains(&e.id));
            let waiting = open.filter(|e| e.state != EndpointState::Deregistered).count();
            if waiting == 0 || Instant::now() >= end {
                return;
            }
            self.wait(store, end).await;
        }
    }
}
