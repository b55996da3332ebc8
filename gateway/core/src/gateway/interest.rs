//! How often each point is wanted: as often as the site says, and more often where somebody looks.

use lwm2m_client::Path;

use crate::field::PointId;
use crate::gateway::Gateway;
use crate::output::Output;
use crate::point::PointState;
use crate::profile::PointClass;
use crate::tree;

impl Gateway {
    /// Tells the field side where a device's points are wanted at another interval than it was last told.
    pub(super) fn tell_interest(&mut self, device: usize) {
        let observed = self.observed(device);
        let Some(link) = self.devices[device].link.clone() else {
            return;
        };
        for (id, point) in (0..).zip(&mut self.devices[device].points) {
            let every_ms = wanted_ms(point, &observed);
            if every_ms != point.told_ms {
                point.told_ms = every_ms;
                self.outputs.push_back(Output::Interest {
                    link: link.clone(),
                    point: PointId(id),
                    every_ms,
                });
            }
        }
    }

    /// Returns what the servers observe of a device, with the shortest time between two looks in milliseconds.
    fn observed(&self, device: usize) -> Vec<(Path, u64)> {
        let of_endpoint = |index: usize| self.endpoints[index].client.observed();
        let wish = |observed: lwm2m_client::client::Observed| {
            let secs = observed.epmin_secs.unwrap_or(observed.pmin_secs);
            // Without a shortest time the observer has no wish of its own: it takes what comes.
            (secs > 0).then(|| (observed.path, u64::from(secs) * 1000))
        };
        self.endpoints_of(device)
            .flat_map(of_endpoint)
            .filter_map(wish)
            .collect()
    }
}

fn wanted_ms(point: &PointState, observed: &[(Path, u64)]) -> u64 {
    let path = tree::path(point.key);
    match point.class {
        // Alarms and what is billed keep the pace of the profile, whoever looks.
        PointClass::Alarm | PointClass::Billing => return point.every_ms,
        PointClass::Measurement | PointClass::Diagnostic => {}
    }
    let fastest = observed
        .iter()
        .filter(|(at, _)| at.contains(&path) || path.contains(at))
        .map(|(_, ms)| *ms)
        .min();
    match fastest {
        Some(ms) if point.every_ms > 0 => point.every_ms.min(ms),
        Some(_) | None => point.every_ms,
    }
}
