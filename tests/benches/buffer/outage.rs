//! An outage from end to end, in simulated time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ucifi_core::buffer::log::Options;
use ucifi_sim::disk::SimulatedDisk;

use crate::cabinet::{Cabinet as Whole, Tally};
use crate::counted::{Counted, Counts};

type Cabinet = Whole<Counted<SimulatedDisk>>;

/// What the profile reads most often, and what it reads often.
const POLL: Duration = Duration::from_secs(2);
const ALL: Duration = Duration::from_secs(10);
/// When the server goes away, and for how long.
const GOES: Duration = Duration::from_secs(300);
const AWAY: Duration = Duration::from_secs(1_800);

/// A backlog is never looked at more often.
const LOOK: Duration = Duration::from_millis(20);
/// After it nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(crate) fn run() {
    eprintln!(
        "polls as the profile says, every {} to {} s; the server is away for {} s",
        POLL.as_secs(),
        ALL.as_secs(),
        AWAY.as_secs()
    );
    for (meters, rtt_ms) in [(100, 1), (100, 100), (1, 1), (1, 100)] {
        let rtt = Duration::from_millis(rtt_ms);
        for restarts in [false, true] {
            let then = if restarts { "restarts then" } else { "goes on" };
            eprintln!("{meters} meters of 49 points, RTT {rtt_ms} ms, the gateway {then}");
            measure(meters, rtt, restarts);
        }
    }
}

fn measure(meters: usize, rtt: Duration, restarts: bool) {
    let (disk, counts) = Counted::new(SimulatedDisk::new(1 << 30, 1));
    let mut cabinet = Cabinet::new(meters, rtt, disk, Options::default());
    cabinet.part(GOES, GOES + AWAY);
    cabinet.run_for(Duration::from_secs(30));
    let phase = Phase::begin(&cabinet, &counts);
    poll_until(&mut cabinet, GOES - ALL);
    cabinet.run_for(ALL);
    phase.end("present", &cabinet);
    let phase = Phase::begin(&cabinet, &counts);
    poll_until(&mut cabinet, GOES + AWAY);
    phase.end("away", &cabinet);
    // Nothing new is measured while it drains: what arrives is the backlog alone.
    if restarts {
        cabinet = cabinet.restart();
    }
    drain(&mut cabinet, &counts);
}

/// Waits for the first late reading, then for the last one.
fn drain(cabinet: &mut Cabinet, counts: &Rc<Cell<Counts>>) {
    let (received, back) = (cabinet.tally.received, cabinet.elapsed());
    while cabinet.tally.received == received && cabinet.elapsed() < back + PATIENCE {
        cabinet.run_for(LOOK);
    }
    eprintln!(
        "  the first arrive after {:.1} s",
        (cabinet.elapsed() - back).as_secs_f64()
    );
    let phase = Phase::begin(cabinet, counts);
    let mut most = 0;
    while cabinet.owed() > 0 && cabinet.elapsed() < back + PATIENCE {
        let before = cabinet.tally.received;
        // Ten looks are one time slice for the highest rate.
        (0..10).for_each(|_| cabinet.run_for(LOOK));
        most = most.max(cabinet.tally.received - before);
    }
    let highest = most as f64 / (LOOK * 10).as_secs_f64();
    phase.end(&format!("drain (at most {highest:.0}/s)"), cabinet);
    assert_eq!(cabinet.owed(), 0, "it does not drain");
}

fn poll_until(cabinet: &mut Cabinet, end: Duration) {
    while cabinet.elapsed() < end {
        cabinet.poll_meters();
        cabinet.run_for(POLL);
    }
}

/// How things stood when a part of the run began.
struct Phase {
    tally: Tally,
    produced: u64,
    counts: Counts,
    counter: Rc<Cell<Counts>>,
    at: Duration,
    began: Instant,
}

impl Phase {
    fn begin(cabinet: &Cabinet, counter: &Rc<Cell<Counts>>) -> Self {
        Self {
            tally: cabinet.tally,
            produced: cabinet.produced(),
            counts: counter.get(),
            counter: Rc::clone(counter),
            at: cabinet.elapsed(),
            began: Instant::now(),
        }
    }

    fn end(self, name: &str, cabinet: &Cabinet) {
        let (tally, counts) = (
            cabinet.tally.since(self.tally),
            self.counter.get().since(self.counts),
        );
        let taken = cabinet.produced() - self.produced;
        let seconds = (cabinet.elapsed() - self.at).as_secs_f64();
        let commits = tally.storing + tally.settling;
        let ratio = |over: u64, under: u64| over as f64 / under.max(1) as f64;
        eprintln!(
            "  {name}: {seconds:.1} s, {taken} taken, {} received ({:.0}/s), {} datagrams ({:.1}/s)",
            tally.received,
            tally.received as f64 / seconds,
            tally.datagrams,
            tally.datagrams as f64 / seconds,
        );
        eprintln!(
            "    {} stored in {} commits of {commits}, {} syncs ({:.2} a commit), {:.2} encoded bytes a reading, \
             pages {:.2} x max(4 KiB, bytes), {:.1} page bytes a reading taken, {} KiB of new files",
            tally.stored,
            tally.storing,
            counts.syncs,
            ratio(counts.syncs, commits),
            ratio(counts.bytes, tally.stored),
            ratio(counts.page_bytes, counts.least_bytes),
            ratio(counts.page_bytes, taken.max(tally.received)),
            counts.created_bytes >> 10,
        );
        eprintln!(
            "    {} saves with {} bytes of values; {:.2} s of processor time",
            tally.saves,
            tally.saved_bytes,
            self.began.elapsed().as_secs_f64()
        );
    }
}
