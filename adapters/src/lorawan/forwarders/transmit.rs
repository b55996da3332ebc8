//! Sending: the first window of a transmission that a forwarder takes.

use std::time::{Duration, Instant};

use super::airtime::Band;
use super::clock::micros;
use super::schedule::{Job, Outstanding, Slot};
use super::{Event, Forwarders, limits};
use crate::lorawan::gwmp::{self, Token, TxAck, Txpk, Version};
use crate::lorawan::{ForwarderId, Sent, Transmission, TxError, When, Window};

/// What a window says to a transmission.
enum Chance {
    /// It goes out at that time.
    Taken { from: Instant },
    /// It has to wait for its turn until then.
    Later(Instant),
    /// Not here.
    Missed(Sent),
}

impl Forwarders {
    /// Sends a frame in the first of its windows that takes it; [`Event::Sent`] tells what became of it.
    pub fn handle_transmission(&mut self, transmission: Transmission, now: Instant) {
        let job = Job {
            transmission,
            window: 0,
            failure: None,
            expires: now + limits::SOONEST_WAIT,
        };
        self.schedule.prune(now);
        // Who came first goes first.
        let is_behind = |window: &Window| window.at == When::Soonest && self.waits_for(window.forwarder);
        if job.window().is_some_and(is_behind) {
            self.wait_for_turn(job);
        } else {
            self.send(job, now);
        }
    }

    /// Takes what a forwarder says of a frame.
    pub(super) fn handle_tx_ack(&mut self, id: ForwarderId, token: Token, ack: TxAck, now: Instant) {
        let Some((token, outstanding)) = self.take_outstanding(id, token) else {
            return;
        };
        let Some(forwarder) = self.table.get_mut(&id) else {
            return;
        };
        match ack {
            TxAck::Accepted { other_power } => {
                forwarder.counters.sent += 1;
                forwarder.counters.other_power += u64::from(other_power);
                self.tell(&outstanding.job, Sent::OnAir);
            }
            TxAck::Refused { error, text } => {
                forwarder.counters.refused += 1;
                forwarder.airtime.give_back(outstanding.taken);
                self.schedule.free(id, token);
                let mut job = outstanding.job;
                job.fail(Sent::Refused(error, text));
                self.send(job, now);
                self.send_waiting(now);
            }
        }
    }

    /// Gives up waiting for the word of forwarders that took too long.
    pub(super) fn handle_silence(&mut self, now: Instant) {
        let due = |(_, outstanding): &(&(ForwarderId, Token), &Outstanding)| outstanding.deadline <= now;
        while let Some((key, _)) = self.schedule.outstanding.iter().find(due) {
            let key = *key;
            let Some(outstanding) = self.schedule.outstanding.remove(&key) else {
                return;
            };
            if let Some(forwarder) = self.table.get_mut(&key.0) {
                forwarder.counters.unanswered += 1;
            }
            self.tell(&outstanding.job, Sent::NoAnswer);
        }
    }

