//! Commands on their way: written, read back, ended.
//!
//! ```text
//!  Queued ── echo ──► Written ── read-back shows it ──► Confirmed
//!    │ ▲                │  └──── final and differs ───► Unconfirmed
//!    │ └ once, if the   └ no read-back: Sent
//!    │   write was not answered and the read-back differs
//!    ├── exception ──► Refused
//!    ├── waited too long ──► Expired
//!    └── a later write came before it went out ──► Superseded
//! ```
//!
//! A write without a read-back may be a pulse or a toggle, so it never goes out twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ucifi_core::field::{BlockContent, Delivery, DownlinkId, Frame, ReadBack, Refusal, RegisterBlock};

use super::limits;
use super::pdu::{Exception, ReadRequest, WriteRequest};

/// What came of it, for whom.
pub(super) type Ended = (DownlinkId, Delivery);

/// A command.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) id: DownlinkId,
    pub(super) unit: u8,
    pub(super) write: WriteRequest,
    pub(super) read_back: Option<ReadBack>,
    queued: Instant,
    attempts: u8,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Queued,
    OnTheLine,
    Written {
        next: Instant,
        last: Instant,
        echoed: bool,
    },
}

impl Command {
    pub(super) fn new(
        id: DownlinkId,
        unit: u8,
        write: WriteRequest,
        read_back: Option<ReadBack>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            unit,
            write,
            read_back,
            queued: now,
            attempts: 0,
            stage: Stage::Queued,
        }
    }

    /// Says whether this very write was already sent once.
    pub(super) fn is_repeated(&self) -> bool {
        self.attempts > 0
    }

    fn aims_as(&self, other: &Self) -> bool {
        self.unit == other.unit
            && self.write.table() == other.write.table()
            && self.write.address() == other.write.address()
            && self.write.content().len() == other.write.content().len()
    }
}

/// The commands of one bus, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Commands {
    all: Vec<Command>,
}

impl Commands {
    /// Takes a command, in whose place an earlier one for the same address ends; says whether there was room.
    pub(super) fn push(&mut self, command: Command) -> (Vec<Ended>, bool) {
        let ended = self.end_where(
            |c| c.aims_as(&command),
            |c| match c.stage {
                Stage::Queued if !c.is_repeated() => Some(Delivery::Superseded),
                Stage::Queued | Stage::Written { .. } => Some(replaced()),
                Stage::OnTheLine => None,
            },
        );
        if self.all.len() >= limits::COMMANDS {
            return (ended, false);
        }
        self.all.push(command);
        (ended, true)
    }

    /// Returns the first write that waits for each unit, in order.
    pub(super) fn writes(&self) -> impl Iterator<Item = &Command> {
        let mut seen = BTreeSet::new();
        self.all.iter().filter(move |c| match c.stage {
            Stage::Queued => seen.insert(c.unit),
            Stage::OnTheLine => {
                seen.insert(c.unit);
                false
            }
            Stage::Written { .. } => false,
        })
    }

    /// Returns the read-backs that are due, in order.
    pub(super) fn read_backs(&self, now: Instant) -> impl Iterator<Item = (&Command, ReadRequest)> {
        self.all
            .iter()
            .filter_map(move |c| match (&c.stage, &c.read_back) {
                (Stage::Written { next, .. }, Some(back)) if *next <= now => Some((
                    c,
                    ReadRequest {
                        table: back.table,
                        address: back.address,
                        count: back.count,
                    },
                )),
                _ => None,
            })
    }

    pub(super) fn note_sent(&mut self, id: DownlinkId) {
        if let Some(command) = self.find(id) {
            command.stage = Stage::OnTheLine;
            command.attempts += 1;
        }
    }

    /// Takes note that the write was repeated by the unit.
    pub(super) fn note_echo(&mut self, id: DownlinkId, now: Instant) -> Option<Ended> {
        let later = self.has_later(id);
        let command = self.find(id)?;
        let Some(back) = &command.read_back else {
            return self.end(id, Delivery::Sent);
        };
        if later {
            return self.end(id, replaced());
        }
        command.stage = written(back, now, now, true);
        None
    }

    /// Takes note that the unit refused the write.
    pub(super) fn note_refused(
        &mut self,
        id: DownlinkId,
        exception: Exception,
        now: Instant,
    ) -> Option<Ended> {
        let command = self.find(id)?;
        // Section 7, code 05: the unit has accepted the write and is working on it.
        if exception == Exception::Acknowledge {
            let Some(back) = &command.read_back else {
                return self.end(
                    id,
                    Delivery::Unconfirmed("the unit is still working on it".to_owned()),
                );
            };
            command.stage = written(back, now, now, true);
            return None;
        }
        self.end(
            id,
            Delivery::Refused(Refusal {
                code: exception.code(),
                text: exception.to_string(),
            }),
        )
    }

    /// Takes note that nothing answered the write; the unit can be asked again at `again`.
    pub(super) fn note_unanswered(&mut self, id: DownlinkId, again: Instant, now: Instant) -> Option<Ended> {
        let later = self.has_later(id);
        let command = self.find(id)?;
        match &command.read_back {
            _ if later => self.end(id, replaced()),
            None => self.end(id, Delivery::Unconfirmed("no answer to the write".to_owned())),
            Some(back) => {
                command.stage = written(back, again.max(now), again.max(now), false);
                None
            }
        }
    }

