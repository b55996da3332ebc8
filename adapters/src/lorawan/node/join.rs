//! Joining over the air: everything durable first, then the join-accept.

use std::time::Instant;

use super::{Node, deadline, windows};
use crate::lorawan::air::{Heard, Purpose};
use crate::lorawan::config::{Activation, NetworkConfig};
use crate::lorawan::event::WhyRefused;
use crate::lorawan::keys::{Key, SessionKeys};
use crate::lorawan::limits;
use crate::lorawan::outgoing::Outgoing;
use crate::lorawan::phy_payload::{DevAddr, JoinAccept, JoinRequest};
use crate::lorawan::region;
use crate::lorawan::saver::Item;
use crate::lorawan::session::Session;

/// A join-accept that waits until its session is durable.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::lorawan) struct JoinAnswer {
    heard: Heard,
    received: Instant,
    join_nonce: u32,
    phy: Vec<u8>,
}

impl Node {
    /// Says whether a join-request can be taken.
    pub(in crate::lorawan) fn check_join(&self, request: &JoinRequest) -> Result<Key, WhyRefused> {
        let app_key = match &self.config.activation {
            Activation::Otaa { app_key } => app_key,
            Activation::Abp { .. } => return Err(WhyRefused::NotJoining),
        };
        if !request.is_signed_with(app_key) {
            return Err(WhyRefused::BadMic);
        }
        if self.nonces.used.contains(&request.dev_nonce) {
            return Err(WhyRefused::DevNonceUsed);
        }
        if self.nonces.join_nonce >= limits::JOIN_NONCES {
            return Err(WhyRefused::JoinNoncesSpent);
        }
        Ok(app_key.clone())
    }

    /// Takes a join-request: a new session beside the one in use, which stays until the device uses the new one.
    pub(in crate::lorawan) fn take_join(
        &mut self,
        request: &JoinRequest,
        (app_key, dev_addr): (&Key, DevAddr),
        (heard, received): (&Heard, Instant),
        network: &NetworkConfig,
        out: &mut Outgoing,
    ) {
        let join_nonce = self.nonces.join_nonce;
        self.nonces.join_nonce += 1;
        self.nonces.used.push(request.dev_nonce);
        let surplus = self.nonces.used.len().saturating_sub(limits::DEV_NONCES);
        self.nonces.used.drain(..surplus);
        let rx2_data_rate = self.config.rx2_data_rate();
        let keys = SessionKeys::derive(app_key, join_nonce, network.net_id, request.dev_nonce);
        self.sessions.pending = Some(Session::new(dev_addr, keys, join_nonce, rx2_data_rate));
        let accept = JoinAccept {
            join_nonce,
            net_id: network.net_id,
            dev_addr,
            rx2_data_rate,
            rx1_delay_secs: u8::try_from(region::RX1_DELAY.as_secs()).expect("a second"),
            channels_hz: network.channels_hz.clone(),
        };
        self.join = Some(JoinAnswer {
            heard: heard.clone(),
            received,
            join_nonce,
            phy: accept.encode(app_key),
        });
        out.statistics.joins += 1;
        out.saver.urgent(Item::Nonces(self.dev_eui()));
        out.saver.urgent(Item::Session(self.dev_eui()));
    }

    pub(super) fn advance_join(&mut self, network: &NetworkConfig, out: &mut Outgoing, now: Instant) {
        let Some(join) = &self.join else { return };
        if now > join.last_chance() {
            out.statistics.answers_missed += 1;
            self.join = None;
            return;
        }
        let is_durable = |session: &Session| session.join_nonce == join.join_nonce && session.is_durable;
        if self.durable_join_nonce <= join.join_nonce
            || !self.sessions.pending.as_ref().is_some_and(is_durable)
        {
            return;
        }
        let first_is_open = now <= deadline(join.received, region::JOIN_RX1_DELAY);
        let windows = windows(
            &join.heard,
            region::JOIN_RX1_DELAY,
            region::RX2_DATA_RATE,
            network,
            first_is_open,
        );
        out.transmit(join.phy.clone(), windows, Purpose::Join);
        self.join = None;
    }

    pub(super) fn join_wake(&self) -> Option<Instant> {
        let join = self.join.as_ref()?;
        Some(join.last_chance() + std::time::Duration::from_millis(1))
    }
}

impl JoinAnswer {
    fn last_chance(&self) -> Instant {
        deadline(self.received, region::JOIN_RX1_DELAY + region::RX2_AFTER_RX1)
    }
}