    /// Lets those go out whose turn it is.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        self.schedule.prune(now);
        self.schedule.next_turn = None;
        for _ in 0..self.schedule.waiting.len() {
            let Some(mut job) = self.schedule.waiting.pop_front() else {
                return;
            };
            if job.expires <= now {
                job.fail(Sent::NoAirtime {
                    retry_after: limits::SOONEST_WAIT,
                });
            }
            self.send(job, now);
        }
    }

    /// Tries the windows of a job, from the one where it stands.
    fn send(&mut self, mut job: Job, now: Instant) {
        while let Some(window) = job.window() {
            match self.chance(&job, window, now) {
                Chance::Taken { from } => match self.give(job, from, now) {
                    Ok(()) => return,
                    Err(given_back) => job = given_back,
                },
                Chance::Later(at) => {
                    let at = at.min(job.expires);
                    let turn = self.schedule.next_turn.map_or(at, |turn| turn.min(at));
                    self.schedule.next_turn = Some(turn);
                    return self.wait_for_turn(job);
                }
                Chance::Missed(why) => job.fail(why),
            }
        }
        let outcome = job.failure.take().unwrap_or(Sent::NoForwarder);
        self.tell(&job, outcome);
    }

    fn wait_for_turn(&mut self, job: Job) {
        if self.schedule.waiting.len() < limits::WAITING {
            self.schedule.waiting.push_back(job);
        } else {
            let retry_after = limits::SOONEST_WAIT;
            self.tell(&job, Sent::NoAirtime { retry_after });
        }
    }

    fn waits_for(&self, id: ForwarderId) -> bool {
        let mut windows = self.schedule.waiting.iter().filter_map(Job::window);
        windows.any(|window| window.forwarder == id)
    }

    fn chance(&self, job: &Job, window: &Window, now: Instant) -> Chance {
        let Some(forwarder) = self.table.get(&window.forwarder) else {
            return Chance::Missed(Sent::NoForwarder);
        };
        if forwarder.address(now).is_none() {
            return Chance::Missed(Sent::NoForwarder);
        }
        let full = "as many frames are planned as it can keep";
        if self.schedule.is_full(window.forwarder) {
            return refused(TxError::CollisionPacket, full);
        }
        let airtime = airtime(job, window);
        match window.at {
            When::Soonest => {
                let from = now + limits::SOONEST_DELAY;
                match self.schedule.busy_until(window, from, airtime) {
                    Some(until) => Chance::Later(until.max(now)),
                    None => Chance::Taken { from },
                }
            }
            When::Tmst(tmst) => {
                // Of a forwarder that has reported nothing yet the counter is not known: it judges itself.
                let lead = micros(limits::LEAD);
                let ahead = forwarder.clock.until(tmst, now).unwrap_or(lead);
                if ahead < lead {
                    return refused(TxError::TooLate, "its time has come too near");
                }
                if ahead > micros(limits::MAX_AHEAD) {
                    return refused(TxError::TooEarly, "its time is too far ahead");
                }
                let from = now + Duration::from_micros(ahead.unsigned_abs());
                if self.schedule.collides(window.forwarder, from, airtime) {
                    return refused(TxError::CollisionPacket, "another frame is sent at that time");
                }
                Chance::Taken { from }
            }
        }
    }

    /// Tells a forwarder to send, if the duty cycle allows; else gives the job back, on its next window.
    fn give(&mut self, mut job: Job, from: Instant, now: Instant) -> Result<(), Job> {
        let window = job.window().cloned().expect("it has just been looked at");
        let Some(band) = Band::of(window.frequency_hz) else {
            let text = format!("{} Hz is in no sub-band", window.frequency_hz);
            job.fail(Sent::Refused(TxError::TxFreq, text));
            return Err(job);
        };
        let airtime = airtime(&job, &window);
        let purpose = job.transmission.purpose;
        let forwarder = self
            .table
            .get_mut(&window.forwarder)
            .expect("it has just been looked at");
        let taken = match forwarder.airtime.take(band, airtime, purpose, now) {
            Ok(taken) => taken,
            Err(retry_after) => {
                job.fail(Sent::NoAirtime { retry_after });
                return Err(job);
            }
        };
        forwarder.counters.told += 1;
        let address = forwarder.address(now).expect("it has just been looked at");
        let token = self.schedule.token();
        let txpk = Txpk {
            at: window.at,
            frequency_hz: window.frequency_hz,
            power_dbm: window.power_dbm.min(band.sub_band().max_power_dbm),
            data_rate: window.data_rate,
            phy: &job.transmission.phy,
        };
        let datagram = gwmp::pull_resp(forwarder.version, token, &txpk);
        self.datagrams.push_back((address, datagram));
        self.schedule.slots.push(Slot {
            forwarder: window.forwarder,
            token,
            frequency_hz: window.frequency_hz,
            from,
            until: from + airtime,
        });
        let deadline = now + limits::TX_ACK;
        let outstanding = Outstanding { job, deadline, taken };
        self.schedule
            .outstanding
            .insert((window.forwarder, token), outstanding);
        Ok(())
    }

    /// Takes the frame that a forwarder speaks of. Those of version 1 do not repeat the token.
    fn take_outstanding(&mut self, id: ForwarderId, token: Token) -> Option<(Token, Outstanding)> {
        let outstanding = &mut self.schedule.outstanding;
        if let Some(found) = outstanding.remove(&(id, token)) {
            return Some((token, found));
        }
        if self.table.get(&id)?.version != Version::V1 {
            return None;
        }
        let mut of_it = outstanding.keys().filter(|(forwarder, _)| *forwarder == id);
        let (key, None) = (*of_it.next()?, of_it.next()) else {
            return None;
        };
        Some((key.1, outstanding.remove(&key)?))
    }

    fn tell(&mut self, job: &Job, outcome: Sent) {
        self.events.push_back(Event::Sent(job.transmission.id, outcome));
    }
}

fn airtime(job: &Job, window: &Window) -> Duration {
    window.data_rate.time_on_air(job.transmission.phy.len(), false)
}

fn refused(error: TxError, text: &str) -> Chance {
    Chance::Missed(Sent::Refused(error, text.to_owned()))
}
