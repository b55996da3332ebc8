//! A session: an address, two keys, two counters.
//!
//! Downlink counters are taken from a block that is durable before the first of it is used; a restart begins the next
//! block. Uplink counters are made durable in groups: what may have been taken without that is known by its distance.

use super::air::ForwarderId;
use super::f_cnt;
use super::keys::SessionKeys;
use super::limits;
use super::phy_payload::{DataUplink, DevAddr};
use super::region::DataRate;

/// A session of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) dev_addr: DevAddr,
    pub(super) keys: SessionKeys,
    /// The JoinNonce that it came from; 0 with a session from the factory.
    pub(super) join_nonce: u32,
    /// What the device uses for its second receive window.
    pub(super) rx2_data_rate: DataRate,
    /// The lowest counter that the next uplink can have.
    pub(super) f_cnt_up: u32,
    /// Uplinks below it may have been taken before a crash.
    pub(super) suspect_until: u32,
    /// The next downlink counter.
    pub(super) f_cnt_down: u32,
    /// Durable: downlink counters below it may be used.
    pub(super) reserved: u32,
    /// Durable: what `f_cnt_up` is after a crash.
    pub(super) committed: u32,
    /// Who heard it best last.
    pub(super) forwarder: Option<ForwarderId>,
    /// Whether it is on disk at all.
    pub(super) is_durable: bool,
}

/// Whose counter a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// A new one.
    Ahead(u32),
    /// A new one that is too far ahead.
    Gap,
    /// That of the last frame.
    Repeat(u32),
    /// That of an older frame.
    Past,
}

impl Session {
    /// Begins a session.
    pub(super) fn new(
        dev_addr: DevAddr,
        keys: SessionKeys,
        join_nonce: u32,
        rx2_data_rate: DataRate,
    ) -> Self {
        Self {
            dev_addr,
            keys,
            join_nonce,
            rx2_data_rate,
            f_cnt_up: 0,
            suspect_until: 0,
            f_cnt_down: 0,
            reserved: 0,
            committed: 0,
            forwarder: None,
            is_durable: false,
        }
    }

    /// Says whether a frame belongs to this session, and how its counter stands.
    pub(super) fn count(&self, data: &DataUplink) -> Option<Counted> {
        if data.dev_addr != self.dev_addr {
            return None;
        }
        let is_signed = |f_cnt: &u32| data.is_signed_with(&self.keys.nwk_s_key, *f_cnt);
        if let Some(f_cnt) = f_cnt::reconstruct(self.f_cnt_up, data.f_cnt_low).filter(is_signed) {
            let is_near = f_cnt - self.f_cnt_up < limits::F_CNT_GAP && f_cnt < u32::MAX;
            return Some(if is_near {
                Counted::Ahead(f_cnt)
            } else {
                Counted::Gap
            });
        }
        let f_cnt = f_cnt::reconstruct_past(self.f_cnt_up, data.f_cnt_low).filter(is_signed)?;
        Some(if f_cnt + 1 == self.f_cnt_up {
            Counted::Repeat(f_cnt)
        } else {
            Counted::Past
        })
    }

    /// Takes a downlink counter for use; none while no block is durable.
    pub(super) fn take_f_cnt_down(&mut self) -> Option<u32> {
        let f_cnt = self.f_cnt_down;
        (f_cnt < self.reserved).then(|| {
            self.f_cnt_down += 1;
            f_cnt
        })
    }

    /// Says whether a downlink can go out without a save.
    pub(super) fn has_f_cnt_down(&self) -> bool {
        self.f_cnt_down < self.reserved
    }

    /// Says whether there is no counter left that could be reserved.
    pub(super) fn is_spent(&self) -> bool {
        self.next_reserved() <= self.f_cnt_down
    }

    /// Says whether the next block should be made durable.
    pub(super) fn wants_block(&self) -> bool {
        self.reserved.saturating_sub(self.f_cnt_down) <= limits::F_CNT_DOWN_BLOCK / 2
    }

    /// Returns up to where downlink counters are reserved when it is saved.
    pub(super) fn next_reserved(&self) -> u32 {
        self.reserved
            .max(self.f_cnt_down.saturating_add(limits::F_CNT_DOWN_BLOCK))
    }

    /// Takes note that it was saved so.
    pub(super) fn handle_saved(&mut self, saved: &SavedCounters) {
        if saved.session == self.name() {
            self.is_durable = true;
            self.reserved = self.reserved.max(saved.reserved);
            self.committed = self.committed.max(saved.committed);
        }
    }

    /// Tells this session from others of the same device.
    pub(super) fn name(&self) -> (DevAddr, u32) {
        (self.dev_addr, self.join_nonce)
    }
}

/// What of a session a save makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SavedCounters {
    pub(super) session: (DevAddr, u32),
    pub(super) reserved: u32,
    pub(super) committed: u32,
}