    /// Holds what was read back against what was expected.
    pub(super) fn note_read_back(
        &mut self,
        id: DownlinkId,
        block: RegisterBlock,
        now: Instant,
    ) -> Option<Ended> {
        let command = self.find(id)?;
        let back = command.read_back.as_ref()?;
        let seen = part(&block.content, usize::from(back.at), back.expect.len());
        if seen.as_ref() == Some(&back.expect) {
            return self.end(id, Delivery::Confirmed(Some(Frame::ModbusBlock(block))));
        }
        let Stage::Written { next, last, echoed } = &mut command.stage else {
            return None;
        };
        if !*echoed && command.attempts < limits::WRITE_ATTEMPTS {
            command.stage = Stage::Queued;
            return None;
        }
        if now >= *last {
            let text = format!(
                "read back {}, expected {}",
                words(seen.as_ref()),
                words(Some(&back.expect))
            );
            return self.end(id, Delivery::Unconfirmed(text));
        }
        *next = (now + Duration::from_millis(limits::READ_BACK_PAUSE_MS)).min(*last);
        None
    }

    /// Takes note that a read-back failed; the unit can be asked again at `again`.
    pub(super) fn note_not_read_back(&mut self, id: DownlinkId, why: &str, again: Instant) -> Option<Ended> {
        let command = self.find(id)?;
        let Stage::Written { next, last, .. } = &mut command.stage else {
            return None;
        };
        if again >= *last {
            return self.end(id, Delivery::Unconfirmed(format!("{why} to the read-back")));
        }
        *next = again;
        None
    }

    /// Ends what has waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let wait = Duration::from_millis(limits::COMMAND_WAIT_MS);
        self.end_where(
            |_| true,
            |c| match c.stage {
                Stage::Queued if now >= c.queued + wait => Some(c.expired()),
                Stage::Written { last, .. } if now >= last + wait => Some(c.expired()),
                Stage::Queued | Stage::OnTheLine | Stage::Written { .. } => None,
            },
        )
    }

    /// Ends everything for a unit that does not answer, or for all units.
    pub(super) fn end_unreachable(&mut self, unit: Option<u8>, retry_after_secs: u32) -> Vec<Ended> {
        self.end_where(
            |c| unit.is_none_or(|unit| c.unit == unit),
            |c| match c.stage {
                Stage::Queued if !c.is_repeated() => Some(Delivery::Unreachable { retry_after_secs }),
                Stage::Queued | Stage::OnTheLine | Stage::Written { .. } => Some(Delivery::Unconfirmed(
                    "the unit went silent after the write".to_owned(),
                )),
            },
        )
    }

    /// Returns when a command wants something, seen from now.
    pub(super) fn wake(&self) -> Option<Instant> {
        let wait = Duration::from_millis(limits::COMMAND_WAIT_MS);
        let wants = |c: &Command| match c.stage {
            Stage::Queued => Some(c.queued + wait),
            Stage::OnTheLine => None,
            Stage::Written { next, .. } => Some(next),
        };
        self.all.iter().filter_map(wants).min()
    }

    fn has_later(&mut self, id: DownlinkId) -> bool {
        let mut from = self.all.iter().skip_while(|c| c.id != id);
        from.next()
            .is_some_and(|command| from.any(|c| c.aims_as(command)))
    }

    fn find(&mut self, id: DownlinkId) -> Option<&mut Command> {
        self.all.iter_mut().find(|c| c.id == id)
    }

    fn end(&mut self, id: DownlinkId, delivery: Delivery) -> Option<Ended> {
        self.all.retain(|c| c.id != id);
        Some((id, delivery))
    }

    fn end_where(
        &mut self,
        concerned: impl Fn(&Command) -> bool,
        delivery: impl Fn(&Command) -> Option<Delivery>,
    ) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.all.retain(
            |command| match concerned(command).then(|| delivery(command)).flatten() {
                Some(delivery) => {
                    ended.push((command.id, delivery));
                    false
                }
                None => true,
            },
        );
        ended
    }
}

impl Command {
    fn expired(&self) -> Delivery {
        if self.is_repeated() {
            Delivery::Unconfirmed("the unit could not be read back in time".to_owned())
        } else {
            Delivery::Expired
        }
    }
}

fn written(back: &ReadBack, from: Instant, earliest: Instant, echoed: bool) -> Stage {
    let next = earliest.max(from + Duration::from_millis(back.after_ms));
    let last = next.max(from + Duration::from_millis(back.within_ms));
    Stage::Written { next, last, echoed }
}

fn replaced() -> Delivery {
    Delivery::Unconfirmed("a later write to the same address came before it was read back".to_owned())
}

fn part(content: &BlockContent, at: usize, count: usize) -> Option<BlockContent> {
    Some(match content {
        BlockContent::Bits(bits) => BlockContent::Bits(bits.get(at..at + count)?.to_vec()),
        BlockContent::Words(words) => BlockContent::Words(words.get(at..at + count)?.to_vec()),
    })
}

fn words(content: Option<&BlockContent>) -> String {
    match content {
        None => "too little".to_owned(),
        Some(BlockContent::Bits(bits)) => bits
            .iter()
            .map(|on| if *on { "on" } else { "off" })
            .collect::<Vec<_>>()
            .join(" "),
        Some(BlockContent::Words(words)) => words
            .iter()
            .map(|w| format!("{w:#06x}"))
            .collect::<Vec<_>>()
            .join(" "),
    }
}
