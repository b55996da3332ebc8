//! Commands on their way to a device: one at a time.
//!
//! ```text
//! Waiting ──► Handed ──┬ unconfirmed ──────────────► Sent
//!    ▲          │      └ confirmed ► Unacknowledged ─► Confirmed
//!    └──────────┴──────────────────────┘ tried again, a few times, then Unconfirmed
//! ```
//!
//! A device of class A is told in the windows after its uplinks, so its commands are durable. One of class C is told
//! at once; its commands are made durable when airtime or a forwarder makes them wait, or when they take long for whatever
//! other reason: those before them, the device's acknowledgement.

use std::time::{Duration, Instant};

use lwm2m_client::Path;
use ucifi_core::field::{Delivery, DownlinkId, LoRaWanCommand, Refusal};

use super::Node;
use super::answer::too_long_for;
use super::window;
use crate::lorawan::air::{ForwarderId, Purpose, Sent, TransmissionId, When, Window};
use crate::lorawan::config::NetworkConfig;
use crate::lorawan::limits;
use crate::lorawan::outgoing::Outgoing;
use crate::lorawan::phy_payload::DataDownlink;
use crate::lorawan::queue::{Entry, Stage};
use crate::lorawan::region;
use crate::lorawan::saver::Item;
use crate::lorawan::session::Session;

/// Seconds after which a command may be tried again that could not even be kept.
const KEEP_RETRY_SECS: u32 = 5;

impl Node {
    /// Takes a command, or says why not.
    pub(in crate::lorawan) fn take_command(
        &mut self,
        id: DownlinkId,
        path: Path,
        command: LoRaWanCommand,
        out: &mut Outgoing,
        now: Instant,
    ) {
        let keep = !self.is_always_listening();
        let later = Delivery::Unreachable {
            retry_after_secs: self.config.traits.uplink_every_secs,
        };
        if !keep && self.forwarder().is_none() {
            out.end([(Some(id), later)]);
            return;
        }
        match self.queue.push(Some(id), path, command, keep, now) {
            Err(_) => out.end([(Some(id), later)]),
            Ok(superseded) => {
                let touches_disk = keep || superseded.as_ref().is_some_and(|entry| entry.keep);
                out.end(superseded.map(|entry| (entry.id, Delivery::Superseded)));
                self.mark_queue(touches_disk, out);
            }
        }
    }

    /// Takes note of what became of a transmission that carried a command.
    pub(in crate::lorawan) fn handle_sent(
        &mut self,
        id: TransmissionId,
        sent: &Sent,
        out: &mut Outgoing,
        now: Instant,
    ) {
        let is_handed = |head: &Entry| matches!(head.stage, Stage::Handed(handed, _) if handed == id);
        if !self.queue.head().is_some_and(is_handed) {
            return;
        }
        if *sent == Sent::OnAir && self.is_always_listening() {
            let rested = now + Duration::from_millis(limits::COMMAND_SPACING_MS);
            self.busy_until = self.busy_until.max(Some(rested));
        }
        let Some(head) = self.queue.head_mut() else { return };
        match sent {
            Sent::OnAir if head.command.confirmed => head.stage = Stage::Unacknowledged(now),
            Sent::OnAir => self.end_head(Delivery::Sent, out),
            Sent::Refused(error, text) if self.is_always_listening() && error.is_lasting() => {
                let text = format!("the forwarder refuses it: {text}");
                self.end_head(Delivery::Refused(Refusal { code: 0, text }), out);
            }
            Sent::Refused(_, text) => self.retry_head(&format!("the forwarder refused it: {text}"), out, now),
            Sent::NoAnswer => self.retry_head("the forwarder did not say whether it was sent", out, now),
            Sent::NoForwarder => self.retry_head("no forwarder is connected that hears the device", out, now),
            Sent::NoAirtime { retry_after } => self.wait_for_airtime(*retry_after, out, now),
        }
    }

    /// Takes note that a save failed: what could not be kept is given back.
    pub(in crate::lorawan) fn handle_queue_unsaved(&mut self, out: &mut Outgoing) {
        let unreachable = |entry: Entry| {
            let retry_after_secs = KEEP_RETRY_SECS;
            (entry.id, Delivery::Unreachable { retry_after_secs })
        };
        if !self.is_always_listening() {
            out.end(self.queue.take_volatile().into_iter().map(unreachable));
        }
    }

    pub(super) fn advance_queue(&mut self, network: &NetworkConfig, out: &mut Outgoing, now: Instant) {
        let expired = self.queue.take_expired(now);
        self.mark_queue(expired.iter().any(|entry| entry.keep), out);
        out.end(expired.into_iter().map(|entry| (entry.id, Delivery::Expired)));
        if self.is_always_listening() && self.queue.keep_waiting(now) {
            self.mark_queue(true, out);
        }
        match self.queue.head().map(|entry| entry.stage) {
            Some(Stage::Handed(id, until)) if until <= now => {
                out.flights.remove(&id);
                self.retry_head("nothing is known of its transmission", out, now);
            }
            Some(Stage::Unacknowledged(since)) if self.is_always_listening() && since + ack_wait() <= now => {
                self.retry_head("the device did not acknowledge it", out, now);
            }
            Some(Stage::Waiting | Stage::Handed(..) | Stage::Unacknowledged(_)) | None => {}
        }
        if self.command_at().is_some_and(|at| at <= now) {
            self.send_command(network, out, now);
        }
    }

