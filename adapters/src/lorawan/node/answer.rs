//! What is said in the windows after an uplink.
//!
//! ```text
//! uplink ── settled? ──► RX1 and RX2
//!    │         │ later than RX1 allows
//!    │         └───────► RX2
//!    └ not at all ─────► no acknowledgement: the device repeats, and the repeat is acknowledged
//! ```

use std::time::{Duration, Instant};

use ucifi_core::field::{Delivery, Refusal};

use super::{Answer, Node, deadline, windows};
use crate::lorawan::air::{Purpose, Window};
use crate::lorawan::config::NetworkConfig;
use crate::lorawan::limits;
use crate::lorawan::mac_command;
use crate::lorawan::outgoing::Outgoing;
use crate::lorawan::phy_payload::DataDownlink;
use crate::lorawan::region;
use crate::lorawan::saver::Item;

impl Node {
    pub(super) fn advance_answer(&mut self, network: &NetworkConfig, out: &mut Outgoing, now: Instant) {
        let Some(answer) = self.answer.take() else { return };
        if now > answer.end() {
            out.statistics.answers_missed += u64::from(answer.has_words());
            return;
        }
        // An acknowledgement that has to wait is left out at the very end, if there is something else to say.
        let ack = answer.wants_ack && answer.receipt.is_none();
        let waits = answer.receipt.is_some() && now < answer.last_chance();
        let windows = self.answer_windows(&answer, network, now);
        self.refuse_what_fits_nowhere(&windows, out, now);
        let has_words =
            ack || answer.wants_any || !answer.commands.is_empty() || self.queue.due(now).is_some();
        if waits || !has_words {
            self.answer = Some(answer);
            return;
        }
        let item = Item::Session(self.dev_eui());
        match self.sessions.active.as_ref() {
            None => {}
            Some(session) if session.is_spent() => {}
            Some(session) if session.has_f_cnt_down() => self.say(&answer, ack, windows, out, now),
            Some(_) => {
                out.saver.urgent(item);
                self.answer = Some(answer);
            }
        }
    }

    /// Returns when the windows close, as far as something is still awaited for them.
    pub(super) fn answer_wake(&self, now: Instant) -> Option<Instant> {
        let answer = self.answer.as_ref()?;
        let last_chance = answer.last_chance();
        Some(if now < last_chance {
            last_chance
        } else {
            answer.end() + Duration::from_millis(1)
        })
    }

    fn answer_windows(&self, answer: &Answer, network: &NetworkConfig, now: Instant) -> Vec<Window> {
        let rx2 = self
            .sessions
            .active
            .as_ref()
            .map_or(region::RX2_DATA_RATE, |s| s.rx2_data_rate);
        let first_is_open = now <= deadline(answer.received, region::RX1_DELAY);
        windows(&answer.heard, region::RX1_DELAY, rx2, network, first_is_open)
    }

    /// Gives up commands that are too long for every window: the data rate is the device's choice.
    fn refuse_what_fits_nowhere(&mut self, windows: &[Window], out: &mut Outgoing, now: Instant) {
        let Some(widest) = windows.iter().map(|window| window.data_rate).max() else {
            return;
        };
        let too_long =
            |entry: &&crate::lorawan::queue::Entry| entry.command.payload.len() > widest.max_payload();
        while let Some(length) = self
            .queue
            .due(now)
            .filter(too_long)
            .map(|e| e.command.payload.len())
        {
            self.end_head(Delivery::Refused(too_long_for(length, widest)), out);
        }
    }

    fn say(&mut self, answer: &Answer, ack: bool, windows: Vec<Window>, out: &mut Outgoing, now: Instant) {
        let commands_len = mac_command::len(&answer.commands);
        let fits = |window: &Window, length: usize| length <= window.data_rate.max_payload();
        let head = self.queue.due(now).map(|entry| entry.command.clone());
        let head = head.filter(|command| {
            windows
                .iter()
                .any(|window| fits(window, commands_len + command.payload.len()))
        });
        let waiting = self.queue.len() - usize::from(head.is_some());
        let Some(session) = self.sessions.active.as_mut() else {
            return;
        };
        let Some(f_cnt) = session.take_f_cnt_down() else {
            return;
        };
        let downlink = DataDownlink {
            dev_addr: session.dev_addr,
            f_cnt,
            confirmed: head.as_ref().is_some_and(|command| command.confirmed),
            ack,
            f_pending: waiting > 0,
            commands: answer.commands.clone(),
            data: head.map(|command| (command.f_port, command.payload)),
        };
        if session.wants_block() {
            out.saver.urgent(Item::Session(self.config.dev_eui));
        }
        let Some(phy) = downlink.encode(&session.keys) else {
            return;
        };
        let length = downlink.payload_len();
        let windows = windows
            .into_iter()
            .filter(|window| fits(window, length))
            .collect();
        let id = out.transmit(phy, windows, Purpose::Answer);
        if downlink.data.is_some() {
            self.hand_over_head(id, out, now);
        }
    }
}

impl Answer {
    fn last_chance(&self) -> Instant {
        deadline(self.received, region::RX1_DELAY + region::RX2_AFTER_RX1)
    }

    fn end(&self) -> Instant {
        self.last_chance() + Duration::from_millis(limits::TIMER_SLACK_MS)
    }

    fn has_words(&self) -> bool {
        self.wants_ack || self.wants_any || !self.commands.is_empty()
    }
}

/// Returns why a payload is not sent.
pub(super) fn too_long_for(length: usize, widest: region::DataRate) -> Refusal {
    Refusal {
        code: 0,
        text: format!(
            "{length} bytes do not fit {widest}, which takes {}: let the device use a faster data rate",
            widest.max_payload()
        ),
    }
}
