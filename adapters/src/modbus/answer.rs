//! What an answer means, and what its absence does.

use std::time::Instant;

use ucifi_core::field::{Frame, Reachability, RegisterBlock, Uplink};

use super::bus::Event;
use super::client::{Client, Open, Purpose, secs_until};
use super::line::Received;
use super::pdu::{Answer, Exception, ReadRequest, Request};
use super::unit::{Failure, ReadPurpose};

impl Client {
    /// Takes a whole frame: the answer to the open request, or one to throw away.
    pub(super) fn take_frame(&mut self, received: &Received, now: Instant) {
        let answer = self
            .open
            .as_ref()
            .filter(|open| open.unit == received.unit)
            .and_then(|open| {
                let same = open.transaction == received.transaction;
                if same {
                    open.request.answer(&received.pdu).ok()
                } else {
                    None
                }
            });
        let Some(unit) = self.units.get_mut(&received.unit) else {
            self.counters.foreign_frames += 1;
            return;
        };
        unit.statistics.bytes_received += received.pdu.len() as u64 + 3;
        match (answer, self.open.take()) {
            (Some(answer), Some(open)) => self.finish(open, answer, now),
            (_, open) => {
                unit.statistics.late_discarded += 1;
                unit.late_seen = true;
                self.open = open;
            }
        }
    }

    /// Ends the open request, since nothing answered it in time.
    pub(super) fn give_up(&mut self, now: Instant) {
        let Some(open) = self.open.take() else { return };
        let garbage = self.line.clear();
        self.counters.garbage_bytes += garbage;
        let Some(unit) = self.units.get_mut(&open.unit) else {
            return;
        };
        unit.statistics.timeouts += 1;
        unit.statistics.crc_errors += u64::from(garbage > 0);
        unit.statistics.busy += now.saturating_duration_since(open.sent);
        unit.ready_at = now + unit.min_gap();
        if self.line.is_rtu() {
            unit.owed
                .note_unanswered(open.shape, unit.timeout(), open.deadline, now);
        }
        let failure = if garbage > 0 {
            Failure::Corrupt
        } else {
            Failure::Silent
        };
        self.fail(&open, &failure, now);
    }

    fn finish(&mut self, open: Open, answer: Answer, now: Instant) {
        let Some(unit) = self.units.get_mut(&open.unit) else {
            return;
        };
        let exception = matches!(answer, Answer::Exception(_));
        let settled = !self.line.is_rtu() || unit.owed.note_answer(open.shape, exception, now);
        if !settled {
            unit.owed
                .note_unanswered(open.shape, unit.timeout(), open.deadline, now);
        }
        let statistics = &mut unit.statistics;
        statistics.ok += u64::from(!exception);
        statistics.exceptions += u64::from(exception);
        statistics.busy += now.saturating_duration_since(open.sent) + self.line.gap();
        if let Some(first) = open.first_byte {
            statistics.note_turnaround(first.saturating_duration_since(open.sent_end));
        }
        unit.ready_at = now + unit.min_gap();
        if let Answer::Exception(
            no @ (Exception::GatewayPathUnavailable | Exception::GatewayTargetDeviceFailedToRespond),
        ) = answer
        {
            return self.fail(&open, &Failure::Gateway(no), now);
        }
        if unit.note_answer(now) {
            let link = unit.link.clone();
            self.push_event(Event::Reachability {
                link,
                reachability: Reachability::Reachable,
            });
        }
        self.use_answer(&open, answer, settled, now);
    }

    fn use_answer(&mut self, open: &Open, answer: Answer, settled: bool, now: Instant) {
        let again = self
            .units
            .get(&open.unit)
            .map_or(now, |unit| unit.askable_at(now));
        let ended = match (open.purpose, &open.request, answer) {
            (Purpose::Read(purpose), Request::Read(read), answer) => {
                self.use_read(open.unit, purpose, *read, answer, settled, now);
                None
            }
            (Purpose::Write(id), _, Answer::Written | Answer::Content(_)) => self.commands.note_echo(id, now),
            (Purpose::Write(id), _, Answer::Exception(no)) => self.commands.note_refused(id, no, now),
            (Purpose::ReadBack(id), Request::Read(read), Answer::Content(content)) if settled => {
                let block = RegisterBlock {
                    table: read.table,
                    address: read.address,
                    content,
                };
                self.commands.note_read_back(id, block, now)
            }
            (Purpose::ReadBack(id), _, Answer::Exception(no)) => {
                self.commands.note_not_read_back(id, &no.to_string(), again)
            }
            (Purpose::ReadBack(id), _, Answer::Content(_) | Answer::Written) => {
                self.commands.note_not_read_back(id, "a doubtful answer", again)
            }
            (Purpose::Read(_), Request::Write(_), _) => None,
        };
        self.end(ended);
    }

    fn use_read(
        &mut self,
        address: u8,
        purpose: ReadPurpose,
        read: ReadRequest,
        answer: Answer,
        settled: bool,
        now: Instant,
    ) {
        let (Some(unit), Some(received)) = (self.units.get_mut(&address), self.last_received) else {
            return;
        };
        match (purpose, answer) {
            (ReadPurpose::Poll, Answer::Content(content)) if settled => {
                unit.note_served();
                unit.note_read(&read, now);
                let block = RegisterBlock {
                    table: read.table,
                    address: read.address,
                    content,
                };
                let link = unit.link.clone();
                let uplink = Uplink::new(link, Frame::ModbusBlock(block), received);
                self.push_event(Event::Uplink(uplink));
            }
            (ReadPurpose::Poll, Answer::Exception(no)) if settled => unit.note_exception(&read, no, now),
            (ReadPurpose::Poll, _) => unit.note_unread(&read, now),
            (ReadPurpose::Settle | ReadPurpose::Probe, _) => {}
        }
    }

    fn fail(&mut self, open: &Open, failure: &Failure, now: Instant) {
        let Some(unit) = self.units.get_mut(&open.unit) else {
            return;
        };
        match (open.purpose, &open.request) {
            (Purpose::Read(ReadPurpose::Poll), Request::Read(read)) => unit.note_unread(read, now),
            (Purpose::Read(ReadPurpose::Settle), _) => unit.note_settling_ignored(),
            _ => {}
        }
        let news = unit.note_failure(failure, open.sent, now);
        let (link, again, probe) = (unit.link.clone(), unit.askable_at(now), unit.probe_at());
        let ended = match open.purpose {
            Purpose::Write(id) => self.commands.note_unanswered(id, again, now),
            Purpose::ReadBack(id) => self.commands.note_not_read_back(id, "no answer", again),
            Purpose::Read(_) => None,
        };
        self.end(ended);
        if let (Some(reachability), Some(probe_at)) = (news, probe) {
            let ended = self
                .commands
                .end_unreachable(Some(open.unit), secs_until(probe_at, now));
            self.end(ended);
            self.push_event(Event::Reachability { link, reachability });
        }
    }
}
