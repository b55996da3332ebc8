//! What a run tells of itself: which branches it hit, and the story of it.

use std::fmt;
use std::time::Duration;

use ucifi_core::buffer::Statistics;
use ucifi_sim::server::Event;

use super::Run;

/// The name of what the buffer counts, and the count.
type Branch = (&'static str, fn(&Statistics) -> u64);

/// What the buffer counts, at work and when it is opened.
const BRANCHES: [Branch; 17] = [
    ("file made", |log| log.created_files),
    ("file recycled", |log| log.recycled_files),
    ("file given back", |log| log.removed_files),
    ("segment read again", |log| log.segment_reads),
    ("segment emptied", |log| log.emptied_segments),
    ("block copied forward", |log| log.copied_blocks),
    ("reading evicted", |log| log.evicted_records),
    ("reading too old", |log| log.aged_records),
    ("no space for a file", |log| log.disk_full),
    ("file not made", |log| log.failed_creates),
    ("write failed", |log| log.failed_writes),
    ("sync failed", |log| log.failed_syncs),
    ("segment abandoned", |log| log.abandoned_segments),
    ("segment recovered", |log| log.recovered_segments),
    ("torn tail", |log| log.torn_tails),
    ("torn beginning", |log| log.torn_beginnings),
    ("stale segment", |log| log.stale_segments),
];

impl Run {
    /// Returns how often the run hit what; a branch that no run hits is not tested.
    pub(crate) fn hits(&self) -> Vec<(&'static str, u64)> {
        let (disk, state) = (self.cabinet.disk(), self.cabinet.state());
        let disk = disk.expect("the plan has a store").counters();
        let state = state.expect("the plan has a store").counters();
        let totals = self.cabinet.ledger().totals();
        let [keep_all, drop_all, subset, prefix] = disk.cuts;
        let mut hits = vec![
            ("cut that keeps all", keep_all),
            ("cut that drops all", drop_all),
            ("cut that keeps some pages", subset),
            ("cut that keeps the first writes", prefix),
            ("cut in a write", disk.cuts_in_write),
            ("cut in a sync", disk.cuts_in_sync),
            ("cut in a creation", disk.cuts_in_create),
            ("torn write", disk.torn_writes),
            ("lost write", disk.lost_writes),
            ("full disk", disk.full),
            ("failed write", disk.failed_writes),
            ("failed sync", disk.failed_syncs),
            ("failed read", disk.failed_reads),
            ("failed creation or removal", disk.failed_names),
            ("failed save", state.failed),
            ("save cut with all changes", state.cut_whole),
            ("save cut with some changes", state.cut_partly),
            ("save cut with no change", state.cut_before),
            ("state rebuilt from a copy", state.rebuilt),
            ("lost datagram", self.cabinet.network().counters().lost),
            ("reading lost from memory", totals.lost),
            ("reading repeated", totals.repeated),
            ("reading that had to go", totals.gone),
            ("reading delivered by a later start", totals.arrived_after_restart),
        ];
        hits.extend(BRANCHES.map(|(name, of)| (name, self.cabinet.buffer_statistics().iter().map(of).sum())));
        hits
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(Duration, String)> = Vec::new();
        lines.extend(
            self.troubles
                .iter()
                .map(|(at, trouble)| (*at, format!("TROUBLE {trouble:?}"))),
        );
        lines.extend(
            self.cabinet
                .events()
                .iter()
                .map(|(at, event)| (*at, format!("{event:?}"))),
        );
        lines.extend(
            self.cabinet
                .downs()
                .iter()
                .map(|(at, down)| (*at, format!("DOWN {down:?}"))),
        );
        let events = self.cabinet.all_server_events();
        let refused = events.filter(|(_, (_, event))| matches!(event, Event::Refused { .. }));
        lines.extend(refused.map(|(server, (at, event))| (*at, format!("{server} {event:?}"))));
        lines.sort();
        for (at, line) in lines {
            writeln!(f, "{at:?} {line}")?;
        }
        writeln!(f, "{:?} {:?}", self.cabinet.ledger().totals(), self.trace())
    }
}