    pub(super) fn queue_wake(&self) -> Option<Instant> {
        let staged = match self.queue.head()?.stage {
            Stage::Waiting => self.command_at(),
            Stage::Handed(_, until) => Some(until),
            Stage::Unacknowledged(since) => self.is_always_listening().then(|| since + ack_wait()),
        };
        let kept = self.queue.next_keep().filter(|_| self.is_always_listening());
        staged
            .into_iter()
            .chain(kept)
            .chain(self.queue.next_expiry())
            .min()
    }

    /// Takes note whether an uplink acknowledges.
    pub(super) fn take_ack(&mut self, ack: bool, out: &mut Outgoing) {
        let Some(head) = self.queue.head_mut() else { return };
        let Stage::Unacknowledged(since) = head.stage else {
            return;
        };
        if ack {
            self.end_head(Delivery::Confirmed(None), out);
        } else if !self.is_always_listening() {
            self.retry_head("the device did not acknowledge it", out, since);
        }
    }

    pub(super) fn hand_over_head(&mut self, id: TransmissionId, out: &mut Outgoing, now: Instant) {
        if let Some(head) = self.queue.head_mut() {
            head.stage = Stage::Handed(id, now + Duration::from_secs(limits::SENT_WAIT_SECS));
            out.flights.insert(id, self.config.dev_eui);
        }
    }

    pub(super) fn end_head(&mut self, delivery: Delivery, out: &mut Outgoing) {
        if let Some(entry) = self.queue.pop() {
            self.mark_queue(entry.keep, out);
            out.end([(entry.id, delivery)]);
        }
    }

    /// Returns when a device that always listens can be told the next command; none while something else must happen.
    fn command_at(&self) -> Option<Instant> {
        let head = self.queue.head().filter(|head| head.stage == Stage::Waiting)?;
        let has_f_cnt = self.sessions.active.as_ref()?.has_f_cnt_down();
        let can_send = self.is_always_listening() && self.answer.is_none() && self.forwarder().is_some();
        let at = self
            .busy_until
            .into_iter()
            .chain(head.not_before)
            .chain([head.since])
            .max()?;
        (can_send && has_f_cnt).then_some(at)
    }

    fn send_command(&mut self, network: &NetworkConfig, out: &mut Outgoing, now: Instant) {
        let Some((window, command)) = self.command_window(network) else {
            return;
        };
        if command.payload.len() > window.data_rate.max_payload() {
            let refusal = too_long_for(command.payload.len(), window.data_rate);
            self.end_head(Delivery::Refused(refusal), out);
            return;
        }
        let Some(session) = self.sessions.active.as_mut() else {
            return;
        };
        let Some(f_cnt) = session.take_f_cnt_down() else {
            return;
        };
        let downlink = DataDownlink {
            dev_addr: session.dev_addr,
            f_cnt,
            confirmed: command.confirmed,
            ack: false,
            f_pending: false,
            commands: Vec::new(),
            data: Some((command.f_port, command.payload)),
        };
        if session.wants_block() {
            out.saver.urgent(Item::Session(self.config.dev_eui));
        }
        if let Some(phy) = downlink.encode(&session.keys) {
            let id = out.transmit(phy, vec![window], Purpose::Command);
            self.hand_over_head(id, out, now);
        }
    }

    fn command_window(&self, network: &NetworkConfig) -> Option<(Window, LoRaWanCommand)> {
        let data_rate = self.sessions.active.as_ref()?.rx2_data_rate;
        let window = window(
            self.forwarder()?,
            When::Soonest,
            region::RX2_FREQUENCY_HZ,
            data_rate,
            network,
        )?;
        Some((window, self.queue.head()?.command.clone()))
    }

    fn forwarder(&self) -> Option<ForwarderId> {
        self.sessions
            .active
            .as_ref()
            .and_then(|session| session.forwarder)
    }

    fn retry_head(&mut self, reason: &str, out: &mut Outgoing, now: Instant) {
        let pause = self
            .is_always_listening()
            .then(|| now + Duration::from_secs(limits::COMMAND_RETRY_SECS));
        let Some(head) = self.queue.head_mut() else { return };
        head.attempts += 1;
        head.stage = Stage::Waiting;
        head.not_before = pause;
        head.keep |= pause.is_some();
        let keep = head.keep;
        if head.attempts >= limits::COMMAND_ATTEMPTS {
            let text = format!("{reason}, {} times", limits::COMMAND_ATTEMPTS);
            self.end_head(Delivery::Unconfirmed(text), out);
        } else {
            self.mark_queue(keep, out);
        }
    }

    fn wait_for_airtime(&mut self, retry_after: Duration, out: &mut Outgoing, now: Instant) {
        let is_always_listening = self.is_always_listening();
        if let Some(head) = self.queue.head_mut() {
            head.stage = Stage::Waiting;
            head.not_before = is_always_listening.then(|| now + retry_after);
            head.keep = true;
            self.mark_queue(true, out);
        }
    }

    fn mark_queue(&self, touches_disk: bool, out: &mut Outgoing) {
        if touches_disk {
            out.saver.urgent(Item::Queue(self.dev_eui()));
        }
    }

    /// Asks for downlink counters where a command waits for nothing else.
    pub(in crate::lorawan) fn reserve_for_command(&self, out: &mut Outgoing, now: Instant) {
        let waits = self.is_always_listening() && self.queue.due(now).is_some();
        let lacks = |session: &Session| !session.has_f_cnt_down() && !session.is_spent();
        if waits && self.sessions.active.as_ref().is_some_and(lacks) {
            out.saver.urgent(Item::Session(self.dev_eui()));
        }
    }
}

const fn ack_wait() -> Duration {
    Duration::from_secs(limits::ACK_WAIT_SECS)
}
