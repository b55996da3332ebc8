//! Whatever a server, a disk and the power do: every reading is accounted for, none is invented, none is lost without
//! a word but what was measured within hold and commit before a power cut.

use std::collections::{BTreeMap, BTreeSet};

use coap_lite::ResponseType;
use lwm2m_client::Value;
use lwm2m_client::format::RecordTime;
use lwm2m_client::object::Model;
use proptest::prelude::*;

use super::METER;
use crate::buffer::DiskError;
use crate::testing::{Got, Meter, TestCabinet, device, one_server, words};
use crate::{Config, EndpointStatus, Event};

/// What happens in one step.
#[derive(Clone, Copy, Debug)]
enum Step {
    Measure,
    Wait(u16),
    Disconnect,
    Connect,
    Refuse(u8),
    DiskFails,
    DiskWorks,
    DiskIsSlow,
    DiskCatchesUp,
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Measure),
        6 => (1u16..3_000).prop_map(Step::Wait),
        1 => (3_000u16..60_000).prop_map(Step::Wait),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Connect),
        1 => (0u8..6).prop_map(Step::Refuse),
        1 => Just(Step::DiskFails),
        1 => Just(Step::DiskWorks),
        1 => Just(Step::DiskIsSlow),
        1 => Just(Step::DiskCatchesUp),
        1 => Just(Step::PowerCut),
    ]
}

fn refusal(kind: u8) -> ResponseType {
    match kind {
        0 => ResponseType::BadRequest,
        1 => ResponseType::NotFound,
        2 => ResponseType::RequestEntityTooLarge,
        3 => ResponseType::ServiceUnavailable,
        4 => ResponseType::InternalServerError,
        _ => ResponseType::Unauthorized,
    }
}

fn config() -> Config {
    one_server(Model::Y2026, vec![device("meter-1", 1, Meter::new())])
}

/// A gateway and what is known of its readings.
struct Books {
    cabinet: TestCabinet,
    /// The currents that were measured: when, and the value in tenths.
    measured: BTreeMap<i64, i64>,
    /// Those that a power cut may have taken.
    excused: BTreeSet<i64>,
    /// What was in the buffer at the start of the gateway that runs.
    at_start: u64,
    next: u16,
    /// Since when the disk does its work.
    well_since: i64,
}

impl Books {
    fn new() -> Self {
        let mut cabinet = TestCabinet::keeping(config());
        cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
        cabinet.run_ms(1_000);
        Self {
            cabinet,
            measured: BTreeMap::new(),
            excused: BTreeSet::new(),
            at_start: 0,
            next: 100,
            well_since: 0,
        }
    }

    fn status(&self) -> EndpointStatus {
        self.cabinet.gateway.endpoints().swap_remove(METER as usize)
    }

    fn now_ms(&self) -> i64 {
        self.cabinet.now.wall.unwrap().unix_ms()
    }

    fn take(&mut self, step: Step) {
        let now = self.now_ms();
        let disk = &mut self.cabinet.buffer;
        if matches!(step, Step::DiskWorks | Step::DiskCatchesUp) && (disk.failure.is_some() || disk.is_slow) {
            self.well_since = now;
        }
        match step {
            Step::Measure => {
                // Each has a time of its own, by which it is known again.
                while self.measured.contains_key(&self.now_ms()) {
                    self.cabinet.run_ms(1);
                }
                self.measured.insert(self.now_ms(), i64::from(self.next));
                self.cabinet.uplink(1, words(1, &[self.next]));
                self.next += 1;
            }
            Step::Wait(ms) => self.cabinet.run_ms(u64::from(ms)),
            Step::Disconnect => self.cabinet.is_connected = false,
            Step::Connect => self.cabinet.is_connected = true,
            Step::Refuse(kind) => self.cabinet.server.send_answers.push_back(refusal(kind)),
            Step::DiskFails => disk.failure = Some(DiskError::Full),
            Step::DiskWorks => disk.failure = None,
            Step::DiskIsSlow => disk.is_slow = true,
            Step::DiskCatchesUp => self.cabinet.catch_up(),
            Step::PowerCut => self.cut_power(),
        }
    }

