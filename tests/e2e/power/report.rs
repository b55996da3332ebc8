//! What a run tells of itself: which branches it hit, and the story of it.

use std::fmt;
use std::time::Duration;

use ucifi_adapters::lorawan::{NetworkStatistics, WhyRefused};
use ucifi_core::buffer::Statistics;
use ucifi_sim::server::Event;

use super::Run;
use super::troubles::{FieldTrouble, Trouble};

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
        hits.extend(self.field_hits());
        hits.extend(BRANCHES.map(|(name, of)| (name, self.cabinet.buffer_statistics().iter().map(of).sum())));
        hits
    }
}

impl Run {
    fn field_hits(&self) -> Vec<(&'static str, u64)> {
        let totals = self.cabinet.ledger().totals();
        let nodes = self.cabinet.node_counters().unwrap_or_default();
        let orders = self.cabinet.order_counters();
        let starts: Vec<_> = self.cabinet.radio_statistics_of_starts().collect();
        let radio = |of: &dyn Fn(&NetworkStatistics) -> u64| starts.iter().map(|start| of(start)).sum();
        let later = starts.iter().skip(1).filter(|start| start.joins == 0);
        let is_all = self.has_all_protocols();
        let troubles = |wanted: FieldTrouble| {
            let is_it = |(_, trouble): &&(Duration, Trouble)| matches!(trouble, Trouble::Field(trouble) if *trouble == wanted);
            self.troubles.iter().filter(is_it).count() as u64
        };
        vec![
            ("run with all three protocols", u64::from(is_all)),
            ("run with one protocol", u64::from(!is_all)),
            ("broker out of reach", troubles(FieldTrouble::BrokerIsAway)),
            (
                "forwarders out of reach",
                troubles(FieldTrouble::ForwardersAreAway),
            ),
            ("bad air", troubles(FieldTrouble::AirIsBad)),
            ("join replayed", self.replayed_joins as u64),
            ("reading acknowledged to its sender", totals.confirmed),
            ("reading heard again", totals.heard_again),
            ("reading arrived under two times", totals.of_two_times),
            ("device joined", nodes.joins),
            ("uplink acknowledged", nodes.acknowledged),
            ("uplink not acknowledged", nodes.unacknowledged),
            ("numbers sent in a second frame", nodes.sent_again),
            (
                "uplink in a session of before a restart",
                later.map(|start| start.uplinks).sum(),
            ),
            ("command durably queued", orders.queued),
            ("command told by a later start", orders.told_after_restart),
            ("uplink in doubt after a crash", radio(&|start| start.uncertain)),
            ("save of the radio failed", radio(&|start| start.save_failures)),
            (
                "join refused for its nonce",
                radio(&|start| refused(start, WhyRefused::DevNonceUsed)),
            ),
        ]
    }
}

fn refused(start: &NetworkStatistics, why: WhyRefused) -> u64 {
    start.refused.get(&why).copied().unwrap_or_default()
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
