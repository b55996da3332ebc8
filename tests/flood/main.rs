//! Garbage on every input at once: noise on the serial line and on the air, forged datagrams of forwarders,
//! messages that mean nothing, and datagrams that no server sends. Legitimate traffic keeps its deadlines, and the
//! gateway's memory does not grow.
//!
//! `UCIFI_FLOOD_MINUTES` sets how long it lasts, `UCIFI_FLOOD_PER_SEC` how many pieces of each kind come in a second,
//! `UCIFI_SEED` which; `.ci/soak flood` has an hour of many.

mod garbage;
#[path = "../fuzz/mutate.rs"]
mod mutate;
mod watch;

use std::time::Duration;

use lwm2m_client::client::WriteMode;
use lwm2m_client::format::Entry;
use lwm2m_client::{Path, Value};
use peak_alloc::PeakAlloc;
use ucifi_core::EndpointState;
use ucifi_sim::cabinet::{Cabinet, Down, NodeCounters, Plan, StorePlan, endpoint_of};
use ucifi_sim::server::{Code, ServerRequest, content_format};

use garbage::Garbage;
use watch::{Delays, delays};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const SECOND: Duration = Duration::from_secs(1);
/// How often the server switches a relay.
const SWITCHES_EVERY: Duration = Duration::from_secs(60);
/// How late a value may be at the server, and the answer to a Write; much less than what goes to disk has to wait.
const DEADLINE: Duration = Duration::from_secs(2);
/// How many values a scripted device gives at once at most.
const VALUES_PER_FRAME: usize = 4;
/// How much more memory may be needed than without garbage, however long it lasts: tables of strangers have bounds.
const MEMORY_BYTES: usize = 1 << 20;

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    delays: Delays,
    /// How long the server waited for the answer to a Write at most.
    slowest_write: Duration,
    nodes: NodeCounters,
    /// Frames that others on the air spoilt: no gateway hears them.
    spoilt: u64,
    /// Pieces of garbage that were taken for what they are: on the line, of radio devices, of forwarders, of the broker.
    refused: [u64; 4],
    /// What the gateway's engines had allocated at the end.
    memory_bytes: usize,
}

fn cabinet() -> Cabinet {
    Plan::new(1)
        .with_meter("meter", 3)
        .with_relays("relays", 4)
        .with_scripted("bus", SECOND * 5)
        .with_scripted_messages("messages", SECOND * 5)
        .with_scripted_node("confirmed", SECOND * 60, true)
        .with_scripted_node("unconfirmed", SECOND * 60, false)
        .with_store(StorePlan::default())
        .build()
}

/// Lets time go by, with so much garbage of each kind a second.
fn run(time: Duration, per_sec: u32, seed: u64) -> Outcome {
    let mut cabinet = cabinet();
    cabinet.run_for(SECOND * 60);
    let mut garbage = Garbage::new(seed);
    let (end, mut slowest_write, mut level) = (cabinet.elapsed() + time, Duration::ZERO, 0);
    let mut switches_at = cabinet.elapsed();
    while cabinet.elapsed() < end {
        garbage.throw(&mut cabinet, per_sec);
        if cabinet.elapsed() >= switches_at {
            switches_at += SWITCHES_EVERY;
            level = 100 - level;
            slowest_write = slowest_write.max(switch(&mut cabinet, level));
        }
        cabinet.run_for(SECOND);
    }
    cabinet.silence_scripted();
    cabinet.run_for(SECOND * 60);
    is_well(&mut cabinet);
    let outcome = Outcome {
        delays: delays(&cabinet),
        slowest_write,
        nodes: cabinet.node_counters().expect("there are nodes"),
        spoilt: cabinet.field().map_or(0, |field| field.spoilt_uplinks()),
        refused: refused(&cabinet),
        memory_bytes: 0,
    };
    let before = ALLOCATOR.current_usage();
    cabinet.go_down(Down::Kill);
    let memory_bytes = before.saturating_sub(ALLOCATOR.current_usage());
    Outcome {
        memory_bytes,
        ..outcome
    }
}

/// Has the server switch a relay; returns how long it waited.
fn switch(cabinet: &mut Cabinet, level: i64) -> Duration {
    let path = Path::resource(3413, 0, 3);
    let value = Value::Integer(level);
    let write = ServerRequest::Write {
        mode: WriteMode::Replace,
        path,
        entries: vec![Entry { path, value }],
        format: content_format::TLV,
    };
    let begin = cabinet.elapsed();
    let answer = cabinet.ask(&endpoint_of("relays"), write);
    assert_eq!(answer.map(|answer| answer.code), Ok(Code::CHANGED));
    cabinet.elapsed() - begin
}

fn is_well(cabinet: &mut Cabinet) {
    cabinet.ledger_mut().check_all_arrived();
    let totals = cabinet.ledger().totals();
    assert_eq!(cabinet.ledger().faults(), [] as [String; 0], "{totals:?}");
    assert_eq!((totals.lost, totals.gone), (0, 0), "{totals:?}");
    let endpoints = cabinet.gateway().endpoints();
    let nodes = cabinet.node_counters().expect("there are nodes");
    let spoilt = cabinet.field().map(|field| field.spoilt_uplinks());
    assert!(Some(nodes.unacknowledged) <= spoilt, "{nodes:?}");
    let are_registered = endpoints.iter().all(|e| e.state == EndpointState::Registered);
    assert!(are_registered, "{endpoints:?}");
    assert_eq!(cabinet.broker().map(|broker| broker.out_of_order()), Some(0));
}

/// Counts what was refused, by each part that refuses.
fn refused(cabinet: &Cabinet) -> [u64; 4] {
    let line = cabinet.bus_statistics().bus;
    let radio = cabinet.radio_statistics().expect("there is a radio");
    let devices = cabinet.gateway().devices(cabinet.now());
    let undecodable = cabinet.forwarders_statistics().map_or(0, |s| s.undecodable);
    [
        line.garbage_bytes + line.foreign_frames,
        radio.unknown + radio.foreign + radio.refused.values().sum::<u64>(),
        undecodable,
        devices.iter().map(|device| device.frames_refused).sum(),
    ]
}

fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a whole number"))
}

#[test]
fn garbage_on_every_input_delays_nobody_and_takes_no_memory() {
    let time = SECOND * 60 * from_environment("UCIFI_FLOOD_MINUTES", 10);
    let per_sec = from_environment("UCIFI_FLOOD_PER_SEC", 3);
    let seed = u64::from(from_environment("UCIFI_SEED", 1));
    let (quiet, flooded) = (run(time, 0, seed), run(time, per_sec, seed));
    eprintln!("seed {seed}, quiet: {quiet:#?}\n{per_sec} of each a second: {flooded:#?}");
    assert_eq!(quiet.refused, [0; 4], "nothing is garbage that is none");
    assert!(flooded.refused.iter().all(|count| *count > 0), "it came through");
    assert!(flooded.slowest_write < DEADLINE);
    for (endpoint, (_, count)) in &quiet.delays {
        let (longest, arrived) = flooded.delays[endpoint];
        assert!(longest < DEADLINE, "{endpoint}");
        // A poll that noise has spoilt is made again, a frame that nobody is to acknowledge is not.
        let spoilt = VALUES_PER_FRAME * usize::try_from(flooded.spoilt).expect("there are few");
        assert!(arrived + spoilt + count / 50 >= *count, "{endpoint}");
    }
    assert_eq!(flooded.nodes.joins, quiet.nodes.joins);
    let memory = flooded.memory_bytes.saturating_sub(quiet.memory_bytes);
    assert!(memory < MEMORY_BYTES, "{memory} bytes more");
}