    fn cut_power(&mut self) {
        let disk = &mut self.cabinet.buffer;
        let stored: BTreeSet<i64> = disk
            .stored
            .values()
            .filter_map(|stored| match stored.record.moment {
                crate::buffer::Moment::Wall(time) => Some(time.unix_ms()),
                crate::buffer::Moment::Boot { .. } => None,
            })
            .collect();
        // A disk that fails or lags behind makes more than hold and commit, and so does one that just has.
        let is_well = disk.failure.is_none() && !disk.is_slow && self.now_ms() - self.well_since > 2_100;
        let (now, got) = (self.now_ms(), self.got());
        for at in self.measured.keys() {
            if !stored.contains(at) && !got.contains_key(at) && !self.excused.contains(at) {
                assert!(
                    !is_well || now - at <= 6_100 || self.was_told_dropped(),
                    "lost after {} ms",
                    now - at
                );
                self.excused.insert(*at);
            }
        }
        let disk = &mut self.cabinet.buffer;
        (disk.is_slow, disk.failure) = (false, None);
        self.cabinet.events.clear();
        self.cabinet.restart(config());
        self.at_start = self.status().buffered;
        assert!(self.adds_up());
    }

    /// Returns the currents that the server got.
    fn got(&self) -> BTreeMap<i64, (i64, usize)> {
        let mut got = BTreeMap::new();
        for (_, message) in &self.cabinet.server.got {
            let Got::Send(records) = message else { continue };
            for record in records
                .iter()
                .filter(|record| record.entry.path.to_string() == "/3421/0/6")
            {
                let (Value::Float(value), Some(RecordTime::Absolute(time))) =
                    (&record.entry.value, record.time)
                else {
                    panic!("a current without value or time: {record:?}");
                };
                let (_, count) = got
                    .entry(time.unix_ms())
                    .or_insert(((value * 10.0).round() as i64, 0));
                *count += 1;
            }
        }
        got
    }

    fn was_told_dropped(&self) -> bool {
        let is_told = |event: &Event| matches!(event, Event::ReadingsDropped { .. } | Event::Gap { .. });
        self.cabinet.events.iter().any(is_told)
    }

    fn adds_up(&self) -> bool {
        let status = self.status();
        let totals = status.totals;
        totals.produced + self.at_start
            == totals.delivered_live
                + totals.delivered_late
                + totals.dropped
                + status.waiting as u64
                + status.buffered
    }

    /// Lets everything be well until nothing waits any more.
    fn recover(&mut self) {
        self.take(Step::DiskWorks);
        self.take(Step::DiskCatchesUp);
        self.take(Step::Connect);
        self.cabinet.server.send_answers.clear();
        for _ in 0..40 {
            self.cabinet.run_ms(60_000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_reading_is_accounted_for(steps in prop::collection::vec(step(), 1..120)) {
        let mut books = Books::new();
        let (mut was_dropped, mut dropped) = (false, 0);
        for step in steps {
            books.take(step);
            prop_assert!(books.adds_up(), "after {step:?}: {:?}", books.status());
            was_dropped |= books.was_told_dropped();
            dropped = books.status().dropped;
        }
        books.recover();
        was_dropped |= books.was_told_dropped();
        let (status, got) = (books.status(), books.got());
        prop_assert!(books.adds_up(), "{status:?}");
        prop_assert_eq!((status.waiting, status.buffered), (0, 0), "{:?}", status);
        prop_assert!(books.cabinet.buffer.stored.is_empty());
        prop_assert!(was_dropped || dropped == 0 && status.dropped == 0, "dropped without a word");
        for (at, (value, _)) in got.iter().filter(|(at, _)| **at > 1_760_000_001_000) {
            prop_assert_eq!(books.measured.get(at), Some(value), "none is invented, none has another's time");
        }
        for at in books.measured.keys() {
            let is_there = got.contains_key(at) || books.excused.contains(at) || was_dropped;
            prop_assert!(is_there, "{at} is lost");
        }
    }
}
