//! Notifications of what was owed.

use std::time::Instant;

use super::{Observations, Outgoing};
use crate::client::event::{NotifyRefused, SendId};
use crate::client::limits;
use crate::coap::limits::BODY_MAX_BYTES;
use crate::format::{self, Record};

/// A late notification.
#[derive(Debug)]
pub(in crate::client) struct Late {
    pub(super) id: SendId,
    /// Whether it carries what has fired last.
    pub(super) is_newest: bool,
}

impl Observations {
    /// Makes a notification of what was owed, on the observation that is nearest to all of it. `block_bytes` is what
    /// one message carries: what is more is taken only where it is one record, because an acknowledgement says
    /// nothing of the blocks behind the first.
    pub(in crate::client) fn late(
        &mut self,
        id: SendId,
        records: &[Record],
        block_bytes: usize,
        now: Instant,
    ) -> Result<Outgoing, NotifyRefused> {
        if records.is_empty() || records.len() > limits::RECORDS {
            let reason = format!("{} records, 1 to {} are expected", records.len(), limits::RECORDS);
            return Err(NotifyRefused::Invalid(reason));
        }
        let token = self.observed_by(records)?;
        let observation = self.by_token.get(&token).ok_or(NotifyRefused::NotObserved)?;
        let payload = format::encode_records(observation.format, records)
            .map_err(|e| NotifyRefused::Invalid(e.to_string()))?;
        let most = if records.len() == 1 {
            BODY_MAX_BYTES
        } else {
            block_bytes
        };
        if payload.len() > most {
            let reason = format!("{} bytes, at most {most} are expected", payload.len());
            return Err(NotifyRefused::Invalid(reason));
        }
        let newest = observation.monitor.last();
        let is_newest = newest.iter().all(|e| records.iter().any(|r| r.entry == *e));
        let late = Late { id, is_newest };
        self.outgoing_late(&token, (payload, late), now)
            .ok_or(NotifyRefused::Busy)
    }

    /// Returns the token of the observation that all records are told by.
    fn observed_by(&self, records: &[Record]) -> Result<Vec<u8>, NotifyRefused> {
        let covers = |path: crate::Path| records.iter().all(|r| path.contains(&r.entry.path));
        let mut covering: Vec<_> = self
            .by_token
            .iter()
            .filter(|(_, o)| !o.lapsed && covers(o.path))
            .collect();
        if covering.is_empty() {
            return Err(NotifyRefused::NotObserved);
        }
        covering.retain(|(_, o)| o.carries_times());
        if covering.is_empty() {
            return Err(NotifyRefused::NoTime);
        }
        covering.retain(|(_, o)| o.is_free() && o.waiting.is_empty());
        let nearest = covering.into_iter().max_by_key(|(_, o)| o.path.segments().len());
        nearest.map(|(token, _)| token.clone()).ok_or(NotifyRefused::Busy)
    }
}
