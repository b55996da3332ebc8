//! What a device goes on from after a restart.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::Rng;
use ucifi_core::field::DevEui;

use super::NetworkServer;
use crate::lorawan::config::{Activation, NodeConfig};
use crate::lorawan::event::Event;
use crate::lorawan::limits;
use crate::lorawan::node::Node;
use crate::lorawan::record::{self, Damage, Nonces, Sessions};
use crate::lorawan::saver::Item;
use crate::lorawan::session::Session;

/// Where JoinNonces begin when it is not known which were used: above what a device gets in its life.
const UNKNOWN_JOIN_NONCE: std::ops::Range<u32> = 1 << 20..1 << 22;

const REJOIN: &str = "the device has to join again: switch it off and on";
const REACTIVATE: &str = "its counters are unknown and it cannot join: give it a new address and new keys";

impl NetworkServer {
    pub(super) fn restore(
        &mut self,
        config: NodeConfig,
        saved: &BTreeMap<String, Vec<u8>>,
        may_be_old: bool,
        now: Instant,
    ) {
        let dev_eui = config.dev_eui;
        let is_clean = saved.contains_key(record::STOPPED) && !may_be_old;
        let mut node = Node::new(config, now);
        let join_nonce = self.restored_nonces(dev_eui, saved, may_be_old);
        node.restore_nonces(join_nonce);
        self.restore_sessions(&mut node, saved);
        let sessions = node.sessions.active.iter_mut().chain(&mut node.sessions.pending);
        sessions.for_each(|session| session.restart(is_clean, may_be_old));
        self.restore_queue(&mut node, saved, now);
        for address in node.addresses() {
            self.addresses.entry(address).or_default().insert(dev_eui);
        }
        if may_be_old {
            self.out.saver.urgent(Item::Nonces(dev_eui));
            self.out.saver.urgent(Item::Session(dev_eui));
        }
        self.nodes.insert(dev_eui, node);
        self.advance(dev_eui, now);
    }

    fn restored_nonces(
        &mut self,
        dev_eui: DevEui,
        saved: &BTreeMap<String, Vec<u8>>,
        may_be_old: bool,
    ) -> Nonces {
        let name = record::nonces_name(dev_eui);
        let mut nonces = match read(saved, &name, Nonces::decode) {
            Ok(nonces) => nonces.unwrap_or(Nonces {
                join_nonce: 1,
                used: Vec::new(),
            }),
            Err(Damage) => {
                self.damaged(name, "its joins are numbered from far ahead: nothing to do");
                let join_nonce = self.random.random_range(UNKNOWN_JOIN_NONCE);
                let used = Vec::new();
                Nonces { join_nonce, used }
            }
        };
        let jump = if may_be_old { limits::OLD_COPY_JUMP } else { 0 };
        nonces.join_nonce = (nonces.join_nonce + jump).min(limits::JOIN_NONCES);
        nonces
    }

    fn restore_sessions(&mut self, node: &mut Node, saved: &BTreeMap<String, Vec<u8>>) {
        let name = record::session_name(node.dev_eui());
        match read(saved, &name, Sessions::decode) {
            Ok(sessions) => node.sessions = sessions.unwrap_or_default(),
            Err(Damage) => {
                let joins = matches!(node.config.activation, Activation::Otaa { .. });
                self.damaged(name, if joins { REJOIN } else { REACTIVATE });
                return;
            }
        }
        // A session from the factory is kept with its counters only as long as it is the same.
        if let Some(factory) = node.factory_session() {
            let is_same = |kept: &Session| kept.dev_addr == factory.dev_addr && kept.keys == factory.keys;
            let kept = node.sessions.active.take().filter(is_same);
            node.sessions.active = Some(kept.unwrap_or(factory));
            node.sessions.pending = None;
        }
    }

    fn restore_queue(&mut self, node: &mut Node, saved: &BTreeMap<String, Vec<u8>>, now: Instant) {
        let name = record::queue_name(node.dev_eui());
        match read(saved, &name, record::decode_queue) {
            Ok(commands) => node.queue.restore(commands.unwrap_or_default(), now),
            Err(Damage) => self.damaged(name, "its commands are lost: give them again"),
        }
    }

    fn damaged(&mut self, name: String, advice: &'static str) {
        self.out.push(Event::Damaged { name, advice });
    }
}

impl Session {
    /// Goes on in a new run: with the next block of downlink counters, and with doubts after a crash.
    fn restart(&mut self, is_clean: bool, may_be_old: bool) {
        if may_be_old {
            self.reserved = self.reserved.saturating_add(limits::OLD_COPY_JUMP);
        }
        self.f_cnt_down = self.reserved;
        if self.is_durable && !is_clean {
            let window_end = self.committed.saturating_add(limits::F_CNT_UP_WINDOW);
            self.suspect_until = self.suspect_until.max(window_end);
        }
    }
}

fn read<T>(
    saved: &BTreeMap<String, Vec<u8>>,
    name: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, Damage>,
) -> Result<Option<T>, Damage> {
    saved.get(name).map(|bytes| decode(bytes)).transpose()
}
